"""Twelve people who all send: one in a real Chromium, eleven without a browser."""

from __future__ import annotations

import contextlib
import json
import re
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from company import Guest, film
from in_page import eventually
from playwright.async_api import Page, WebSocketRoute, expect

from rooms.moment import whole_ms
from rooms.roles import Role
from rooms.session import Assignment, Session, SessionKind
from server.keys import ACCOUNTS, RECORDS

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]

SESSION = "s-company"
ROLES = [Role.QUESTIONER, Role.SUBJECT, Role.INTERPRETER, Role.CLERK] + [Role.SECOND_OFFICER] * 8

MOVING = """async () => {
  const videos = [...document.querySelectorAll('[data-testid=tile]:not(.self) video')];
  const count = () => videos.map((video) => video.getVideoPlaybackQuality().totalVideoFrames);
  const before = count();
  await new Promise((done) => setTimeout(done, 1500));
  return count().filter((frames, n) => frames > before[n]).length;
}"""

PLACES = """() => Object.fromEntries([...document.querySelectorAll('.stage > *')].map((element) => {
  const { x, y, width, height } = element.getBoundingClientRect();
  return [element.dataset.place, [x, y, width, height].map(Math.round).join(' ')];
}))"""

VOICE = """(() => {
  const original = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
  navigator.mediaDevices.getUserMedia = async (wanted) => {
    if (!wanted.audio) return original(wanted);
    const context = new AudioContext();
    const [tone, voice, end] = [context.createOscillator(), context.createGain(),
      context.createMediaStreamDestination()];
    voice.gain.value = 0;
    tone.connect(voice).connect(end);
    tone.start();
    window.voice = voice.gain;
    return end.stream;
  };
})()"""
"""The microphone is a tone whose loudness the test sets: ``voice.value``."""


@dataclass
class Room:
    """The officer's page, the others, and what page and server say to each other."""

    page: Page
    guests: list[Guest]
    ids: list[str]
    tracks: dict[str, str] = field(default_factory=dict)
    """Track of the camera, by participant."""
    views: list[tuple[float, dict[str, int]]] = field(default_factory=list)
    socket: WebSocketRoute | None = None

    @property
    def heights(self) -> dict[str, int]:
        """What the server was last told, by participant."""
        told = self.views[-1][1] if self.views else {}
        return {who: told[track] for who, track in self.tracks.items() if track in told}

    def tell(self, **message: Any) -> None:
        """Say something to the page as the server would."""
        assert self.socket is not None
        self.socket.send(json.dumps(message))

    def tile(self, n: int) -> Any:
        """The place of person number ``n``."""
        return self.page.locator(f".tile[data-place='{self.ids[n]}']")

    def listen(self, socket: WebSocketRoute) -> None:
        """Stand between page and server."""
        server = socket.connect_to_server()

        def said(text: str | bytes) -> None:
            message = json.loads(text)
            if message["type"] == "view":
                self.views.append((time.monotonic(), message["heights"]))
            server.send(text)

        socket.on_message(said)
        self.socket = socket


async def book(installation: Any, people: int) -> list[str]:
    """Make twelve people and a session of theirs; returns their tokens in seat order."""
    places = await installation.app[RECORDS].places()
    room = [place for place in places if place.kind == "interrogation"][1]
    detention = next(place for place in places if place.kind == "detention")
    tokens, seats = [], []
    for n, role in enumerate(ROLES[:people]):
        subject = role is Role.SUBJECT
        place = detention if subject else room
        account, _ = await installation.app[ACCOUNTS].add(
            f"p{n}",
            f"Person {n}",
            "terminal" if subject else "officer",
            place.site_id if subject else None,
        )
        tokens.append((await installation.app[ACCOUNTS].issue_token(account)).token)
        seats.append(
            Assignment(account.id, account.display_name, role, place.site_id, place.site_name)
        )
    starts_at = whole_ms(datetime.now(UTC)) + timedelta(hours=5)
    session = Session(
        SESSION,
        "2026-0413",
        SessionKind.HEARING,
        "Twelve",
        starts_at,
        room.id,
        (room.site_id, detention.site_id),
        tuple(seats),
    )
    ends_at = starts_at + timedelta(hours=1)
    await installation.app[RECORDS].book(session, ends_at, detention.id, seats[0].participant_id)
    return tokens


