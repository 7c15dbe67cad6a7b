"""A participant who sends what nobody should, and strangers: the others and the archive stay whole.

Everything really goes through sockets. The officer attacks, the detention site is the other one.
"""

from __future__ import annotations

import asyncio
import os
import random
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiortc import RTCRtpReceiver
from aiortc.rtp import RtcpPacket
from bad_line import INSIDE, Trouble
from prometheus_client.parser import text_string_to_metric_families
from session_in_hand import gaps, tracks

from server.agent.picture import ClockPicture
from server.agent.sources import SoundSource, SourceClock, Tone, VideoSource
from server.sfu import rtp

pytestmark = pytest.mark.timeout(90)

OTHERS = ("cam-1", "mic-1")
ENOUGH = 0.7
"""Of the 25 pictures and 50 sounds a second: a busy machine leaves some out by itself."""


def sources() -> dict[str, Any]:
    clock = SourceClock()
    return {
        "camera": VideoSource(clock, ClockPicture("OFFICER", "CAMERA", 320, 180)),
        "microphone": SoundSource(clock, Tone()),
    }


async def metrics(held: Any) -> dict[str, float]:
    """Every counter that has no track's kind, or the sum over the kinds."""
    found: dict[str, float] = {}
    async with aiohttp.ClientSession() as http:
        async with http.get(f"{held.server.url}/metrics") as response:
            text = await response.text()
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found[sample.name] = found.get(sample.name, 0) + sample.value
    return found


@asynccontextmanager
async def others_go_on(held: Any) -> AsyncIterator[None]:
    """Whatever is done within, everybody goes on seeing and hearing the site."""
    received = held.session.officer.received
    loop = asyncio.get_running_loop()
    before, since_s = {name: received[name].frames for name in OTHERS}, loop.time()
    yield
    seconds = loop.time() - since_s
    for name, per_s in zip(OTHERS, (25, 50), strict=True):
        seen = received[name].frames - before[name]
        assert seen >= ENOUGH * per_s * seconds - per_s, (name, seen, seconds)


def whole(lines: list[dict[str, Any]]) -> None:
    """The site's tracks are in the archive without a gap, and are the same as before."""
    for name in OTHERS:
        told = tracks(lines)[name]
        assert told["gaps"] == 0, gaps(lines, name)
        assert told["captured_us"] >= 0.999 * told["expected_us"], told


class Attacker:
    """The officer's sending connection, below everything that aiortc keeps in order."""

    def __init__(self, terminal: Any, up: Any) -> None:
        senders = terminal._publishing.getSenders()
        for sender in senders:
            sender.replaceTrack(None)
        self.dtls = senders[0].transport
        self.ssrc = up.ssrc
        self.next = up.layers[0].newest.number + 100
        """After what was really sent: our own libsrtp lets no number go back."""
        self._ice = self.dtls.transport._connection

    async def rtp(self, *, ssrc: int, payload_type: int = 96, size: int = 200, n: int = 0) -> None:
        sequence = (self.next + n) & 0xFFFF
        packet = rtp.HEADER.pack(0x80, payload_type, sequence, 90 * n, ssrc) + os.urandom(size)
        await self.raw(self.dtls._tx_srtp.protect(packet))

    async def rtcp(self, packet: bytes) -> None:
        await self.raw(self.dtls._tx_srtp.protect_rtcp(packet))

    async def raw(self, datagram: bytes) -> None:
        await self._ice.send(datagram)


async def attacking(held: Any) -> Attacker:
    """The officer, whose picture and sound the server has got something of."""
    officer = held.session.officer
    ids = await officer.publish(sources(), ["VP8"])
    ups = await held.ups()
    async with asyncio.timeout(10):
        while not all(ups[name].packets > 10 for name in ids.values()):
            await asyncio.sleep(0.05)
    return Attacker(officer, ups[ids["camera"]])


async def in_rounds(attack: Callable[[int], Any], count: int, each: int = 50) -> None:
    """Many times, with a breath after every few: the far ends run in the same loop."""
    for n in range(count):
        await attack(n)
        if n % each == each - 1:
            await asyncio.sleep(0.01)


def stranger_datagrams(draw: random.Random) -> list[bytes]:
    """What somebody who is no peer sends: noise, media, reports, handshakes and checks."""
    return [
        draw.randbytes(draw.randrange(1, 1400)),
        b"\x80\x60" + draw.randbytes(1200),
        b"\x80\xc8" + draw.randbytes(26),
        b"\x16\xfe\xff" + draw.randbytes(300),
        draw.randbytes(9000),
        b"\0\1\0\x08\x21\x12\xa4\x42" + draw.randbytes(12) + b"\0\x06\0\x04ab:c",
    ]


