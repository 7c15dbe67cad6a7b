"""What one receiver gets, twice a second anew: its line is judged, its pictures are chosen.

Joins :mod:`server.sfu.estimate` and :mod:`server.sfu.allocation` to the down tracks of a
:class:`~server.sfu.subscribe_peer.SubscribePeer`. Sound is sent in any case, pictures have what is
left; what is sent again has a bound of its own, for sound and for pictures, also before a limit is
known. Not on the way of any packet.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from server.sfu.allocation import Picture, Reason, Share, allocate, enough_level
from server.sfu.allowance import Allowance
from server.sfu.downtrack import DownTrack
from server.sfu.estimate import Estimate
from server.sfu.layer import PACKET_OVERHEAD, Layer
from server.sfu.pulse import PULSE_S
from server.sfu.reception import Reception
from server.sfu.uptrack import UpTrack

TICK_PULSES = 2
TICK_S = TICK_PULSES * PULSE_S
SPREAD = 10
"""What is sent to try the line is spread over a tick in so many portions."""

REPAIR_SHARE = 0.15
"""Of what the line carries, this much at least may be pictures that are sent again."""

REPAIR_BURST_S = 0.5

FREE_REPAIR_SHARE = 0.5
FREE_REPAIR_BURST_S = 1.0
LEAST_REPAIR_BPS = 250_000
"""Of what pictures take, what may be sent again while no limit is known, and how much at once: a
line that is too narrow loses what is sent again as well, and the more the longer."""

SOUND_REPAIR_SHARE = 1.0
LEAST_SOUND_REPAIR_BPS = 32_000
"""The same for sound, limit or not: half of it may get lost."""

FRESH_NS = 2_000_000_000
"""A round trip measured longer ago says nothing of now."""

LATE_NS = 100_000_000
"""A tick so much too late: this process had no time, and packets waited for it, not for the line.
"""

LATE_COUNTS_NS = 1_500_000_000
"""For so long after that receivers still tell of it."""

SILENT_NS = 2_500_000_000
"""Whoever receives pictures reports every second. After this the line is cut, not narrow ..."""

CUT_COUNTS_NS = 3_000_000_000
"""... and when it is there again, what was lost meanwhile is told for so long."""

HOLE_SHARE = 0.01
HOLE_COUNTS_NS = 3_000_000_000
"""Where more than this part of a track did not reach us, what a receiver lacks of it may be our own
lack: they tell of it at other times than we notice it. It counts again so much later."""

Told = Mapping[str, tuple[str | None, Reason | None]]
"""By track: the layer that is received, and why it is not the best one."""

Sending = Sequence[tuple[UpTrack, DownTrack, Reception]]


class Rationing:
    """``tell`` is called with what has changed."""

    def __init__(self, tell: Callable[[Told], None]) -> None:
        self.estimate = Estimate()
        self._heights: Mapping[str, int] = {}
        """At which height each picture is shown; what is not named, as large as it comes."""
        self.sent_bps = 0
        self._tell = tell
        self._told: dict[str, tuple[str | None, Reason | None]] = {}
        self._before: dict[DownTrack, _Totals] = {}
        self._holes: dict[DownTrack, int] = {}
        """When a track last lacked packets on its way to us."""
        self._tick_ns = 0
        self._doubt_until_ns = 0
        """Until when what the receiver tells does not speak of what its line carries."""
        self._repair = Allowance(1 << 20, 1 << 20)
        self._sound_repair = Allowance(LEAST_SOUND_REPAIR_BPS / 8, LEAST_SOUND_REPAIR_BPS / 8)
        self._sound_bps = self._picture_bps = self._probed_bps = 0
        self._probe_ns = 0
        self._owed = 0.0
        """Bytes of what tries the line that were due and did not fit."""
        self._needed_bps: int | None = None
        self._beside_bps = 0

    def show(self, heights: Mapping[str, int], sending: Sending) -> None:
        """The receiver shows pictures at these heights from now on; everything is told again."""
        self._heights = heights
        self._told = {}
        self.choose(sending)

    def remb(self, bps: int, now_ns: int) -> None:
        """The receiver's own estimate has come."""
        self.estimate.remb(bps, now_ns)

    def tick(self, sending: Sending, now_ns: int, heard_ns: int) -> None:
        """Look at what was sent and received since the last time; choose anew.

        ``heard_ns`` is when the receiver last said anything.
        """
        if now_ns - self._tick_ns > TICK_S * 1e9 + LATE_NS:
            self._doubt_until_ns = now_ns + LATE_COUNTS_NS
        loss = self._measure(sending, now_ns)
        silent = 0 < heard_ns < now_ns - SILENT_NS
        if silent and self.sent_bps > 2 * self._beside_bps:
            self._doubt_until_ns = now_ns + CUT_COUNTS_NS
        # The newest: of sound alone it is told every five seconds.
        newest = max((r for _, _, r in sending), key=lambda r: r.round_trip_at_ns, default=None)
        round_trip_ms = None
        if newest is not None and now_ns - newest.round_trip_at_ns < FRESH_NS:
            round_trip_ms = newest.round_trip_ms
        if not self.estimate.probe_bps:
            # The first portion of a trial is one portion, not what a whole tick would take.
            self._probe_ns = now_ns
        for _, down, _ in sending:
            down.again.wait_for(round_trip_ms)
        self.estimate.tick(
            now_ns,
            self.sent_bps,
            self._beside_bps,
            loss,
            round_trip_ms,
            self._needed_bps,
            trusted=now_ns >= self._doubt_until_ns,
            can_probe=any(up.is_video and down.can_probe for up, down, _ in sending),
        )
        self.choose(sending)

    def choose(self, sending: Sending) -> None:
        """Give each picture its layer, by what is known of the line and of the places."""
        limit_bps, loss = self.estimate.bps, self.estimate.usual_loss
        budget_bps = None
        if limit_bps is not None:
            budget_bps = max(int((limit_bps - self._beside_bps) / (1.0 + loss)), 0)
        videos = [(up, down) for up, down, _ in sending if up.is_video]
        known = [(up, down, self._picture(up, down)) for up, down in videos]
        offered = [(up, down, picture) for up, down, picture in known if picture is not None]
        allocation = allocate(budget_bps, [picture for _, _, picture in offered])
        for (up, down, picture), share in zip(offered, allocation.shares, strict=True):
            level = _level(up, picture, share)
            up.set_level(down, level)
        self._needed_bps = None
        if allocation.next_bps is not None:
            self._needed_bps = int(allocation.next_bps * (1.0 + loss)) + self._beside_bps
        self._bound_repair(sending, allocation.bps)
        told = {
            up.track_id: _told(down, share)
            for (up, down, _), share in zip(offered, allocation.shares, strict=True)
            if down.layer is not None or share.level is None
        }
        changed = {key: value for key, value in told.items() if self._told.get(key) != value}
        gone = self._told.keys() - {up.track_id for up, _ in videos}
        self._told = {
            key: value for key, value in {**self._told, **told}.items() if key not in gone
        }
        if changed:
            self._tell(changed)

    def probe(self, sending: Sending, now_ns: int) -> None:
        """Send one portion of what tries the line, where that is due."""
        elapsed_ns, self._probe_ns = now_ns - self._probe_ns, now_ns
        more_bps = self.estimate.probe_bps - (self.sent_bps - self._probed_bps)
        # What did not fit into whole packets is sent with the next portion; a pause is not made up.
        self._owed += max(more_bps, 0) / 8 * min(elapsed_ns / 1e9, TICK_S)
        for up, down, _ in sending:
            if up.is_video and self._owed > 0:
                self._owed -= down.probe(self._owed)
        self._owed = min(self._owed, max(more_bps, 0) / 8 * TICK_S)

    def _measure(self, sending: Sending, now_ns: int) -> float:
        """Bring rates up to date; the share that was lost on the way since the last tick."""
        elapsed_ns, self._tick_ns = now_ns - self._tick_ns, now_ns
        media = {True: 0, False: 0}
        again = {True: 0, False: 0}
        probed = packets = lost = 0
        before, self._before = self._before, {}
        for up, down, reception in sending:
            now = _totals(down, reception)
            self._before[down] = now
            if down not in before:
                continue
            new = _Totals(*(a - b for a, b in zip(now, before[down], strict=True)))
            media[up.is_video] += new.octets
            again[up.is_video] += new.again
            probed += new.probed
            if new.lacked > HOLE_SHARE * new.packets:
                self._holes[down] = now_ns
            if now_ns - self._holes.get(down, -HOLE_COUNTS_NS) >= HOLE_COUNTS_NS:
                packets += new.packets
                lost += max(new.missed, new.lost, 0)
        self._holes = {down: at_ns for down, at_ns in self._holes.items() if down in self._before}
        scale = 8_000_000_000 / max(elapsed_ns, 1)
        self.sent_bps = int((sum(media.values()) + sum(again.values())) * scale)
        self._probed_bps = int(probed * scale)
        self._picture_bps = int(media[True] * scale)
        self._sound_bps = int((self._sound_bps + media[False] * scale) / 2)
        beside = media[False] + again[False]
        self._beside_bps = int((self._beside_bps + beside * scale) / 2)
        return min(lost / packets, 1.0) if packets > 0 else 0.0

    def _picture(self, up: UpTrack, down: DownTrack) -> Picture | None:
        """The layers that arrive; None while none does."""
        arriving = up.arriving()
        if not arriving:
            return None
        top_px = max((layer.height or 0 for layer in arriving), default=0)
        return Picture(
            layer_bps=[layer.bps for layer in arriving],
            layer_px=[layer.height or _guess(up, layer, top_px) for layer in arriving],
            shown_px=self._heights.get(up.track_id),
            level=arriving.index(down.layer) if down.layer in arriving else None,
        )

    def _bound_repair(self, sending: Sending, taken_bps: int) -> None:
        """How much may be sent again from now on; ``taken_bps`` is what the pictures take."""
        limit_bps, burst_s = self.estimate.bps, REPAIR_BURST_S
        if limit_bps is None:
            burst_s = FREE_REPAIR_BURST_S
            room_bps = max(self._picture_bps * FREE_REPAIR_SHARE, LEAST_REPAIR_BPS)
        else:
            room_bps = max(limit_bps - self._beside_bps - taken_bps, limit_bps * REPAIR_SHARE)
        self._repair.change(room_bps / 8 * burst_s, room_bps / 8)
        sound_bps = max(self._sound_bps * SOUND_REPAIR_SHARE, LEAST_SOUND_REPAIR_BPS)
        self._sound_repair.change(sound_bps / 8 * FREE_REPAIR_BURST_S, sound_bps / 8)
        for up, down, _ in sending:
            down.again.budget = self._repair if up.is_video else self._sound_repair


