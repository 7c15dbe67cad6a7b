"""``GET /metrics``: the server in figures, in Prometheus' text format, for the operator.

Collected when it is asked for, from what each process counts anyway
(:mod:`server.process_figures`). No label names a person, a session or a case: what is in here may
be kept and shown on a wall.
"""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from aiohttp import web
from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from rooms.errors import NotSignedIn
from rooms.phases import Phase, RecordingState
from server.access import Right, account_with
from server.keys import CONFIG, METRICS
from server.process_figures import LAG_BUCKETS_S, ProcessFigures

if TYPE_CHECKING:
    from server.media_processes import MediaProcesses

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
KINDS = ("audio", "video")
LAYERS = ("h", "m", "l", "none")

FORWARDING_HEADERS = ("Forwarded", "X-Forwarded-For", "X-Real-IP", "Via")
"""A request with one of these was passed on by a proxy, whatever address it comes from."""

_BY_KIND = {
    "lost": ("lost", "Packets from senders given up after asking for them again."),
    "missed": ("missed", "Packets from senders that had to be asked for again, or were skipped."),
    "duplicates": ("duplicate", "Packets from senders that were there already."),
    "unexpected": ("unexpected", "Packets from senders with another payload type than agreed."),
    "retransmitted": ("retransmitted", "Packets sent to a receiver again, at its request."),
    "probed": ("probe", "Packets sent to a receiver unasked, to learn what its line carries."),
}

_WHOLE = {
    "overloads": ("line_overloads", "Times that a receiver's line turned out to carry too little."),
    "unknown": ("rtp_unknown", "Packets from senders that belong to no track, or make no sense."),
    "rejected": ("datagrams_rejected", "Datagrams that SRTP refused: forged, replayed, damaged."),
    "rtcp_refused": ("rtcp_refused", "RTCP packets left unread: more than anybody honest sends."),
    "strangers": ("datagrams_strange", "Datagrams at the media port that belong to nobody."),
    "failures": ("datagrams_failed", "Datagrams on which the server itself failed."),
    "dropped": ("datagrams_dropped", "Datagrams that the kernel had no room for."),
    "unsent": ("datagrams_unsent", "Datagrams of media that the kernel did not take."),
    "unfit": ("datagrams_unfit", "Packets to receivers that were too long, or refused by SRTP."),
    "refused": ("tap_refused", "Packets that the recorders' full buffers refused: declared gaps."),
    "recorder_restarts": ("recorder_restarts", "Recorders that died and were replaced."),
}

_OF_PROCESS = {
    "lag_max_s": (
        "event_loop_lag_max_seconds",
        "The latest that the timer of 250 ms fired within the last minute.",
    ),
    "open_sockets": ("open_sockets", "Sockets of the process."),
    "cpu_s": ("process_cpu_seconds", "Time on a CPU, without recorders."),
    "resident_bytes": ("process_resident_memory_bytes", "Memory in RAM, without recorders."),
}
"""What is told of each process; the media processes come and go by these names."""


def add_routes(app: web.Application) -> None:
    """Mount ``/metrics``."""
    app.router.add_get("/metrics", _metrics)


class Metrics:
    """What there is to publish: of this process, and of the media processes that it has."""

    def __init__(self, own: ProcessFigures, processes: MediaProcesses | None) -> None:
        self._own = own
        self._processes = processes
        # Of its own: nothing that a library counts by itself is published unasked.
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)

    async def text(self) -> bytes:
        """Everything as it is now (Prometheus text format 0.0.4)."""
        figures = {"server": self._own.to_json()}
        past: Counter[tuple[str, str]] = Counter()
        if self._processes is not None:
            figures |= await self._processes.figures()
            past = self._processes.past
        deaths = 0 if self._processes is None else self._processes.deaths
        found = _Found(figures, past, deaths)
        self._registry.register(found)
        try:
            return generate_latest(self._registry)
        finally:
            self._registry.unregister(found)


