"""One incoming stream of a track: accept, remember, ask for what is missing, fan out.

Before this in a packet's path: :mod:`server.sfu.seam` and :mod:`server.sfu.publish_peer`. After it:
:mod:`server.sfu.downtrack` for each receiver, :mod:`server.sfu.feed` and :mod:`server.sfu.tap` for
the recorder. Sound and single pictures have one; a camera in simulcast has one for each size.

:meth:`Layer.receive` is the hot path: it runs for every packet, inside the datagram callback, and
does only what each packet needs. While somebody waits to go from one layer to another, or a key
frame is awaited, :mod:`server.sfu.crossing` looks at packets more closely; reports are the peer's
business, twice a second.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from aiortc.rtp import RtcpReceiverInfo

from server.sfu import rtp
from server.sfu.arrival import Arrival
from server.sfu.crossing import Crossings, Newest
from server.sfu.repair import LIVE_REPAIR_NS, Repair
from server.sfu.seam import MediaTransport

if TYPE_CHECKING:
    from server.sfu.downtrack import DownTrack

HISTORY = 1024
"""Packets kept for retransmission to receivers: about 5 s of video, 20 s of sound. A power of two.
"""

_MASK = HISTORY - 1
_SAMPLED = 15
"""Every sixteenth packet tells how evenly the stream arrives."""

LATE_PACKETS = 3000
"""A number further behind than this is no late packet but a sender that began anew (RFC 3550, A.1).
"""

KEY_FRAME_INTERVAL_NS = 300_000_000
"""Requests for a key frame are merged: at most one in this time goes to the sender."""

PACKET_OVERHEAD = 36
"""Bytes of IP, UDP and SRTP around each packet."""

Tap = Callable[[bytes, int], None]


class SenderReport(NamedTuple):
    """The last pair of times that the sender told: NTP (64 bit), RTP (32 bit), and when it came."""

    ntp: int
    rtp: int
    arrival_ns: int


class Layer:
    """One stream of a track, through any number of connections.

    ``bind`` attaches it to an SSRC on a transport; a reconnected publisher binds it again, and its
    receivers go on with continuous sequence numbers. ``rid`` is None where there is only one.
    """

    def __init__(self, codec: str, clock_hz: int, repair_ns: int, rid: str | None = None) -> None:
        self.rid = rid
        self.codec = codec
        self.clock_hz = clock_hz
        self.is_video = clock_hz == 90000
        self.downs: list[DownTrack] = []
        self.tap: Tap | None = None
        self.crossings = Crossings(self)
        """Who comes over to this layer or leaves it."""
        self.ssrc: int | None = None
        self.level_extension: int | None = None
        self.report: SenderReport | None = None
        self.binding = 0
        self.attentive = self.is_video
        """Whether packets are looked at more closely, for key frames and the ends of pictures."""
        self.bps = 0
        """What came of late, as :meth:`measure` found it."""
        self._measured = (0, 0, 0)
        self.packets = self.bytes = self.duplicates = self.unexpected = 0
        self.forwarded = self.octets = 0
        """Packets, and bytes of their payloads, that went on to receivers."""
        self.last_packet_ns = 0
        self.repair = Repair(repair_ns, self.is_video, self._ask, self.request_key_frame)
        self.arrival = Arrival(clock_hz)
        self._transport: MediaTransport | None = None
        self._reporter_ssrc = 0
        self._payload_type = self._bound_payload_type = -1
        self.highest = -1
        """The extended number of the newest packet of this binding; -1 before the first."""
        self._timestamp = 0
        self._before: Newest | None = None
        self._base = 0
        self._packets_before = 0
        self._reported = (0, 0)
        self._missing = self.repair.missing
        self._begins_anew_at = -1
        self._history: list[bytes | None] = [None] * HISTORY
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
        self.unbind()
        self._transport = transport
        self.ssrc = ssrc
        self._payload_type = self._bound_payload_type = payload_type
        self._reporter_ssrc = reporter_ssrc
        self.level_extension = level_extension

    def unbind(self) -> None:
        """Take nothing until it is bound again: the connection that it came on is no more."""
        self._transport = None
        self.ssrc = self.report = None
        self._payload_type = self._bound_payload_type = -1
        self.repair.forget_line()
        self.arrival = Arrival(self.clock_hz)
        self._begin_anew()

    def close(self) -> None:
        """Stop timers and let go of the transport."""
        self._transport = None
        self.repair.stop()
        if self._key_frame_timer is not None:
            self._key_frame_timer.cancel()
            self._key_frame_timer = None

    def receive(self, packet: bytes, now_ns: int) -> None:
        """Take one plain packet of this stream: the hot path."""
        first, marker, sequence, timestamp, _ = rtp.HEADER.unpack_from(packet)
        if marker & 0x7F != self._payload_type:
            self.unexpected += 1
            return
        highest = self.highest
        if highest < 0:
            self._begin(packet, sequence, timestamp, now_ns)
        else:
            step = (sequence - highest) & 0xFFFF
            if step != 1:
                if step == 0 or step >= 0x8000:
                    self._receive_late(packet, highest - (0x10000 - step & 0xFFFF), now_ns)
                    return
                self.repair.note(highest + 1, highest + step, now_ns)
                if now_ns - self.last_packet_ns > LIVE_REPAIR_NS:
                    self.request_key_frame()
            self.highest = highest + step
            self._timestamp = timestamp
            if not sequence & _SAMPLED:
                self.arrival.sample(timestamp, now_ns)
        self._history[sequence & _MASK] = packet
        self.packets += 1
        self.bytes += len(packet)
        self.last_packet_ns = now_ns
        if self.attentive:
            self.attentive = self.crossings.attend(packet, self.highest, now_ns)
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

    @property
    def newest(self) -> Newest | None:
        """The newest packet, of this binding or else of the one before; None before the first."""
        packet = None if self.highest < 0 else self.history(self.highest & 0xFFFF)
        if packet is None:
            return self._before
        return Newest(
            self.highest,
            self._timestamp,
            self.last_packet_ns,
            packet,
            whole=packet[1] > 127,
        )

    @property
    def height(self) -> int | None:
        """Of the newest key frame that was looked at, in pixels."""
        return self.crossings.height

    @property
    def begun(self) -> bool:
        """Whether anything has come in the present binding."""
        return self.highest >= 0

    def history(self, sequence: int) -> bytes | None:
        """The packet with this sequence number, if it is still kept."""
        packet = self._history[sequence & _MASK]
        if packet is None or packet[2] << 8 | packet[3] != sequence:
            return None
        return packet

    def extended(self, sequence: int) -> int:
        """The number that goes on counting, of one that is not newer than the newest."""
        return self.highest - ((self.highest - sequence) & 0xFFFF)

    def measure(self, now_ns: int) -> None:
        """Bring :attr:`bps` up to date; to be called about twice a second.

        A layer that does not come any more keeps what it had: that is what it takes when it comes.
        """
        then_ns, packets, octets = self._measured
        self._measured = (now_ns, self.packets, self.bytes)
        if then_ns and self.packets > packets:
            octets = self.bytes - octets + PACKET_OVERHEAD * (self.packets - packets)
            bps = octets * 8_000_000_000 // max(now_ns - then_ns, 1)
            self.bps = (2 * self.bps + bps) // 3 if self.bps else bps

    def request_key_frame(self) -> None:
        """Ask the sender for a key frame; wishes that come close together become one request."""
        if not self.is_video or self._transport is None:
            return
        self.attentive = self.crossings.key_frame_awaited = True
        if self._key_frame_timer is not None:
            return
        wait_ns = self._key_frame_asked_ns + KEY_FRAME_INTERVAL_NS - time.monotonic_ns()
        if wait_ns <= 0:
            self._send_key_frame_request()
        else:
            loop = asyncio.get_running_loop()
            self._key_frame_timer = loop.call_later(wait_ns / 1e9, self._send_key_frame_request)

    def receiver_info(self) -> RtcpReceiverInfo | None:
        """This stream's block of the receiver report, since the last one (RFC 3550, 6.4.1)."""
        if self.highest < 0 or self.ssrc is None:
            return None
        expected = self.highest - self._base + 1
        lost = max(expected - (self.packets - self._packets_before), 0)
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
            highest_sequence=self.highest & 0xFFFFFFFF,
            jitter=self.arrival.jitter & 0xFFFFFFFF,
            lsr=lsr,
            dlsr=dlsr & 0xFFFFFFFF,
        )

    def _begin(self, packet: bytes, sequence: int, timestamp: int, now_ns: int) -> None:
        """The first packet of a binding: receivers go on where the last binding ended."""
        self.highest = self._base = sequence
        self._timestamp = timestamp
        self._packets_before = self.packets
        before, self._before = self._before, None
        for down in self.downs:
            down.rebase(packet, sequence, before, now_ns)

    def _begin_anew(self) -> None:
        """What comes next has numbers of its own."""
        self._before = self.newest
        self.binding += 1
        self.highest = -1
        self._reported = (0, 0)
        self.repair.forget()
        self._history = [None] * HISTORY
        self.crossings.begin_anew()
        self.attentive = self.is_video

    def _receive_late(self, packet: bytes, extended: int, now_ns: int) -> None:
        """A packet that is not newer than all before it: lacked until now, or one too many."""
        times = self._missing.pop(extended, None)
        if times is None:
            self._take_unexpected(packet, extended, now_ns)
            return
        self.repair.answered(times, now_ns)
        first, marker, sequence, timestamp, _ = rtp.HEADER.unpack_from(packet)
        self._history[sequence & _MASK] = packet
        self.packets += 1
        self.bytes += len(packet)
        self.last_packet_ns = now_ns
        if self.attentive:
            self.attentive = self.crossings.attend(packet, extended, now_ns)
        if self.tap is not None:
            self.tap(packet, now_ns)
        if self.downs:
            body = packet[rtp.payload_start(packet) :]
            self.forwarded += 1
            self.octets += len(body)
            for down in self.downs:
                if extended >= down.first:
                    down.forward(0x80 | (first & 0x20), marker & 0x80, sequence, timestamp, body)
                else:
                    down.pass_over(len(body))

    def _take_unexpected(self, packet: bytes, extended: int, now_ns: int) -> None:
        """A packet that nobody lacks: a duplicate, or given up; two in a row far off are a jump."""
        self.duplicates += 1
        if self.highest - extended <= LATE_PACKETS:
            return
        sequence = extended & 0xFFFF
        if sequence != self._begins_anew_at:
            self._begins_anew_at = (sequence + 1) & 0xFFFF
            return
        self._begin_anew()
        self.request_key_frame()
        self.receive(packet, now_ns)

    def _ask(self, lost: list[int]) -> None:
        if self._transport is not None and self.ssrc is not None:
            self._transport.send_rtcp(
                rtp.negative_acknowledgement(self._reporter_ssrc, self.ssrc, lost)
            )

    def _send_key_frame_request(self) -> None:
        self._key_frame_timer = None
        if self._transport is None or self.ssrc is None:
            return
        self._key_frame_asked_ns = time.monotonic_ns()
        self._transport.send_rtcp(rtp.picture_loss_indication(self._reporter_ssrc, self.ssrc))
