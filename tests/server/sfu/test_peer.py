"""A published track reaches a receiver through both peers: real ICE, DTLS and SRTP on loopback."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator, Callable

import pytest
from aioice import stun
from aiortc import (
    RTCCertificate,
    RTCConfiguration,
    RTCPeerConnection,
    RTCRtpSender,
    RTCSessionDescription,
)
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack
from http_media import offer

from server.agent.picture import ClockPicture
from server.agent.sources import SoundSource, SourceClock, Tone, VideoSource
from server.sfu import sdp, seam
from server.sfu.binding import Binding
from server.sfu.port import MediaPorts
from server.sfu.publish_peer import PublishPeer
from server.sfu.subscribe_peer import SubscribePeer
from server.sfu.uptrack import UpTrack

BINDING = Binding("127.0.0.1")
CERTIFICATE = RTCCertificate.generateCertificate()


async def until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    """Wait until ``condition`` holds."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)


class Call:
    """One publisher and one receiver, both aiortc's, joined by our two peers."""

    def __init__(self, codec: str) -> None:
        seam.bind_address("127.0.0.1")
        self.codec = codec
        self.sender = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.receiver = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.frames = {"audio": 0, "video": 0}
        self.key_frame_requests = 0
        self.readers: set[asyncio.Task[None]] = set()
        self.offers: asyncio.Queue[tuple[str, list[tuple[str, UpTrack]]]] = asyncio.Queue()
        self.up = {
            "video": UpTrack("cam-1", "a", "camera", codec, 90000, 10**9),
            "audio": UpTrack("mic-1", "a", "microphone", "opus", 48000, 10**9),
        }
        self.ports = MediaPorts(BINDING)
        self.publish_peer = PublishPeer("p1", CERTIFICATE, self.ports, 2_000_000, lambda peer: None)
        self.subscribe_peer = SubscribePeer(
            "s1",
            CERTIFICATE,
            self.ports,
            on_offer=lambda name, text, tracks: self.offers.put_nowait((text, tracks)),
            on_closed=lambda peer: None,
        )
        self.receiver.on("track", self._received)

    async def publish(self) -> None:
        """Send a test picture and a tone to the publishing peer."""
        clock = SourceClock()
        self.picture = VideoSource(clock, ClockPicture("room", "camera", 640, 360), self.codec)
        sender = self.sender.addTrack(self.picture)
        seam.on_key_frame_request(sender, self._asked)
        self.sender.addTrack(SoundSource(clock, Tone()))
        prefix = "H264" if self.codec == "H264" else "VP8"
        codecs = RTCRtpSender.getCapabilities("video").codecs
        for transceiver in self.sender.getTransceivers():
            if transceiver.kind == "video":
                transceiver.setCodecPreferences(
                    [c for c in codecs if c.mimeType.endswith((prefix, "rtx"))]
                )
            transceiver.direction = "sendonly"
        await self.sender.setLocalDescription(await self.sender.createOffer())
        remote = sdp.parse(self.sender.localDescription.sdp)
        tracks = {m.mid: (self.up[m.kind], m.choose([self.codec, "opus"])) for m in remote.media}
        answer = await self.publish_peer.negotiate(remote, tracks)
        await self.sender.setRemoteDescription(RTCSessionDescription(answer, "answer"))

    async def subscribe(self, *kinds: str) -> None:
        """Let the receiver have these tracks, and answer the offer that comes of it."""
        await self.subscribe_peer.want([self.up[kind] for kind in kinds])
        text, _ = await asyncio.wait_for(self.offers.get(), 5)
        await self.receiver.setRemoteDescription(RTCSessionDescription(text, "offer"))
        await self.receiver.setLocalDescription(await self.receiver.createAnswer())
        self.subscribe_peer.answered(self.receiver.localDescription.sdp)

    def _asked(self) -> None:
        self.key_frame_requests += 1
        self.picture.want_key_frame()

    def _received(self, track: MediaStreamTrack) -> None:
        task = asyncio.ensure_future(self._read(track))
        self.readers.add(task)

    async def _read(self, track: MediaStreamTrack) -> None:
        with contextlib.suppress(MediaStreamError):
            while True:
                await track.recv()
                self.frames[track.kind] += 1

    async def close(self) -> None:
        """End everything."""
        for reader in self.readers:
            reader.cancel()
        await self.publish_peer.close()
        await self.subscribe_peer.close()
        await self.sender.close()
        await self.receiver.close()
        self.ports.close()
        for up in self.up.values():
            up.close()


