"""What the commands have in common: starting, stopping in order, the result, things said aside."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Annotated, Any, TypeVar

import typer
import uvloop

from bench import load, media, processes, report, servers

_T = TypeVar("_T")
JsonOutput = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
"""The option of every command that :func:`show` is told."""

_STOPPED = 130
"""Exit code after Ctrl-C, as shells have it."""


def say(text: str) -> None:
    """A line on standard error: standard output is for the result."""
    print(text, file=sys.stderr, flush=True)


def show(
    rows: Sequence[Mapping[str, Any]],
    text: str,
    reached: Sequence[report.Target],
    *,
    json_output: bool,
) -> None:
    """The result on standard output: the rows as one object, or as the table ``text``."""
    if json_output:
        print(report.as_json(rows, reached))
    else:
        print(f"{text}\n\n{report.targets_text(reached)}")


def start(main: Callable[..., None]) -> None:
    """Run ``main`` as a command whose options are its parameters."""
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(main)
    app()


def prepare(profile: str, codec: str = "VP8") -> tuple[processes.Cpus, media.Media]:
    """Choose CPUs, set the load client up, load the media; say what speaks against the figures."""
    cpus = processes.choose_cpus()
    if cpus.shared:
        say("there is one CPU only: server and clients disturb each other")
    cpus.take_client()
    load.prepare(profile)
    made = media.load(codec)
    say(f"load average before: {processes.load_average():.1f}")
    return cpus, made


def janus_present() -> bool:
    """Whether Janus can be measured; says in one line what is missing if it cannot."""
    missing = servers.janus_missing()
    if missing:
        say(missing)
    return missing is None


def run(work: Coroutine[Any, Any, _T]) -> _T:
    """Run to the end; SIGINT and SIGTERM stop it in order, with every server that it started."""
    return uvloop.run(_until_stopped(work))


async def _until_stopped(work: Coroutine[Any, Any, _T]) -> _T:
    working = asyncio.create_task(work)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, working.cancel)
    try:
        return await working
    except asyncio.CancelledError:
        say("stopped")
        raise SystemExit(_STOPPED) from None
