"""A real Chromium in a session: what its own statistics say of what it gets (webrtc-stats).

The page is the room as people use it; nothing in it is told that it is measured. Its addresses are
kept from the server, so that its media takes the way through :mod:`bench.relay`.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from playwright.async_api import Page, async_playwright

from bench.chromium import KEEP_CONNECTIONS, ON_LOOPBACK, RECEIVED, see, start

_HIDE_ADDRESSES = """() => {
  const send = WebSocket.prototype.send;
  WebSocket.prototype.send = function (text) {
    const message = JSON.parse(text);
    if (message.type === 'candidate' && message.candidate) return;
    if (message.sdp) {
      message.sdp = message.sdp.replace(/a=(candidate:[^\\r\\n]*|end-of-candidates)\\r\\n/g, '');
    }
    send.call(this, JSON.stringify(message));
  };
}"""


@dataclass(frozen=True, slots=True)
class Seen:
    """Sums since the page came: seconds, pictures, samples.

    A freeze, or a pause (of 5 s and more), is in ``frozen_s`` only when a picture follows it.
    """

    frozen_s: float
    frames: int
    concealed: int
    samples: int
    retransmitted: int

    def since(self, before: Seen) -> Seen:
        """What came after ``before``."""
        return Seen(
            self.frozen_s - before.frozen_s,
            self.frames - before.frames,
            self.concealed - before.concealed,
            self.samples - before.samples,
            self.retransmitted - before.retransmitted,
        )


class Onlooker:
    """One person's page."""

    def __init__(self, page: Page) -> None:
        self.page = page

    async def join(self) -> None:
        """Take the seat with camera and microphone; wait until somebody else is seen."""
        await self.page.evaluate(KEEP_CONNECTIONS)
        await self.page.evaluate(_HIDE_ADDRESSES)
        await self.page.get_by_test_id("join").click()
        await see(self.page)

    async def seen(self) -> Seen:
        """What has come so far."""
        reports: list[dict[str, Any]] = await self.page.evaluate(RECEIVED)
        pictures = [one for one in reports if one["kind"] == "video"]
        sounds = [one for one in reports if one["kind"] == "audio"]
        return Seen(
            sum(
                one.get("totalFreezesDuration", 0.0) + one.get("totalPausesDuration", 0.0)
                for one in pictures
            ),
            sum(one.get("framesDecoded", 0) for one in pictures),
            sum(one.get("concealedSamples", 0) for one in sounds),
            sum(one.get("totalSamplesReceived", 0) for one in sounds),
            sum(one.get("retransmittedPacketsReceived", 0) for one in pictures),
        )


@contextlib.asynccontextmanager
async def onlooker(url: str, token: str, session_id: str) -> AsyncIterator[Onlooker]:
    """Somebody's page of a session, before joining."""
    async with async_playwright() as playwright:
        browser = await start(playwright, ON_LOOPBACK)
        try:
            context = await browser.new_context(viewport={"width": 1280, "height": 720})
            context.set_default_timeout(20_000)
            await context.add_cookies([{"name": "tingxun", "value": token, "url": url}])
            page = await context.new_page()
            await page.goto(f"{url}/sessions/{session_id}")
            yield Onlooker(page)
        finally:
            await browser.close()
