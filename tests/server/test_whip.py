"""WHIP: FFmpeg's own muxer becomes recorded tracks; every refusal has its status and code."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
from http_media import Held, offer, place, until
from self_signed import self_signed
from session_in_hand import ledger, tracks, verified

from rooms.errors import REGISTRY
from server.keys import MEDIA_RESOURCES
from server.sfu import seam

__all__ = ["place"]

pytestmark = pytest.mark.timeout(90)

FRAGMENT = "application/trickle-ice-sdpfrag"
CANDIDATE = "m=audio 9 RTP/AVP 0\r\na=mid:0\r\na=candidate:1 1 udp 2122 127.0.0.1 9 typ host\r\n"


@pytest.fixture
def certificate(tmp_path: Path) -> dict[str, str]:
    """Options by which FFmpeg uses a certificate on P-256.

    FFmpeg with GnuTLS, as in PyAV, makes itself one on P-224, which OpenSSL 4 no longer speaks.
    """
    certificate, key, _ = self_signed(tmp_path, "encoder")
    return {"cert_file": str(certificate), "key_file": str(key)}


class Encoder:
    """FFmpeg's WHIP muxer, sending."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    @classmethod
    async def start(cls, place: Held, query: str, seconds: float, **options: str) -> Encoder:
        """Start it as the detention site, and wait until its media flows."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            str(Path(__file__).parents[1] / "whip_client.py"),
            f"{place.server.url}{place.whip}{query}",
            place.token("site"),
            str(seconds),
            *(f"{name}={value}" for name, value in options.items()),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        encoder = cls(process)
        assert await encoder.says() == "sending", (await process.communicate())[1].decode()
        return encoder

    async def says(self) -> str:
        """The next line that it prints."""
        assert self.process.stdout is not None
        line = await asyncio.wait_for(self.process.stdout.readline(), 20)
        return line.decode().strip()

    async def stop(self) -> None:
        """End it, however it is."""
        if self.process.returncode is None:
            self.process.kill()
        await self.process.communicate()


@pytest.mark.parametrize("role", ["passive", "active"])
async def test_ffmpeg_becomes_recorded_tracks_in_an_archive_that_verifies(
    place: Held, certificate: dict[str, str], role: str
) -> None:
    session = place.session
    await session.officer.join(session.session_id)
    if role == "active":
        certificate["whip_flags"] = "dtls_active"
    encoder = await Encoder.start(place, "?source=wide_camera", 40, **certificate)
    try:
        await session.officer.wait_for_media(2, timeout_s=10)
        assert place.tracks(1) == {"wide_camera": "wide-1", "microphone": "mic-1"}
        await session.go_live()
        await asyncio.sleep(5)
        await session.close()
        await until(lambda: place.present(1) == "no")
    finally:
        await encoder.stop()
    closing = tracks(ledger(verified(place.server.config, session.session_id)))
    assert set(closing) == {"wide-1", "mic-1"}
    for track in closing.values():
        assert track["captured_us"] > 4_000_000, track
        assert track["gap_us"] < 200_000, track


async def test_the_end_of_ffmpeg_frees_the_seat(place: Held, certificate: dict[str, str]) -> None:
    session = place.session
    await session.officer.join(session.session_id)
    encoder = await Encoder.start(place, "", 1.0, **certificate)
    try:
        await until(lambda: place.present(1) == "yes")
        assert await encoder.says() == "ended"
        await until(lambda: place.present(1) == "no")
        assert place.tracks(1) == {}
    finally:
        await encoder.stop()


async def test_an_encoder_that_was_killed_is_followed_by_the_next_on_the_same_tracks(
    place: Held, certificate: dict[str, str]
) -> None:
    session = place.session
    await session.officer.join(session.session_id)
    first = await Encoder.start(place, "", 60, **certificate)
    try:
        await session.officer.wait_for_media(2, timeout_s=10)
        tracks = place.tracks(1)
        refused = await place.ask("POST", place.whip, offer())
        assert (refused.status, refused.code) == (409, "already_joined")
        assert int(refused.headers["Retry-After"]) > 0
        os.kill(first.process.pid, signal.SIGKILL)
        await asyncio.sleep(2.5)
        second = await Encoder.start(place, "", 60, **certificate)
        try:
            await until(lambda: place.present(1) == "yes" and place.tracks(1) == tracks)
        finally:
            await second.stop()
    finally:
        await first.stop()


async def begin(place: Held, who: str = "site") -> tuple[str, str]:
    """A WHIP session of a client that never connects: its URL and entity tag."""
    made = await place.ask("POST", place.whip, offer(), who=who)
    assert made.status == 201, made.text
    assert made.headers["Content-Type"] == "application/sdp"
    assert made.text.startswith("v=0")
    assert made.text.count("a=recvonly") == 2
    assert "a=candidate:" in made.text
    assert "a=setup:passive" in made.text
    assert made.headers["Location"].startswith(place.whip + "/")
    return made.headers["Location"], made.headers["ETag"]


async def test_a_session_from_beginning_to_end(place: Held) -> None:
    await place.session.officer.join(place.session.session_id)
    url, tag = await begin(place)
    await until(lambda: place.tracks(1) == {"camera": "cam-1", "microphone": "mic-1"})
    trickled = await place.ask(
        "PATCH", url, "a=ice-ufrag:abcd1234\r\na=ice-pwd:abcdefghijklmnopqrstuvwx\r\n" + CANDIDATE,
        content_type=FRAGMENT, If_Match=tag,
    )  # fmt: skip
    assert (trickled.status, trickled.text) == (204, "")
    assert "ETag" not in trickled.headers
    assert (await place.ask("GET", url)).status == 204
    ended = await place.ask("DELETE", url, If_Match='"of no concern"')
    assert ended.status == 200
    await until(lambda: place.present(1) == "no" and place.tracks(1) == {})
    assert (await place.ask("DELETE", url)).code == "resource_unknown"


async def test_a_client_that_never_connects_does_not_keep_the_seat(
    place: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seam, "CONNECT_S", 0.5)
    await place.session.officer.join(place.session.session_id)
    url, _ = await begin(place)
    await until(lambda: place.present(1) == "yes")
    await until(lambda: place.present(1) == "no")
    assert (await place.ask("DELETE", url)).status == 404


async def test_who_is_in_by_browser_is_not_replaced(place: Held) -> None:
    await place.session.site.join(place.session.session_id)
    refused = await place.ask("POST", place.whip, offer())
    assert (refused.status, refused.code) == (409, "already_joined")
    # But a person who opens the session in a browser takes their own place back.
    url, _ = await begin(place, who="officer")
    await place.session.officer.join(place.session.session_id)
    assert (await place.ask("GET", url, who="officer")).status == 404
    assert place.tracks(0) == {}


LONG = "x" * 99
REFUSED_OFFERS: list[tuple[dict[str, Any], int, str]] = [
    ({"who": None}, 401, "not_signed_in"),
    ({"token": "guessed"}, 401, "token_invalid"),
    ({"content_type": "application/json"}, 415, "content_type_unsupported"),
    ({"content_type": None}, 415, "content_type_unsupported"),
    ({"body": ""}, 400, "sdp_invalid"),
    ({"body": "v=0\r\n"}, 400, "sdp_invalid"),
    ({"body": b"\xff\xfe"}, 400, "sdp_invalid"),
    (
        {"body": offer().replace(":0\r", ":" + LONG + "\r").replace("E 0", "E " + LONG)},
        400,
        "sdp_invalid",
    ),
    ({"body": offer().replace("a=fingerprint", "a=footprint")}, 400, "sdp_invalid"),
    ({"body": "v=0" * 30_000}, 413, "message_too_large"),
    ({"body": offer("recvonly")}, 422, "offer_unsupported"),
    ({"body": offer("inactive")}, 422, "offer_unsupported"),
    ({"body": offer().replace("a=group:BUNDLE 0 1", "a=group:BUNDLE 0")}, 422, "offer_unsupported"),
    ({"body": offer().replace("a=rtcp-mux\r\n", "", 1)}, 422, "offer_unsupported"),
    ({"body": offer("sendonly", "video", "video")}, 422, "offer_unsupported"),
    ({"body": offer("sendonly", "video", codec="VP9/90000")}, 422, "offer_unsupported"),
    ({"query": "?source=microphone"}, 422, "field_invalid"),
    ({"query": "?audio=camera"}, 422, "field_invalid"),
    ({"query": "?source=nose"}, 422, "field_invalid"),
    ({"query": "?source=evidence_display"}, 403, "not_permitted"),
    ({"path": "/whip/sessions/no-such-session"}, 404, "session_unknown"),
    ({"method": "PUT"}, 405, "method_refused"),
    ({"method": "DELETE"}, 405, "method_refused"),
]


async def test_offers_that_are_refused(place: Held) -> None:
    for row, status, code in REFUSED_OFFERS:
        changes = {"method": "POST", "path": place.whip, "query": "", "body": offer(), **row}
        method, path = changes.pop("method"), changes.pop("path") + changes.pop("query")
        refused = await place.ask(method, path, **changes)
        assert (refused.status, refused.code) == (status, code), (row, refused.text)
        assert REGISTRY[code].status == status
        if status == 401:
            assert refused.headers["WWW-Authenticate"] == "Bearer"
        if status == 405:
            assert "POST" in refused.headers["Allow"]
    # Nothing is left of them: the person can still come in by a browser.
    assert not place.server.app[MEDIA_RESOURCES]._seats
    await place.session.site.join(place.session.session_id)
    assert place.session.site.state["participants"][1]["tracks"] == []


async def test_without_a_seat_and_after_the_end(place: Held) -> None:
    stranger, _ = await place.server.accounts.add("stranger", "Stranger", "officer", None)
    token = (await place.server.accounts.issue_token(stranger)).token
    refused = await place.ask("POST", place.whip, offer(), token=token)
    assert (refused.status, refused.code) == (403, "not_assigned")
    session = place.session
    await session.join()
    await session.go_live()
    await session.close()
    await session.site.leave()
    refused = await place.ask("POST", place.whip, offer())
    assert (refused.status, refused.code) == (409, "session_closed")


CHANGES: list[tuple[dict[str, Any], int, str]] = [
    ({"content_type": "application/sdp"}, 415, "content_type_unsupported"),
    ({"If_Match": ""}, 412, "precondition_failed"),
    ({"If_Match": '"another"'}, 412, "precondition_failed"),
    ({"no_tag": "x"}, 428, "precondition_required"),
    ({"body": ""}, 400, "sdp_invalid"),
    ({"body": "no fragment"}, 400, "sdp_invalid"),
    ({"body": "a=x\r\n" * 300}, 400, "sdp_invalid"),
    ({"body": b"\xff"}, 400, "sdp_invalid"),
    ({"body": "a=ice-ufrag:new1\r\na=ice-pwd:new\r\n"}, 422, "ice_restart_unsupported"),
    (
        {"body": "a=ice-ufrag:new1\r\na=ice-pwd:new\r\n", "If_Match": "*"},
        422,
        "ice_restart_unsupported",
    ),
    ({"who": "officer"}, 404, "resource_unknown"),
    ({"who": None}, 401, "not_signed_in"),
    ({"method": "POST"}, 405, "method_refused"),
    ({"method": "PUT"}, 405, "method_refused"),
    ({"body": "a=candidate:garbage\r\na=candidate:\r\n"}, 204, ""),
    ({"body": "a=candidate:1 1 tcp 1 10.0.0.1 9 typ host tcptype active"}, 204, ""),
    ({"body": "a=end-of-candidates"}, 204, ""),
    ({"body": CANDIDATE, "If_Match": "*"}, 204, ""),
]


async def test_a_change_that_is_refused_leaves_the_session_alone(place: Held) -> None:
    url, tag = await begin(place)
    for row, status, code in CHANGES:
        changes = {"method": "PATCH", "body": CANDIDATE, "content_type": FRAGMENT, **row}
        if not changes.pop("no_tag", None):
            changes.setdefault("If_Match", tag)
        answer = await place.ask(changes.pop("method"), url, **changes)
        assert (answer.status, answer.code) == (status, code), (row, answer.text)
        assert (await place.ask("GET", url)).status == 204
    assert (await place.ask("DELETE", url)).status == 200


async def test_what_an_endpoint_says_of_itself(place: Held) -> None:
    for endpoint in (place.whip, place.whep):
        assert (await place.ask("GET", endpoint, who=None)).status == 204
        assert (await place.ask("HEAD", endpoint, who=None)).status == 204
        options = await place.ask("OPTIONS", endpoint, who=None)
        assert (options.status, options.headers["Accept-Post"]) == (200, "application/sdp")


async def test_nothing_is_kept_of_sessions_that_ended(place: Held) -> None:
    url, _ = await begin(place)
    resources = place.server.app[MEDIA_RESOURCES]
    assert len(resources._seats) == len(resources._resources) == 1
    await place.ask("DELETE", url)
    assert not resources._seats
    assert not resources._resources
