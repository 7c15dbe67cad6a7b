"""FFmpeg's own WHIP muxer as a program: a moving picture and a tone, as another process.

``python whip_client.py URL TOKEN SECONDS [option=value ...]``. It says ``sending`` when the media
connection stands, and ``ended`` after its DELETE. FFmpeg waits for the server within one call that
holds Python's lock, so this cannot be a thread of the test.
"""

import math
import struct
import sys
import time
from fractions import Fraction
from typing import Any

import av

WIDTH, HEIGHT, FPS = 320, 240, 25
RATE, SAMPLES = 48_000, 960


def picture(number: int) -> Any:
    """A bar that moves over a grey ground."""
    frame = av.VideoFrame(WIDTH, HEIGHT, "yuv420p")
    luma = frame.planes[0]
    row = bytearray([96]) * luma.line_size
    at = number * 4 % (WIDTH - 32)
    row[at : at + 32] = bytes([220]) * 32
    luma.update(bytes(row) * HEIGHT)
    for plane in frame.planes[1:]:
        plane.update(bytes([128]) * plane.buffer_size)
    frame.pts, frame.time_base = number, Fraction(1, FPS)
    return frame


def tone(number: int) -> Any:
    """20 ms of 440 Hz in stereo."""
    frame = av.AudioFrame("s16", "stereo", SAMPLES)
    first = number * SAMPLES
    levels = (int(8000 * math.sin(2 * math.pi * 440 * (first + n) / RATE)) for n in range(SAMPLES))
    frame.planes[0].update(b"".join(struct.pack("<hh", level, level) for level in levels))
    frame.sample_rate, frame.pts, frame.time_base = RATE, first, Fraction(1, RATE)
    return frame


def main(url: str, token: str, seconds: float, options: dict[str, str]) -> None:
    """Send in real time."""
    with av.open(url, "w", format="whip", options={"authorization": token, **options}) as output:
        video = output.add_stream(
            "libx264",
            rate=FPS,
            options={
                "preset": "ultrafast",
                "tune": "zerolatency",
                "profile": "baseline",
                "g": str(FPS),
                "flags": "+global_header",
            },
        )
        video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        audio = output.add_stream("libopus", rate=RATE, layout="stereo")
        output.start_encoding()
        print("sending", flush=True)
        start, sounds = time.monotonic(), 0
        for number in range(int(seconds * FPS)):
            output.mux(video.encode(picture(number)))
            while sounds * SAMPLES * FPS < (number + 1) * RATE:
                output.mux(audio.encode(tone(sounds)))
                sounds += 1
            time.sleep(max(0.0, start + (number + 1) / FPS - time.monotonic()))
    print("ended", flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], float(sys.argv[3]), dict(a.split("=", 1) for a in sys.argv[4:]))
