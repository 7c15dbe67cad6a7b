"""``GET /metrics``: the server in figures, in Prometheus' text format, for the operator.

Collected when it is asked for, from counters that exist anyway (:mod:`server.totals`); only the
lateness of the event loop is measured in between (:mod:`server.loop_lag`). No label names a person,
a session or a case: what is in here may be kept and shown on a wall.
"""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from aiohttp import web
from prometheus_client import CollectorRegistry, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from rooms.errors import NotSignedIn
from rooms.phases import Phase, RecordingState
from server.access import Right, account_with
from server.conductors import Conductors
from server.keys import CONFIG, METRICS
from server.loop_lag import LoopLag

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
KINDS = ("audio", "video")

LAG_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)

FORWARDING_HEADERS = ("Forwarded", "X-Forwarded-For", "X-Real-IP", "Via")
"""A request with one of these was passed on by a proxy, whatever address it comes from."""

_BY_KIND = {
    "lost": ("lost", "Packets from senders given up after asking for them again."),
    "missed": ("missed", "Packets from senders that had to be asked for again, or were skipped."),
    "duplicates": ("duplicate", "Packets from senders that were there already."),
    "unexpected": ("unexpected", "Packets from senders with another payload type than agreed."),
    "retransmitted": ("retransmitted", "Packets sent to a receiver again, at its request."),
}

_WHOLE = {
    "unknown": ("rtp_unknown", "Packets from senders that belong to no track."),
    "rejected": ("datagrams_rejected", "Datagrams that SRTP refused: forged, replayed, damaged."),
    "refused": ("tap_refused", "Packets that the recorders' full buffers refused: declared gaps."),
    "recorder_restarts": ("recorder_restarts", "Recorders that died and were replaced."),
}


def add_routes(app: web.Application) -> None:
    """Mount ``/metrics``."""
    app.router.add_get("/metrics", _metrics)


class Metrics:
    """What there is to collect; runs from the server's start to :meth:`stop`."""

    def __init__(self, conductors: Conductors) -> None:
        # Of its own: nothing that a library counts by itself is published unasked.
        self._registry = CollectorRegistry()
        lag = Histogram(
            "tingxun_event_loop_lag_seconds",
            "How late a timer of 250 ms fires.",
            buckets=LAG_BUCKETS_S,
            registry=self._registry,
        )
        self._lag = LoopLag(lag.observe)
        ProcessCollector(registry=self._registry)
        self._registry.register(_Sessions(conductors))
        self._registry.register(_Process(self._lag))

    def text(self) -> bytes:
        """Everything as it is now (Prometheus text format 0.0.4)."""
        return generate_latest(self._registry)

    def stop(self) -> None:
        """Measure no more."""
        self._lag.stop()


class _Sessions(Collector):
    """Sessions, their media and their recordings."""

    def __init__(self, conductors: Conductors) -> None:
        self._conductors = conductors

    def describe(self) -> list[Metric]:
        """Nothing: the registry need not look for names that are used twice."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Look at every session that is held."""
        held = self._conductors.held()
        yield _gauge_by(
            "sessions",
            "Sessions held in memory, by phase.",
            ("phase", Phase),
            Counter(conductor.room.phase for conductor in held),
        )
        yield _gauge_by(
            "recordings",
            "The same sessions, by the state of their recording.",
            ("state", RecordingState),
            Counter(conductor.room.recording.state for conductor in held),
        )
        yield GaugeMetricFamily(
            "tingxun_participants_present",
            "People who are in a session.",
            sum(len(conductor.room.present) for conductor in held),
        )
        yield GaugeMetricFamily(
            "tingxun_tap_unacknowledged_bytes",
            "Bytes kept until the recorders have them on disk.",
            sum(conductor.unacknowledged_bytes for conductor in held),
        )
        yield from _counters(self._conductors.totals())


class _Process(Collector):
    """The server's process, as far as the library does not know it."""

    def __init__(self, lag: LoopLag) -> None:
        self._lag = lag

    def describe(self) -> list[Metric]:
        """Nothing: the registry need not look for names that are used twice."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Look at the process."""
        yield GaugeMetricFamily(
            "tingxun_event_loop_lag_max_seconds",
            "The latest that the timer of 250 ms fired within the last minute.",
            self._lag.max_s,
        )
        yield GaugeMetricFamily(
            "tingxun_open_sockets", "Sockets of the server's process.", _open_sockets()
        )


def _gauge_by(
    name: str,
    text: str,
    label: tuple[str, type[Phase] | type[RecordingState]],
    counted: Counter[Phase] | Counter[RecordingState],
) -> Metric:
    key, values = label
    family = GaugeMetricFamily(f"tingxun_{name}", text, labels=[key])
    found = {str(value): count for value, count in counted.items()}
    for value in values:
        family.add_metric([str(value)], found.get(str(value), 0))
    return family


def _counters(totals: Counter[tuple[str, str]]) -> Iterator[Metric]:
    for name, text in (
        ("packets", "RTP packets."),
        ("bytes", "Bytes of these packets, before encryption."),
    ):
        family = CounterMetricFamily(f"tingxun_rtp_{name}", text, labels=["direction", "kind"])
        for direction in ("in", "out"):
            for kind in KINDS:
                family.add_metric([direction, kind], totals[f"{name}_{direction}", kind])
        yield family
    for name, (public, text) in _BY_KIND.items():
        family = CounterMetricFamily(f"tingxun_rtp_{public}_packets", text, labels=["kind"])
        for kind in KINDS:
            family.add_metric([kind], totals[name, kind])
        yield family
    for name, (public, text) in _WHOLE.items():
        yield CounterMetricFamily(f"tingxun_{public}", text, totals[name, ""])


def _open_sockets() -> int:
    """How many of the process's file descriptors are sockets; 0 where there is no /proc."""
    found = 0
    try:
        descriptors = list(Path("/proc/self/fd").iterdir())
    except OSError:
        return 0
    for descriptor in descriptors:
        try:
            found += str(descriptor.readlink()).startswith("socket:")
        except OSError:
            # Closed since it was listed, as the listing's own always is.
            continue
    return found


async def _metrics(request: web.Request) -> web.Response:
    if not _from_this_machine(request):
        if "Authorization" not in request.headers:
            raise NotSignedIn("/metrics wants an administrator's bearer token")
        await account_with(request, Right.SEE_METRICS)
    return web.Response(body=request.app[METRICS].text(), headers={"Content-Type": CONTENT_TYPE})


def _from_this_machine(request: web.Request) -> bool:
    """Whether a program on this machine asks, and not a proxy on it for somebody else."""
    config = request.app[CONFIG].server
    if config.public_origin is not None and not config.metrics_behind_proxy:
        return False
    if any(header in request.headers for header in FORWARDING_HEADERS):
        return False
    try:
        address = ipaddress.ip_address((request.remote or "").partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return address.is_loopback or bool(mapped and mapped.is_loopback)
