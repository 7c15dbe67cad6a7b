"""Descriptions: what browsers offer is understood, what makes no sense is refused."""

from __future__ import annotations

import contextlib

import pytest
from aiortc import RTCConfiguration, RTCPeerConnection
from aiortc.sdp import SessionDescription
from hypothesis import given, settings
from hypothesis import strategies as st

from rooms.errors import CodecUnsupported, SdpInvalid
from server.sfu import describe, sdp

# As Chromium 156 writes it, shortened to the lines that matter.
CHROMIUM = (
    "\r\n".join(
        """v=0
o=- 46117317 2 IN IP4 127.0.0.1
s=-
t=0 0
a=group:BUNDLE 0 1
a=extmap-allow-mixed
a=msid-semantic: WMS stream
m=audio 9 UDP/TLS/RTP/SAVPF 111 63 9
c=IN IP4 0.0.0.0
a=rtcp:9 IN IP4 0.0.0.0
a=ice-ufrag:abcd
a=ice-pwd:abcdefghijklmnopqrstuvwx
a=ice-options:trickle
a=fingerprint:sha-256 AA:BB
a=setup:actpass
a=mid:0
a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level
a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid
a=sendonly
a=msid:stream audio
a=rtcp-mux
a=rtpmap:111 opus/48000/2
a=rtcp-fb:111 transport-cc
a=fmtp:111 minptime=10;useinbandfec=1
a=rtpmap:63 red/48000/2
a=fmtp:63 111/111
a=rtpmap:9 G722/8000
a=ssrc:11 cname:c
m=video 9 UDP/TLS/RTP/SAVPF 96 97 103 104 109 114
c=IN IP4 0.0.0.0
a=ice-ufrag:abcd
a=ice-pwd:abcdefghijklmnopqrstuvwx
a=fingerprint:sha-256 AA:BB
a=setup:actpass
a=mid:1
a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid
a=sendonly
a=rtcp-mux
a=rtpmap:96 VP8/90000
a=rtpmap:97 rtx/90000
a=fmtp:97 apt=96
a=rtpmap:103 H264/90000
a=fmtp:103 level-asymmetry-allowed=1;packetization-mode=0;profile-level-id=42001f
a=rtpmap:104 rtx/90000
a=fmtp:104 apt=103
a=rtpmap:109 H264/90000
a=fmtp:109 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f
a=rtpmap:114 rtx/90000
a=fmtp:114 apt=109
a=ssrc-group:FID 21 22
a=ssrc:21 cname:c
a=ssrc:22 cname:c
""".splitlines()
    )
    + "\r\n"
)


def test_reads_what_chromium_offers() -> None:
    remote = sdp.parse(CHROMIUM)
    audio, video = remote.media
    assert (audio.ssrc, audio.direction, [c.name for c in audio.codecs]) == (
        11,
        "sendonly",
        ["opus"],
    )
    assert (video.ssrc, video.rtx_ssrc) == (21, 22)
    chosen = video.choose(["H264", "VP8"])
    assert (chosen.payload_type, chosen.rtx_payload_type) == (109, 114)
    assert video.choose(["VP8"]).payload_type == 96
    assert video.extension_id(sdp.MID_URI) == 4
    with pytest.raises(CodecUnsupported):
        audio.choose(["H264"])


def test_port_zero_refuses_a_section_but_for_one_that_is_bundled_only() -> None:
    unused = CHROMIUM.replace("m=video 9", "m=video 0")
    assert [one.direction for one in sdp.parse(unused).media] == ["sendonly", "inactive"]
    bundled = unused.replace("a=mid:1\r\n", "a=mid:1\r\na=bundle-only\r\n")
    assert [one.direction for one in sdp.parse(bundled).media] == ["sendonly", "sendonly"]


