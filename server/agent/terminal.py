"""A terminal without a screen: joins, publishes and receives as a browser does, over real WebRTC.

One connection publishes (it offers), another receives (the server offers, at each change anew).

Before this: :mod:`server.agent.sources` and :mod:`server.agent.signalling`. After: the server, as
from any browser.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aiortc import (
    MediaStreamTrack,
    RTCConfiguration,
    RTCIceServer,
    RTCPeerConnection,
    RTCSessionDescription,
)
from aiortc.mediastreams import MediaStreamError
from av import VideoFrame

from rooms.errors import MediaUnreachable, ServerUnreachable, TingxunError
from server.agent import peers
from server.agent.signalling import CONNECT_TIMEOUT_S, Signalling
from server.agent.sources import PacedTrack, VideoSource
from server.sfu import seam

logger = logging.getLogger(__name__)

DIRECT_S = 5.0
"""How long a way is given to connect while there is another one to try."""

AGAIN_S = 1.0
"""Between two attempts to publish again."""

_LOOK_EVERY = 12
"""One picture in so many is compared with the one before it to see whether it moves."""


@dataclass(slots=True)
class Received:
    """What has arrived of one remote track. ``frames`` are decoded ones."""

    track_id: str
    source: str
    participant_id: str
    frames: int = 0
    width: int = 0
    height: int = 0
    moves: int = 0
    """How often a picture differed from the one that was looked at before it."""
    _looked: int | None = None

    def count(self, frame: Any) -> None:
        """Take note of a decoded frame; none of it is kept."""
        self.frames += 1
        if isinstance(frame, VideoFrame):
            self.width, self.height = frame.width, frame.height
            if self.frames % _LOOK_EVERY == 1:
                looked = hash(bytes(memoryview(frame.planes[0])[::61]))
                self.moves += self._looked not in {None, looked}
                self._looked = looked


class Terminal(Signalling):
    """One signed-in participant with media. Use as ``async with Terminal(url) as terminal``.

    ``received`` says what has arrived, by track id. aiortc decodes all that it receives.
    """

    def __init__(self, url: str) -> None:
        """``url`` is the server's origin, ``http://host:port``."""
        super().__init__(url)
        self._peers = itertools.count(1)
        self._publishing: RTCPeerConnection | None = None
        self._publishing_name = ""
        self._media_address = ""
        """Our address when the media connections were made."""
        self._receiving: RTCPeerConnection | None = None
        self._receiving_name = ""
        self._waiting: asyncio.Task[None] | None = None
        self._way = 0
        self._takers: dict[str, asyncio.Task[None]] = {}
        self._track_ids: dict[str, str] = {}
        self.received: dict[str, Received] = {}
        self._sending: tuple[Mapping[str, PacedTrack], Sequence[str]] | None = None
        self._republishing: asyncio.Task[None] | None = None
        self._renewing: asyncio.Task[None] | None = None

    def _relays(self) -> list[RTCIceServer]:
        """The relays that the server names, one by one: aiortc uses the first of a list alone."""
        return [
            RTCIceServer(urls=url, username=server["username"], credential=server["credential"])
            for server in self.welcome.get("ice_servers", [])
            for url in server["urls"]
            if url.startswith("turn")
        ]

    def _configuration(self) -> RTCConfiguration:
        """The way that is tried now: 0 is the direct one, then one relay after the other.

        aiortc waits for its relay before it offers anything, so nobody who needs none asks one.
        """
        return RTCConfiguration(iceServers=self._relays()[: self._way][-1:])

    def _another_way(self, failed: int) -> bool:
        """Go on to the next way, unless that was done already; False where there is no other."""
        if self._way == failed:
            if self._way >= len(self._relays()):
                return False
            self._way += 1
        return True

    async def _connected(self, peer: RTCPeerConnection) -> None:
        patience_s = DIRECT_S if self._way < len(self._relays()) else CONNECT_TIMEOUT_S
        await peers.await_connected(peer, patience_s)

    async def publish(
        self, sources: Mapping[str, PacedTrack], codecs: Sequence[str] = ("H264", "VP8")
    ) -> dict[str, str]:
        """Publish tracks by source name on a new connection; return source name -> track id.

        ``codecs`` are the video codecs to offer, the preferred one first. Raises MediaUnreachable
        when no connection comes about, directly or by a relay, and what the server refuses. They
        are published again by themselves where a server has lost them.
        """
        self._sending = sources, codecs
        while True:
            way = self._way
            try:
                return await self._publish(sources, codecs)
            except MediaUnreachable:
                if not self._another_way(way):
                    raise

    async def _publish(
        self, sources: Mapping[str, PacedTrack], codecs: Sequence[str]
    ) -> dict[str, str]:
        await self._close_publishing(sources.values())
        peer = self._publishing = RTCPeerConnection(self._configuration())
        self._publishing_name = name = f"p{next(self._peers)}"
        self._media_address = self.address
        senders = {}
        for source, track in sources.items():
            if isinstance(track, VideoSource):
                # Whoever receives this connection has seen nothing of what was sent on another.
                track.want_key_frame()
            transceiver = peer.addTransceiver(track, direction="sendonly")
            if track.kind == "video":
                transceiver.setCodecPreferences(peers.preferences(codecs))
            senders[source] = transceiver
        await peer.setLocalDescription(await peer.createOffer())
        mids = {source: str(transceiver.mid) for source, transceiver in senders.items()}
        answer = await self.request(
            "publish",
            peer=name,
            sdp=peer.localDescription.sdp,
            tracks=[{"mid": mid, "source": source} for source, mid in mids.items()],
        )
        chosen = peers.codecs_of(answer["sdp"])
        for source, track in sources.items():
            sender = senders[source].sender
            seam.stamp_sender_reports(sender, track.newest_ntp)
            if isinstance(track, VideoSource):
                track.codec = chosen[mids[source]]
                seam.on_key_frame_request(sender, track.want_key_frame)
        await peer.setRemoteDescription(RTCSessionDescription(answer["sdp"], "answer"))
        await self._connected(peer)
        peer.on("connectionstatechange", lambda: self._publishing_changed(peer))
        ids = {entry["mid"]: entry["track_id"] for entry in answer["tracks"]}
        return {source: ids[mid] for source, mid in mids.items()}

    def rejoined(self) -> None:
        """Make media connections anew where the server, the line or our address lost the old."""
        moved = self._media_address not in ("", self.address)
        if (
            moved
            or self.welcome.get("publishing") != self._publishing_name
            or peers.is_over(self._publishing)
        ):
            self._publish_again()
        if self.welcome.get("receiving") != self._receiving_name:
            # Another server, or the same that has let it go: its next offer is for a new one.
            self._receiving_name = ""
        elif moved or peers.is_over(self._receiving):
            self._renew_soon()
        self._media_address = self.address

    def dropped(self, peer: str) -> None:
        """Make the media connection anew that has ended at the server."""
        if peer == self._publishing_name:
            self._publish_again()
        elif peer == self._receiving_name:
            self._renew_soon()

    def _publishing_changed(self, peer: RTCPeerConnection) -> None:
        if peer is self._publishing and peers.is_over(peer):
            self._publish_again()

    def _publish_again(self) -> None:
        if self._sending is not None:
            if self._republishing is not None:
                self._republishing.cancel()
            self._republishing = asyncio.create_task(self._republish(*self._sending))

    def _renew_soon(self) -> None:
        self._renewing = asyncio.create_task(self._renew())

    async def _renew(self) -> None:
        with contextlib.suppress(TingxunError):  # without a line the next welcome sees to it
            await self.send({"type": "renew"})

    async def _republish(self, sources: Mapping[str, PacedTrack], codecs: Sequence[str]) -> None:
        while True:
            try:
                await self.publish(sources, codecs)
            except MediaUnreachable as error:
                logger.warning("not published again yet: %s", error.message)
                await asyncio.sleep(AGAIN_S)
            except TingxunError as error:
                # Without a line the next welcome sees to it; a refusal stays one.
                logger.warning("not published again: %s", error.message)
                return
            else:
                return

    async def offered(self, offer: dict[str, Any]) -> None:
        """Take part in the server's sending connection; a new name means a new connection."""
        peer = self._receiving
        if peer is None or offer["peer"] != self._receiving_name:
            await self._close_receiving()
            peer = self._receiving = RTCPeerConnection(self._configuration())
            self._receiving_name = offer["peer"]
            self._waiting = asyncio.create_task(self._wait_to_receive(peer))
        for entry in offer["tracks"]:
            self.received.setdefault(
                entry["track_id"],
                Received(entry["track_id"], entry["source"], entry["participant_id"]),
            )
        await peer.setRemoteDescription(RTCSessionDescription(offer["sdp"], "offer"))
        await peer.setLocalDescription(await peer.createAnswer())
        self._track_ids = {entry["mid"]: entry["track_id"] for entry in offer["tracks"]}
        for transceiver in peer.getTransceivers():
            mid = str(transceiver.mid)
            if mid in self._track_ids and mid not in self._takers:
                taking = self._take_track(mid, transceiver.receiver.track)
                self._takers[mid] = asyncio.create_task(taking)
        with contextlib.suppress(ServerUnreachable):  # the server offers again after a resume
            sdp = peer.localDescription.sdp
            await self.send({"type": "answer", "peer": offer["peer"], "sdp": sdp})

    async def _wait_to_receive(self, peer: RTCPeerConnection) -> None:
        """Ask for another connection where this one does not come about."""
        way = self._way
        try:
            await self._connected(peer)
        except MediaUnreachable as error:
            if self._another_way(way):
                with contextlib.suppress(ServerUnreachable):
                    await self.send({"type": "renew"})
            else:
                logger.warning("nothing is received: %s", error.message)

    @property
    def arriving(self) -> set[str]:
        """Ids of the remote tracks of which something was decoded."""
        return {track_id for track_id, received in self.received.items() if received.frames}

    async def wait_for_media(self, tracks: int, *, timeout_s: float) -> None:
        """Wait until so many remote tracks arrive. Raises MediaUnreachable."""
        try:
            await self.wait_for(
                "media", lambda _: len(self.arriving) >= tracks, timeout_s=timeout_s
            )
        except ServerUnreachable as error:
            raise MediaUnreachable(
                f"{error.message}: {', '.join(sorted(self.arriving)) or 'nothing'} arrived"
            ) from error

    async def _take_track(self, mid: str, track: MediaStreamTrack) -> None:
        """Read a remote track to its end, and count; it would fill memory if nobody read it."""
        with contextlib.suppress(MediaStreamError):
            while True:
                frame = await track.recv()
                if (received := self.received.get(self._track_ids.get(mid, ""))) is not None:
                    received.count(frame)
                    if received.frames % _LOOK_EVERY == 1:
                        self._changed.set()

    async def leave(self) -> None:
        """Say goodbye and close everything that was opened. Can be called more than once."""
        await super().leave()
        for task in (self._republishing, self._renewing):
            if task is not None:
                task.cancel()
        await self._close_publishing()
        await self._close_receiving()

    async def _close_publishing(self, keep: Collection[PacedTrack] = ()) -> None:
        peer, self._publishing = self._publishing, None
        # That it is over will be told, and is no news.
        self._publishing_name = ""
        if peer is not None:
            for sender in peer.getSenders():
                if sender.track in keep:
                    # Otherwise closing the connection ends the track for good.
                    sender.replaceTrack(None)
            await peers.close(peer)

    async def _close_receiving(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            await asyncio.gather(self._waiting, return_exceptions=True)
            self._waiting = None
        peer, self._receiving = self._receiving, None
        if peer is not None:
            await peers.close(peer)
        takers = list(self._takers.values())
        for taker in takers:
            taker.cancel()
        await asyncio.gather(*takers, return_exceptions=True)
        self._takers.clear()
