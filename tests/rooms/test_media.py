import re

import pytest

from rooms.errors import CodecUnsupported, FieldInvalid
from rooms.media import (
    TRACK_ID_PATTERN,
    Codec,
    Source,
    Track,
    next_track_id,
    parse_codec,
    parse_source,
)


@pytest.mark.parametrize(
    ("source", "first_id"),
    [
        (Source.CAMERA, "cam-1"),
        (Source.WIDE_CAMERA, "wide-1"),
        (Source.MICROPHONE, "mic-1"),
        (Source.EVIDENCE_DISPLAY, "evidence-1"),
        (Source.DOCUMENT_CAMERA, "doc-1"),
    ],
)
def test_track_ids_are_counted_for_each_source(source, first_id):
    assert next_track_id(source, []) == first_id
    assert re.fullmatch(TRACK_ID_PATTERN, first_id)
    others = [
        Track(f"{each.prefix}-1", "ann", each, Codec.OPUS) for each in Source if each != source
    ]
    assert next_track_id(source, others) == first_id
    assert next_track_id(source, [Track(first_id, "ann", source, Codec.VP8)]).endswith("-2")


def test_clock_rates():
    assert {str(codec): codec.clock_hz for codec in Codec} == {
        "H264": 90_000,
        "VP8": 90_000,
        "opus": 48_000,
    }


def test_a_codec_must_fit_its_source():
    assert parse_codec("H264", Source.CAMERA) is Codec.H264
    assert parse_codec("opus", Source.MICROPHONE) is Codec.OPUS
    for name, source in [("opus", Source.CAMERA), ("VP8", Source.MICROPHONE), ("AV1", "camera")]:
        with pytest.raises(CodecUnsupported):
            parse_codec(name, Source(source))


def test_an_unknown_source_is_refused():
    assert parse_source("evidence_display") is Source.EVIDENCE_DISPLAY
    with pytest.raises(FieldInvalid):
        parse_source("Camera")
