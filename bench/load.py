"""The load client: media as a browser sends and receives it, at a few microseconds a packet.

A publisher repeats :mod:`bench.media` in real time, jumps to the next key frame when it is asked
for one, answers NACK with RTX, and writes the time of sending into the last bytes of each payload
(:mod:`bench.sending`). A subscriber decrypts, counts gaps and reorderings and reads those times.
Both report once a second.

ICE, DTLS and SRTP are the server's own (:mod:`server.sfu.seam`), with a port for each connection:
servers tell peers apart by their addresses. All addresses are 127.0.0.1.

Next: :mod:`bench.sessions` and :mod:`bench.videoroom`, which connect it to the two servers.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import random
import struct
import time
from collections.abc import Callable, Sequence
from functools import cache

from aiortc import RTCCertificate, rtcdtlstransport
from aiortc.rtp import (
    RTCP_PSFB_FIR,
    RTCP_PSFB_PLI,
    RTCP_RTPFB_NACK,
    RtcpPacket,
    RtcpPsfbPacket,
    RtcpRtpfbPacket,
    RtcpSrPacket,
)

from bench.media import FPS, STAMP_BYTES, Media
from bench.packets import Reception, Tally
from bench.sending import Numbers, Stream
from server.sfu import describe, rtp, sdp
from server.sfu.binding import Binding
from server.sfu.port import MediaPorts
from server.sfu.seam import MediaTransport

PROFILES = {"gcm": b"SRTP_AEAD_AES_128_GCM", "cm": b"SRTP_AES128_CM_SHA1_80"}
CONNECTED_WITHIN_S = 20.0
REPORT_EVERY_S = 1.0
VIDEO_SOURCES = frozenset({"camera", "wide_camera", "evidence_display", "document_camera"})

_EXTENSIONS = {"video": {sdp.MID_URI: 1}, "audio": {sdp.MID_URI: 1, sdp.AUDIO_LEVEL_URI: 2}}
_MAX_BLOCKS = 31
"""Streams in one receiver report (RFC 3550, 6.4.2: five bits)."""

_STAMP = struct.Struct("!Q")
_SHORTEST_STAMPED = 12 + STAMP_BYTES

_now_ns = time.perf_counter_ns


def prepare(profile: str) -> None:
    """Let this process's connections use one SRTP profile. Call it once, first."""
    # The load is not to pause for its own garbage: its latency is taken for the server's.
    gc.set_threshold(100_000, 50, 1000)
    known = rtcdtlstransport.SRTP_PROFILES
    known[:] = [entry for entry in known if entry.openssl_profile == PROFILES[profile]]
    assert known, f"this libsrtp has no {profile}"


@cache
def _certificate() -> RTCCertificate:
    return RTCCertificate.generateCertificate()


class _Line:
    """A connection with a port of its own; ``on_report`` is called once a second."""

    def __init__(self, on_report: Callable[[], None], *, controlling: bool) -> None:
        self.ports = MediaPorts(Binding())
        self.transport = MediaTransport(_certificate(), self.ports, controlling=controlling)
        self.transport.on_connected = self._on_connected
        self.transport.on_closed = self._on_closed
        self._on_report = on_report
        self._changed = asyncio.Event()
        self._ended = False
        self._timer: asyncio.TimerHandle | None = None

    async def local(self) -> describe.LocalTransport:
        """Our half of a description."""
        candidates = await self.transport.gather()
        return describe.LocalTransport(
            self.transport.ice_parameters, tuple(self.transport.fingerprints), tuple(candidates)
        )

    def begin(self, remote: sdp.RemoteDescription) -> None:
        """Connect to the other side in the background."""
        for candidate in remote.candidates:
            self.transport.add_remote_candidate(candidate)
        role = "server" if remote.setup == "active" else "client"
        self.transport.start(remote.ice, remote.fingerprints, dtls_role=role)

    async def connected(self) -> None:
        """Wait until packets can go both ways; :class:`ConnectionError` where they never will."""
        async with asyncio.timeout(CONNECTED_WITHIN_S):
            await self._changed.wait()
        if self._ended:
            raise ConnectionError("the media connection has failed")

    async def close(self) -> None:
        """End it, and close its port."""
        if self._timer is not None:
            self._timer.cancel()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(5.0):
                await self.transport.close()
        self.ports.close()

    def _on_connected(self) -> None:
        self._changed.set()
        self._later()

    def _on_closed(self) -> None:
        self._ended = True
        self._changed.set()
        if self._timer is not None:
            self._timer.cancel()

    def _later(self) -> None:
        # Spread, so that a hundred connections do not report in the same moment.
        delay_s = REPORT_EVERY_S * random.uniform(0.5, 1.5)
        self._timer = asyncio.get_running_loop().call_later(delay_s, self._report)

    def _report(self) -> None:
        self._on_report()
        self._later()