@pytest.fixture(params=["H264", "VP8"])
async def call(request: pytest.FixtureRequest) -> AsyncIterator[Call]:
    call = Call(request.param)
    try:
        yield call
    finally:
        await call.close()


async def test_forwards_picture_and_sound(call: Call) -> None:
    await call.publish()
    await until(lambda: call.up["video"].packets > 0 and call.up["audio"].packets > 0)
    await call.subscribe("video", "audio")
    await until(lambda: call.frames["video"] > 5 and call.frames["audio"] > 5)
    assert call.key_frame_requests > 0
    assert call.up["video"].unexpected == call.publish_peer.unknown == 0
    assert call.publish_peer.rtcp.malformed == call.subscribe_peer.rtcp.malformed == 0


async def test_the_line_is_known_before_anything_is_sent_on_it(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[float] = []
    estimate, transport = call.subscribe_peer.rationing.estimate, call.subscribe_peer._transport
    monkeypatch.setattr(estimate, "begin", lambda ms, now_ns: begun.append(ms))
    await call.subscribe("audio")
    assert begun == []
    await until(lambda: transport.connected)
    assert len(begun) == 1
    # Later checks may have shown a shorter one.
    assert begun[0] >= (transport.round_trip_ms or 0) > 0


async def test_a_track_added_and_removed_while_connected(call: Call) -> None:
    await call.publish()
    await call.subscribe("audio")
    await until(lambda: call.frames["audio"] > 5)
    await call.subscribe("audio", "video")
    await until(lambda: call.frames["video"] > 5)
    await call.subscribe("audio")
    assert call.up["video"].downs == []
    sound = call.frames["audio"]
    await until(lambda: call.frames["audio"] > sound + 5)


async def test_sender_reports_reach_the_track(call: Call) -> None:
    seen: list[tuple[int, int, int]] = []
    call.up["audio"].tap = lambda packet, now_ns: None
    call.up["audio"].on_report = lambda ntp, rtp, now_ns: seen.append((ntp, rtp, now_ns))
    await call.publish()
    await until(lambda: bool(seen))
    seconds = (seen[0][0] >> 32) - 2_208_988_800
    assert abs(seconds - time.time()) < 60


async def test_an_answer_nobody_waits_for_is_refused(call: Call) -> None:
    with pytest.raises(Exception, match="no offer"):
        call.subscribe_peer.answered("v=0")


async def test_a_check_without_priority_is_taken() -> None:
    """FFmpeg 8.0 sends none, against RFC 8445, 7.1.1."""
    ports = MediaPorts(BINDING)
    peer = PublishPeer("p1", CERTIFICATE, ports, 2_000_000, lambda peer: None)
    up = UpTrack("mic-1", "a", "microphone", "opus", 48000, 10**9)
    remote = sdp.parse(offer("sendonly", "audio"))
    answer = await peer.negotiate(remote, {"0": (up, remote.media[0].codecs[0])})
    local = sdp.parse(answer.replace("a=recvonly", "a=sendonly"))
    check = stun.Message(stun.Method.BINDING, stun.Class.REQUEST)
    check.attributes["USERNAME"] = f"{local.ice.usernameFragment}:{remote.ice.usernameFragment}"
    check.attributes["USE-CANDIDATE"] = None
    check.add_message_integrity(local.ice.password.encode())
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as far:
        far.bind(("127.0.0.1", 0))
        far.setblocking(False)
        far.connect(("127.0.0.1", int(local.candidates[0].split()[5])))
        loop = asyncio.get_running_loop()
        await asyncio.sleep(0.05)
        far.send(bytes(check))
        answers = set()
        async with asyncio.timeout(5):
            while len(answers) < 2:
                answers.add(stun.parse_message(await loop.sock_recv(far, 2048)).message_class)
        # Its own check is proof that ours was not only answered but went on to be used.
        assert answers == {stun.Class.RESPONSE, stun.Class.REQUEST}
    await peer.close()
    ports.close()
