"""Pictures drawn without any font file or picture file: the test picture and the evidence page.

What a headless terminal shows when no media file is given. The test picture carries a burnt-in
clock, something that moves, a patch of noise that gives the encoder the work that a real camera
gives it, and a flash that fills a corner for two frames at each whole second of the picture's
clock. The microphone beeps at the same moments (:class:`server.agent.sources.Tone`), so that an
archive can be measured.

Everything is plain bytes of 8-bit YUV 4:2:0, limited range. Next on the way:
:mod:`server.agent.sources`.
"""

from __future__ import annotations

import random
from datetime import datetime
from typing import Protocol

import av

FRAMES_PER_SECOND = 25
FLASH_FRAMES = 2
"""How long a flash is, in frames: 80 ms."""

_BLACK, _DARK, _PAPER, _INK, _GREY, _WHITE = 16, 40, 222, 34, 128, 235

_NOISE = (160, 90)  # width and height of the noise patch, pixels
_FLASH = (400, 320)  # width and height of the flash, pixels

# Five columns for each character, lowest bit on top: the usual 5 x 7 font of character displays.
_FONT = {
    " ": "0000000000", "-": "0808080808", ".": "0060600000", "/": "2010080402",
    ":": "0036360000", "?": "0201510906", "0": "3e5149453e", "1": "00427f4000",
    "2": "4261514946", "3": "2141454b31", "4": "1814127f10", "5": "2745454539",
    "6": "3c4a494930", "7": "0171090503", "8": "3649494936", "9": "064949291e",
    "A": "7e1111117e", "B": "7f49494936", "C": "3e41414122", "D": "7f4141221c",
    "E": "7f49494941", "F": "7f09090901", "G": "3e4149497a", "H": "7f0808087f",
    "I": "00417f4100", "J": "2040413f01", "K": "7f08142241", "L": "7f40404040",
    "M": "7f020c027f", "N": "7f0408107f", "O": "3e4141413e", "P": "7f09090906",
    "Q": "3e4151215e", "R": "7f09192946", "S": "4649494931", "T": "01017f0101",
    "U": "3f4040403f", "V": "1f2040201f", "W": "3f4038403f", "X": "6314081463",
    "Y": "0708700807", "Z": "6151494543",
}  # fmt: skip


class Picture(Protocol):
    """Something that has a frame for each 1/25 s."""

    width: int
    height: int

    def frame(self, index: int, captured: datetime) -> av.VideoFrame:
        """Frame number ``index`` (rising, may skip), captured at ``captured`` (aware UTC).

        Blocks for as long as it takes to draw or decode; not for the event loop.
        """
        ...

    def close(self) -> None:
        """Free files and decoders."""
        ...


class Canvas:
    """One luma plane to draw on, with the chroma of a grey picture unless tinted."""

    def __init__(self, width: int, height: int) -> None:
        blank = av.VideoFrame(width, height, "yuv420p")
        self.width, self.height = width, height
        self._stride = blank.planes[0].line_size
        self.luma = bytearray([_BLACK]) * blank.planes[0].buffer_size
        self._chroma = [bytes([128]) * plane.buffer_size for plane in blank.planes[1:]]

    def fill(self, x: int, y: int, width: int, height: int, level: int) -> None:
        """A plain rectangle; here and below, what lies outside the picture is left out."""
        row = bytes([level]) * width
        for line in range(y, y + height):
            self._row(x, line, row)

    def paste(self, x: int, y: int, width: int, height: int, pixels: bytes) -> None:
        """Rows of pixels, ``width`` bytes each."""
        for line in range(height):
            self._row(x, y + line, pixels[line * width : (line + 1) * width])

    def write(self, x: int, y: int, text: str, scale: int, ink: int, paper: int) -> None:
        """A line of text; letters become capitals, unknown characters a question mark."""
        columns = b"".join(bytes.fromhex(_FONT.get(c, _FONT["?"])) + b"\0" for c in text.upper())
        dots = (bytes([paper]) * scale, bytes([ink]) * scale)
        for bit in range(7):
            row = b"".join(dots[column >> bit & 1] for column in columns)
            for line in range(y + bit * scale, y + (bit + 1) * scale):
                self._row(x, line, row)

    def _row(self, x: int, y: int, pixels: bytes) -> None:
        if 0 <= y < self.height and 0 <= x < self.width:
            width = min(len(pixels), self.width - x)
            at = y * self._stride + x
            self.luma[at : at + width] = pixels[:width]

    def tint(self, u: int, v: int) -> None:
        """Give the whole picture one colour."""
        self._chroma = [
            bytes([level]) * len(plane) for level, plane in zip((u, v), self._chroma, strict=True)
        ]

    def frame(self) -> av.VideoFrame:
        """A copy of what is drawn, as a frame for an encoder."""
        frame = av.VideoFrame(self.width, self.height, "yuv420p")
        for plane, pixels in zip(frame.planes, (self.luma, *self._chroma), strict=True):
            plane.update(bytes(pixels))
        return frame