class Publisher:
    """A sending connection. ``rates`` are pictures a second by source, where not 30."""

    def __init__(
        self, media: Media, tally: Tally, sources: Sequence[str], *, stamped: bool = True
    ) -> None:
        self._media = media
        self._tally = tally
        self._stamped = stamped
        self._line = _Line(self._report, controlling=True)
        self._line.transport.on_rtcp = self._on_rtcp
        self._sections = {
            source: _section(str(number), source, media.codec)
            for number, source in enumerate(sources)
        }
        self._streams: dict[str, Stream] = {}
        self._by_ssrc: dict[int, Stream] = {}

    async def offer(self) -> str:
        """The description to publish with."""
        local = await self._line.local()
        text = describe.offer(local, list(self._sections.values()), version=1)
        for section in self._sections.values():
            lines = "".join(
                f"a=extmap:{number} {uri}\r\n"
                for uri, number in _EXTENSIONS[sdp.codec_kind(section.codec)].items()
            )
            told = f"a=mid:{section.mid}\r\n"
            text = text.replace(told, told + lines)
        return text

    @property
    def mids(self) -> dict[str, str]:
        """Media section by source."""
        return {source: section.mid for source, section in self._sections.items()}

    async def answered(
        self, text: str, rng: random.Random, rates: dict[str, float] | None = None
    ) -> None:
        """Connect and begin to send."""
        remote = sdp.parse(text)
        self._line.begin(remote)
        await self._line.connected()
        post = self._line.ports.open()[0].post
        answers = {media.mid: media for media in remote.media}
        for source, section in self._sections.items():
            numbers = _agreed(section, answers[section.mid])
            video = sdp.codec_kind(section.codec) == "video"
            frames = self._media.video if video else self._media.audio
            stream = self._streams[source] = Stream(
                self._line.transport, post, numbers, frames, self._tally, stamped=self._stamped
            )
            self._by_ssrc[stream.ssrc] = stream
            fps = (rates or {}).get(source, FPS)
            stream.begin(rng.randrange(1000), fps, rng.random())

    def tell_level(self, level: int) -> None:
        """Say from now on that the microphone is so loud, in -dBov."""
        self._streams["microphone"].tell_level(level)

    async def close(self) -> None:
        """Stop sending and end the connection."""
        for stream in self._streams.values():
            stream.end()
        await self._line.close()

    def _report(self) -> None:
        for stream in self._streams.values():
            if report := stream.report():
                self._line.transport.send_rtcp(report)

    def _on_rtcp(self, packet: bytes) -> None:
        for part in RtcpPacket.parse(packet):
            if isinstance(part, RtcpRtpfbPacket) and part.fmt == RTCP_RTPFB_NACK:
                stream = self._by_ssrc.get(part.media_ssrc)
                if stream is not None:
                    for sequence in part.lost:
                        stream.retransmit(sequence)
            elif isinstance(part, RtcpPsfbPacket) and part.fmt == RTCP_PSFB_PLI:
                self._key_frame(part.media_ssrc)
            elif isinstance(part, RtcpPsfbPacket) and part.fmt == RTCP_PSFB_FIR:
                for at in range(0, len(part.fci), 8):
                    self._key_frame(int.from_bytes(part.fci[at : at + 4]))

    def _key_frame(self, ssrc: int) -> None:
        stream = self._by_ssrc.get(ssrc)
        if stream is not None:
            stream.key_frame_wanted()


