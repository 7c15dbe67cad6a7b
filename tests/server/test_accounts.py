"""Accounts: hashing, sign-in, lockout, tokens and tickets, on a real database."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from rooms.errors import (
    FieldInvalid,
    NameTaken,
    TokenInvalid,
    TooManyAttempts,
    WrongPassword,
)
from server import schema
from server.account_records import AccountRecords
from server.accounts import Accounts, one_time_password, sign_in_name
from server.config import Config
from server.database import Database

HERE = "10.0.0.1"
GOOD = "a good long password"


@pytest.fixture
async def database(config: Config) -> AsyncIterator[Database]:
    database = await Database.open(config.database_path)
    yield database
    await database.close()


@pytest.fixture
def accounts(config: Config, database: Database) -> Accounts:
    return Accounts(config, AccountRecords(database))


async def test_the_first_administrator_is_made_once(accounts: Accounts) -> None:
    password = await accounts.ensure_admin()
    assert password is not None
    assert await accounts.ensure_admin() is None
    signed_in = await accounts.sign_in("Admin ", password, HERE)
    assert signed_in.account.role == "admin"
    assert signed_in.account.must_change_password


async def test_an_installation_with_people_but_no_administrator_gets_one(
    accounts: Accounts,
) -> None:
    await accounts.add("li", "李", "officer")
    assert await accounts.ensure_admin() is not None


async def test_passwords_and_tokens_are_stored_only_as_hashes(
    accounts: Accounts, database: Database, config: Config
) -> None:
    account, password = await accounts.add("li", "李", "officer")
    token = (await accounts.sign_in("li", password, HERE)).token
    ticket = await accounts.issue_ticket(account.id)
    stored = await database.run(
        lambda connection: connection.scalar(select(schema.accounts.c.password_hash))
    )
    assert stored is not None
    assert stored.startswith("$argon2id$")
    content = b"".join(path.read_bytes() for path in config.data_dir.glob("tingxun.sqlite3*"))
    for secret in (password, token, ticket):
        assert secret.encode() not in content


async def test_wrong_name_and_wrong_password_look_alike(accounts: Accounts) -> None:
    await accounts.add("li", "李", "officer")
    messages = set()
    for name in ("li", "nobody"):
        with pytest.raises(WrongPassword) as caught:
            await accounts.sign_in(name, "guess", HERE)
        messages.add(str(caught.value))
    assert len(messages) == 1


async def test_an_unknown_name_costs_a_hash_too(config: Config, database: Database) -> None:
    costly = config.accounts.model_copy(update={"argon2_time_cost": 8, "argon2_memory_kib": 16_384})
    accounts = Accounts(config.model_copy(update={"accounts": costly}), AccountRecords(database))
    await accounts.add("li", "李", "officer")
    with pytest.raises(WrongPassword):
        await accounts.sign_in("warm-up", "guess", HERE)

    async def cost(name: str) -> float:
        start = time.process_time()
        with pytest.raises(WrongPassword):
            await accounts.sign_in(name, "guess", HERE)
        return time.process_time() - start

    known, unknown = await cost("li"), await cost("nobody")
    assert unknown > known / 4


async def test_a_name_is_locked_after_failures_and_a_reset_unlocks_it(accounts: Accounts) -> None:
    _, password = await accounts.add("li", "李", "officer")
    for n in range(5):
        with pytest.raises(WrongPassword):
            await accounts.sign_in("li", "guess", f"10.0.0.{n}")
    with pytest.raises(TooManyAttempts):
        await accounts.sign_in("LI", password, HERE)
    fresh = await accounts.reset_password("li")
    assert fresh is not None
    await accounts.sign_in("li", fresh, HERE)


async def test_guesses_sent_at_once_get_no_more_answers(accounts: Accounts) -> None:
    await accounts.add("li", "李", "officer")
    outcomes = await asyncio.gather(
        *(accounts.sign_in("li", f"guess {n}", HERE) for n in range(30)), return_exceptions=True
    )
    answered = [one for one in outcomes if isinstance(one, WrongPassword)]
    assert len(answered) == 5


async def test_an_address_that_tries_many_names_is_locked(accounts: Accounts) -> None:
    _, password = await accounts.add("li", "李", "officer")
    for n in range(20):
        with pytest.raises(WrongPassword):
            await accounts.sign_in(f"name-{n}", "guess", HERE)
    with pytest.raises(TooManyAttempts):
        await accounts.sign_in("li", password, HERE)
    await accounts.sign_in("li", password, "10.0.0.2")


async def test_right_sign_ins_do_not_lock_an_address(accounts: Accounts) -> None:
    _, password = await accounts.add("li", "李", "officer")
    for _ in range(30):
        await accounts.sign_in("li", password, HERE)


async def test_a_ticket_signs_in_once(accounts: Accounts) -> None:
    account, _ = await accounts.add("li", "李", "officer")
    ticket = await accounts.issue_ticket(account.id)
    assert (await accounts.redeem(ticket)).account == account
    for spent in (ticket, "never-made", ""):
        with pytest.raises(TokenInvalid):
            await accounts.redeem(spent)


async def test_a_sign_in_token_is_no_ticket(accounts: Accounts) -> None:
    _, password = await accounts.add("li", "李", "officer")
    token = (await accounts.sign_in("li", password, HERE)).token
    with pytest.raises(TokenInvalid):
        await accounts.redeem(token)


async def test_tickets_and_sign_ins_end(config: Config, database: Database) -> None:
    short = config.accounts.model_copy(update={"ticket_s": 1e-6, "token_hours": 1e-9})
    accounts = Accounts(config.model_copy(update={"accounts": short}), AccountRecords(database))
    account, password = await accounts.add("li", "李", "officer")
    with pytest.raises(TokenInvalid):
        await accounts.redeem(await accounts.issue_ticket(account.id))
    token = (await accounts.sign_in("li", password, HERE)).token
    records = AccountRecords(database)
    assert await records.by_token(token) is None


async def test_changing_the_password(accounts: Accounts) -> None:
    account, password = await accounts.add("li", "李", "officer")
    kept = (await accounts.sign_in("li", password, HERE)).token
    other = await accounts.issue_ticket(account.id)
    for bad in ("short", password, "x" * 1025):
        with pytest.raises(FieldInvalid):
            await accounts.change_password(account, password, bad, HERE, kept)
    with pytest.raises(WrongPassword):
        await accounts.change_password(account, "guess", GOOD, HERE, kept)
    await accounts.change_password(account, password, GOOD, HERE, kept)
    with pytest.raises(TokenInvalid):
        await accounts.redeem(other)
    with pytest.raises(WrongPassword):
        await accounts.sign_in("li", password, HERE)
    assert not (await accounts.sign_in("li", GOOD, HERE)).account.must_change_password


async def test_a_password_is_hashed_anew_when_its_cost_changes(
    config: Config, database: Database
) -> None:
    records = AccountRecords(database)
    _, password = await Accounts(config, records).add("li", "李", "officer")
    dearer = config.accounts.model_copy(update={"argon2_time_cost": 2})
    accounts = Accounts(config.model_copy(update={"accounts": dearer}), records)
    await accounts.sign_in("li", password, HERE)
    found = await records.by_name("li")
    assert found is not None
    assert "t=2" in found[1]
    await accounts.sign_in("li", password, HERE)


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"name": ""}, "name"),
        ({"name": "a b"}, "name"),
        ({"name": "x" * 65}, "name"),
        ({"name": "a/b"}, "name"),
        ({"display_name": " "}, "display_name"),
        ({"display_name": "a\nb"}, "display_name"),
        ({"display_name": "a\0b"}, "display_name"),
        ({"role": "terminal"}, "site_id"),
    ],
)
async def test_what_no_account_can_have(
    accounts: Accounts, fields: dict[str, Any], named: str
) -> None:
    good: dict[str, Any] = {"name": "li", "display_name": "李", "role": "officer"}
    with pytest.raises(FieldInvalid, match=named):
        await accounts.add(**{**good, **fields})


async def test_names_are_compared_in_one_form(accounts: Accounts) -> None:
    await accounts.add("Ｌｉ", "李", "officer")
    with pytest.raises(NameTaken):
        await accounts.add("LI", "李", "officer")
    assert sign_in_name(" Straße ") == "strasse"


def test_one_time_passwords_are_long_and_different() -> None:
    made = {one_time_password() for _ in range(50)}
    assert len(made) == 50
    assert all(len(password) == 23 for password in made)


async def test_the_database_is_not_readable_by_others(accounts: Accounts, config: Config) -> None:
    await accounts.ensure_admin()
    assert config.database_path.stat().st_mode & 0o077 == 0
    assert Path(config.data_dir).stat().st_mode & 0o077 == 0
