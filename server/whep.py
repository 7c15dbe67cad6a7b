"""WHEP: a stock player receives from a session over HTTP (draft-ietf-wish-whep).

``POST /whep/sessions/{session_id}`` with an offer to receive, as the account whose bearer token it
carries: what its seat may receive (``Room.audience``) and nothing else. ``?track=cam-1``, once or
more, names what is wanted; otherwise each media section gets the first track that fits.
"""

from __future__ import annotations

from aiohttp import web

from rooms.errors import NotPermitted, OfferUnsupported
from rooms.roles import Permission
from server.keys import MEDIA_RESOURCES
from server.whip import add_common_routes, created, read_offer, seat_of

ENDPOINT = "/whep/sessions/{session_id}"


def add_routes(app: web.Application) -> None:
    """Mount the WHEP endpoint and its sessions."""
    app.router.add_post(ENDPOINT, _play)
    add_common_routes(app, ENDPOINT)


async def _play(request: web.Request) -> web.Response:
    conductor, account_id = await seat_of(request)
    if not conductor.room.may(account_id, Permission.SUBSCRIBE):
        raise NotPermitted("your role in this session does not receive")
    _, remote = await read_offer(request)
    for section in remote.media:
        if section.direction not in ("recvonly", "sendrecv"):
            raise OfferUnsupported(f"media section {section.mid!r} is {section.direction}")
    resource, answer = await request.app[MEDIA_RESOURCES].play(
        conductor, account_id, remote, request.query.getall("track", [])
    )
    return created(request, resource, answer)