class Receiving:
    """Counts the streams of one connection; ``on_packet`` gets each plain packet beside that.

    ``payload_types`` says by payload type whether it is video; packets of no other are counted.
    """

    def __init__(
        self, tally: Tally, on_packet: Callable[[Reception, bytes], None] | None = None
    ) -> None:
        self.payload_types: dict[int, bool] = {}
        self.receptions: dict[int, Reception] = {}
        self._tally = tally
        self._on_packet = on_packet

    def take(self, packet: bytes) -> None:
        """A packet has come."""
        ssrc: int = rtp.SSRC_AT_8.unpack_from(packet)[0]
        reception = self.receptions.get(ssrc)
        if reception is None:
            video = self.payload_types.get(packet[1] & 0x7F)
            if video is None:
                return
            reception = self.receptions[ssrc] = Reception(ssrc, video=video)
            self._tally.receptions.append(reception)
        reception.take(packet[2] << 8 | packet[3])
        latencies_ns = self._tally.latencies_ns
        if latencies_ns is not None and len(packet) > _SHORTEST_STAMPED:
            sent_ns: int = _STAMP.unpack_from(packet, len(packet) - STAMP_BYTES)[0]
            latencies_ns.append(_now_ns() - sent_ns)
        if self._on_packet is not None:
            self._on_packet(reception, packet)


class Subscriber:
    """A receiving connection; ``on_packet`` gets each plain RTP packet beside the counting."""

    def __init__(
        self, tally: Tally, on_packet: Callable[[Reception, bytes], None] | None = None
    ) -> None:
        self._line = _Line(self._report, controlling=False)
        self._receiving = Receiving(tally, on_packet)
        self._line.transport.on_rtp = self._receiving.take
        self._line.transport.on_rtcp = self._on_rtcp
        self._local: describe.LocalTransport | None = None
        self._ssrc = rtp.random_ssrc()
        self._version = 0

    async def answer(self, offer: str) -> str:
        """Take the server's description; return ours."""
        remote = sdp.parse(offer)
        for media in remote.media:
            for codec in media.codecs:
                self._receiving.payload_types[codec.payload_type] = media.kind == "video"
        first = self._local is None
        if self._local is None:
            self._local = await self._line.local()
        self._version += 1
        text = describe.answer(
            remote,
            self._local,
            lambda media: media.codecs[0] if media.codecs else None,
            setup="active",
            version=self._version,
        )
        if first:
            self._line.begin(remote)
        return text

    async def connected(self) -> None:
        """Wait until media can come."""
        await self._line.connected()

    async def close(self) -> None:
        """End the connection."""
        await self._line.close()

    def _report(self) -> None:
        now_ns = _now_ns()
        blocks = [reception.report(now_ns) for reception in self._receiving.receptions.values()]
        for at in range(0, len(blocks), _MAX_BLOCKS):
            report = rtp.receiver_report(self._ssrc, blocks[at : at + _MAX_BLOCKS])
            self._line.transport.send_rtcp(report)

    def _on_rtcp(self, packet: bytes) -> None:
        for part in RtcpPacket.parse(packet):
            if isinstance(part, RtcpSrPacket):
                reception = self._receiving.receptions.get(part.ssrc)
                if reception is not None:
                    middle = part.sender_info.ntp_timestamp >> 16 & 0xFFFFFFFF
                    reception.sender_report = (middle, _now_ns())


def _section(mid: str, source: str, video_codec: str) -> describe.SendingMedia:
    video = source in VIDEO_SOURCES
    codec = video_codec if video else "opus"
    rtx_ssrc = rtp.random_ssrc() if video else None
    return describe.SendingMedia(mid, codec, rtp.random_ssrc(), source, "bench", rtx_ssrc)


def _agreed(section: describe.SendingMedia, answer: sdp.OfferedMedia) -> Numbers:
    """What an answer makes of what we offered; :class:`CodecUnsupported` where it was refused."""
    codec = answer.choose([section.codec])
    assert section.ssrc is not None
    return Numbers(
        section.codec,
        codec.payload_type,
        section.ssrc,
        codec.rtx_payload_type,
        section.rtx_ssrc or 0,
        section.mid,
        {uri: number for number, uri in answer.extensions},
    )
