"""Real lines to cut: places in network namespaces of their own, behind a router, over veth.

The test process stays where it is, and so does a server in it; browsers and headless terminals run
in a *place*. Everything goes through the router's namespace, where a line can be cut without
anybody being told, or one protocol be blocked. All of it is IPv4 and IPv6. Needs root and `ip`
(iproute2); :func:`lines` skips the test where namespaces cannot be made.

``10.X.0.1`` is here, ``10.X.N.2`` is the first address of the place N; in IPv6 ``fd7e:X::1`` and
``fd7e:X:0:N::2``. What a killed run left is removed by the next one.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import shutil
import subprocess
import threading
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any, Self, TypeVar

import pytest

T = TypeVar("T")

PREFIX = "tingxun-"
RUN = Path("/run/netns")
CLONE_NEWNET = 0x40000000


def ip(*words: str, namespace: str | None = None) -> str:
    """Run `ip`; raises RuntimeError with what it said."""
    where = ["-n", namespace] if namespace else []
    done = subprocess.run(["ip", *where, *words], capture_output=True, text=True, timeout=10)
    if done.returncode:
        raise RuntimeError(f"ip {' '.join(words)}: {done.stderr.strip()}")
    return done.stdout


def give(namespace: str | None, interface: str, address: str) -> None:
    """Give an interface an address that can be used at once."""
    at_once = ["nodad"] if ":" in address else []
    ip("addr", "add", address, "dev", interface, *at_once, namespace=namespace)


def switch(namespace: str | None, name: str, value: int) -> None:
    """Set one of the kernel's settings for a namespace, a path under ``/proc/sys/net``."""
    where = ["ip", "netns", "exec", namespace] if namespace else []
    text = f"echo {value} > /proc/sys/net/{name}"
    subprocess.run([*where, "sh", "-c", text], check=True, timeout=10)


def unavailable() -> str | None:
    """Why no namespaces can be made here; None where they can."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    if shutil.which("ip") is None:
        return "network namespaces need `ip` (iproute2)"
    probe = f"{PREFIX}{os.getpid()}-probe"
    try:
        ip("netns", "add", probe)
        ip("netns", "del", probe)
    except RuntimeError as error:
        return f"no network namespaces here: {error}"
    return None


class Place:
    """A namespace with one cable to the router: a site with its browser or terminal."""

    def __init__(self, lines: Lines, name: str, number: int) -> None:
        self.namespace = f"{PREFIX}{os.getpid()}-{name}"
        self.address = self.address6 = ""
        self._lines = lines
        self._net = f"10.{lines.x}.{number}."
        self._net6 = f"fd7e:{lines.x:x}:0:{number:x}::"
        self._interface = f"s{number}"
        """Of the router's end; the place's own is called ``line``."""
        router = lines.router
        ip("netns", "add", self.namespace)
        ip("link", "set", "lo", "up", namespace=self.namespace)
        ip("link", "add", self._interface, "type", "veth", "peer", "name", "line",
           "netns", self.namespace, namespace=router)  # fmt: skip
        # An IPv6 address stays while the cable is out, and can be used as soon as it is in.
        switch(router, f"ipv6/conf/{self._interface}/keep_addr_on_down", 1)
        switch(router, f"ipv6/conf/{self._interface}/accept_dad", 0)
        switch(self.namespace, "ipv6/conf/line/accept_dad", 0)
        give(router, self._interface, f"{self._net}1/24")
        give(router, self._interface, f"{self._net6}1/64")
        ip("link", "set", self._interface, "up", namespace=router)
        ip("link", "set", "line", "up", namespace=self.namespace)
        self.readdress(2)

    def readdress(self, host: int) -> str:
        """Give the place another address, ``10.X.N.host``, as another network would; returns it."""
        ip("addr", "flush", "dev", "line", "scope", "global", namespace=self.namespace)
        self.address, self.address6 = f"{self._net}{host}", f"{self._net6}{host:x}"
        give(self.namespace, "line", f"{self.address}/24")
        give(self.namespace, "line", f"{self.address6}/64")
        for family, gateway in (("-4", f"{self._net}1"), ("-6", f"{self._net6}1")):
            ip(family, "route", "replace", "default", "via", gateway, namespace=self.namespace)
        return self.address

    def unplug(self) -> None:
        """Pull the cable: the place's own interface has no carrier, and its programs may see it."""
        ip("link", "set", self._interface, "down", namespace=self._lines.router)

    def plug(self) -> None:
        """Put the cable back; as with a real one, it may be a second until packets pass."""
        ip("link", "set", self._interface, "up", namespace=self._lines.router)

    def cut(self) -> None:
        """Cut the line further away: packets vanish in both directions, and nobody is told."""
        self._rule("add")

    def mend(self) -> None:
        """Undo :meth:`cut`."""
        self._rule("del")

    def block(self, protocol: str) -> None:
        """From now on no packet of this protocol ("udp", "tcp") passes the router."""
        self._rule("add", "ipproto", protocol)

    def _rule(self, act: str, *which: str) -> None:
        for family, net in (("-4", f"{self._net}0/24"), ("-6", f"{self._net6}/64")):
            for way in ("from", "to"):
                ip(family, "rule", act, way, net, *which, "priority", "10", "blackhole",
                   namespace=self._lines.router)  # fmt: skip

    def command(self, *words: str) -> list[str]:
        """The command line that runs a command in this place."""
        return ["ip", "netns", "exec", self.namespace, *words]

    def program(self, folder: Path, executable: str) -> Path:
        """A script that runs ``executable`` in this place, for whoever takes only a path."""
        script = folder / f"{self.namespace}-{Path(executable).name}"
        script.write_text(f'#!/bin/sh\nexec {" ".join(self.command(executable))} "$@"\n')
        script.chmod(0o755)
        return script

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """This thread is in the place: sockets that it opens, and threads that it starts, too."""
        libc = ctypes.CDLL(None, use_errno=True)
        with Path("/proc/thread-self/ns/net").open() as before:
            with (RUN / self.namespace).open() as inside:
                if libc.setns(inside.fileno(), CLONE_NEWNET):
                    raise OSError(ctypes.get_errno(), "setns")
            try:
                yield
            finally:
                libc.setns(before.fileno(), CLONE_NEWNET)

    @contextlib.contextmanager
    def loop(self) -> Iterator[Loop]:
        """An event loop whose thread is in this place."""
        loop = Loop(self)
        try:
            yield loop
        finally:
            loop.end()


