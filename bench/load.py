"""The load client: media as a browser sends and receives it, at a few microseconds a packet.

aiortc makes the connection (SDP, ICE, DTLS, RTCP); packets go past it, straight between libsrtp and
the socket. A publisher repeats :mod:`bench.media` in real time, jumps to the next key frame when it
is asked for one, answers NACK with RTX, and writes the time of sending into the last bytes of each
payload (:mod:`bench.sending`). A subscriber decrypts, counts gaps and reorderings and reads those
times. All addresses are 127.0.0.1. Both files use private names of aiortc, as otherwise only
:mod:`server.sfu.seam` does.

Next: :mod:`bench.sessions` and :mod:`bench.videoroom`, which connect it to the two servers.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import struct
import time
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
    rtcdtlstransport,
)
from aiortc.rtp import RtpPacket
from pylibsrtp import Error as SrtpError

from bench.media import FPS, STAMP_BYTES, Media
from bench.packets import Reception, Tally
from bench.sending import Stream

PROFILES = {"gcm": b"SRTP_AEAD_AES_128_GCM", "cm": b"SRTP_AES128_CM_SHA1_80"}
CONNECTED_WITHIN_S = 20.0
VIDEO_SOURCES = frozenset({"camera", "wide_camera", "evidence_display", "document_camera"})

_SSRC_AT_8 = struct.Struct("!8xL")
_STAMP = struct.Struct("!Q")
_SHORTEST_STAMPED = 12 + STAMP_BYTES
_MOST_EARLY = 256
"""Packets kept that come before the keys are agreed."""

_RECEIVE_BUFFER_BYTES = 4 << 20
_SO_RCVBUFFORCE = 33
"""Linux; lets root exceed net.core.rmem_max. A client's full buffer is no server's loss."""

_now_ns = time.perf_counter_ns


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


class Publisher:
    """A sending connection. ``rates`` are pictures a second by source, where not 30."""

    def __init__(
        self, media: Media, tally: Tally, sources: Sequence[str], *, stamped: bool = True
    ) -> None:
        self._media = media
        self._sources = sources
        self._peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self._streams: dict[str, Stream] = {}
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
            self._streams[source] = Stream(transceiver.sender, frames, tally, stamped=stamped)
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

    def tell_level(self, level: int) -> None:
        """Say from now on that the microphone is so loud, in -dBov."""
        self._streams["microphone"].tell_level(level)

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

        early: list[tuple[bytes, int]] = []

        def take(data: bytes, now_ns: int) -> None:
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

        def data_received(data: bytes, component: int) -> None:
            if not 127 < data[0] < 192 or 191 < data[1] < 224:
                onward(data, component)
            elif dtls._rx_srtp is None:
                # The other side has its keys a moment before us.
                if len(early) < _MOST_EARLY:
                    early.append((data, _now_ns()))
            else:
                now_ns = _now_ns()
                if early:
                    for item in early:
                        take(*item)
                    early.clear()
                take(data, now_ns)

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
