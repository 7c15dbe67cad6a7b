"""What a receiver reads from RTP packets: gaps, reorderings, whole key frames, sums. Pure."""

from __future__ import annotations

from array import array

from aiortc.rtp import RtcpReceiverInfo


class Reception:
    """Counts one SSRC's packets by sequence number."""

    def __init__(self, ssrc: int, *, video: bool) -> None:
        self.ssrc = ssrc
        self.video = video
        self.max_seq = 0
        self.cycles = 0
        """Times that the numbers have gone around."""
        self.packets_received = 0
        self.lost = 0
        """Numbers passed over and not seen since."""
        self.reordered = 0
        self.sender_report = (0, 0)
        """The middle of the newest one's NTP time, and when it came (ns)."""
        self._reported = (0, 0)

    def take(self, sequence: int) -> None:
        """Count the packet with this number (16 bit)."""
        ahead = (sequence - self.max_seq) & 0xFFFF
        if ahead == 1 or not self.packets_received:
            self.max_seq = sequence
            if not sequence and self.packets_received:
                self.cycles += 1
        elif 0 < ahead < 0x8000:
            self.lost += ahead - 1
            self.cycles += sequence < self.max_seq
            self.max_seq = sequence
        else:
            # SRTP lets no packet pass twice: this one was late, and counted as lost.
            self.lost = max(0, self.lost - 1)
            self.reordered += 1
        self.packets_received += 1

    def report(self, now_ns: int) -> RtcpReceiverInfo:
        """The stream's block of a receiver report, since the last one (RFC 3550, 6.4.1)."""
        received, lost = self._reported
        self._reported = (self.packets_received, self.lost)
        newly_lost = self.lost - lost
        expected = self.packets_received - received + newly_lost
        lsr, came_ns = self.sender_report
        return RtcpReceiverInfo(
            ssrc=self.ssrc,
            fraction_lost=0 if newly_lost <= 0 else min(255, (newly_lost << 8) // expected),
            packets_lost=self.lost,
            highest_sequence=(self.cycles << 16 | self.max_seq) & 0xFFFFFFFF,
            jitter=0,
            lsr=lsr,
            dlsr=(now_ns - came_ns) * 65536 // 1_000_000_000 & 0xFFFFFFFF if lsr else 0,
        )


class Tally:
    """What all connections of this process have sent and received."""

    def __init__(self) -> None:
        self.sent = 0
        self.nacked = 0
        self.key_frames_wanted = 0
        self.receptions: list[Reception] = []
        self.latencies_ns: array[int] | None = None
        """Time from sending to receiving of each packet, while somebody measures."""

    def totals(self) -> dict[str, int]:
        """Counts since the beginning."""
        return {
            "sent": self.sent,
            "received": sum(r.packets_received for r in self.receptions),
            "lost": sum(r.lost for r in self.receptions),
            "reordered": sum(r.reordered for r in self.receptions),
            "nacked": self.nacked,
            "key_frames_wanted": self.key_frames_wanted,
        }


class KeyFrameWatch:
    """Says when a VP8 key frame has come whole: all packets of it, in order."""

    def __init__(self) -> None:
        self._next: int | None = None

    def take(self, packet: bytes) -> bool:
        """Whether ``packet``, of one video SSRC, completes a key frame."""
        sequence = packet[2] << 8 | packet[3]
        if starts_key_frame(packet[payload_offset(packet) :]):
            self._next = sequence
        if sequence != self._next:
            self._next = None
            return False
        if packet[1] & 0x80:
            self._next = None
            return True
        self._next = (sequence + 1) & 0xFFFF
        return False


def payload_offset(packet: bytes) -> int:
    """Where the payload of an RTP packet begins (RFC 3550, 5.1 and 5.3.1)."""
    at = 12 + 4 * (packet[0] & 0x0F)
    if packet[0] & 0x10:
        at += 4 + 4 * (packet[at + 2] << 8 | packet[at + 3])
    return at


def starts_key_frame(payload: bytes) -> bool:
    """Whether a VP8 payload is the first of a key frame (RFC 7741, 4.2 and 4.3)."""
    if not payload or payload[0] & 0x1F != 0x10:
        return False
    at = 1
    if payload[0] & 0x80:
        flags = payload[1]
        at = 2
        if flags & 0x80:
            at += 2 if payload[at] & 0x80 else 1
        at += bool(flags & 0x40) + bool(flags & 0x30)
    return at < len(payload) and payload[at] & 1 == 0
