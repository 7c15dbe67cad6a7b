"""A participant's sending connection: it offers, we answer, and its packets go to their tracks.

Before this in a packet's path: :mod:`server.sfu.seam`. After it: :mod:`server.sfu.uptrack`. It
decides nothing: who may send what is ``rooms``' business.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping

from aiortc import RTCCertificate
from aiortc.rtp import RtcpPacket, RtcpReceiverInfo, RtcpSrPacket

from server.sfu import rtp, sdp
from server.sfu.allowance import RTCP_PACKET_BYTES, rtcp_allowance
from server.sfu.seam import Binding, MediaTransport
from server.sfu.uptrack import UpTrack

REPORT_INTERVAL_S = 0.5
"""Receiver reports and REMB: Chromium raises its rate only while it hears them so often."""

MAX_LEARNED_SSRCS = 16
"""Streams that one connection may name by their packets alone, in all its life."""

EXCESS = 4
"""A track that sends this many times what it was told to is silenced ..."""

SILENCED_ROUNDS = 4
"""... for so many rounds of reports: everybody in the room would have to take what it sends."""

SOUND_MAX_BPS = 256_000
"""Half of the most that Opus has any use for."""

logger = logging.getLogger(__name__)

Route = Callable[[bytes, int], None]


class PublishPeer:
    """A participant's sending connection: it offers, we answer.

    ``name`` is the client's own name for the connection: another name is a new connection.
    """

    def __init__(
        self,
        name: str,
        certificate: RTCCertificate,
        binding: Binding,
        video_max_bps: int,
        on_closed: Callable[[PublishPeer], None],
    ) -> None:
        self.name = name
        self.unknown = 0
        """Packets with an SSRC that belongs to none of the tracks."""
        self.tracks: dict[str, UpTrack] = {}
        """What is bound, by media section (mid)."""
        self._transport = MediaTransport(certificate, binding, controlling=False)
        self._transport.on_rtp = self._on_rtp
        self._transport.on_rtcp = self._on_rtcp
        self._transport.on_closed = lambda: on_closed(self)
        self._transport.on_connected = self._on_connected
        self._video_max_bps = video_max_bps
        self._routes: dict[int, Route] = {}
        self._unbound: dict[str, tuple[UpTrack, sdp.Codec, int | None, int | None]] = {}
        self._reporter_ssrc = rtp.random_ssrc()
        self._learned = 0
        self._shares: dict[UpTrack, tuple[int, int, int]] = {}
        """By track: time and bytes at the last report, and for how many more it is silenced."""
        self.rtcp = rtcp_allowance()
        self._version = 0
        self._candidates: tuple[str, ...] | None = None
        self._reports: asyncio.Task[None] | None = None

    @property
    def rejected(self) -> int:
        """Datagrams that SRTP refused."""
        return self._transport.rejected

    async def negotiate(
        self, remote: sdp.RemoteDescription, tracks: Mapping[str, tuple[UpTrack, sdp.Codec]]
    ) -> str:
        """Answer an offer; ``tracks`` says which section is which track, in which codec.

        Media sections not named are refused. Returns the text of the answer.
        """
        first = self._candidates is None
        if self._candidates is None:
            self._candidates = tuple(await self._transport.gather())
        for mid in list(self.tracks):
            if mid not in tracks:
                self.release(self.tracks[mid])
        for section in remote.media:
            if section.mid in tracks:
                self._bind(section, *tracks[section.mid])
        self._version += 1
        chosen = {mid: codec for mid, (_, codec) in tracks.items()}
        setup, role = sdp.answering(remote)
        text = sdp.answer(
            remote,
            sdp.LocalTransport(
                self._transport.ice_parameters,
                tuple(self._transport.fingerprints),
                self._candidates,
            ),
            lambda media: chosen.get(media.mid),
            setup=setup,
            version=self._version,
        )
        if first:
            for candidate in remote.candidates:
                self._transport.add_remote_candidate(candidate)
            self._transport.start(remote.ice, remote.fingerprints, dtls_role=role)
        return text

    def add_candidate(self, text: str) -> None:
        """A trickled candidate of the other side."""
        self._transport.add_remote_candidate(text)

    def release(self, track: UpTrack) -> None:
        """Stop taking packets for ``track``."""
        for mid, bound in list(self.tracks.items()):
            if bound is track:
                del self.tracks[mid]
                self._unbound.pop(mid, None)
        self._shares.pop(track, None)
        own = (track.receive, track.receive_retransmission)
        self._routes = {ssrc: route for ssrc, route in self._routes.items() if route not in own}

    async def close(self) -> None:
        """End the connection."""
        if self._reports is not None:
            self._reports.cancel()
        self._routes.clear()
        await self._transport.close()

    def _bind(self, section: sdp.OfferedMedia, track: UpTrack, codec: sdp.Codec) -> None:
        if self.tracks.get(section.mid) is track:
            return
        self.tracks[section.mid] = track
        mid_extension = section.extension_id(sdp.MID_URI)
        level_extension = section.extension_id(sdp.AUDIO_LEVEL_URI)
        if section.ssrc is None:
            self._unbound[section.mid] = (track, codec, mid_extension, level_extension)
            return
        self._attach(track, codec, section.ssrc, level_extension)
        if section.rtx_ssrc is not None:
            self._route(section.rtx_ssrc, track.receive_retransmission)

    def _attach(
        self, track: UpTrack, codec: sdp.Codec, ssrc: int, level_extension: int | None
    ) -> None:
        track.bind(self._transport, ssrc, codec.payload_type, self._reporter_ssrc, level_extension)
        self._route(ssrc, track.receive)

    def _route(self, ssrc: int, route: Route) -> None:
        """Packets of ``ssrc`` go there, and those of no other: a track has one row of numbers."""
        self._routes = {known: to for known, to in self._routes.items() if to != route}
        self._routes[ssrc] = route

    def _on_rtp(self, packet: bytes) -> None:
        route = self._routes.get(rtp.SSRC_AT_8.unpack_from(packet)[0])
        if route is None:
            route = self._learn(packet)
            if route is None:
                self.unknown += 1
                return
        route(packet, time.monotonic_ns())

    def _check_share(self, track: UpTrack, now_ns: int) -> None:
        """Silence a track that floods us for a while."""
        since_ns, before, silenced = self._shares.get(track, (0, track.bytes, 0))
        if silenced == 1:
            track.listen()
        elif silenced == 0:
            bps = (track.bytes - before) * 8_000_000_000 // (now_ns - since_ns)
            if bps > EXCESS * (self._video_max_bps if track.is_video else SOUND_MAX_BPS):
                logger.warning("track %s is silenced: %d kbit/s", track.track_id, bps // 1000)
                track.silence()
                silenced = SILENCED_ROUNDS + 1
        self._shares[track] = (now_ns, track.bytes, max(silenced - 1, 0))

    def _learn(self, packet: bytes) -> Route | None:
        """Find by its mid extension whose packet this is, where the offer announced no SSRC."""
        if not self._unbound or self._learned >= MAX_LEARNED_SSRCS:
            return None
        _, marker, _, _, ssrc = rtp.HEADER.unpack_from(packet)
        for mid, (track, codec, number, level_extension) in list(self._unbound.items()):
            if number is None or rtp.extension(packet, number) != mid.encode():
                continue
            if marker & 0x7F == codec.rtx_payload_type:
                self._route(ssrc, track.receive_retransmission)
            elif marker & 0x7F == codec.payload_type:
                self._attach(track, codec, ssrc, level_extension)
            else:
                return None
            self._learned += 1
            return self._routes[ssrc]
        return None

    def _on_rtcp(self, packet: bytes) -> None:
        now_ns = time.monotonic_ns()
        if not self.rtcp.take(len(packet) + RTCP_PACKET_BYTES, now_ns):
            return
        try:
            parts = RtcpPacket.parse(packet)
        except ValueError:
            self.unknown += 1
            return
        for part in parts:
            if isinstance(part, RtcpSrPacket):
                for track in self.tracks.values():
                    if track.ssrc == part.ssrc:
                        info = part.sender_info
                        track.receive_report(info.ntp_timestamp, info.rtp_timestamp, now_ns)

    def _on_connected(self) -> None:
        self._reports = asyncio.create_task(self._report_loop())

    async def _report_loop(self) -> None:
        while True:
            infos: list[RtcpReceiverInfo] = []
            video: list[int] = []
            for track in self.tracks.values():
                self._check_share(track, time.monotonic_ns())
                info = track.receiver_info()
                if info is not None:
                    infos.append(info)
                if track.is_video and track.ssrc is not None:
                    video.append(track.ssrc)
            if infos:
                packet = rtp.receiver_report(self._reporter_ssrc, infos[:31])
                if video:
                    total_bps = self._video_max_bps * len(video)
                    packet += rtp.estimated_bitrate(self._reporter_ssrc, total_bps, video)
                self._transport.send_rtcp(packet)
            await asyncio.sleep(REPORT_INTERVAL_S)
