"""A page that is not ours, on another site: plain WebRTC in Chromium, as WHIP client and player."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from in_page import (
    MOVES,
    REMOTE,
    accounts,
    close_session,
    eventually,
    lamp,
    open_session,
    sealed,
)
from playwright.async_api import expect

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]

PAGE = """<!doctype html><title>Stock</title>
<video id=seen autoplay muted playsinline></video>
<script>
// One offer by POST, the candidates found meanwhile by one PATCH, DELETE at the end: RFC 9725.
async function begin(url, token, connection) {
  const headers = {"Authorization": `Bearer ${token}`};
  const candidates = [];
  const gathered = new Promise((done) => {
    connection.onicecandidate = ({candidate}) => {
      if (candidate) candidates.push(candidate.candidate); else done();
    };
  });
  await connection.setLocalDescription();
  const offer = connection.localDescription.sdp;
  const made = await fetch(url, {
    method: "POST", headers: {...headers, "Content-Type": "application/sdp"}, body: offer,
  });
  if (made.status !== 201) throw new Error(`${made.status} ${await made.text()}`);
  const session = new URL(made.headers.get("Location"), url).href;
  await connection.setRemoteDescription({type: "answer", sdp: await made.text()});
  await gathered;
  const of = (name) => offer.match(new RegExp(`^a=${name}:.*$`, "m"))[0].trim();
  const fragment = [of("ice-ufrag"), of("ice-pwd"), "m=audio 9 UDP/TLS/RTP/SAVPF 0", of("mid"),
    ...candidates.map((one) => `a=${one}`), "a=end-of-candidates", ""].join("\\r\\n");
  const trickled = await fetch(session, {
    method: "PATCH", body: fragment, headers: {...headers, "If-Match": made.headers.get("ETag"),
      "Content-Type": "application/trickle-ice-sdpfrag"},
  });
  return {
    trickled: trickled.status, link: made.headers.get("Link"),
    end: async () => (await fetch(session, {method: "DELETE", headers})).status,
  };
}
async function ingest(url, token) {
  const connection = new RTCPeerConnection({bundlePolicy: "max-bundle"});
  const stream = await navigator.mediaDevices.getUserMedia({audio: true, video: true});
  for (const track of stream.getTracks()) {
    connection.addTransceiver(track, {direction: "sendonly", streams: [stream]});
  }
  window.ingesting = await begin(url, token, connection);
  return window.ingesting;
}
async function play(url, token) {
  const connection = new RTCPeerConnection({bundlePolicy: "max-bundle"});
  const stream = new MediaStream();
  seen.srcObject = stream;
  connection.ontrack = ({track}) => stream.addTrack(track);
  for (const kind of ["audio", "video"]) connection.addTransceiver(kind, {direction: "recvonly"});
  window.playing = await begin(url, token, connection);
  return window.playing;
}
</script>"""


@pytest.fixture
async def site() -> AsyncIterator[str]:
    """The other site's origin."""

    async def page(_request: web.Request) -> web.Response:
        return web.Response(text=PAGE, content_type="text/html")

    app = web.Application()
    app.router.add_get("/", page)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


@pytest.fixture
def overrides(site: str) -> dict[str, Any]:
    return {"server.media_origins": [site], "turn.urls": ["stun:127.0.0.1:9"]}


async def test_a_stock_page_sends_and_plays(
    window: Any, browser: Any, installation: Any, site: str
) -> None:
    officer = await window("officer", f"/sessions/{installation.session_id}")
    await officer.page.get_by_test_id("join").click()
    page = await (await browser.new_context()).new_page()
    await page.goto(site)
    token = installation.people["detention"].token

    async def ask(act: str, kind: str) -> Any:
        url = f"{installation.url}/{kind}/sessions/{installation.session_id}"
        return await page.evaluate(f"([url, token]) => {act}(url, token)", [url, token])

    sent = await ask("ingest", "whip")
    assert (sent["trickled"], sent["link"]) == (204, '<stun:127.0.0.1:9>; rel="ice-server"')
    await eventually(lambda: officer.page.evaluate(MOVES, REMOTE))
    assert (await ask("play", "whep"))["trickled"] == 204
    await eventually(lambda: page.evaluate(MOVES, "#seen"))
    await open_session(officer.page)
    await eventually(lambda: page.evaluate(MOVES, "#seen"))
    assert await page.evaluate("() => playing.end()") == 200
    assert await page.evaluate("() => ingesting.end()") == 200
    tile = officer.page.locator("[data-testid=tile]:not(.self)").first
    await expect(tile).to_have_attribute("data-present", "no", timeout=10_000)
    await close_session(officer.page)
    await lamp(officer.page, "sealed")
    tracks = accounts(sealed(installation))
    assert sorted(tracks) == ["cam-1", "cam-2", "mic-1", "mic-2"]
    assert all(track["captured_us"] > 500_000 for track in tracks.values()), tracks
    assert officer.problems == []
