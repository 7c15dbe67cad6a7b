"""Sources, codecs and the ids under which tracks are archived.

A track is one source of one participant in one codec. Its id ("cam-1") is given at the first
publication in the session, counted per source, and stays the same through unpublishing, publishing
again and reconnecting, so that a participant's camera is one track of the archive.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from rooms.errors import CodecUnsupported, FieldInvalid

Kind = Literal["audio", "video"]


class Source(StrEnum):
    """Where the media of a track comes from."""

    CAMERA = "camera"
    WIDE_CAMERA = "wide_camera"
    MICROPHONE = "microphone"
    EVIDENCE_DISPLAY = "evidence_display"
    DOCUMENT_CAMERA = "document_camera"

    @property
    def kind(self) -> Kind:
        """Whether the source gives sound or a picture."""
        return "audio" if self is Source.MICROPHONE else "video"

    @property
    def prefix(self) -> str:
        """The first part of its archive track ids, as in "cam-1"."""
        return _PREFIX[self]


class Codec(StrEnum):
    """The codecs that the platform takes, by the names used in SDP."""

    H264 = "H264"
    VP8 = "VP8"
    OPUS = "opus"

    @property
    def kind(self) -> Kind:
        """Whether it codes sound or a picture."""
        return "audio" if self is Codec.OPUS else "video"

    @property
    def clock_hz(self) -> int:
        """The RTP clock rate (RFC 6184 8.2.1, RFC 7741 6.1, RFC 7587 4.1)."""
        return 48_000 if self is Codec.OPUS else 90_000


_PREFIX = {
    Source.CAMERA: "cam",
    Source.WIDE_CAMERA: "wide",
    Source.MICROPHONE: "mic",
    Source.EVIDENCE_DISPLAY: "evidence",
    Source.DOCUMENT_CAMERA: "doc",
}

TRACK_ID_PATTERN = rf"(?:{'|'.join(_PREFIX.values())})-[1-9][0-9]{{0,3}}"
"""Regular expression of every track id that can exist."""


@dataclass(frozen=True, slots=True)
class Track:
    """One logical track of a session; `published` is whether media may flow on it now."""

    track_id: str
    participant_id: str
    source: Source
    codec: Codec
    muted: bool = False
    published: bool = True


def parse_source(text: str) -> Source:
    """Return the source of that name; field_invalid when there is none."""
    try:
        return Source(text)
    except ValueError:
        raise FieldInvalid(f"source: {text[:40]!r} is none of {', '.join(Source)}") from None


def parse_codec(text: str, source: Source) -> Codec:
    """Return the codec of that name; codec_unsupported when it is none, or not for this source."""
    try:
        codec = Codec(text)
    except ValueError:
        raise CodecUnsupported(f"{text[:40]!r} is none of {', '.join(Codec)}") from None
    if codec.kind != source.kind:
        raise CodecUnsupported(f"{codec} is {codec.kind}, and {source} gives {source.kind}")
    return codec


def next_track_id(source: Source, tracks: Iterable[Track]) -> str:
    """Return the id for the next track of this source among those that the session has had."""
    return f"{source.prefix}-{1 + sum(track.source is source for track in tracks)}"
