"""WHEP: an independent player (aiortc) sees decoded frames of what its seat may receive."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
from aiortc import RTCConfiguration, RTCPeerConnection, RTCRtpReceiver, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack
from http_media import Answer, Held, offer, place, until

from rooms.errors import REGISTRY
from server.agent.sources import SoundSource, SourceClock, Tone
from server.keys import CONDUCTORS, MEDIA_RESOURCES

__all__ = ["place"]

pytestmark = pytest.mark.timeout(60)


class Player:
    """A WHEP player as anybody would write it with aiortc."""

    def __init__(self, place: Held, who: str) -> None:
        self.frames = {"audio": 0, "video": 0}
        self.width = 0
        self.url = ""
        self._place = place
        self._who = who
        self._peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self._peer.on("track", self._received)
        self._readers: set[asyncio.Task[None]] = set()

    @property
    def state(self) -> str:
        """Of the connection."""
        return str(self._peer.connectionState)

    async def play(self, query: str = "", *kinds: str, codec: str | None = None) -> Answer:
        """Offer to receive; take the answer, if it is one."""
        for kind in kinds or ("video", "audio"):
            transceiver = self._peer.addTransceiver(kind, direction="recvonly")
            if codec is not None and kind == "video":
                known = RTCRtpReceiver.getCapabilities("video").codecs
                transceiver.setCodecPreferences([c for c in known if c.mimeType.endswith(codec)])
        await self._peer.setLocalDescription(await self._peer.createOffer())
        text = self._peer.localDescription.sdp
        answer = await self._place.ask("POST", self._place.whep + query, text, who=self._who)
        if answer.status == 201:
            self.url = answer.headers["Location"]
            await self._peer.setRemoteDescription(RTCSessionDescription(answer.text, "answer"))
        return answer

    async def plays(self, query: str = "", *kinds: str) -> Answer:
        """Play, and wait until it sees and hears what it asked for."""
        answer = await self.play(query, *kinds)
        assert answer.status == 201, answer.text
        await until(lambda: all(self.frames[kind] > 5 for kind in kinds or self.frames))
        return answer

    def _received(self, track: MediaStreamTrack) -> None:
        self._readers.add(asyncio.ensure_future(self._read(track)))

    async def _read(self, track: MediaStreamTrack) -> None:
        with contextlib.suppress(MediaStreamError):
            while True:
                frame = await track.recv()
                self.frames[track.kind] += 1
                self.width = getattr(frame, "width", self.width)

    async def close(self) -> None:
        """End it without a word."""
        for reader in self._readers:
            reader.cancel()
        await self._peer.close()


@contextlib.asynccontextmanager
async def player(place: Held, who: str = "officer") -> AsyncIterator[Player]:
    """A player of somebody, ended afterwards."""
    one = Player(place, who)
    try:
        yield one
    finally:
        await one.close()


async def test_a_player_with_a_seat_of_its_own_sees_and_hears(place: Held) -> None:
    session = place.session
    await session.join()
    await session.officer.leave()
    async with player(place) as screen:
        answer = await screen.plays()
        assert answer.headers["ETag"]
        assert answer.text.count("a=sendonly") == 2
        assert screen.width == 640
        seats = session.site.state["participants"]
        assert seats[0]["present"] == "yes"
        trickled = await place.ask(
            "PATCH",
            screen.url,
            "a=candidate:1 1 udp 2122 127.0.0.1 9 typ host\r\n",
            who="officer",
            content_type="application/trickle-ice-sdpfrag",
            If_Match=answer.headers["ETag"],
        )
        assert trickled.status == 204
        assert (await place.ask("DELETE", screen.url, who="officer")).status == 200
        await until(lambda: session.site.state["participants"][0]["present"] == "no")
        await until(lambda: screen.state in ("closed", "failed"))
    assert (await place.ask("DELETE", screen.url, who="officer")).code == "resource_unknown"
    assert not place.server.app[MEDIA_RESOURCES]._seats


async def test_a_player_beside_its_owners_browser(place: Held) -> None:
    session = place.session
    await session.join()
    async with player(place) as screen:
        await screen.plays("?track=cam-1", "video")
    # It went without a word; the browser stays where it is.
    resources = place.server.app[MEDIA_RESOURCES]
    await until(lambda: not resources._resources)
    assert session.officer.state["participants"][0]["present"] == "yes"
    async with player(place) as screen:
        await screen.plays("", "audio")
        await session.officer.leave()
        await until(lambda: not resources._resources)
        await until(lambda: screen.state in ("closed", "failed"))


async def test_an_encoder_and_a_player_share_a_place_until_the_browser_takes_it(
    place: Held,
) -> None:
    session = place.session
    await session.officer.join(session.session_id)
    await session.officer.publish({"microphone": SoundSource(SourceClock(), Tone())}, ["H264"])
    made = await place.ask("POST", place.whip, offer())
    assert made.status == 201, made.text
    async with player(place, "site") as screen:
        await screen.plays("", "audio")
        await until(lambda: set(place.tracks(1)) == {"camera", "microphone"})
        assert (await place.ask("DELETE", made.headers["Location"])).status == 200
        await until(lambda: place.tracks(1) == {})
        assert place.present(1) == "yes"
        conductor = await place.server.app[CONDUCTORS].get(session.session_id)
        assert all(
            one.publisher is None for one in conductor._people.members.values() if one.players
        )
        await session.site.join(session.session_id)
        heard = screen.frames["audio"]
        await until(lambda: screen.frames["audio"] > heard + 10)
        assert (await place.ask("DELETE", screen.url)).status == 200
        await asyncio.sleep(0.1)
        assert place.present(1) == "yes"


async def test_players_end_when_the_session_is_sealed(place: Held) -> None:
    session = place.session
    await session.join()
    await session.go_live()
    async with player(place) as screen:
        await screen.plays()
        await session.close()
        await until(lambda: not place.server.app[MEDIA_RESOURCES]._resources)
        await until(lambda: screen.state in ("closed", "failed"))
    over = await place.ask("POST", place.whep, offer("recvonly"), who="officer")
    assert (over.status, over.code) == (409, "nothing_to_play")


async def test_a_track_that_goes_and_comes_again(place: Held) -> None:
    session = place.session
    await session.join()
    async with player(place) as screen:
        await screen.plays("?track=mic-1", "audio")
        conductor = await place.server.app[CONDUCTORS].get(session.session_id)
        before = conductor._forwarding.ups["mic-1"]
        await session.site.request("unpublish", track_id="mic-1")
        assert "mic-1" not in conductor._forwarding.ups
        await session.site.publish({"microphone": SoundSource(SourceClock(), Tone())}, ["H264"])
        await until(lambda: "mic-1" in conductor._forwarding.ups)
        assert conductor._forwarding.ups["mic-1"] is not before
        heard = screen.frames["audio"]
        await until(lambda: screen.frames["audio"] > heard + 10)


async def test_a_player_hears_nothing_of_what_its_seat_may_not(place: Held) -> None:
    session = place.session
    await session.join()
    # One's own tracks are not received: the detention site is the only one that sends.
    async with player(place, "site") as screen:
        own = await screen.play()
        assert (own.status, own.code) == (409, "nothing_to_play")
        assert int(own.headers["Retry-After"]) > 0
    async with player(place) as screen:
        absent = await screen.play("?track=cam-9")
        assert (absent.status, absent.code) == (404, "track_unknown")
    async with player(place) as screen:
        other = await screen.play("", "video", codec="VP8")
        assert (other.status, other.code) == (422, "offer_unsupported")
    for asked, status, code in (
        ({"body": offer("sendonly")}, 422, "offer_unsupported"),
        ({"body": "v=0"}, 400, "sdp_invalid"),
        (
            {"body": offer("recvonly"), "content_type": "text/plain"},
            415,
            "content_type_unsupported",
        ),
        ({"body": offer("recvonly"), "who": None}, 401, "not_signed_in"),
        ({"body": offer("recvonly"), "token": "guessed"}, 401, "token_invalid"),
        ({"method": "PUT"}, 405, "method_refused"),
    ):
        asked = {"method": "POST", "who": "officer", **asked}
        refused = await place.ask(asked.pop("method"), place.whep, **asked)
        assert (refused.status, refused.code) == (status, code)
        assert REGISTRY[code].status == status
    assert not place.server.app[MEDIA_RESOURCES]._resources