class _Totals(NamedTuple):
    """What was sent of one track since it is, and what became of it."""

    octets: int
    again: int
    probed: int
    packets: int
    missed: int
    lost: int
    lacked: int
    """Packets that did not reach us."""


def _totals(down: DownTrack, reception: Reception) -> _Totals:
    counts, again = down.counts, down.again
    overhead = 12 + PACKET_OVERHEAD
    return _Totals(
        octets=counts.octets + counts.packets * overhead,
        again=again.octets + (again.retransmitted + again.probed) * overhead,
        probed=again.probed_octets + again.probed * overhead,
        packets=counts.packets,
        missed=reception.missed - counts.missed,
        lost=reception.lost - counts.lost,
        lacked=counts.missed + counts.lost,
    )


def _level(up: UpTrack, picture: Picture, share: Share) -> int | None:
    """The layer of the track that a share of what arrives stands for."""
    if share.level is None:
        return None
    arriving = up.arriving()
    if share.level == len(arriving) - 1 and share.level == enough_level(picture):
        # Better ones that begin later are followed at once, and looked at in the next tick.
        return len(up.layers) - 1
    return up.layers.index(arriving[share.level])


def _guess(up: UpTrack, layer: Layer, top_px: int) -> int:
    """The height of a layer whose key frames have not been seen: each is half the next one's."""
    steps = len(up.layers) - 1 - up.layers.index(layer)
    return (top_px or 720) >> steps


def _told(down: DownTrack, share: Share) -> tuple[str | None, Reason | None]:
    if share.level is None or down.layer is None:
        return None, share.reason
    return down.layer.rid or "h", share.reason