@contextlib.asynccontextmanager
async def held(installation: Any, browser: Any, people: int = 12) -> AsyncIterator[Room]:
    """All but the last have come, each with camera and microphone; number 0 is the page."""
    tokens = await book(installation, people)
    context = await browser.new_context(viewport={"width": 1280, "height": 720})
    context.set_default_timeout(20_000)
    cookies = {"tingxun": tokens[0], "language": "en"}
    await context.add_cookies(
        [{"name": n, "value": v, "url": installation.url} for n, v in cookies.items()]
    )
    page = await context.new_page()
    await page.add_init_script(VOICE)
    guests = [Guest(installation.url, token) for token in tokens[1:]]
    booked = await installation.app[RECORDS].session(SESSION)
    room = Room(page, guests, [seat.participant_id for seat in booked.assignments])
    await page.route_web_socket("**/ws/sessions/*", room.listen)
    try:
        for n, guest in enumerate(guests[:-1], 1):
            await enter(room, n, guest)
        await page.goto(f"{installation.url}/sessions/{SESSION}")
        await page.get_by_test_id("join").click()
        yield room
    finally:
        for guest in guests:
            await guest.go()


async def enter(room: Room, n: int, guest: Guest) -> None:
    """Person number ``n`` joins and sends."""
    tracks = await guest.enter(SESSION, film(n, f"P{n}"), ("camera", "microphone"))
    room.tracks[room.ids[n]] = tracks["camera"]


async def test_everybody_moves_keeps_their_seat_and_is_asked_for_as_large_as_shown(
    installation: Any, browser: Any
) -> None:
    async with held(installation, browser) as room:
        page = room.page

        async def all_move(count: int = 11) -> bool:
            return bool(await page.evaluate(MOVING) == count)

        await eventually(lambda: all_move(10), seconds=30)
        await page.wait_for_timeout(1000)
        before = await page.evaluate(PLACES)
        await enter(room, 11, room.guests[-1])
        await eventually(lambda: all_move(), seconds=20)
        assert await page.evaluate(PLACES) == before, "an arrival moves nobody"

        # The subject is on the stage; the others stand in a strip.
        subject, others = room.ids[1], room.ids[2:]

        async def asked(large: str) -> bool:
            heights = room.heights
            small = [heights.get(who, 999) for who in others if who != large]
            return heights.get(large, 0) >= 350 and all(16 <= height <= 128 for height in small)

        await eventually(lambda: asked(subject))
        await page.evaluate(
            "document.querySelectorAll('video').forEach((video, n) => { video.mark = n + 1; })"
        )
        await page.keyboard.press("v")
        await expect(page.get_by_test_id("stage")).to_have_attribute("data-mode", "grid")

        async def alike() -> bool:
            heights = set(room.heights.values())
            return len(heights) == 1 and 120 <= heights.pop() <= 176

        await eventually(alike)
        await page.keyboard.press("4")
        await expect(room.tile(4)).to_have_attribute("data-on-stage", "true")
        await expect(room.tile(4).get_by_test_id("pin")).to_have_attribute("aria-pressed", "true")
        await eventually(lambda: asked(room.ids[4]))
        await eventually(lambda: all_move(), seconds=20)
        kept = "[...document.querySelectorAll('.tile video')].every((video) => video.mark > 0)"
        assert await page.evaluate(kept), "no element is made anew"

        # A page that nobody looks at asks for no picture.
        await page.evaluate("""() => {
          Object.defineProperty(document, 'hidden', {value: true, configurable: true});
          document.dispatchEvent(new Event('visibilitychange'));
        }""")

        async def nothing() -> bool:
            return set(room.heights.values()) == {0}

        await eventually(nothing)
        await page.evaluate("""() => {
          delete document.hidden;
          document.dispatchEvent(new Event('visibilitychange'));
        }""")
        await eventually(lambda: asked(room.ids[4]))
        await eventually(lambda: all_move(), seconds=20)
        times = [at for at, _ in room.views]
        assert all(later - at > 0.4 for at, later in pairwise(times))
        assert all(a != b for (_, a), (_, b) in pairwise(room.views))


