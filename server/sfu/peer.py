"""The two connections of a participant: one for what it publishes, one for what it receives.

:class:`PublishPeer` answers offers and hands each packet to its
:class:`~server.sfu.uptrack.UpTrack`; :class:`SubscribePeer` offers, and holds a
:class:`~server.sfu.downtrack.DownTrack` for each track that its participant may receive. Neither
decides anything: who may send or receive what is ``rooms``' business.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Callable, Mapping

from aiortc import RTCCertificate
from aiortc.rtp import (
    RTCP_PSFB_FIR,
    RTCP_PSFB_PLI,
    RTCP_RTPFB_NACK,
    RtcpPacket,
    RtcpPsfbPacket,
    RtcpReceiverInfo,
    RtcpRrPacket,
    RtcpRtpfbPacket,
    RtcpSrPacket,
)

from rooms.errors import SdpInvalid
from server.sfu import rtp, sdp
from server.sfu.allowance import Allowance
from server.sfu.downtrack import DownTrack
from server.sfu.reception import Reception
from server.sfu.seam import Binding, MediaTransport
from server.sfu.uptrack import UpTrack

REPORT_INTERVAL_S = 0.5
"""Receiver reports and REMB: Chromium raises its rate only while it hears them about twice a
second.
"""

MAX_LEARNED_SSRCS = 16
"""Streams that one connection may name by their packets alone, in all its life."""

RTCP_BYTES_PER_S = 128 << 10
RTCP_PACKET_BYTES = 64
"""RTCP costs by its length, each packet this much more; what is beyond the rate is not read.

