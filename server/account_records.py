"""Accounts and tokens as rows of the database. Policy is in :mod:`server.accounts`.

A token is never stored, only its SHA-256: who reads the database cannot sign in with what is there.
Tokens are 256 random bits, so that a fast hash without salt is enough for them.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from sqlalchemy import Connection, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from rooms.errors import NameTaken
from rooms.moment import format_wall
from server import clock, schema
from server.database import Database

SystemRole = Literal["admin", "officer", "terminal", "reviewer"]
TokenKind = Literal["sign_in", "ticket"]


@dataclass(frozen=True, slots=True)
class Account:
    """One person or terminal that can sign in; ``id`` is the participant id in sessions."""

    id: str
    name: str
    display_name: str
    role: SystemRole
    site_id: str | None
    must_change_password: bool

    def to_json(self) -> dict[str, str | bool | None]:
        """The account as the HTTP interface shows it."""
        return {
            "id": self.id,
            "name": self.name,
            "display_name": self.display_name,
            "role": self.role,
            "site_id": self.site_id,
            "must_change_password": self.must_change_password,
        }


_SHOWN = (
    schema.accounts.c.id,
    schema.accounts.c.name,
    schema.accounts.c.display_name,
    schema.accounts.c.role,
    schema.accounts.c.site_id,
    schema.accounts.c.must_change_password,
)


class AccountRecords:
    """Accounts by name and id, and the tokens that stand for them."""

    def __init__(self, database: Database) -> None:
        self._run = database.run

    async def add(self, account: Account, password_hash: str) -> None:
        """Store a new account; raises :class:`~rooms.errors.NameTaken`."""
        statement = insert(schema.accounts).values(
            id=account.id,
            name=account.name,
            display_name=account.display_name,
            role=account.role,
            site_id=account.site_id,
            password_hash=password_hash,
            must_change_password=account.must_change_password,
            created_wall=clock.wall(),
        )
        try:
            await self._run(lambda connection: connection.execute(statement).close())
        except IntegrityError as error:
            raise NameTaken(f"name: {account.name} is taken") from error

    async def all(self) -> list[Account]:
        """Every account, by name."""
        query = select(*_SHOWN).order_by(schema.accounts.c.name)
        return await self._run(
            lambda connection: [Account(*row) for row in connection.execute(query)]
        )

    async def by_ids(self, account_ids: list[str]) -> dict[str, Account]:
        """The accounts with these ids, by id; an id without one is left out."""
        query = select(*_SHOWN).where(schema.accounts.c.id.in_(account_ids))
        return await self._run(
            lambda connection: {row.id: Account(*row) for row in connection.execute(query)}
        )

    async def by_name(self, name: str) -> tuple[Account, str] | None:
        """The account of that sign-in name with its password hash."""
        query = select(*_SHOWN, schema.accounts.c.password_hash).where(
            schema.accounts.c.name == name
        )

        def work(connection: Connection) -> tuple[Account, str] | None:
            row = connection.execute(query).first()
            return None if row is None else (Account(*row[:-1]), row[-1])

        return await self._run(work)

    async def set_password(
        self, account_id: str, password_hash: str, *, must_change: bool, keep: str | None
    ) -> None:
        """Store a new password and end every sign-in of the account but the token ``keep``."""
        tokens = schema.tokens

        def work(connection: Connection) -> None:
            connection.execute(
                update(schema.accounts)
                .where(schema.accounts.c.id == account_id)
                .values(password_hash=password_hash, must_change_password=must_change)
            )
            connection.execute(
                delete(tokens).where(tokens.c.account_id == account_id, tokens.c.sha256 != keep)
                if keep is not None
                else delete(tokens).where(tokens.c.account_id == account_id)
            )

        await self._run(work)

    async def set_password_hash(self, account_id: str, password_hash: str) -> None:
        """Store the same password hashed anew, because the cost of hashing was changed."""
        statement = (
            update(schema.accounts)
            .where(schema.accounts.c.id == account_id)
            .values(password_hash=password_hash)
        )
        await self._run(lambda connection: connection.execute(statement).close())

    async def add_token(
        self, sha256: str, account_id: str, kind: TokenKind, expires: datetime
    ) -> None:
        """Store a token, and forget those that are over."""
        table = schema.tokens

        def work(connection: Connection) -> None:
            connection.execute(delete(table).where(table.c.expires_wall <= clock.wall()))
            connection.execute(
                insert(table).values(
                    sha256=sha256,
                    account_id=account_id,
                    kind=kind,
                    expires_wall=format_wall(expires),
                )
            )

        await self._run(work)

    async def by_token(self, sha256: str) -> Account | None:
        """The account that a sign-in token stands for, unless it is over."""
        table = schema.tokens
        query = (
            select(*_SHOWN)
            .join(table, table.c.account_id == schema.accounts.c.id)
            .where(table.c.sha256 == sha256, table.c.kind == "sign_in")
            .where(table.c.expires_wall > clock.wall())
        )

        def work(connection: Connection) -> Account | None:
            row = connection.execute(query).first()
            return None if row is None else Account(*row)

        return await self._run(work)

    async def take_ticket(self, sha256: str) -> str | None:
        """The id of the account that a ticket stands for; the ticket is used up by this."""
        table = schema.tokens
        statement = (
            delete(table)
            .where(table.c.sha256 == sha256, table.c.kind == "ticket")
            .where(table.c.expires_wall > clock.wall())
            .returning(table.c.account_id)
        )
        return await self._run(lambda connection: connection.scalar(statement))

    async def remove_token(self, sha256: str) -> None:
        """End one sign-in."""
        statement = delete(schema.tokens).where(schema.tokens.c.sha256 == sha256)
        await self._run(lambda connection: connection.execute(statement).close())
