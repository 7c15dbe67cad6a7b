"""Chromium as benchmarks and tests start it, and what of a page they read in the same way."""

from __future__ import annotations

from pathlib import Path

from playwright.async_api import Browser, Page, Playwright

CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = (
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
    "--autoplay-policy=no-user-gesture-required",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
"""A camera and a microphone that nobody is asked for, and nothing that it does by itself."""

ON_LOOPBACK = "--allow-loopback-in-peer-connection"
"""Where the server is on 127.0.0.1; a browser at a place of its own is to have its line only."""

REMOTE = "[data-testid=tile]:not(.self) video"
"""In a session's page: the pictures of the others."""

KEEP_CONNECTIONS = """(() => {
  const Original = RTCPeerConnection;
  window.connections = [];
  window.RTCPeerConnection = class extends Original {
    constructor(...terms) { super(...terms); window.connections.push(this); }
  };
})()"""
"""To be evaluated before joining: the page's connections are then in ``window.connections``."""

RECEIVED = """async () => {
  const found = [];
  for (const connection of window.connections) {
    if (connection.connectionState === 'closed') continue;
    for (const report of (await connection.getStats()).values()) {
      if (report.type === 'inbound-rtp') found.push(report);
    }
  }
  return found;
}"""
"""What the page's statistics say of each stream that comes (webrtc-stats, "inbound-rtp").

Needs :data:`KEEP_CONNECTIONS`.
"""


async def start(playwright: Playwright, *more: str, executable: str | Path = CHROMIUM) -> Browser:
    """A headless Chromium, with these arguments beside the usual ones."""
    return await playwright.chromium.launch(
        executable_path=executable, args=[*ARGUMENTS, *more], headless=True
    )


async def see(page: Page, lines: int = 1, seconds: float = 20.0) -> None:
    """Wait until the page shows a picture of somebody else with at least so many lines.

    Raises Playwright's TimeoutError.
    """
    await page.wait_for_function(
        "([selector, lines]) => document.querySelector(selector)?.videoHeight >= lines",
        arg=[REMOTE, lines],
        timeout=seconds * 1000,
    )