class Loop:
    """Runs coroutines in a place: ``await loop.do(terminal.join(...))``."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name=place.namespace, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        with self._place.entered():
            asyncio.set_event_loop(self._loop)
            self._loop.run_forever()
            self._loop.run_until_complete(self._loop.shutdown_default_executor())
            self._loop.close()

    async def do(self, work: Coroutine[Any, Any, T]) -> T:
        """Run ``work`` there, and wait for it here."""
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._loop))

    def end(self) -> None:
        """Stop the loop."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)


class Lines:
    """A router and the places behind it. Use as ``with Lines() as lines``, or by :func:`lines`."""

    def __init__(self) -> None:
        self.x = 0
        self.router = f"{PREFIX}{os.getpid()}-router"
        self.interface = ""
        self.places: list[Place] = []

    def __enter__(self) -> Self:
        _remove_left()
        taken = ip("-4", "route")
        self.x = next(x for x in range(60 + os.getpid() % 100, 250) if f"10.{x}." not in taken)
        self.interface = f"tingxun{self.x}"
        try:
            self._build()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _build(self) -> None:
        x, router = self.x, self.router
        ip("netns", "add", router)
        ip("link", "set", "lo", "up", namespace=router)
        switch(router, "ipv4/ip_forward", 1)
        switch(router, "ipv6/conf/all/forwarding", 1)
        ip("link", "add", self.interface, "type", "veth", "peer", "name", "outside",
           "netns", router)  # fmt: skip
        switch(None, f"ipv6/conf/{self.interface}/accept_dad", 0)
        switch(router, "ipv6/conf/outside/accept_dad", 0)
        give(None, self.interface, f"10.{x}.0.1/24")
        give(None, self.interface, f"fd7e:{x:x}::1/64")
        give(router, "outside", f"10.{x}.0.2/24")
        give(router, "outside", f"fd7e:{x:x}::2/64")
        ip("link", "set", self.interface, "up")
        ip("link", "set", "outside", "up", namespace=router)
        ip("route", "add", f"10.{x}.0.0/16", "via", f"10.{x}.0.2")
        ip("-6", "route", "add", f"fd7e:{x:x}::/48", "via", f"fd7e:{x:x}::2")

    @property
    def address(self) -> str:
        """Ours, as the places see us."""
        return f"10.{self.x}.0.1"

    @property
    def address6(self) -> str:
        """Ours in IPv6."""
        return f"fd7e:{self.x:x}::1"

    def place(self, name: str) -> Place:
        """A new place."""
        place = Place(self, name, len(self.places) + 1)
        self.places.append(place)
        return place

    def close(self) -> None:
        """Remove everything."""
        for namespace in (self.router, *(place.namespace for place in self.places)):
            if (RUN / namespace).exists():
                ip("netns", "del", namespace)
        if self.interface and Path("/sys/class/net", self.interface).exists():
            # With its other end in a namespace that goes, it may be gone already.
            with contextlib.suppress(RuntimeError):
                ip("link", "del", self.interface)


def _remove_left() -> None:
    """Remove what a run left that was killed."""
    for left in RUN.glob(f"{PREFIX}*") if RUN.exists() else ():
        pid = left.name.removeprefix(PREFIX).split("-")[0]
        if not Path("/proc", pid).exists():
            ip("netns", "del", left.name)


@pytest.fixture
def lines() -> Iterator[Lines]:
    """A router with nothing behind it yet."""
    why = unavailable()
    if why is not None:
        pytest.skip(why)
    with Lines() as made:
        yield made
