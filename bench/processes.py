"""Processes as the kernel accounts for them: CPU time, memory, descriptors, and which CPU."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class Cpus:
    """One CPU for the server under test and what it starts, another for everything else."""

    server: int
    client: int

    @property
    def shared(self) -> bool:
        """There is only one CPU: figures are of little worth."""
        return self.server == self.client

    def take_client(self) -> None:
        """Keep this process, and the threads that it starts from now on, on the client's CPU."""
        os.sched_setaffinity(0, {self.client})

    @contextlib.contextmanager
    def for_server(self) -> Iterator[None]:
        """Children started within inherit the server's CPU."""
        os.sched_setaffinity(0, {self.server})
        try:
            yield
        finally:
            self.take_client()


def choose_cpus() -> Cpus:
    """The first two CPUs that this process may use."""
    allowed = sorted(os.sched_getaffinity(0))
    return Cpus(allowed[0], allowed[min(1, len(allowed) - 1)])


def load_average() -> float:
    """Processes that wanted to run during the last minute, on average."""
    return os.getloadavg()[0]


def descendants(pid: int) -> list[int]:
    """Ids of the processes that ``pid`` has started, and of those that they have."""
    children: dict[int, list[int]] = {}
    for entry in _PROC.glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, ValueError):
            # The name before the last parenthesis may contain anything.
            fields = entry.read_text(errors="replace").rpartition(")")[2].split()
            children.setdefault(int(fields[1]), []).append(int(entry.parent.name))
    found = sorted(children.get(pid, []))
    for one in found:
        found += sorted(children.get(one, []))
    return found


def arguments(pid: int) -> list[str]:
    """The command line of a process; empty when it is gone."""
    try:
        return (_PROC / str(pid) / "cmdline").read_text(errors="replace").split("\0")
    except OSError:
        return []


def end(pids: Iterable[int]) -> None:
    """End these processes at once."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def cpu_ns(pids: Iterable[int]) -> int:
    """Nanoseconds on a CPU of all threads of these processes, from schedstat."""
    total = 0
    for pid in pids:
        for entry in (_PROC / str(pid) / "task").glob("*/schedstat"):
            with contextlib.suppress(OSError):
                total += int(entry.read_text().split()[0])
    return total


def busy_ns(cpu: int) -> int:
    """Nanoseconds in which this CPU was not idle, whoever used it, to a hundredth of a second."""
    for line in (_PROC / "stat").read_text().splitlines():
        name, *ticks = line.split()
        if name == f"cpu{cpu}":
            # Without idle and waiting for disks; what guests use is counted as ours already.
            busy = sum(int(ticks[at]) for at in (0, 1, 2, 5, 6, 7))
            return busy * 1_000_000_000 // os.sysconf("SC_CLK_TCK")
    return 0


def memory_kib(pids: Iterable[int]) -> int:
    """Resident memory of these processes; pages that they share count in each."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            for line in (_PROC / str(pid) / "status").read_text().splitlines():
                if line.startswith("VmRSS:"):
                    total += int(line.split()[1])
    return total


def descriptors(pids: Iterable[int]) -> int:
    """Open file descriptors of these processes."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            total += sum(1 for _ in (_PROC / str(pid) / "fd").iterdir())
    return total