async def test_a_hostile_sender_and_strangers_harm_nobody(hold: Any) -> None:
    async with hold(Trouble(), seed=31) as held:
        attacker = await attacking(held)
        ssrc = attacker.ssrc
        before = await metrics(held)
        draw = random.Random(1)
        # As long as can be: a slow machine must flood as well as a quick one.
        nack = b"\x81\xcd\x01\x00" + bytes(4) + ssrc.to_bytes(4) + b"\0\0\xff\xff" * 254
        ports = {key[0] for key in held.line.flows}
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            stranger.setblocking(False)
            async with others_go_on(held):
                await in_rounds(lambda n: attacker.rtp(ssrc=5000 + n, n=n), 1000)
                await in_rounds(lambda n: attacker.rtp(ssrc=ssrc, payload_type=35, n=n), 1000)
                again = attacker.dtls._tx_srtp.protect(
                    rtp.HEADER.pack(0x80, 96, 7, 7, 77) + bytes(50)
                )
                await in_rounds(lambda n: attacker.raw(again), 500)
                await in_rounds(lambda n: attacker.raw(again[: 12 + n % 40]), 300)
                await in_rounds(lambda n: attacker.raw(b"\x80\x60" + bytes(3000 + n)), 100)
                await in_rounds(lambda n: attacker.rtcp(nack), 3000, 100)
                await in_rounds(
                    lambda n: attacker.rtcp(b"\x80\xc8\0\x06" + draw.randbytes(24 + n % 9)), 200
                )
                for n in range(150):
                    for datagram in stranger_datagrams(draw):
                        stranger.sendto(datagram, (INSIDE, draw.choice(sorted(ports))))
                    if n % 10 == 0:
                        await asyncio.sleep(0.01)
                await asyncio.sleep(1)
        after = await metrics(held)
        lines = await held.sealed()
    counted = {name: value - before.get(name, 0) for name, value in after.items()}
    assert counted["tingxun_rtp_unknown_total"] >= 1000
    assert counted["tingxun_rtp_unexpected_packets_total"] >= 900
    assert counted["tingxun_datagrams_rejected_total"] >= 800
    assert counted["tingxun_rtcp_refused_total"] >= 500
    assert counted["tingxun_datagrams_strange_total"] >= 700
    assert counted["tingxun_datagrams_failed_total"] == 0
    whole(lines)


async def test_ten_times_the_share_is_the_senders_own_loss(hold: Any) -> None:
    async with hold(Trouble(), seed=32) as held:
        attacker = await attacking(held)
        numbers = iter(range(1 << 30))
        async with others_go_on(held):
            # About 40 Mbit/s, where the server asks for 2.5.
            for _ in range(200):
                for _ in range(50):
                    await attacker.rtp(ssrc=attacker.ssrc, size=1000, n=next(numbers))
                await asyncio.sleep(0.01)
        after = await metrics(held)
        lines = await held.sealed()
    assert after["tingxun_rtp_unexpected_packets_total"] > 2000
    whole(lines)


async def test_a_sender_that_falls_silent_is_told_of_and_its_gap_declared(hold: Any) -> None:
    async with hold(Trouble(), seed=33) as held:
        officer, site = held.session.officer, held.session.site
        await asyncio.sleep(1)
        told = site.welcome["participant_id"]
        peer = site._publishing
        senders = [sender for sender in peer.getSenders() if sender.track is not None]
        silenced = [sender.track for sender in senders]
        for sender in senders:
            sender.replaceTrack(None)
        async with asyncio.timeout(8):
            while officer.network[told]["class"] != "bad":
                await asyncio.sleep(0.1)
        assert officer.network[told]["up_loss"] == 1.0
        await asyncio.sleep(1.5)
        # Nothing of the connection has ended, and nobody was taken out of the room.
        assert peer.connectionState == "connected"
        assert officer.state["participants"][1]["present"] == "yes"
        for sender, track in zip(senders, silenced, strict=True):
            sender.replaceTrack(track)
        frames = officer.received["cam-1"].frames
        async with asyncio.timeout(10):
            while officer.received["cam-1"].frames < frames + 25:
                await asyncio.sleep(0.1)
        lines = await held.sealed()
    # Pictures are left out, and that is declared; of sound the terminal makes up for all of it.
    (gap,) = gaps(lines, "cam-1")
    assert gap["cause"] == "device"
    assert 3.5 < (gap["to_us"] - gap["from_us"]) / 1e6 < 12
    for name in OTHERS:
        told = tracks(lines)[name]
        unsaid_us = told["expected_us"] - told["captured_us"] - told["gap_us"]
        assert abs(unsaid_us) < 100_000, told


async def test_another_codec_in_the_middle(hold: Any) -> None:
    """Negotiated anew, a track in another codec is another track; both are in the archive."""
    async with hold(Trouble(), seed=34) as held:
        await asyncio.sleep(1.5)
        again = await held.session.site.publish(
            {
                "camera": VideoSource(SourceClock(), ClockPicture("SITE", "CAMERA", 640, 360)),
                "microphone": SoundSource(SourceClock(), Tone()),
            },
            ["H264"],
        )
        camera = again["camera"]
        async with asyncio.timeout(15):
            while getattr(held.session.officer.received.get(camera), "frames", 0) < 25:
                await asyncio.sleep(0.1)
        await asyncio.sleep(2)
        lines = await held.sealed()
    told = tracks(lines)
    codecs = {line["track"]: line["codec"] for line in lines if line["type"] == "init"}
    assert set(codecs.values()) >= {"vp8", "opus"}
    assert any(codec.startswith("avc3") for codec in codecs.values()), codecs
    assert all(track["segments"] for name, track in told.items() if name.startswith("cam")), told


async def test_a_receiver_that_reports_nothing(hold: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """No report, no request, nothing: it still sees, and costs nobody anything."""

    async def nothing(self: Any, packets: list[RtcpPacket]) -> None:
        return None

    async with hold(Trouble(), seed=35) as held:
        for name in ("_send_rtcp", "_send_rtcp_nack", "_send_rtcp_pli"):
            if hasattr(RTCRtpReceiver, name):
                monkeypatch.setattr(RTCRtpReceiver, name, nothing)
        async with others_go_on(held):
            await asyncio.sleep(6)
        lines = await held.sealed()
    whole(lines)