class _Found(Collector):
    """The figures of all processes: sessions and media in sum, what burdens each one by itself."""

    def __init__(
        self,
        figures: Mapping[str, Mapping[str, Any]],
        past: Counter[tuple[str, str]],
        deaths: int,
    ) -> None:
        self._deaths = deaths
        self._figures = figures
        self._past = past

    def describe(self) -> list[Metric]:
        """Nothing: the registry need not look for names that are used twice."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Add up, and set side by side."""
        yield _gauge_by(
            "sessions",
            "Sessions held in memory, by phase.",
            ("phase", Phase),
            self._counted("sessions"),
        )
        yield _gauge_by(
            "recordings",
            "The same sessions, by the state of their recording.",
            ("state", RecordingState),
            self._counted("recordings"),
        )
        yield GaugeMetricFamily(
            "tingxun_participants_present", "People who are in a session.", self._sum("present")
        )
        yield GaugeMetricFamily(
            "tingxun_tap_unacknowledged_bytes",
            "Bytes kept until the recorders have them on disk.",
            self._sum("unacknowledged_bytes"),
        )
        totals = self._past.copy()
        for one in self._figures.values():
            totals.update({(name, kind): count for name, kind, count in one["totals"]})
        yield from _counters(totals)
        yield from self._layers(totals)
        yield from self._processes()

    def _counted(self, name: str) -> Counter[str]:
        counted: Counter[str] = Counter()
        for one in self._figures.values():
            counted.update(one[name])
        return counted

    def _sum(self, name: str) -> int:
        return sum(one[name] for one in self._figures.values())

    def _layers(self, totals: Counter[tuple[str, str]]) -> Iterator[Metric]:
        """Which sizes of pictures go to receivers."""
        family = GaugeMetricFamily(
            "tingxun_pictures_sent",
            "Pictures as receivers get them, by layer; none: not shown, or paused.",
            labels=["layer"],
        )
        counted = self._counted("pictures")
        for layer in LAYERS:
            family.add_metric([layer], counted[layer])
        yield family
        yield GaugeMetricFamily(
            "tingxun_lines_limited",
            "Receivers whose line is known not to carry everything.",
            self._sum("lines_limited"),
        )
        yield CounterMetricFamily(
            "tingxun_layer_switches",
            "Changes of the layer that a receiver gets of a picture.",
            totals["switches", "video"],
        )

    def _processes(self) -> Iterator[Metric]:
        yield GaugeMetricFamily(
            "tingxun_media_processes", "Media processes that answer.", len(self._figures) - 1
        )
        yield CounterMetricFamily(
            "tingxun_media_process_deaths",
            "Media processes that died, or were ended because they did not answer.",
            self._deaths,
        )
        lag = HistogramMetricFamily(
            "tingxun_event_loop_lag_seconds",
            "How late a timer of 250 ms fires, in each process.",
            labels=["process"],
        )
        for process, one in self._figures.items():
            late = one["process"]["lag"]
            bounds = [*map(str, LAG_BUCKETS_S), "+Inf"]
            lag.add_metric([process], list(zip(bounds, late["buckets"], strict=True)), late["sum"])
        yield lag
        for name, (public, text) in _OF_PROCESS.items():
            family: Metric
            if name == "cpu_s":
                family = CounterMetricFamily(f"tingxun_{public}", text, labels=["process"])
            else:
                family = GaugeMetricFamily(f"tingxun_{public}", text, labels=["process"])
            for process, one in self._figures.items():
                family.add_metric([process], one["process"][name])
            yield family


def _gauge_by(
    name: str,
    text: str,
    label: tuple[str, type[Phase] | type[RecordingState]],
    counted: Mapping[str, int],
) -> Metric:
    key, values = label
    family = GaugeMetricFamily(f"tingxun_{name}", text, labels=[key])
    for value in values:
        family.add_metric([str(value)], counted.get(str(value), 0))
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


async def _metrics(request: web.Request) -> web.Response:
    if not _from_this_machine(request):
        if "Authorization" not in request.headers:
            raise NotSignedIn("/metrics wants an administrator's bearer token")
        await account_with(request, Right.SEE_METRICS)
    text = await request.app[METRICS].text()
    return web.Response(body=text, headers={"Content-Type": CONTENT_TYPE})


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
