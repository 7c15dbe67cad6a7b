"""The load client: media as a browser sends and receives it, at a few microseconds a packet.

aiortc makes the connection (SDP, ICE, DTLS, RTCP); packets go past it, straight between libsrtp and
the socket. A publisher repeats :mod:`bench.media` in real time, jumps to the next key frame when it
is asked for one, answers NACK with RTX, and writes the time of sending into the last bytes of each
payload. A subscriber decrypts, counts gaps and reorderings and reads those times. All addresses are
127.0.0.1. Beside :mod:`server.sfu.seam`, this is the only file that uses private names of aiortc.

Next: :mod:`bench.sessions` and :mod:`bench.videoroom`, which connect it to the two servers.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import struct
import time
from array import array
from collections.abc import Callable, Sequence
from typing import Any

import aioice.ice
from aiortc import (
    MediaStreamTrack,
    RTCConfiguration,
    RTCPeerConnection,
    RTCRtpSender,
    RTCRtpTransceiver,
    RTCSessionDescription,
    clock,
    rtcdtlstransport,
)
from aiortc.rtp import RtpPacket
from pylibsrtp import Error as SrtpError

from bench.media import AUDIO_SAMPLES, FPS, STAMP_BYTES, Frame, Media
from bench.packets import Reception

PROFILES = {"gcm": b"SRTP_AEAD_AES_128_GCM", "cm": b"SRTP_AES128_CM_SHA1_80"}
CONNECTED_WITHIN_S = 20.0
VIDEO_SOURCES = frozenset({"camera", "wide_camera", "evidence_display", "document_camera"})

_MID_URI = "urn:ietf:params:rtp-hdrext:sdes:mid"
_HEADER = struct.Struct("!BBHLL")
_SSRC_AT_8 = struct.Struct("!8xL")
_DESCRIPTOR = struct.Struct("!BBH")
_STAMP = struct.Struct("!Q")
_SHORTEST_STAMPED = 12 + STAMP_BYTES
_KEPT = 1024
"""Packets kept for retransmission (a power of two)."""

_BEHIND_S = 1.0
"""A publisher that is later than this leaves out what it missed."""

_RECEIVE_BUFFER_BYTES = 4 << 20
_SO_RCVBUFFORCE = 33
"""Linux; lets root exceed net.core.rmem_max. A client's full buffer is no server's loss."""

_now_ns = time.perf_counter_ns


class Tally:
    """What all connections of this process have sent and received."""

    def __init__(self) -> None:
        self.sent = 0
        self.nacked = 0
        self.key_frames_wanted = 0
        self.rejected = 0
        """Packets that SRTP refused."""
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
            "rejected": self.rejected,
            "nacked": self.nacked,
            "key_frames_wanted": self.key_frames_wanted,
        }


def prepare(profile: str) -> None:
    """Make this process's connections use loopback and one SRTP profile. Call it once, first."""
    aioice.ice.get_host_addresses = lambda use_ipv4, use_ipv6: ["127.0.0.1"]
    known = rtcdtlstransport.SRTP_PROFILES
    known[:] = [entry for entry in known if entry.openssl_profile == PROFILES[profile]]
    assert known, f"this libsrtp has no {profile}"
    protocol: Any = aioice.ice.StunProtocol
    as_stun = protocol.datagram_received

    def datagram_received(self: Any, data: bytes, address: tuple[Any, ...]) -> None:
        # RFC 7983: without this aioice tries to parse each packet as STUN, and fails.
        if data and data[0] > 3:
            self.receiver.data_received(data, 1)
        else:
            as_stun(self, data, address)

    protocol.datagram_received = datagram_received


