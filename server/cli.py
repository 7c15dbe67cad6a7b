"""The command ``tingxun``: serve, demo, verify, people.

Every error of the platform becomes one line on standard error, ``tingxun: CODE: what happened``,
and an exit code other than 0. Imports are inside the commands, so that ``tingxun verify`` does not
wait for the media libraries.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rooms.errors import ArchiveUnknown, FieldInvalid, TingxunError
from server.version import VERSION

if TYPE_CHECKING:
    from server.accounts import Accounts
    from server.config import Config
    from server.records import Records

EXIT_NOT_SEALED = 1
EXIT_NO_ARCHIVE = 2
_CONFIG_FILE = Path(__file__).resolve().parent.parent / "config.yaml"

app = typer.Typer(
    name="tingxun",
    help="Remote interrogations and hearings, recorded into sealed archives.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
user = typer.Typer(help="People who can sign in.", no_args_is_help=True)
app.add_typer(user, name="user")

ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", help="Settings; without it TINGXUN_CONFIG or the top folder's file."),
]
DataDirOption = Annotated[
    Path | None, typer.Option(help="Folder for the database, keys and archives.")
]
PortOption = Annotated[int | None, typer.Option(help="TCP port; 0 takes a free one.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


class Codec(StrEnum):
    """Video codecs of the demo, as typed on the command line."""

    H264 = "h264"
    VP8 = "vp8"


class SystemRole(StrEnum):
    """System roles of an account, as typed on the command line."""

    ADMIN = "admin"
    OFFICER = "officer"
    TERMINAL = "terminal"
    REVIEWER = "reviewer"


def main() -> None:
    """Entry point: run a command; a known error is one line, not a traceback."""
    try:
        app()
    except TingxunError as error:
        hint = f" ({error.hint})" if error.hint else ""
        typer.echo(f"tingxun: {error.code}: {error.message}{hint}", err=True)
        sys.exit(EXIT_NO_ARCHIVE if isinstance(error, ArchiveUnknown) else 1)


@app.callback(invoke_without_command=True)
def _top(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        print_version()
        raise typer.Exit


@app.command("version")
def print_version() -> None:
    """Print the version."""
    typer.echo(f"tingxun {VERSION}")


@app.command()
def serve(
    config: ConfigOption = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: PortOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Serve until told to stop; SIGHUP starts it anew, while sessions and recordings go on."""
    settings = _config(
        config, {"server.host": host, "server.port": port, "data_dir": _text(data_dir)}
    )
    import uvloop

    from server import logs, serving

    logs.configure(settings.log)
    if uvloop.run(serving.serve(settings, typer.echo)):
        # Until the program that follows has its own handler: another one must not end it.
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 - ourselves


@app.command()
def demo(
    seconds: Annotated[float, typer.Option(help="How long the session is held.")] = 20.0,
    camera: Annotated[Path | None, typer.Option(help="Film instead of the test picture.")] = None,
    evidence: Annotated[Path | None, typer.Option(help="Film or picture shown.")] = None,
    archive_dir: Annotated[Path | None, typer.Option(help="Folder for the archive.")] = None,
    codec: Annotated[Codec, typer.Option(help="Video codec.")] = Codec.H264,
    exit_after: Annotated[bool, typer.Option("--exit", help="Stop at the end.")] = False,
    json_output: JsonOption = False,
    port: PortOption = None,
    config: ConfigOption = None,
) -> None:
    """Hold, record, seal, verify and measure one interrogation by itself."""
    settings = _config(config, {})
    from server import demo as program

    raise typer.Exit(
        program.run(
            seconds=seconds,
            camera=camera,
            evidence=evidence,
            archive_dir=archive_dir,
            codec=codec.value,
            exit_after=exit_after,
            json_output=json_output,
            port=port,
            config=settings,
        )
    )


@app.command()
def verify(
    archive: Annotated[Path, typer.Argument(help="Folder of an archive.")],
    trust: Annotated[
        list[Path] | None,
        typer.Option(help="Certificates (PEM) that you trust, instead of this installation's."),
    ] = None,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    json_output: JsonOption = False,
) -> None:
    """Check an archive from its bytes alone: exit 0 when sealed, 1 when not, 2 for no archive."""
    from recorder import verify as verifier
    from server.trust import trusted_files

    files = trust or trusted_files(_config(config, {"data_dir": _text(data_dir)}))
    report = verifier.verify(archive, verifier.Trust.load(*files))
    if json_output:
        typer.echo(json.dumps(report.to_json(), ensure_ascii=False))
    else:
        typer.echo(verifier.render(report), nl=False)
    raise typer.Exit(0 if report.sealed else EXIT_NOT_SEALED)


@user.command("add")
def add_user(
    name: Annotated[str, typer.Argument(help="Name to sign in with.")],
    role: Annotated[SystemRole, typer.Option(help="What the account may do.")],
    display_name: Annotated[str | None, typer.Option(help="Name that others see.")] = None,
    site: Annotated[str | None, typer.Option(help="Site that a terminal stands at.")] = None,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Make an account and print its one-time password."""

    async def work(accounts: Accounts, records: Records) -> None:
        from rooms.errors import SiteUnknown

        if site is not None and not await records.site_exists(site):
            raise SiteUnknown(f"site {site} does not exist")
        account, password = await accounts.add(name, display_name or name, role.value, site)
        typer.echo(f"{account.name}: one-time password {password}")

    _with_accounts(config, data_dir, work)


@user.command("list")
def list_users(config: ConfigOption = None, data_dir: DataDirOption = None) -> None:
    """List the accounts: name, role, site, display name."""

    async def work(accounts: Accounts, _records: Records) -> None:
        for account in await accounts.all():
            typer.echo(
                f"{account.name}\t{account.role}\t{account.site_id or '-'}\t{account.display_name}"
            )

    _with_accounts(config, data_dir, work)


@user.command("reset-password")
def reset_password(
    name: Annotated[str, typer.Argument(help="Name to sign in with.")],
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Give an account a new one-time password and end its sign-ins."""

    async def work(accounts: Accounts, _records: Records) -> None:
        password = await accounts.reset_password(name)
        if password is None:
            raise FieldInvalid(f"name: there is no account {name}")
        typer.echo(f"{name}: one-time password {password}")

    _with_accounts(config, data_dir, work)


def _config(path: Path | None, overrides: dict[str, Any]) -> Config:
    from server.config import Config

    named = path or (Path(os.environ["TINGXUN_CONFIG"]) if "TINGXUN_CONFIG" in os.environ else None)
    file = named or (_CONFIG_FILE if _CONFIG_FILE.exists() else None)
    return Config.load(file, overrides)


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)


def _with_accounts(
    config: Path | None,
    data_dir: Path | None,
    work: Callable[[Accounts, Records], Awaitable[None]],
) -> None:
    """Run ``work`` on the accounts of an installation, whether its server runs or not."""
    import asyncio

    from server.account_records import AccountRecords
    from server.accounts import Accounts
    from server.database import Database
    from server.records import Records

    settings = _config(config, {"data_dir": _text(data_dir)})

    async def run() -> None:
        database = await Database.open(settings.database_path)
        accounts = Accounts(settings, AccountRecords(database))
        try:
            await work(accounts, Records(database))
        finally:
            accounts.close()
            await database.close()

    asyncio.run(run())


if __name__ == "__main__":
    main()