async def test_a_section_that_is_not_taken_is_refused_in_the_answer() -> None:
    remote = sdp.parse(CHROMIUM)
    local = describe.LocalTransport(
        remote.ice, remote.fingerprints, ("1 1 udp 1 127.0.0.1 9 typ host",)
    )
    text = describe.answer(
        remote,
        local,
        lambda m: m.choose(["VP8"]) if m.kind == "video" else None,
        setup="passive",
        version=1,
    )
    parsed = SessionDescription.parse(text)
    assert [m.port for m in parsed.media] == [0, 9]
    assert parsed.media[1].direction == "recvonly"
    assert str(parsed.group[0]) == "BUNDLE 1"
    assert [c.payloadType for c in parsed.media[1].rtp.codecs] == [96, 97]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "v=0\r\n",
        "nonsense",
        CHROMIUM.replace("a=setup:actpass\r\n", ""),
        CHROMIUM.replace("a=ice-pwd:abcdefghijklmnopqrstuvwx\r\n", ""),
        CHROMIUM.replace("a=mid:1", "a=mid:0"),
        CHROMIUM.replace("a=fingerprint:sha-256 AA:BB\r\n", ""),
        CHROMIUM.replace("m=video 9", "m=video nine"),
        CHROMIUM.replace("96 97 103", "999999 97 103"),
        CHROMIUM + "m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:x\r\n" * 40,
    ],
)
def test_what_makes_no_sense_has_a_code(text: str) -> None:
    with pytest.raises(SdpInvalid):
        sdp.parse(text)


@settings(max_examples=60)
@given(st.data())
def test_no_damage_raises_anything_else(data: st.DataObject) -> None:
    lines = CHROMIUM.split("\r\n")
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(lines) - 1))
        lines[at] = data.draw(st.sampled_from(["", lines[at][:-3], lines[at] + "9", "a=", "m=x"]))
    with contextlib.suppress(SdpInvalid):
        sdp.parse("\r\n".join(lines))


async def test_aiortc_offers_are_understood() -> None:
    peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    peer.addTransceiver("video", "sendonly")
    await peer.setLocalDescription(await peer.createOffer())
    (video,) = sdp.parse(peer.localDescription.sdp).media
    assert {codec.name for codec in video.codecs} == {"H264", "VP8"}
    assert video.ssrc is not None
    await peer.close()


SIMULCAST = """a=rid:l send
a=rid:m send
a=rid:h send
a=simulcast:send {streams}
"""


@pytest.mark.parametrize(
    ("streams", "rids"),
    [
        ("l;m;h", ("l", "m", "h")),
        ("h;~m;l", ("l", "m", "h")),
        ("h;l", ("l", "h")),
        ("h", ()),
        ("l;m;x", ()),
        ("", ()),
    ],
)
def test_layers_are_taken_by_their_names(streams: str, rids: tuple[str, ...]) -> None:
    text = _offer_of_a_camera(SIMULCAST.format(streams=streams))
    (media,) = sdp.parse(text).media
    assert media.rids == rids
    assert sdp.parse(text, simulcast=False).media[0].rids == ()
    answer = _answer(sdp.parse(text))
    wanted = [f"a=rid:{rid} recv" for rid in rids]
    assert [line for line in answer.splitlines() if line.startswith("a=rid")] == wanted
    assert (f"a=simulcast:recv {';'.join(rids)}" in answer) == bool(rids)
    assert "sdes:rtp-stream-id" in answer
    assert "sdes:repaired-rtp-stream-id" in answer


def _offer_of_a_camera(more: str) -> str:
    lines = [
        "v=0",
        "o=- 1 1 IN IP4 127.0.0.1",
        "s=-",
        "t=0 0",
        "a=group:BUNDLE 0",
        "m=video 9 UDP/TLS/RTP/SAVPF 96 97",
        "c=IN IP4 0.0.0.0",
        "a=ice-ufrag:abcd",
        "a=ice-pwd:abcdefghijklmnopqrstuvwx",
        "a=fingerprint:sha-256 " + ":".join(["AB"] * 32),
        "a=setup:actpass",
        "a=mid:0",
        "a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid",
        "a=extmap:10 urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id",
        "a=extmap:11 urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id",
        "a=sendonly",
        "a=rtcp-mux",
        "a=rtpmap:96 VP8/90000",
        "a=rtpmap:97 rtx/90000",
        "a=fmtp:97 apt=96",
        *more.splitlines(),
    ]
    return "\r\n".join(lines) + "\r\n"


def _answer(remote: sdp.RemoteDescription) -> str:
    local = describe.LocalTransport(remote.ice, remote.fingerprints, ())
    return describe.answer(
        remote, local, lambda media: media.choose(["VP8"]), setup="passive", version=1
    )
