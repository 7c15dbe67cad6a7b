"""Who is asking: passwords, sign-ins, tickets.

Passwords are hashed with argon2id in two threads of their own, so that the event loop goes on and a
burst of sign-ins takes memory twice and not a hundred times. A sign-in is a random token, given to
browsers in a cookie and to programs as a bearer token, stored as its hash (RFC 6750; OWASP session
guidance). An unknown name costs the same time as a wrong password.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import secrets
import time
import unicodedata
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from aiohttp import web
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from rooms.errors import FieldInvalid, NotSignedIn, TokenInvalid, WrongPassword
from rooms.text import MAX_NAME_CHARS, is_text
from server.account_records import Account, AccountRecords, SystemRole, TokenKind
from server.attempts import Attempts
from server.config import Config

COOKIE = "tingxun"
ADMIN = "admin"
MAX_PASSWORD_CHARS = 1024
_NAME = re.compile(r"[\w.-]{1,64}")
_PASSWORD_ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"  # noqa: S105 - nothing that looks alike
_PASSWORD_GROUPS, _PASSWORD_GROUP = 4, 5


@dataclass(frozen=True, slots=True)
class SignIn:
    """A person who has just signed in, and the token that stands for it from now on."""

    account: Account
    token: str


class Accounts:
    """Signs people in and out, and says who a request comes from."""

    def __init__(self, config: Config, records: AccountRecords) -> None:
        limits = config.accounts
        self._config = limits
        self._secure = config.secure
        self._records = records
        self._hasher = PasswordHasher(
            time_cost=limits.argon2_time_cost,
            memory_cost=limits.argon2_memory_kib,
            parallelism=limits.argon2_parallelism,
        )
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="argon2")
        self._by_name = Attempts(limits.failures_per_name, limits.lockout_s)
        self._by_address = Attempts(limits.failures_per_address, limits.lockout_s)
        self._nobody: str | None = None

    def close(self) -> None:
        """Let go of the threads."""
        self._threads.shutdown(wait=False)

    # --- accounts --------------------------------------------------------------------------

    async def ensure_admin(self) -> str | None:
        """Make an administrator where there is none yet; return the one-time password.

        It is told once, here. None when there is an administrator already.
        """
        if any(account.role == "admin" for account in await self._records.all()):
            return None
        _, password = await self.add(ADMIN, "管理员 Administrator", "admin")
        return password

    async def add(
        self, name: str, display_name: str, role: SystemRole, site_id: str | None = None
    ) -> tuple[Account, str]:
        """Make an account with a one-time password, and return both.

        Raises :class:`~rooms.errors.FieldInvalid` and :class:`~rooms.errors.NameTaken`. That the
        site exists is the caller's business.
        """
        name = sign_in_name(name)
        if not _NAME.fullmatch(name):
            raise FieldInvalid("name: 1 to 64 letters, digits, dots, hyphens or underscores")
        display_name = display_name.strip()
        if not is_text(display_name, MAX_NAME_CHARS) or "\n" in display_name:
            raise FieldInvalid(f"display_name: 1 to {MAX_NAME_CHARS} characters in one line")
        if role == "terminal" and site_id is None:
            raise FieldInvalid("site_id: a terminal belongs to a site")
        password = one_time_password()
        account = Account(
            id=f"a-{secrets.token_hex(6)}",
            name=name,
            display_name=display_name,
            role=role,
            site_id=site_id,
            must_change_password=True,
        )
        await self._records.add(account, await self._hash(password))
        return account, password

    async def all(self) -> list[Account]:
        """Every account, by name."""
        return await self._records.all()

    async def by_ids(self, account_ids: list[str]) -> dict[str, Account]:
        """The accounts with these ids, by id; an id without one is left out."""
        return await self._records.by_ids(account_ids)

    async def reset_password(self, name: str) -> str | None:
        """Give an account a new one-time password and end its sign-ins; None when it is unknown."""
        found = await self._records.by_name(sign_in_name(name))
        if found is None:
            return None
        password = one_time_password()
        await self._records.set_password(
            found[0].id, await self._hash(password), must_change=True, keep=None
        )
        self._by_name.clear(found[0].name)
        return password

    async def change_password(
        self, account: Account, old: str, new: str, address: str, token: str | None
    ) -> None:
        """Replace a password by its owner; every other sign-in of the account ends.

        Raises WrongPassword, TooManyAttempts, or FieldInvalid for a new one that is too short, the
        same, or the name.
        """
        minimum = self._config.password_min_length
        if not minimum <= len(new) <= MAX_PASSWORD_CHARS or not is_text(new, MAX_PASSWORD_CHARS):
            raise FieldInvalid(f"new: {minimum} to {MAX_PASSWORD_CHARS} characters")
        if new == old or sign_in_name(new) == account.name:
            raise FieldInvalid("new: neither the old password nor the name")
        await self._check(account.name, old, address)
        keep = None if token is None else _sha256(token)
        password_hash = await self._hash(new)
        await self._records.set_password(account.id, password_hash, must_change=False, keep=keep)

    # --- sign-in ---------------------------------------------------------------------------

    async def sign_in(self, name: str, password: str, address: str) -> SignIn:
        """Check a name and a password; raises WrongPassword or TooManyAttempts.

        ``address`` is the client's network address: failures are counted by it and by name.
        """
        account = await self._check(sign_in_name(name), password, address)
        return await self.issue_token(account)

    async def _check(self, name: str, password: str, address: str) -> Account:
        now_s = time.monotonic()
        self._by_address.begin(address, now_s)
        self._by_name.begin(name, now_s)
        found = await self._records.by_name(name)
        stored = found[1] if found else await self._nobody_hash()
        right = await self._verify(stored, password[: MAX_PASSWORD_CHARS + 1])
        if found is None or not right:
            raise WrongPassword
        self._by_address.forgive(address)
        self._by_name.clear(name)
        account = found[0]
        if self._hasher.check_needs_rehash(stored):
            await self._records.set_password_hash(account.id, await self._hash(password))
        return account

    async def issue_token(self, account: Account) -> SignIn:
        """Sign an account in without a password: for the platform's own programs, and tickets."""
        token = await self._issue(account.id, "sign_in", timedelta(hours=self._config.token_hours))
        return SignIn(account, token)

    async def issue_ticket(self, account_id: str) -> str:
        """A token for one sign-in by a link, good for ``accounts.ticket_s``."""
        return await self._issue(account_id, "ticket", timedelta(seconds=self._config.ticket_s))

    async def redeem(self, ticket: str) -> SignIn:
        """Sign in by a ticket, which is used up; raises :class:`~rooms.errors.TokenInvalid`."""
        account_id = await self._records.take_ticket(_sha256(ticket))
        if account_id is None:
            raise TokenInvalid("the link was used before, or is over")
        return await self.issue_token((await self._records.by_ids([account_id]))[account_id])

    async def sign_out(self, request: web.Request) -> None:
        """End the sign-in that this request carries, if any."""
        token = request_token(request)
        if token is not None:
            await self._records.remove_token(_sha256(token))

    async def authenticate(self, request: web.BaseRequest) -> Account:
        """Who this request comes from.

        By ``Authorization: Bearer`` if present (raises :class:`~rooms.errors.TokenInvalid`), else
        by the cookie (raises :class:`~rooms.errors.NotSignedIn`).
        """
        token = request_token(request)
        account = None if token is None else await self._records.by_token(_sha256(token))
        if account is not None:
            return account
        if "Authorization" in request.headers:
            raise TokenInvalid
        raise NotSignedIn

    async def identify(self, request: web.Request) -> str:
        """The id of the account that this request comes from; raises as :meth:`authenticate`."""
        return (await self.authenticate(request)).id

    def set_cookie(self, response: web.StreamResponse, sign_in: SignIn) -> None:
        """Give a browser its token: out of reach of scripts, and never sent from other sites."""
        response.set_cookie(
            COOKIE,
            sign_in.token,
            max_age=int(self._config.token_hours * 3600),
            httponly=True,
            samesite="Strict",
            secure=self._secure,
            path="/",
        )

    def clear_cookie(self, response: web.StreamResponse) -> None:
        """Take the token back from a browser."""
        response.del_cookie(COOKIE, path="/", httponly=True, samesite="Strict", secure=self._secure)

    # --- hashing ---------------------------------------------------------------------------

    async def _issue(self, account_id: str, kind: TokenKind, lasting: timedelta) -> str:
        token = secrets.token_urlsafe(32)
        expires = datetime.now(UTC) + lasting
        await self._records.add_token(_sha256(token), account_id, kind, expires)
        return token

    async def _hash(self, password: str) -> str:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, self._hasher.hash, password)

    async def _verify(self, stored: str, password: str) -> bool:
        def work() -> bool:
            try:
                return self._hasher.verify(stored, password)
            except (VerificationError, InvalidHashError, UnicodeEncodeError):
                return False

        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    async def _nobody_hash(self) -> str:
        """A hash that no password fits, of the same cost as everybody's."""
        if self._nobody is None:
            self._nobody = await self._hash(secrets.token_urlsafe(32))
        return self._nobody


def request_token(request: web.BaseRequest) -> str | None:
    """The token that a request carries: the bearer token, else the cookie's."""
    authorization = request.headers.get("Authorization")
    if authorization is not None:
        scheme, _, token = authorization.partition(" ")
        return token.strip() if scheme.lower() == "bearer" and token.strip() else None
    return request.cookies.get(COOKIE) or None


def sign_in_name(name: str) -> str:
    """The form in which names are compared and stored: NFKC, case folded, trimmed."""
    return unicodedata.normalize("NFKC", name).strip().casefold()


def one_time_password() -> str:
    """A random password that can be read out: 20 characters of 31, in groups of five."""
    groups = (
        "".join(secrets.choice(_PASSWORD_ALPHABET) for _ in range(_PASSWORD_GROUP))
        for _ in range(_PASSWORD_GROUPS)
    )
    return "-".join(groups)


def _sha256(token: str) -> str:
    return hashlib.sha256(token.encode(errors="surrogateescape")).hexdigest()
