"""Descriptions as nobody honest writes them, as long as a message may be: refused or bounded."""

from __future__ import annotations

import contextlib
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rooms.errors import SdpInvalid
from server.sfu import describe, sdp

LIMIT_BYTES = 60_000
"""As server.protocol allows."""

SECTION = """m=video 9 UDP/TLS/RTP/SAVPF 96 97
c=IN IP4 0.0.0.0
a=ice-ufrag:abcd
a=ice-pwd:abcdefghijklmnopqrstuvwx
a=fingerprint:sha-256 {fingerprint}
a=setup:actpass
a=mid:{mid}
a=sendonly
a=rtcp-mux
a=rtpmap:96 VP8/90000
a=rtpmap:97 rtx/90000
a=fmtp:97 apt=96
"""
HEAD = "v=0\no=- 1 2 IN IP4 127.0.0.1\ns=-\nt=0 0\na=group:BUNDLE 0\n"

LINES = {
    "candidates": "a=candidate:{n} 1 udp 2113937151 10.1.{a}.{b} 40000 typ host\n",
    "ssrcs": "a=ssrc:{n} cname:somebody\n",
    "groups": "a=ssrc-group:FID {n} {m}\n",
    "layers": "a=rid:l{n} send\n",
    "simulcast": "a=simulcast:send l{n};m{n};h{n}\n",
    "extensions": "a=extmap:{b} urn:x:{n}\n",
    "codecs": "a=rtpmap:{b} H264/90000\na=fmtp:{b} packetization-mode=1;x{n}=1\n",
    "feedback": "a=rtcp-fb:96 nack x{n}\n",
    "fingerprints": "a=fingerprint:sha-256 {fingerprint}\n",
    "mids": "a=mid:{n}\n",
    "unknown": "a=x{n}:y\n",
    "empty": "\n",
    "groupings": "a=group:BUNDLE {n}\n",
}


def filled(line: str, n: int) -> str:
    return line.format(n=n, m=n + 1, a=n // 250, b=n % 250 + 1, fingerprint=":".join(["AB"] * 32))


def long(line: str) -> str:
    text = HEAD + filled(SECTION.replace("{mid}", "0"), 0)
    parts, n = [text], 0
    size = len(text)
    while size < LIMIT_BYTES:
        parts.append(filled(line, n))
        size += len(parts[-1])
        n += 1
    return "".join(parts)


@pytest.mark.parametrize("line", LINES.values(), ids=LINES.keys())
def test_a_description_of_the_longest_length_takes_no_time(line: str) -> None:
    text, started = long(line), time.thread_time()
    with contextlib.suppress(SdpInvalid):
        remote = sdp.parse(text)
        assert all(len(media.rids) <= 3 for media in remote.media)
        local = describe.LocalTransport(remote.ice, remote.fingerprints, ())
        answer = describe.answer(
            remote,
            local,
            lambda media: media.codecs[0] if media.codecs else None,
            setup="passive",
            version=1,
        )
        assert len(answer) < 2 * LIMIT_BYTES
    # A quarter of a second at the most: a loop that others wait for.
    assert time.thread_time() - started < 0.5


@pytest.mark.parametrize("count", [sdp.MAX_MEDIA + 1, 130])
def test_too_many_sections_are_refused(count: int) -> None:
    sections = [filled(SECTION.replace("{mid}", str(n)), n) for n in range(count)]
    started = time.thread_time()
    with pytest.raises(SdpInvalid):
        sdp.parse(HEAD + "".join(sections))
    assert time.thread_time() - started < 0.5


@pytest.mark.parametrize(
    "damage",
    [
        "a=mid:" + "x" * 50_000,
        "a=rtpmap:96 VP8/" + "9" * 5000,
        "a=ssrc:" + "9" * 5000 + " cname:x",
        "a=ssrc:-1 cname:x",
        "a=ssrc:99999999999 cname:x",
        "a=ssrc-group:FID a b",
        "a=extmap:0 urn:ietf:params:rtp-hdrext:sdes:mid",
        "a=extmap:99999 urn:ietf:params:rtp-hdrext:sdes:mid",
        "a=fmtp:97 apt=" + "9" * 5000,
        "a=ice-ufrag:" + "x" * 50_000,
        "a=setup:holdconn",
        "a=candidate:" + "1 " * 5000,
        "a=rid:l send\na=rid:l send\na=simulcast:send l;l;l;l;l",
        "a=simulcast:send " + ";".join(f"r{n}" for n in range(5000)),
        "m=video 9 UDP/TLS/RTP/SAVPF " + " ".join(map(str, range(10_000))),
        "m=application 9 UDP/DTLS/SCTP webrtc-datachannel",
        "\0\0\0",
        "a=fingerprint:sha-256 \r\n\r\nm=",
    ],
)
def test_nothing_but_a_refusal_is_raised(damage: str) -> None:
    text = HEAD + filled(SECTION.replace("{mid}", "0"), 0) + damage + "\n"
    with contextlib.suppress(SdpInvalid):
        remote = sdp.parse(text)
        for media in remote.media:
            # Whatever is kept of it can be written into RTCP.
            assert all(0 <= n < 1 << 32 for n in (media.ssrc, media.rtx_ssrc) if n is not None)
            assert all(0 <= codec.payload_type < 128 for codec in media.codecs)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.sampled_from([SECTION, *LINES.values()]).map(
                lambda line: filled(line.replace("{mid}", "1"), 1)
            ),
            st.builds(
                lambda name, value: f"a={name}:{value}\n",
                st.sampled_from(
                    ["mid", "ssrc", "rtpmap", "fmtp", "extmap", "rid", "simulcast", "setup"]
                ),
                st.text(max_size=20),
            ),
            st.text(max_size=30).map(lambda text: text + "\n"),
        ),
        max_size=12,
    )
)
def test_no_lines_raise_anything_else(lines: list[str]) -> None:
    with contextlib.suppress(SdpInvalid):
        sdp.parse(HEAD + filled(SECTION.replace("{mid}", "0"), 0) + "".join(lines))
