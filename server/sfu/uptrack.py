"""One published track: accept, remember, ask for what is missing, fan out.

Before this in a packet's path: :mod:`server.sfu.seam` and :mod:`server.sfu.publish_peer`. After it:
:mod:`server.sfu.downtrack` for each receiver and :mod:`server.sfu.tap` for the recorder.

:meth:`UpTrack.receive` is the hot path: it runs for every packet, inside the datagram callback, and
does only what each packet needs. Requests for lost packets are sent by a timer that runs while
something is missing; reports are the peer's business, once a second.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from aiortc.rtp import RtcpReceiverInfo

from server.sfu import rtp
from server.sfu.downtrack import DownTrack
from server.sfu.seam import MediaTransport

HISTORY = 1024
"""Packets kept for retransmission to receivers: about 5 s of video, 20 s of sound. A power of two.
"""

_MASK = HISTORY - 1

MAX_MISSING = 512
"""More missing at once is not repaired but skipped: a key frame is cheaper."""

NACK_DELAY_S = 0.01
"""Wait before the first request: packets that merely overtook each other need none."""

NACK_POLL_S = 0.01
NACK_INTERVAL_NS = 40_000_000
"""Between two requests for the same packet; the round trip where that is longer."""

MAX_ASKED = 256
"""Packets in one round of requests, at most 4 bytes each: it fits one datagram."""

LIVE_REPAIR_NS = 400_000_000
"""A viewer does not wait longer than this, or three round trips; a recorder does."""

ROUND_TRIPS = 16
"""How many answers the measured round trip is the shortest of."""

LATE_PACKETS = 3000
"""A number further behind than this is no late packet but a sender that began anew (RFC 3550, A.1).
"""

LOUDNESS_PACKETS = 10
"""The newest packets whose loudness counts: 200 ms of Opus."""

SILENT = 127
"""The level of silence (RFC 6464): -127 dBov."""

QUIET_AFTER_NS = 1_000_000_000
"""A track from which nothing has come for so long is silent, whatever its last packets said."""

KEY_FRAME_INTERVAL_NS = 300_000_000
"""Requests for a key frame are merged: at most one in this time goes to the sender."""

Tap = Callable[[bytes, int], None]


@dataclass(slots=True)
class SenderReport:
    """The last pair of times that the sender told: NTP (64 bit), RTP (32 bit), and when it came."""

    ntp: int
    rtp: int
    arrival_ns: int


class UpTrack:
    """A logical track of a participant, through any number of connections.

    ``bind`` attaches it to an SSRC on a transport; a reconnected publisher binds the same track
    again, and its receivers go on with continuous sequence numbers.
    """

    def __init__(
        self,
        track_id: str,
        participant_id: str,
        source: str,
        codec: str,
        clock_hz: int,
        repair_ns: int,
    ) -> None:
        """``repair_ns`` is how long a missing packet is asked for while the track is recorded."""
        self.track_id = track_id
        self.participant_id = participant_id
        self.source = source
        self.codec = codec
        self.clock_hz = clock_hz
        self.is_video = clock_hz == 90000
        self.downs: list[DownTrack] = []
        self.tap: Tap | None = None
        self.on_report: Callable[[int, int, int], None] | None = None
        self.on_bound: Callable[[], None] | None = None
        self.ssrc: int | None = None
        self.report: SenderReport | None = None
        self.packets = self.bytes = self.duplicates = self.unexpected = self.lost = 0
        self.forwarded = self.octets = 0
        """Packets, and bytes of their payloads, that went on to receivers."""
        self.missed = 0
        """Packets that had to be asked for, or were past asking: what the line lost."""
        self.last_packet_ns = 0
        self._repair_ns = repair_ns
        self._transport: MediaTransport | None = None
        self._reporter_ssrc = 0
        self._payload_type = self._bound_payload_type = -1
        self._level_extension: int | None = None
        self._highest = -1
        self._timestamp = 0
        self._before: tuple[int, int, int] | None = None
        self._base = 0
        self._received = 0
        self._reported = (0, 0)
        self._missing: dict[int, list[int]] = {}
        """By extended number: when it was noticed, first and last asked for (0: not yet)."""
        self._round_trips: deque[int] = deque(maxlen=ROUND_TRIPS)
        self._begins_anew_at = -1
        self._history: list[bytes | None] = [None] * HISTORY
        self._timer: asyncio.TimerHandle | None = None
        self._key_frame_asked_ns = 0
        self._key_frame_timer: asyncio.TimerHandle | None = None

    def bind(
        self,
        transport: MediaTransport,
        ssrc: int,
        payload_type: int,
        reporter_ssrc: int,
        level_extension: int | None = None,
    ) -> None:
        """Take packets with this SSRC and payload type; our RTCP comes from ``reporter_ssrc``.

        ``level_extension`` is the number under which the sender tells how loud each packet is.
        """
        self._transport = transport
        self.ssrc = ssrc
        self._payload_type = self._bound_payload_type = payload_type
        self._reporter_ssrc = reporter_ssrc
        self._level_extension = level_extension
        self.report = None
        self._round_trips.clear()
        self._begin_anew()
        if self.on_bound is not None:
            self.on_bound()

    def close(self) -> None:
        """Stop timers and let go of the transport."""
        self._transport = None
        for timer in (self._timer, self._key_frame_timer):
            if timer is not None:
                timer.cancel()
        self._timer = self._key_frame_timer = None

    def receive(self, packet: bytes, now_ns: int) -> None:
        """Take one plain packet of this track: the hot path."""
        first, marker, sequence, timestamp, _ = rtp.HEADER.unpack_from(packet)
        if marker & 0x7F != self._payload_type:
            self.unexpected += 1
            return
        highest = self._highest
        if highest < 0:
            self._begin(sequence, timestamp, now_ns)
        else:
            step = (sequence - highest) & 0xFFFF
            if step == 0:
                self.duplicates += 1
                return
            if step < 0x8000:
                self._highest = highest + step
                self._timestamp = timestamp
                if step > 1:
                    self._note_missing(highest + 1, highest + step, now_ns)
            else:
                times = self._missing.pop(highest - 0x10000 + step, None)
                if times is None:
                    self._take_unexpected(packet, sequence, 0x10000 - step, now_ns)
                    return
                if times[1]:
                    self._round_trips.append(now_ns - times[1])
        self._history[sequence & _MASK] = packet
        self._received += 1
        self.packets += 1
        self.bytes += len(packet)
        self.last_packet_ns = now_ns
        if self.tap is not None:
            self.tap(packet, now_ns)
        if self.downs:
            # Header extensions have the publisher's numbers and its own clock: they end here.
            body = packet[rtp.payload_start(packet) :]
            first = 0x80 | (first & 0x20)
            marker &= 0x80
            self.forwarded += 1
            self.octets += len(body)
            for down in self.downs:
                down.forward(first, marker, sequence, timestamp, body)

    def silence(self) -> None:
        """Take nothing until :meth:`listen`; what comes is counted as unexpected."""
        self._payload_type = -1

    def listen(self) -> None:
        """Take packets again."""
        self._payload_type = self._bound_payload_type

    def receive_retransmission(self, packet: bytes, now_ns: int) -> None:
        """Take one packet of the retransmission stream."""
        if self.ssrc is None or self._payload_type < 0:
            return
        original = rtp.undo_retransmission(packet, self._payload_type, self.ssrc)
        if original is not None:
            self.receive(original, now_ns)

    def receive_report(self, ntp: int, rtp_time: int, now_ns: int) -> None:
        """Take the sender's report: the pair of times that puts its tracks in step."""
        self.report = SenderReport(ntp, rtp_time, now_ns)
        if self.on_report is not None:
            self.on_report(ntp, rtp_time, now_ns)

    @property
    def round_trip_ns(self) -> int:
        """To the sender and back, as its latest retransmissions showed; 0 before the first.

        The shortest of them: the others were asked for more than once.
        """
        return min(self._round_trips, default=0)

    def history(self, sequence: int) -> bytes | None:
        """The packet with this sequence number, if it is still kept."""
        packet = self._history[sequence & _MASK]
        if packet is None or packet[2] << 8 | packet[3] != sequence:
            return None
        return packet

    def loudness(self) -> int | None:
        """How loud the track is now, in -dBov (RFC 6464): 0 is the loudest, 127 silence.

        The loudest of the newest packets, and silence where nothing comes any more. None where the
        sender does not tell. Read from the history: to be called a few times a second.
        """
        number = self._level_extension
        if number is None or self._highest < 0:
            return None
        if time.monotonic_ns() - self.last_packet_ns > QUIET_AFTER_NS:
            return SILENT
        levels = []
        for sequence in range(self._highest - LOUDNESS_PACKETS + 1, self._highest + 1):
            packet = self.history(sequence & 0xFFFF)
            level = None if packet is None else rtp.extension(packet, number)
            if level:
                levels.append(level[0] & 0x7F)
        return min(levels, default=None)

    def request_key_frame(self) -> None:
        """Ask the sender for a key frame; wishes that come close together become one request."""
        if not self.is_video or self._transport is None or self._key_frame_timer is not None:
            return
        wait_ns = self._key_frame_asked_ns + KEY_FRAME_INTERVAL_NS - time.monotonic_ns()
        if wait_ns <= 0:
            self._send_key_frame_request()
        else:
            loop = asyncio.get_running_loop()
            self._key_frame_timer = loop.call_later(wait_ns / 1e9, self._send_key_frame_request)

    def receiver_info(self) -> RtcpReceiverInfo | None:
        """This track's block of the receiver report, since the last one (RFC 3550, 6.4.1)."""
        if self._highest < 0 or self.ssrc is None:
            return None
        expected = self._highest - self._base + 1
        lost = max(expected - self._received, 0)
        expected_now, lost_now = expected - self._reported[0], lost - self._reported[1]
        self._reported = (expected, lost)
        fraction = min(max(lost_now, 0) * 256 // expected_now, 255) if expected_now > 0 else 0
        lsr = dlsr = 0
        if self.report is not None:
            lsr = (self.report.ntp >> 16) & 0xFFFFFFFF
            dlsr = (time.monotonic_ns() - self.report.arrival_ns) * 65536 // 1_000_000_000
        return RtcpReceiverInfo(
            ssrc=self.ssrc,
            fraction_lost=fraction,
            packets_lost=min(lost, 0x7FFFFF),
            highest_sequence=self._highest & 0xFFFFFFFF,
            jitter=0,
            lsr=lsr,
            dlsr=dlsr & 0xFFFFFFFF,
        )

    def _begin(self, sequence: int, timestamp: int, now_ns: int) -> None:
        """The first packet of a binding: receivers go on where the last binding ended."""
        self._highest = self._base = sequence
        self._timestamp = timestamp
        before, self._before = self._before, None
        if before is not None:
            passed = max((now_ns - before[2]) * self.clock_hz // 1_000_000_000, 1)
            for down in self.downs:
                down.rebase(sequence, timestamp, before[0], before[1] + passed)

    def _begin_anew(self) -> None:
        """What comes next has numbers of its own."""
        if self._highest >= 0:
            self._before = (self._highest, self._timestamp, self.last_packet_ns)
        self._highest = -1
        self._received = 0
        self._reported = (0, 0)
        self._missing.clear()
        self._history = [None] * HISTORY

    def _take_unexpected(self, packet: bytes, sequence: int, behind: int, now_ns: int) -> None:
        """A packet that nobody lacks: a duplicate, or given up; two in a row far off are a jump."""
        self.duplicates += 1
        if behind <= LATE_PACKETS:
            return
        if sequence != self._begins_anew_at:
            self._begins_anew_at = (sequence + 1) & 0xFFFF
            return
        self._begin_anew()
        self.request_key_frame()
        self.receive(packet, now_ns)

    def _note_missing(self, start: int, stop: int, now_ns: int) -> None:
        if stop - start + len(self._missing) > MAX_MISSING:
            start = self._skip(start, stop)
        for extended in range(start, stop):
            self._missing[extended] = [now_ns, 0, 0]
        if self._missing and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(NACK_DELAY_S, self._ask_again)

    def _skip(self, start: int, stop: int) -> int:
        """More is missing than is asked for; returns from where on it is.

        Pictures without the ones before them are of no use; of sound, each newest packet is.
        """
        kept = 0 if self.is_video else min(stop - start, MAX_MISSING)
        known = 0 if self.is_video else MAX_MISSING - kept
        for extended in list(self._missing)[: max(len(self._missing) - known, 0)]:
            self.missed += not self._missing.pop(extended)[1]
            self.lost += 1
        self.lost += stop - start - kept
        self.missed += stop - start - kept
        self.request_key_frame()
        return stop - kept

    def _patience_ns(self) -> int:
        """How long a missing packet is worth asking for."""
        if self.tap is not None:
            return self._repair_ns
        return min(max(LIVE_REPAIR_NS, 3 * self.round_trip_ns), self._repair_ns)

    def _ask_again(self) -> None:
        self._timer = None
        now_ns = time.monotonic_ns()
        give_up_ns = now_ns - self._patience_ns()
        again_ns = now_ns - max(NACK_INTERVAL_NS, self.round_trip_ns)
        ask: list[int] = []
        for extended, times in list(self._missing.items()):
            if times[0] < give_up_ns:
                del self._missing[extended]
                self.lost += 1
                self.missed += not times[1]
                self.request_key_frame()
            elif times[2] < again_ns and len(ask) < MAX_ASKED:
                times[2] = now_ns
                if not times[1]:
                    times[1] = now_ns
                    self.missed += 1
                ask.append(extended & 0xFFFF)
        if ask and self._transport is not None and self.ssrc is not None:
            self._transport.send_rtcp(
                rtp.negative_acknowledgement(self._reporter_ssrc, self.ssrc, ask)
            )
        if self._missing:
            self._timer = asyncio.get_running_loop().call_later(NACK_POLL_S, self._ask_again)

    def _send_key_frame_request(self) -> None:
        self._key_frame_timer = None
        if self._transport is None or self.ssrc is None:
            return
        self._key_frame_asked_ns = time.monotonic_ns()
        self._transport.send_rtcp(rtp.picture_loss_indication(self._reporter_ssrc, self.ssrc))