class ClockPicture:
    """Burnt-in clock, place, source, something moving, noise, and a flash each second.

    ``place`` and ``source`` are shown in capital Latin letters. The flash is in frames whose index
    is a multiple of 25, and in the one after.
    """

    def __init__(self, place: str, source: str, width: int = 1280, height: int = 720) -> None:
        self.width, self.height = width, height
        self._canvas = Canvas(width, height)
        self._canvas.tint(*((118, 134) if "DETENTION" in place.upper() else (136, 122)))
        self._canvas.fill(0, 0, width, height, _DARK)
        for step in range(12):  # a grey staircase shows a wrong range or a crushed picture
            self._canvas.fill(step * width // 12, 0, width // 12 + 1, 60, 16 + step * 219 // 11)
        self._canvas.write(64, 96, place, 6, _WHITE, _DARK)
        self._canvas.write(64, 156, source, 4, _GREY, _DARK)
        shades = bytes(96 + value % 64 for value in range(256))
        noise = random.Random(place + source).randbytes(_NOISE[0] * _NOISE[1] * 16)  # noqa: S311
        self._noise = noise.translate(shades)

    def frame(self, index: int, captured: datetime) -> av.VideoFrame:
        """Draw the frame; about 0.3 ms."""
        canvas = self._canvas
        clock = f"{captured:%H:%M:%S}.{captured.microsecond // 1000:03d}"
        canvas.write(64, 220, clock, 12, _WHITE, _DARK)
        canvas.write(64, 330, f"{captured:%Y-%m-%d} UTC  FRAME {index:08d}", 4, _GREY, _DARK)
        canvas.fill(64, 380, self.width - 128, 16, _BLACK)
        canvas.fill(64 + index * 8 % (self.width - 128 - 64), 380, 64, 16, _WHITE)
        width, height = _NOISE
        at = index * 7919 % (len(self._noise) - width * height)
        pixels = self._noise[at : at + width * height]
        canvas.paste(64, self.height - height - 64, width, height, pixels)
        level = _WHITE if index % FRAMES_PER_SECOND < FLASH_FRAMES else _BLACK
        canvas.fill(self.width - _FLASH[0], self.height - _FLASH[1], *_FLASH, level)
        return canvas.frame()

    def close(self) -> None:
        """Nothing is open."""


class EvidencePage:
    """Pages of a document, lines as bars of ink; the next page every four seconds."""

    SECONDS_PER_PAGE = 4

    def __init__(self, title: str, width: int = 1280, height: int = 720) -> None:
        self.width, self.height = width, height
        self._title = title
        self._canvas = Canvas(width, height)
        self._page = -1

    def frame(self, index: int, captured: datetime) -> av.VideoFrame:
        """The page that is shown at this time."""
        page = index // (FRAMES_PER_SECOND * self.SECONDS_PER_PAGE)
        if page != self._page:
            self._page = page
            self._draw(page)
        return self._canvas.frame()

    def _draw(self, page: int) -> None:
        canvas = self._canvas
        left = self.width // 6
        canvas.fill(0, 0, self.width, self.height, _GREY)
        canvas.fill(left, 24, self.width - 2 * left, self.height - 48, _PAPER)
        canvas.write(left + 48, 64, self._title, 4, _INK, _PAPER)
        canvas.write(left + 48, 112, f"PAGE {page % 99 + 1}", 3, _INK, _PAPER)
        words = random.Random(page)  # noqa: S311
        for y in range(168, self.height - 80, 28):
            x = left + 48
            while x < self.width - left - 160:
                length = words.randrange(24, 110)
                canvas.fill(x, y, length, 12, _INK)
                x += length + 14

    def close(self) -> None:
        """Nothing is open."""
