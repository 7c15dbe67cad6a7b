"""Picture sizes as H.264 encoders write them."""

from __future__ import annotations

from fractions import Fraction

import av
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorder.sps import picture_size


def _sps(width: int, height: int, profile: str, pixels: str, **x264: str) -> bytes:
    encoder = av.CodecContext.create("libx264", "w")
    encoder.width, encoder.height, encoder.pix_fmt = width, height, pixels
    encoder.time_base = Fraction(1, 30)
    options = ":".join(f"{name}={value}" for name, value in x264.items())
    encoder.options = {"preset": "ultrafast", "profile": profile, "x264-params": options}
    frame = av.VideoFrame(width, height, pixels)
    frame.pts = 0
    stream = b"".join(bytes(p) for p in [*encoder.encode(frame), *encoder.encode(None)])
    parts = stream.replace(b"\0\0\0\1", b"\0\0\1").split(b"\0\0\1")
    return next(part for part in parts if part and part[0] & 0x1F == 7)


@pytest.mark.parametrize(
    ("width", "height"), [(640, 360), (1920, 1080), (322, 182), (16, 16), (1280, 722)]
)
@pytest.mark.parametrize(
    ("profile", "pixels", "options"),
    [
        ("baseline", "yuv420p", {}),
        ("high", "yuv420p", {}),
        ("high", "yuv420p", {"cqm": "jvt"}),
        ("high422", "yuv422p", {}),
        ("high444", "yuv444p", {}),
        ("main", "yuv420p", {"interlaced": "1"}),
    ],
)
def test_sizes_of_real_streams(
    width: int, height: int, profile: str, pixels: str, options: dict[str, str]
) -> None:
    if options.get("interlaced") and height % 4:
        height += 2
    assert picture_size(_sps(width, height, profile, pixels, **options)) == (width, height)


@given(st.binary(max_size=80))
def test_anything_else_is_refused_quietly(rest: bytes) -> None:
    for start in (b"\x67\x42\xe0\x1f", b"\x67\x64\x00\x1f"):
        size = picture_size(start + rest)
        assert size is None or (0 < size[0] <= 16384 and 0 < size[1] <= 16384)
