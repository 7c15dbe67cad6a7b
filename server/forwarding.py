"""The media of one session: who sends what to the server, and who gets it.

Keeps each person's connections and every published track in step with what the room says. It asks
the room who may receive a track and never decides that itself.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Collection, Mapping
from typing import Any

from aiortc import RTCCertificate

from rooms.errors import (
    MessageMalformed,
    NothingToPlay,
    OfferUnsupported,
    SdpInvalid,
    TrackUnknown,
)
from rooms.media import Codec, Source
from server import protocol
from server.config import Config
from server.member import Member
from server.sfu import sdp
from server.sfu.player_peer import PlayerPeer
from server.sfu.port import MediaPorts
from server.sfu.publish_peer import PublishPeer
from server.sfu.pulse import PULSE_S
from server.sfu.rationing import Told
from server.sfu.repair import LIVE_REPAIR_NS
from server.sfu.subscribe_peer import SubscribePeer
from server.sfu.uptrack import UpTrack


class Forwarding:
    """Peers and tracks of one session. ``on_bound`` is called when a track has an SSRC."""

    def __init__(
        self,
        config: Config,
        certificate: RTCCertificate,
        ports: MediaPorts,
        audience: Callable[[str], frozenset[str]],
        on_bound: Callable[[UpTrack], None],
    ) -> None:
        self.ups: dict[str, UpTrack] = {}
        self._config = config
        self._certificate = certificate
        self._audience = audience
        self._on_bound = on_bound
        self._ports = ports
        self.phase_s = PULSE_S * secrets.randbelow(1000) / 1000
        """The session's own moments (:mod:`server.sfu.pulse`)."""
        self._repair_ns = max(config.recording.repair_wait_ms * 1_000_000, LIVE_REPAIR_NS)
        self._ending: set[asyncio.Task[None]] = set()

    def choose(self, message: protocol.Publish) -> tuple[sdp.RemoteDescription, dict[str, Offered]]:
        """What a publish message offers, by media section, with the codec that we take."""
        remote = sdp.parse(message.sdp, simulcast=self._config.media.simulcast)
        sections = {section.mid: section for section in remote.media}
        offered: dict[str, Offered] = {}
        for entry in message.tracks:
            section = sections.get(entry.mid)
            if section is None or section.direction not in ("sendonly", "sendrecv"):
                raise SdpInvalid(f"media section {entry.mid!r} sends nothing")
            if entry.mid in offered:
                raise MessageMalformed(f"media section {entry.mid!r} is named twice")
            preferred = ("opus",) if section.kind == "audio" else self._config.media.codecs
            offered[entry.mid] = Offered(entry.source, section.choose(preferred))
        return remote, offered

    def track(self, track_id: str, participant_id: str, source: Source, codec: Codec) -> UpTrack:
        """The track of that id, made at its first publication."""
        up = self.ups.get(track_id)
        if up is None:
            up = UpTrack(track_id, participant_id, source, codec, codec.clock_hz, self._repair_ns)
            up.on_bound = lambda: self._on_bound(self.ups[track_id])
            self.ups[track_id] = up
        return up

    async def answer(
        self,
        member: Member,
        peer_name: str,
        remote: sdp.RemoteDescription,
        tracks: Mapping[str, tuple[UpTrack, sdp.Codec]],
    ) -> str:
        """Bind the tracks to the person's sending connection, new or known; returns the answer."""
        peer = member.publisher
        if peer is None or peer.name != peer_name:
            if peer is not None:
                member.publisher = None
                await peer.close()
            peer = PublishPeer(
                peer_name,
                self._certificate,
                self._ports,
                self._config.media.video_max_kbps * 1000,
                on_closed=lambda closed: self._lost(member, closed),
            )
            peer.phase_s = self.phase_s
            member.publisher = peer
        return await peer.negotiate(remote, tracks)

    def release(self, member: Member | None, track_id: str) -> UpTrack | None:
        """A track is no longer published: take no more packets for it."""
        up = self.ups.pop(track_id, None)
        if up is not None:
            if member is not None and member.publisher is not None:
                member.publisher.release(up)
            up.close()
        return up

    async def subscribe(self, member: Member) -> None:
        """Let the person receive what the room allows, no less and no more."""
        wanted = self._allowed(member)
        for player in list(member.players.values()):
            await player.want(wanted)
        if member.subscriber is None:
            if member.connection is None or not member.connection.receives:
                return
            member.subscriber = SubscribePeer(
                # Never the name of one before, also not of a process before this one.
                f"s-{secrets.token_hex(4)}",
                self._certificate,
                self._ports,
                on_offer=lambda name, text, tracks: self._offered(member, name, text, tracks),
                on_closed=lambda closed: self._lost(member, closed),
                on_layers=lambda told: member.send(_layers(told)),
            )
            member.subscriber.phase_s = self.phase_s
            member.subscriber.show(member.heights)
        await member.subscriber.want(wanted)

    async def play(
        self,
        member: Member,
        player_name: str,
        remote: sdp.RemoteDescription,
        track_ids: Collection[str],
        on_closed: Callable[[str], None],
    ) -> tuple[PlayerPeer, str]:
        """Answer a player that receives in the person's place; returns its connection, the answer.

        Each section gets the first track that fits and that no other has, of ``track_ids`` where
        any are named. Raises track_unknown, nothing_to_play, or offer_unsupported where the player
        takes none of the codecs.
        """
        allowed = {up.track_id: up for up in self._allowed(member)}
        for track_id in track_ids:
            if track_id not in allowed:
                raise TrackUnknown(f"{track_id[:40]!r} is not there to receive")
        free = [up for up in allowed.values() if not track_ids or up.track_id in track_ids]
        if not free:
            raise NothingToPlay("nobody sends anything now that you may receive")
        chosen: dict[str, tuple[UpTrack, sdp.Codec]] = {}
        for section in remote.media:
            if section.direction not in ("recvonly", "sendrecv"):
                continue
            numbered = {codec.name: codec for codec in reversed(section.codecs)}
            up = next((one for one in free if one.codec in numbered), None)
            if up is not None:
                free.remove(up)
                chosen[section.mid] = (up, numbered[up.codec])
        if not chosen:
            raise OfferUnsupported("no media section receives what there is, in its codec")

        def closed(name: str) -> None:
            member.players.pop(name, None)
            on_closed(name)

        player = PlayerPeer(player_name, self._certificate, self._ports, closed)
        player.phase_s = self.phase_s
        member.players[player_name] = player
        return player, await player.answer(remote, chosen)

    def quiet_ns(self, participant_id: str) -> int | None:
        """For how long nothing has come from this person; None when nothing ever did."""
        last = max(
            (up.last_packet_ns for up in self.ups.values() if up.participant_id == participant_id),
            default=0,
        )
        return time.monotonic_ns() - last if last else None

    def _allowed(self, member: Member) -> list[UpTrack]:
        return [
            up for up in self.ups.values() if member.participant_id in self._audience(up.track_id)
        ]

    def show(self, member: Member, heights: Mapping[str, int]) -> None:
        """The person's client shows pictures at these heights, by track; 0: not at all."""
        member.heights = heights
        if member.subscriber is not None:
            member.subscriber.show(heights)

    async def renew(self, member: Member) -> None:
        """The person's receiving connection failed: make a new one."""
        subscriber, member.subscriber = member.subscriber, None
        member.offer = None
        if subscriber is not None:
            await subscriber.close()
        await self.subscribe(member)

    def answered(self, member: Member, message: protocol.Answer) -> None:
        """Take the person's answer to our offer; one to a connection that is gone is ignored."""
        subscriber = member.subscriber
        if subscriber is not None and subscriber.name == message.peer:
            member.offer = None
            subscriber.answered(message.sdp)

    def candidate(self, member: Member, message: protocol.Candidate) -> None:
        """Take a trickled candidate for whichever connection it names."""
        if message.candidate:
            for peer in (member.publisher, member.subscriber):
                if peer is not None and peer.name == message.peer:
                    peer.add_candidate(message.candidate)

    def close(self) -> None:
        """Stop every track."""
        for up in self.ups.values():
            up.close()
        self.ups.clear()

    def _lost(self, member: Member, closed: PublishPeer | SubscribePeer) -> None:
        """A connection has failed, or the other side ended it: it holds nothing any more."""
        if member.publisher is closed:
            member.publisher = None
        elif member.subscriber is closed:
            member.subscriber = member.offer = None
        else:
            return
        ending = asyncio.create_task(closed.close())
        self._ending.add(ending)
        ending.add_done_callback(self._ending.discard)
        if member.connection is not None:
            member.connection.lost(closed.name)

    def _offered(
        self, member: Member, name: str, text: str, tracks: list[tuple[str, UpTrack]]
    ) -> None:
        member.offer = {
            "type": "offer",
            "peer": name,
            "sdp": text,
            "tracks": [
                {
                    "mid": mid,
                    "track_id": up.track_id,
                    "participant_id": up.participant_id,
                    "source": up.source,
                }
                for mid, up in tracks
            ],
        }
        member.send(member.offer)


def _layers(told: Told) -> dict[str, Any]:
    """The ``layers`` message: what is received of each picture, and why it is not the best."""
    return {
        "type": "layers",
        "tracks": {track: {"rid": rid, "reason": reason} for track, (rid, reason) in told.items()},
    }


class Offered:
    """A source as offered, with the codec chosen for it."""

    __slots__ = ("codec", "source")

    def __init__(self, source: str, codec: sdp.Codec) -> None:
        self.source = source
        self.codec = codec