class _Silent(MediaStreamTrack):
    """Stands for a track in the description; aiortc's own sender never gets anything to send."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind

    async def recv(self) -> Any:
        """Wait until the sender is stopped."""
        await asyncio.get_running_loop().create_future()


async def _connected(peer: RTCPeerConnection) -> None:
    changed = asyncio.Event()
    peer.on("connectionstatechange", changed.set)
    async with asyncio.timeout(CONNECTED_WITHIN_S):
        while peer.connectionState != "connected":
            if peer.connectionState in {"failed", "closed"}:
                raise ConnectionError(f"the media connection is {peer.connectionState}")
            changed.clear()
            await changed.wait()


async def _close(peer: RTCPeerConnection) -> None:
    with contextlib.suppress(TimeoutError, ConnectionError):
        async with asyncio.timeout(5.0):
            await peer.close()


class _Stream:
    """One track being sent."""

    def __init__(self, sender: RTCRtpSender, frames: Sequence[Frame], tally: Tally) -> None:
        self._sender: Any = sender
        self._frames = frames
        self._tally = tally
        self._video = sender.kind == "video"
        self._at = 0
        self._sequence = random.randrange(1 << 15)
        self._timestamp = random.randrange(1 << 31)
        self._picture = 0
        self._rtx_sequence = random.randrange(1 << 15)
        self._kept: list[bytes | None] = [None] * _KEPT
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, transceiver: RTCRtpTransceiver, start: int, fps: float, phase: float) -> None:
        """Send from now on. ``phase`` (0 to 1) of a period is waited first."""
        codecs: list[Any] = transceiver._codecs
        self._payload_type = codecs[0].payloadType
        self._rtx = next(
            (c.payloadType for c in codecs[1:] if c.parameters.get("apt") == self._payload_type),
            None,
        )
        number = next(e.id for e in transceiver._headerExtensions if e.uri == _MID_URI)
        self._extension = mid_extension(number, transceiver.mid or "")
        self._increment = round(90_000 / fps) if self._video else AUDIO_SAMPLES
        self._step_s = self._increment / (90_000 if self._video else 48_000)
        self._at = start % len(self._frames)
        if self._video:
            self._to_key_frame()
        dtls = self._sender.transport
        self._protect = dtls._tx_srtp.protect
        pair = dtls.transport._connection._nominated[1]
        self._socket, self._address = pair.protocol.transport, pair.remote_addr
        self._sender._send_keyframe = self._key_frame_wanted
        self._sender._retransmit = self._retransmit
        self._loop = asyncio.get_running_loop()
        self._due_s = self._loop.time() + phase * self._step_s
        self._timer = self._loop.call_at(self._due_s, self._tick)

    def end(self) -> None:
        """Send no more."""
        if self._timer is not None:
            self._timer.cancel()

    def _to_key_frame(self) -> None:
        for _ in self._frames:
            if self._frames[self._at].key:
                return
            self._at = (self._at + 1) % len(self._frames)

    def _key_frame_wanted(self) -> None:
        self._tally.key_frames_wanted += 1
        self._to_key_frame()

    def _tick(self) -> None:
        if self._socket.is_closing():
            return
        self._send(self._frames[self._at])
        self._at = (self._at + 1) % len(self._frames)
        self._due_s += self._step_s
        behind_s = self._loop.time() - self._due_s
        if behind_s > _BEHIND_S:
            missed = int(behind_s / self._step_s)
            self._due_s += missed * self._step_s
            self._timestamp = (self._timestamp + missed * self._increment) & 0xFFFFFFFF
        self._timer = self._loop.call_at(self._due_s, self._tick)

    def _send(self, frame: Frame) -> None:
        sender, sequence, last = self._sender, self._sequence, len(frame.bodies) - 1
        self._timestamp = (self._timestamp + self._increment) & 0xFFFFFFFF
        self._picture = (self._picture + 1) & 0x7FFF
        octets = 0
        for number, body in enumerate(frame.bodies):
            # The marker ends a picture; sound packets have none.
            marker = 0x80 if self._video and number == last else 0
            packet = _HEADER.pack(
                0x90, marker | self._payload_type, sequence, self._timestamp, sender._ssrc
            )
            packet += self._extension
            if self._video:
                start = 0x90 if number == 0 else 0x80
                packet += _DESCRIPTOR.pack(start, 0x80, 0x8000 | self._picture)
            packet += body + _STAMP.pack(_now_ns())
            self._kept[sequence % _KEPT] = packet
            self._socket.sendto(self._protect(packet), self._address)
            sequence = (sequence + 1) & 0xFFFF
            octets += len(body)
        self._sequence = sequence
        self._tally.sent += last + 1
        # aiortc makes its sender reports of these.
        sender._RTCRtpSender__ntp_timestamp = clock.current_ntp_time()
        sender._RTCRtpSender__rtp_timestamp = self._timestamp
        sender._RTCRtpSender__packet_count += last + 1
        sender._RTCRtpSender__octet_count += octets

    async def _retransmit(self, sequence: int) -> None:
        self._tally.nacked += 1
        packet = self._kept[sequence % _KEPT]
        if packet is None or self._rtx is None or packet[2:4] != sequence.to_bytes(2, "big"):
            return
        _, first, _, timestamp, _ = _HEADER.unpack_from(packet)
        header = _HEADER.pack(
            0x90, first & 0x80 | self._rtx, self._rtx_sequence, timestamp, self._sender._rtx_ssrc
        )
        payload_at = 12 + len(self._extension)
        again = header + self._extension + packet[2:4] + packet[payload_at:]
        self._rtx_sequence = (self._rtx_sequence + 1) & 0xFFFF
        self._socket.sendto(self._protect(again), self._address)


def mid_extension(number: int, mid: str) -> bytes:
    """A one-byte header extension block (RFC 8285) with the mid alone."""
    block = bytes([number << 4 | len(mid) - 1]) + mid.encode()
    block += bytes(-len(block) % 4)
    return b"\xbe\xde" + (len(block) // 4).to_bytes(2, "big") + block


class Publisher:
    """A sending connection. ``rates`` are pictures a second by source, where not 30."""

    def __init__(self, media: Media, tally: Tally, sources: Sequence[str]) -> None:
        self._media = media
        self._sources = sources
        self._peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self._streams: dict[str, _Stream] = {}
        self._transceivers: dict[str, RTCRtpTransceiver] = {}
        for source in sources:
            kind = "video" if source in VIDEO_SOURCES else "audio"
            transceiver = self._peer.addTransceiver(_Silent(kind), direction="sendonly")
            if kind == "video":
                offered = RTCRtpSender.getCapabilities("video").codecs
                wanted = {"video/vp8", "video/rtx"}
                transceiver.setCodecPreferences(
                    [codec for codec in offered if codec.mimeType.lower() in wanted]
                )
            frames = media.video if kind == "video" else media.audio
            self._streams[source] = _Stream(transceiver.sender, frames, tally)
            self._transceivers[source] = transceiver

    async def offer(self) -> str:
        """The description to publish with."""
        await self._peer.setLocalDescription(await self._peer.createOffer())
        return str(self._peer.localDescription.sdp)

    @property
    def mids(self) -> dict[str, str]:
        """Media section by source, once offered."""
        return {source: str(t.mid) for source, t in self._transceivers.items()}

    async def answered(
        self, sdp: str, rng: random.Random, rates: dict[str, float] | None = None
    ) -> str:
        """Connect and begin to send; returns the SRTP profile."""
        await self._peer.setRemoteDescription(RTCSessionDescription(sdp, "answer"))
        await _connected(self._peer)
        for source, stream in self._streams.items():
            fps = (rates or {}).get(source, FPS)
            transceiver = self._transceivers[source]
            stream.begin(transceiver, rng.randrange(1000), fps, rng.random())
        dtls: Any = transceiver.sender.transport
        return str(dtls._ssl.get_selected_srtp_profile().decode())

    async def close(self) -> None:
        """Stop sending and end the connection."""
        for stream in self._streams.values():
            stream.end()
        await _close(self._peer)


class Subscriber:
    """A receiving connection; ``on_packet`` gets each plain RTP packet beside the counting."""

    def __init__(
        self, tally: Tally, on_packet: Callable[[Reception, bytes], None] | None = None
    ) -> None:
        self._tally = tally
        self._on_packet = on_packet
        self._peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self._tapped: set[int] = set()

    async def answer(self, offer: str) -> str:
        """Take the server's description; return ours."""
        await self._peer.setRemoteDescription(RTCSessionDescription(offer, "offer"))
        await self._peer.setLocalDescription(await self._peer.createAnswer())
        for transceiver in self._peer.getTransceivers():
            self._receive_past(transceiver.receiver.transport)
        return str(self._peer.localDescription.sdp)

    async def connected(self) -> None:
        """Wait until media can come."""
        await _connected(self._peer)

    async def close(self) -> None:
        """End the connection."""
        await _close(self._peer)

    def _receive_past(self, dtls: Any) -> None:
        """Take RTP out before it gets into aiortc's queue; STUN, DTLS and RTCP go their way."""
        if id(dtls) in self._tapped:
            return
        self._tapped.add(id(dtls))
        connection = dtls.transport._connection
        for protocol in connection._protocols:
            with contextlib.suppress(OSError):
                protocol.transport.get_extra_info("socket").setsockopt(
                    1, _SO_RCVBUFFORCE, _RECEIVE_BUFFER_BYTES
                )
        onward, tally, on_packet = connection.data_received, self._tally, self._on_packet
        receptions: dict[int, Reception] = {}

        def data_received(data: bytes, component: int) -> None:
            if not 127 < data[0] < 192 or 191 < data[1] < 224 or dtls._rx_srtp is None:
                onward(data, component)
                return
            now_ns = _now_ns()
            try:
                packet = dtls._rx_srtp.unprotect(data)
            except SrtpError:
                tally.rejected += 1
                return
            reception = receptions.get(_SSRC_AT_8.unpack_from(packet)[0])
            if reception is None:
                reception = self._first(dtls, packet)
                receptions[reception.ssrc] = reception
            reception.take(packet[2] << 8 | packet[3])
            if tally.latencies_ns is not None and len(packet) > _SHORTEST_STAMPED:
                sent_ns = _STAMP.unpack_from(packet, len(packet) - STAMP_BYTES)[0]
                tally.latencies_ns.append(now_ns - sent_ns)
            if on_packet is not None:
                on_packet(reception, packet)

        connection.data_received = data_received

    def _first(self, dtls: Any, packet: bytes) -> Reception:
        """Begin to count a stream, and let its receiver's reports (RTCP) come from the count."""
        parsed = RtpPacket.parse(packet, dtls._rtp_header_extensions_map)
        receiver = dtls._rtp_router.route_rtp(parsed)
        reception = Reception(
            parsed.ssrc, video=receiver is not None and receiver.track.kind == "video"
        )
        if receiver is not None:
            receiver._RTCRtpReceiver__remote_streams[parsed.ssrc] = reception
        self._tally.receptions.append(reception)
        return reception
