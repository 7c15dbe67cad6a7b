"""Who may see and do what outside a session: the one table of system roles.

What a person may do within a session is :data:`rooms.roles.MATRIX`; here: bookings, people and
archives.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from aiohttp import web

from rooms.errors import NotAssigned, NotPermitted
from server.account_records import Account, SystemRole
from server.bookings import Booking
from server.keys import ACCOUNTS, RECORDS
from server.stored_archives import StoredArchive


class Right(StrEnum):
    """One thing that an account may be allowed to do."""

    BOOK = "book"
    SEE_DAY = "see_day"
    SEE_PEOPLE = "see_people"
    ADD_PEOPLE = "add_people"
    SEE_OWN_ARCHIVES = "see_own_archives"
    SEE_ALL_ARCHIVES = "see_all_archives"
    SEE_METRICS = "see_metrics"


RIGHTS: Mapping[SystemRole, frozenset[Right]] = {
    "admin": frozenset(Right),
    "officer": frozenset({Right.BOOK, Right.SEE_DAY, Right.SEE_PEOPLE, Right.SEE_OWN_ARCHIVES}),
    "reviewer": frozenset({Right.SEE_OWN_ARCHIVES, Right.SEE_ALL_ARCHIVES}),
    "terminal": frozenset(),
}
"""Every system role with its rights; everybody sees the sessions that they have a seat in."""


def may(account: Account, right: Right) -> bool:
    """Whether the account has the right."""
    return right in RIGHTS[account.role]


async def account_with(request: web.Request, right: Right | None = None) -> Account:
    """Who asks; raises not_signed_in, or not_permitted when the right is missing."""
    account = await request.app[ACCOUNTS].authenticate(request)
    if right is not None and not may(account, right):
        raise NotPermitted(f"{account.role} accounts may not do this ({right})")
    return account


async def visible_booking(request: web.Request, account: Account) -> Booking:
    """The session in the address, for those with a seat and those who book.

    Raises session_unknown or not_assigned.
    """
    booking = await request.app[RECORDS].booking(request.match_info["session_id"])
    if not may(account, Right.SEE_DAY):
        booking.session.assignment(account.id)
    return booking


async def visible_archive(request: web.Request, account: Account) -> StoredArchive:
    """The archive in the address; raises archive_unknown, not_permitted or not_assigned."""
    if not may(account, Right.SEE_OWN_ARCHIVES):
        raise NotPermitted(f"{account.role} accounts see no archives")
    records = request.app[RECORDS]
    archive = await records.archive(request.match_info["archive_id"])
    if not may(account, Right.SEE_ALL_ARCHIVES):
        session = await records.session(archive.session_id)
        if all(seat.participant_id != account.id for seat in session.assignments):
            raise NotAssigned(f"not assigned to session {session.id}")
    return archive