async def test_who_speaks_is_marked_and_comes_to_the_stage(installation: Any, browser: Any) -> None:
    async with held(installation, browser, people=4) as room:
        page, (subject, interpreter) = room.page, room.guests[:2]
        await expect(room.tile(1)).to_have_attribute("data-on-stage", "true")
        await page.wait_for_timeout(3500)
        interpreter.speak()
        await expect(room.tile(2)).to_have_class(re.compile(r"\bspeaking\b"), timeout=5_000)
        await expect(room.tile(2)).to_contain_text("is speaking")
        await expect(room.tile(2)).to_have_attribute("data-on-stage", "true", timeout=5_000)
        await expect(room.tile(1)).to_have_attribute("data-on-stage", "false")

        # One's own voice is heard by the others and takes no face away.
        interpreter.hush()
        await page.evaluate("voice.value = 0.3")

        async def heard() -> bool:
            return bool(subject.speakers[-1:] == [room.ids[0]])

        await eventually(heard)
        await expect(room.tile(0)).to_contain_text("is speaking")
        await expect(room.tile(2)).to_have_attribute("data-on-stage", "true")
        await expect(room.tile(0)).to_have_attribute("data-on-stage", "false")

        # Muted: nobody speaks.
        await page.get_by_test_id("microphone").click()
        await expect(page.locator(".speaking")).to_have_count(0)
        assert subject.speakers[-1] is None


async def test_keys_arrows_and_words(installation: Any, browser: Any) -> None:
    async with held(installation, browser, people=5) as room:
        page = room.page
        await expect(room.tile(1)).to_have_attribute("data-on-stage", "true")
        await page.keyboard.press("ArrowRight")
        await page.keyboard.press("ArrowRight")
        await expect(room.tile(2).get_by_test_id("pin")).to_be_focused()
        await page.keyboard.press("Enter")
        await page.keyboard.press("3")
        for n in (2, 3):
            await expect(room.tile(n)).to_have_attribute("data-on-stage", "true")
        await page.keyboard.press("Escape")
        await expect(page.locator("[data-testid=pin][aria-pressed=true]")).to_have_count(0)
        await page.get_by_test_id("layout").click()
        await page.get_by_test_id("layout-keys").uncheck()
        await page.keyboard.press("Escape")
        await page.locator("body").press("v")
        await expect(page.get_by_test_id("stage")).to_have_attribute("data-mode", "stage")

        # What the line does to a picture is said; what the layout does is not.
        await expect(room.tile(3).locator("video")).to_have_count(1)
        reasons = {2: (None, "paused"), 3: ("l", "line"), 1: (None, "view")}
        tracks = {
            room.tracks[room.ids[n]]: {"rid": rid, "reason": reason}
            for n, (rid, reason) in reasons.items()
        }
        room.tell(type="layers", tracks=tracks)
        paused = "Picture paused so that sound stays clear"
        await expect(room.tile(2)).to_contain_text(paused)
        await expect(room.tile(3)).to_contain_text("Less sharp")
        await expect(room.tile(1)).not_to_contain_text(paused)
        best = {track: {"rid": "h", "reason": None} for track in tracks}
        room.tell(type="layers", tracks=best)
        await expect(room.tile(2)).not_to_contain_text(paused)
