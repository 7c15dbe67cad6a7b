"""One measuring window: what the clients saw, and what the server's processes cost meanwhile."""

from __future__ import annotations

import asyncio
import time
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from bench import processes
from bench.packets import Tally
from bench.report import percentile


@dataclass(frozen=True, slots=True)
class Window:
    """Sums over one window. ``cpu_share`` and ``client_share`` are of one CPU."""

    seconds: float
    sent: int
    received: int
    lost: int
    reordered: int
    cpu_ns: int
    p50_ms: float
    p99_ms: float
    max_ms: float
    client_share: float
    recorder_ns: int = 0
    """Of ``cpu_ns``, what the recorders used."""
    busy_ns: int = 0
    """What the server's CPU was used by anybody, where that was asked for."""

    @property
    def packet_us(self) -> float:
        """µs of server CPU for each packet in or out."""
        return self.cpu_ns / 1000 / max(1, self.sent + self.received)

    @property
    def cpu_share(self) -> float:
        """Share of one CPU that the server used."""
        return self.cpu_ns / 1e9 / self.seconds

    @property
    def recorder_share(self) -> float:
        """Share of one CPU that the recorders used."""
        return self.recorder_ns / 1e9 / self.seconds

    @property
    def others_share(self) -> float:
        """Share of the server's CPU that belonged to nobody of the benchmark."""
        return max(0.0, (self.busy_ns - self.cpu_ns) / 1e9 / self.seconds)

    @property
    def client_us(self) -> float:
        """µs of the clients' CPU for each packet in or out."""
        return self.client_share * self.seconds * 1e6 / max(1, self.sent + self.received)


async def window(
    tally: Tally,
    pids: Sequence[int],
    seconds: float,
    *,
    recorders: Sequence[int] = (),
    cpu: int | None = None,
) -> Window:
    """Measure for ``seconds``: the connections of ``tally`` and the processes ``pids``.

    ``recorders`` are those of ``pids`` that are also to be known by themselves; ``cpu`` is the one
    of which the use by others is to be known.
    """
    tally.latencies_ns = array("q")
    before, cpu_ns = tally.totals(), processes.cpu_ns(pids)
    recorder_ns = processes.cpu_ns(recorders)
    busy_ns = 0 if cpu is None else processes.busy_ns(cpu)
    started_s, client_s = time.monotonic(), time.process_time()
    await asyncio.sleep(seconds)
    after, cpu_ns = tally.totals(), processes.cpu_ns(pids) - cpu_ns
    recorder_ns = processes.cpu_ns(recorders) - recorder_ns
    busy_ns = 0 if cpu is None else processes.busy_ns(cpu) - busy_ns
    elapsed_s, client_s = time.monotonic() - started_s, time.process_time() - client_s
    latencies_ns = sorted(tally.latencies_ns)
    tally.latencies_ns = None
    return Window(
        seconds=elapsed_s,
        sent=after["sent"] - before["sent"],
        received=after["received"] - before["received"],
        lost=after["lost"] - before["lost"],
        reordered=after["reordered"] - before["reordered"],
        cpu_ns=cpu_ns,
        p50_ms=percentile(latencies_ns, 0.5) / 1e6,
        p99_ms=percentile(latencies_ns, 0.99) / 1e6,
        max_ms=percentile(latencies_ns, 1.0) / 1e6,
        client_share=client_s / elapsed_s,
        recorder_ns=recorder_ns,
        busy_ns=busy_ns,
    )


@dataclass(frozen=True, slots=True)
class Figures:
    """Several windows together: medians of rates and times, sums of counts."""

    profile: str
    windows: int
    in_per_s: float
    out_per_s: float
    packet_us: float
    packet_us_least: float
    packet_us_most: float
    cpu_share: float
    p50_ms: float
    p99_ms: float
    lost: int
    reordered: int
    client_share: float
    client_us: float
    """µs of the clients' CPU for each packet."""
    memory_kib: int
    """For each participant, recorders included."""


def figures(windows: Sequence[Window], profile: str, memory_kib: int) -> Figures:
    """Bring the windows of one row together."""
    costs = [w.packet_us for w in windows]
    return Figures(
        profile=profile,
        windows=len(windows),
        in_per_s=round(median(w.sent / w.seconds for w in windows), 1),
        out_per_s=round(median(w.received / w.seconds for w in windows), 1),
        packet_us=round(median(costs), 2),
        packet_us_least=round(min(costs), 2),
        packet_us_most=round(max(costs), 2),
        cpu_share=round(median(w.cpu_share for w in windows), 4),
        p50_ms=round(median(w.p50_ms for w in windows), 3),
        p99_ms=round(median(w.p99_ms for w in windows), 3),
        lost=sum(w.lost for w in windows),
        reordered=sum(w.reordered for w in windows),
        client_share=round(median(w.client_share for w in windows), 3),
        client_us=round(median(w.client_us for w in windows), 2),
        memory_kib=memory_kib,
    )
