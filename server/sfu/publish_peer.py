"""A participant's sending connection: it offers, we answer, and its packets go to their tracks.

Before this in a packet's path: :mod:`server.sfu.seam`. After it: :mod:`server.sfu.layer`, of
the track that a packet is for. It decides nothing: who may send what is ``rooms``' business.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from aiortc import RTCCertificate
from aiortc.rtp import RtcpReceiverInfo, RtcpSrPacket

from server.sfu import describe, rtp, sdp
from server.sfu.estimate import Uplink
from server.sfu.layer import Layer
from server.sfu.port import MediaPorts
from server.sfu.pulse import until_next
from server.sfu.rtcp import RtcpIntake
from server.sfu.seam import MediaTransport
from server.sfu.uptrack import UpTrack

ROUNDS_PER_REPORT = 2
"""Receiver reports and REMB twice a second: Chromium raises its rate only while it hears them."""

MAX_REPORT_BLOCKS = 31
"""As many as fit into one receiver report (RFC 3550, 6.4.2)."""

MAX_LEARNED_SSRCS = 64
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
        ports: MediaPorts,
        video_max_bps: int,
        on_closed: Callable[[PublishPeer], None],
    ) -> None:
        self.name = name
        self.phase_s = 0.0
        """Of the session's moments: what is not done for each packet is done then."""
        self.unknown = 0
        """Packets with an SSRC that belongs to none of the tracks."""
        self.rtcp = RtcpIntake()
        self.tracks: dict[str, UpTrack] = {}
        """What is bound, by media section (mid)."""
        self._transport = MediaTransport(certificate, ports, controlling=False)
        self._transport.on_rtp = self._on_rtp
        self._transport.on_rtcp = self._on_rtcp
        self._transport.on_closed = lambda: on_closed(self)
        self._transport.on_connected = self._on_connected
        self._video_max_bps = video_max_bps
        self._routes: dict[int, tuple[Layer, Route]] = {}
        self._unbound: dict[str, _Unbound] = {}
        self._reporter_ssrc = rtp.random_ssrc()
        self._learned = 0
        self._uplink = Uplink()
        self._seen: tuple[int, int, int, int] = (0, 0, 0, 0)
        """At the last report: the time; bytes, packets and missed packets of all tracks."""
        self._shares: dict[UpTrack, tuple[int, int, int]] = {}
        """By track: time and bytes at the last report, and for how many more it is silenced."""
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
        setup, role = describe.answering(remote)
        text = describe.answer(
            remote,
            describe.LocalTransport(
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
        self._routes = {
            ssrc: (layer, route)
            for ssrc, (layer, route) in self._routes.items()
            if layer not in track.layers
        }

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
        track.arrange(section.rids)
        level = section.extension_id(sdp.AUDIO_LEVEL_URI)
        if section.ssrc is None or section.rids:
            self._unbound[section.mid] = _Unbound(
                track,
                codec,
                section.rids,
                level,
                mid=section.extension_id(sdp.MID_URI),
                rid=section.extension_id(sdp.RID_URI),
                repaired=section.extension_id(sdp.REPAIRED_RID_URI),
            )
            return
        layer = self._attach(track, codec, section.ssrc, level, None)
        if section.rtx_ssrc is not None:
            self._route(section.rtx_ssrc, layer, layer.receive_retransmission)

    def _attach(
        self, track: UpTrack, codec: sdp.Codec, ssrc: int, level: int | None, rid: str | None
    ) -> Layer:
        layer = track.bind(
            self._transport, ssrc, codec.payload_type, self._reporter_ssrc, level, rid
        )
        self._route(ssrc, layer, layer.receive)
        return layer

    def _route(self, ssrc: int, layer: Layer, route: Route) -> None:
        """Packets of ``ssrc`` go there, and those of no other: a layer has one row of numbers."""
        self._routes = {known: to for known, to in self._routes.items() if to[1] != route}
        self._routes[ssrc] = (layer, route)

    def _on_rtp(self, packet: bytes) -> None:
        found = self._routes.get(rtp.SSRC_AT_8.unpack_from(packet)[0])
        if found is None:
            self._take_unnamed(packet)
            return
        found[1](packet, time.monotonic_ns())

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

    def _take_unnamed(self, packet: bytes) -> None:
        """Take a packet whose SSRC nobody has named before, if it names itself."""
        track = self._learn(packet)
        if track is None:
            self.unknown += 1
            return
        self._routes[rtp.SSRC_AT_8.unpack_from(packet)[0]][1](packet, time.monotonic_ns())
        track.watch()

    def _learn(self, packet: bytes) -> UpTrack | None:
        """Find by its header extensions whose packet this is, where the offer named no SSRC."""
        if not self._unbound or self._learned >= MAX_LEARNED_SSRCS:
            return None
        _, marker, _, _, ssrc = rtp.HEADER.unpack_from(packet)
        for mid, unbound in self._unbound.items():
            if unbound.mid is None or rtp.extension(packet, unbound.mid) != mid.encode():
                continue
            track, codec = unbound.track, unbound.codec
            if marker & 0x7F == codec.rtx_payload_type:
                rid = unbound.layer_of(packet, unbound.repaired)
                layer = next((one for one in track.layers if one.rid == rid), None)
                if layer is None:
                    return None
                self._route(ssrc, layer, layer.receive_retransmission)
            elif marker & 0x7F == codec.payload_type:
                rid = unbound.layer_of(packet, unbound.rid)
                if rid not in (unbound.rids or (None,)):
                    return None
                self._attach(track, codec, ssrc, unbound.level, rid)
            else:
                return None
            self._learned += 1
            return track
        return None

    def _on_rtcp(self, packet: bytes) -> None:
        now_ns = time.monotonic_ns()
        for part in self.rtcp.parts(packet, now_ns) or ():
            if isinstance(part, RtcpSrPacket):
                self._take_report(part, now_ns)

    def _take_report(self, report: RtcpSrPacket, now_ns: int) -> None:
        info = report.sender_info
        for track in self.tracks.values():
            for layer in track.layers:
                if layer.ssrc == report.ssrc:
                    track.receive_report(layer, info.ntp_timestamp, info.rtp_timestamp, now_ns)

    def _on_connected(self) -> None:
        self._reports = asyncio.create_task(self._report_loop())

    async def _report_loop(self) -> None:
        rounds = 0
        while True:
            for track in self.tracks.values():
                track.watch()
            if rounds % ROUNDS_PER_REPORT == 0:
                self._report()
            rounds += 1
            await asyncio.sleep(until_next(self.phase_s))

    def _report(self) -> None:
        now_ns = time.monotonic_ns()
        infos: list[RtcpReceiverInfo] = []
        video: list[int] = []
        most_bps = 0
        for track in self.tracks.values():
            self._check_share(track, now_ns)
            for layer in track.layers:
                layer.measure(now_ns)
            infos += [info for layer in track.layers if (info := layer.receiver_info())]
            if track.is_video:
                most_bps += self._video_max_bps
                video += [layer.ssrc for layer in track.layers if layer.ssrc is not None]
        if infos:
            packet = rtp.receiver_report(self._reporter_ssrc, infos[:MAX_REPORT_BLOCKS])
            if video:
                allowed_bps = self._allowed_bps(most_bps, now_ns)
                packet += rtp.estimated_bitrate(self._reporter_ssrc, allowed_bps, video)
            self._transport.send_rtcp(packet)

    def _allowed_bps(self, most_bps: int, now_ns: int) -> int:
        """What the sender is told to send at most: less where its line is overloaded."""
        tracks = list(self.tracks.values())
        seen = (
            now_ns,
            sum(track.bytes for track in tracks),
            sum(track.packets for track in tracks),
            sum(track.missed for track in tracks),
        )
        elapsed_ns, octets, packets, missed = (
            now - then for now, then in zip(seen, self._seen, strict=True)
        )
        self._seen = seen
        # A queue on the line holds up every stream: the one that waits least tells how much.
        delays = [layer.arrival.delay_ns for track in tracks for layer in track.arriving()]
        return self._uplink.tick(
            octets * 8_000_000_000 // elapsed_ns,
            min(delays, default=0),
            missed / packets if packets > 0 else 0.0,
            most_bps,
        )


@dataclass(frozen=True, slots=True)
class _Unbound:
    """A track whose streams are known by their packets alone, and where these say what they are.

    ``mid``, ``rid`` and ``repaired`` are numbers of header extensions; ``rids`` are the layers.
    """

    track: UpTrack
    codec: sdp.Codec
    rids: tuple[str, ...]
    level: int | None
    mid: int | None
    rid: int | None
    repaired: int | None

    def layer_of(self, packet: bytes, number: int | None) -> str | None:
        """The layer that a packet names in the extension ``number``; None for none."""
        said = rtp.extension(packet, number) if self.rids and number is not None else None
        return None if said is None else said.decode("ascii", "replace")