At 20 % loss a receiver of a dozen pictures needs a fifth of it.
"""

EXCESS = 4
"""A track that sends this many times what it was told to is silenced ..."""

SILENCED_ROUNDS = 4
"""... for so many rounds of reports: everybody in the room would have to take what it sends."""

SOUND_MAX_BPS = 256_000
"""Half of the most that Opus has any use for."""

logger = logging.getLogger(__name__)

Route = Callable[[bytes, int], None]


def _random_ssrc() -> int:
    return secrets.randbelow(0x7FFFFFFE) + 1


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
        self._unbound: dict[str, tuple[UpTrack, sdp.Codec, int | None]] = {}
        self._reporter_ssrc = _random_ssrc()
        self._learned = 0
        self._shares: dict[UpTrack, tuple[int, int, int]] = {}
        """By track: time and bytes at the last report, and for how many more it is silenced."""
        self.rtcp = Allowance(RTCP_BYTES_PER_S, RTCP_BYTES_PER_S)
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
        if section.ssrc is None:
            self._unbound[section.mid] = (track, codec, mid_extension)
            return
        self._attach(track, codec, section.ssrc)
        if section.rtx_ssrc is not None:
            self._route(section.rtx_ssrc, track.receive_retransmission)

    def _attach(self, track: UpTrack, codec: sdp.Codec, ssrc: int) -> None:
        track.bind(self._transport, ssrc, codec.payload_type, self._reporter_ssrc)
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
        for mid, (track, codec, number) in list(self._unbound.items()):
            if number is None or rtp.extension(packet, number) != mid.encode():
                continue
            if marker & 0x7F == codec.rtx_payload_type:
                self._route(ssrc, track.receive_retransmission)
            elif marker & 0x7F == codec.payload_type:
                self._attach(track, codec, ssrc)
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


class SubscribePeer:
    """A participant's receiving connection: we offer, it answers; again at each change."""

    def __init__(
        self,
        name: str,
        certificate: RTCCertificate,
        binding: Binding,
        on_offer: Callable[[str, str, list[tuple[str, UpTrack]]], None],
        on_closed: Callable[[SubscribePeer], None],
        *,
        controlling: bool = True,
    ) -> None:
        self.name = name
        self.heard_ns = 0
        """When the receiver last sent RTCP; 0 before it has."""
        self._transport = MediaTransport(certificate, binding, controlling=controlling)
        self._transport.on_rtcp = self._on_rtcp
        self._transport.on_closed = lambda: on_closed(self)
        self._transport.on_connected = self._on_connected
        self._on_offer = on_offer
        self._wanted: list[UpTrack] = []
        self._sections: list[sdp.SendingMedia] = []
        self._pairs: dict[str, tuple[UpTrack, DownTrack]] = {}
        self._receptions: dict[int, Reception] = {}
        self.rtcp = Allowance(RTCP_BYTES_PER_S, RTCP_BYTES_PER_S)
        self._answered = True
        self._changed = False
        self._started = False
        self._version = 0
        self._local: sdp.LocalTransport | None = None
        self._reports: asyncio.Task[None] | None = None

    @property
    def rejected(self) -> int:
        """Datagrams that SRTP refused."""
        return self._transport.rejected

    @property
    def sending(self) -> list[tuple[UpTrack, DownTrack, Reception]]:
        """Every track that goes to this receiver, with what it tells of it."""
        return [(up, down, self._receptions[down.ssrc]) for up, down in self._pairs.values()]

    async def want(self, tracks: list[UpTrack]) -> None:
        """Receive exactly ``tracks`` from now on. What is no longer wanted stops at once."""
        self._wanted = list(tracks)
        rested = [mid for mid, (up, _) in self._pairs.items() if up not in self._wanted]
        for mid in rested:
            self._detach(mid)
        if self._local is None:
            candidates = await self._transport.gather()
            self._local = sdp.LocalTransport(
                self._transport.ice_parameters,
                tuple(self._transport.fingerprints),
                tuple(candidates),
            )
        present = {up for up, _ in self._pairs.values()}
        if rested or present != set(self._wanted):
            self._changed = True
        self._offer_if_stable()

    def answered(self, text: str) -> None:
        """The other side's answer; :class:`SdpInvalid` where it is none that we wait for."""
        if self._answered:
            raise SdpInvalid("no offer of ours is waiting for an answer")
        remote = sdp.parse(text)
        self._answered = True
        directions = {m.mid: m.direction for m in remote.media}
        rtx = {m.mid: [c.rtx_payload_type for c in m.codecs] for m in remote.media}
        for mid, (up, down) in self._pairs.items():
            if directions.get(mid) in ("recvonly", "sendrecv") and down not in up.downs:
                section = self._sections[int(mid)]
                number = section.rtx_payload_type
                if number is not None and section.rtx_ssrc is not None and number in rtx[mid]:
                    down.retransmit_apart(number, section.rtx_ssrc)
                up.downs.append(down)
                # Before the connection stands a key frame would be lost, and the next one late:
                # requests are merged.
                if self._transport.connected:
                    up.request_key_frame()
        if not self._started:
            self._started = True
            for candidate in remote.candidates:
                self._transport.add_remote_candidate(candidate)
            role = "client" if remote.setup == "passive" else "server"
            self._transport.start(remote.ice, remote.fingerprints, dtls_role=role)
        self._offer_if_stable()

    def add_candidate(self, text: str) -> None:
        """A trickled candidate of the other side."""
        self._transport.add_remote_candidate(text)

    async def close(self) -> None:
        """End the connection; nothing is sent from now on."""
        for mid in list(self._pairs):
            self._detach(mid)
        if self._reports is not None:
            self._reports.cancel()
        await self._transport.close()

    def _detach(self, mid: str) -> None:
        up, down = self._pairs.pop(mid)
        self._receptions.pop(down.ssrc, None)
        if down in up.downs:
            up.downs.remove(down)
        for number, section in enumerate(self._sections):
            if section.mid == mid:
                self._sections[number] = sdp.SendingMedia(mid, section.codec, None, "", "")

    def _offer_if_stable(self) -> None:
        if not self._answered or not self._changed or self._local is None:
            return
        self._changed = False
        present = {up for up, _ in self._pairs.values()}
        for up in self._wanted:
            if up not in present:
                self._add(up)
        if not self._sections:
            return
        self._answered = False
        self._version += 1
        text = sdp.offer(self._local, self._sections, version=self._version)
        tracks = [(mid, up) for mid, (up, _) in self._pairs.items()]
        self._on_offer(self.name, text, tracks)

    def _add(self, up: UpTrack) -> None:
        # A rested section of the same codec is used again: descriptions must not grow for ever.
        place = next(
            (i for i, s in enumerate(self._sections) if s.ssrc is None and s.codec == up.codec),
            len(self._sections),
        )
        mid = str(place)
        section = sdp.SendingMedia(
            mid,
            up.codec,
            _random_ssrc(),
            up.track_id,
            up.participant_id,
            rtx_ssrc=_random_ssrc() if up.is_video else None,
        )
        self._sections[place : place + 1] = [section]
        assert section.ssrc is not None
        self._receptions[section.ssrc] = Reception()
        self._pairs[mid] = (
            up,
            DownTrack(self._transport, up, section.ssrc, section.payload_type),
        )

    def _on_connected(self) -> None:
        for up, _ in self._pairs.values():
            up.request_key_frame()
        self._reports = asyncio.create_task(self._report_loop())

    def _on_rtcp(self, packet: bytes) -> None:
        now_ns = time.monotonic_ns()
        if not self.rtcp.take(len(packet) + RTCP_PACKET_BYTES, now_ns):
            return
        try:
            parts = RtcpPacket.parse(packet)
        except ValueError:
            return
        self.heard_ns = now_ns
        for part in parts:
            if isinstance(part, (RtcpRrPacket, RtcpSrPacket)):
                for report in part.reports:
                    reception = self._receptions.get(report.ssrc)
                    if reception is not None:
                        reception.reported(report, now_ns)
            elif isinstance(part, RtcpRtpfbPacket) and part.fmt == RTCP_RTPFB_NACK:
                for _, down in self._pairs.values():
                    if down.ssrc == part.media_ssrc:
                        self._receptions[down.ssrc].asked(part.lost)
                        down.retransmit(part.lost, now_ns)
            elif isinstance(part, RtcpPsfbPacket) and part.fmt == RTCP_PSFB_PLI:
                self._request_key_frame(part.media_ssrc)
            elif isinstance(part, RtcpPsfbPacket) and part.fmt == RTCP_PSFB_FIR:
                # FIR names its stream in each entry (RFC 5104, 4.3.1.1), not in the header.
                for at in range(0, len(part.fci) - 7, 8):
                    self._request_key_frame(int.from_bytes(part.fci[at : at + 4]))

    def _request_key_frame(self, ssrc: int) -> None:
        for up, down in self._pairs.values():
            if down.ssrc == ssrc:
                up.request_key_frame()

    async def _report_loop(self) -> None:
        while True:
            await asyncio.sleep(2 * REPORT_INTERVAL_S)
            now_ns = time.monotonic_ns()
            for up, down in self._pairs.values():
                if up.report is None:
                    continue
                elapsed_ns = now_ns - up.report.arrival_ns
                report = down.sender_report(up.report.ntp, up.report.rtp, elapsed_ns)
                if report is not None:
                    self._receptions[down.ssrc].sent(report, now_ns)
                    self._transport.send_rtcp(report)
