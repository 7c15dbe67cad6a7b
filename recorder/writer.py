"""Access units of one track into chunks, segments and the ledger's ``init`` and ``seg`` records.

Before this: :mod:`recorder.continuity`, which decides where a segment ends. After it:
:mod:`recorder.cmaf` and :mod:`recorder.webm` for the bytes, :mod:`recorder.segment` for the file.

The newest unit is held back: how long it lasts is known only when the next one comes. Everything
else waits for :meth:`TrackWriter.flush`, which makes one chunk of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from recorder import cmaf, webm
from recorder.archive import Container, Layout
from recorder.cmaf import Sample
from recorder.h264 import H264Depacketizer
from recorder.segment import SegmentFile
from recorder.state import Persistent
from recorder.timeline import Timeline
from recorder.units import AccessUnit, Depacketizer
from recorder.wire import TrackInput
from rooms.moment import format_wall

MAX_MOVE_US = 250_000
"""What is known by the end of a segment moves its start by no more than this. It is less than what
completeness allows at an edge (``docs/ARCHIVE.md``, section 9)."""

_FIRST_DURATION_MS = 33
_MIN_DURATION_MS = 5
_MAX_DURATION_MS = 1000
"""How long a picture is taken to last when no other follows: as long as the one before it."""


class TrackWriter(Persistent):
    """The files of one track. Media times are ticks of ``timeline.hz``."""

    _STATE = (
        "end", "codec_name", "total_samples", "_start", "_samples", "_held", "_usual",
        "_fragments", "_ssrc", "_first", "_last_seq", "_count", "_size", "_lost", "_start_us",
        "_closed", "_closed_us",
    )  # fmt: skip

    def __init__(
        self,
        binding: TrackInput,
        layout: Layout,
        timeline: Timeline,
        opened: datetime,
        records: list[dict[str, Any]],
    ) -> None:
        self.track_id = binding.track_id
        self.end = 0
        """Media time at which everything so far ends."""
        self.codec_name = ""
        self.total_samples = 0
        self._timeline = timeline
        self._opened = opened
        self._records = records
        self._video = binding.codec != "opus"
        self._container: Container = "webm" if binding.codec == "VP8" else "cmaf"
        self.file = SegmentFile(layout, binding.track_id, self._container)
        self._start: int | None = None
        """Media time at which the open segment starts; None when none is open."""
        self._samples: list[Sample] = []
        self._held: Sample | None = None
        self._usual = timeline.hz * _FIRST_DURATION_MS // 1000
        self._least = timeline.hz * _MIN_DURATION_MS // 1000
        self._most = timeline.hz * _MAX_DURATION_MS // 1000
        self._fragments = 0
        self._ssrc = 0
        self._first: list[Any] = []
        """Of the first unit of the segment: sequence number, RTP timestamp, sender's time, key."""
        self._last_seq = 0
        self._count = 0
        self._size = [0, 0]
        self._lost = 0
        self._start_us = 0
        """Session time of the start of the open segment, as it was decided then."""
        self._closed = -1
        self._closed_us = 0
        """Media time and session time at which the newest closed segment ends."""

    @property
    def start(self) -> int | None:
        """Media time at which the open segment starts; None when none is open."""
        return self._start

    @property
    def newest(self) -> int:
        """Media time of the unit that is held back; of the end when there is none."""
        return self.end if self._held is None else self._held.media

    def init(self, binding: TrackInput, sink: Depacketizer, unit: AccessUnit) -> None:
        """Write the initialisation file, which the first unit of the track decides."""
        if isinstance(sink, H264Depacketizer):
            content = cmaf.video_init(sink.sps, sink.pps, unit.width, unit.height)
            self.codec_name, timescale = cmaf.codec_name(sink.sps), cmaf.VIDEO_HZ
        elif self._video:
            content = webm.video_init(unit.width, unit.height)
            self.codec_name, timescale = webm.CODEC_NAME, webm.FILE_HZ
        else:
            content = cmaf.sound_init()
            self.codec_name, timescale = "opus", cmaf.SOUND_HZ
        stored = self.file.write_init(content)
        self._records.append(
            {
                "type": "init",
                "track": self.track_id,
                "source": binding.source,
                "participant": binding.participant_id,
                "site": binding.site_id,
                "label": binding.label,
                "codec": self.codec_name,
                "container": self._container,
                **stored._asdict(),
                "timescale": timescale,
                "ssrc": binding.ssrc,
            }
        )

    def add(self, unit: AccessUnit, media: int, ssrc: int) -> None:
        """Take the next unit, at ``media``; a segment is opened if none is open."""
        held = self._held
        if held is not None:
            duration = media - held.media
            if duration != held.duration:
                held = Sample(held.media, duration, held.key, held.payload)
            self._samples.append(held)
            if not unit.lost:
                self._usual = min(max(duration, self._least), self._most)
        if self._start is None:
            self._start = media
            self._start_us = self._timeline.session_us(media)
            self._ssrc = ssrc
            sender_us = self._timeline.sender_us(media)
            self._first = [unit.first_seq & 0xFFFF, unit.timestamp, sender_us, unit.key]
            self._count = self._lost = 0
        if unit.width:
            self._size = [unit.width, unit.height]
        duration = unit.duration or self._usual
        self._held = Sample(media, duration, unit.key, unit.payload)
        self.end = media + duration
        self._last_seq = unit.last_seq & 0xFFFF
        self._count += 1
        self.total_samples += 1
        self._lost += unit.lost

    def flush(self) -> None:
        """Write what is complete as one chunk, durable on return."""
        if self._samples:
            self._append(self._samples)
            self._samples = []

    def close(self, end: int) -> None:
        """End the open segment at the media time ``end``; its record goes to the ledger.

        Nothing happens when none is open.
        """
        held, start = self._held, self._start
        if held is None or start is None:
            return
        self.end = max(end, held.media + 1)
        self._append(
            [*self._samples, Sample(held.media, self.end - held.media, held.key, held.payload)]
        )
        self._samples = []
        self._held = self._start = None
        number = self.file.closed + 1
        stored = self.file.close()
        end_us = self._timeline.session_us(self.end)
        t0_us = self._begin_us(start, end_us)
        end_us = max(end_us, t0_us + 1)
        self._closed, self._closed_us = self.end, end_us
        first_seq, timestamp, sender_us, key = self._first
        ticks = webm.file_ticks if self._container == "webm" else int
        picture = {"width": self._size[0], "height": self._size[1]} if self._video else {}
        self._records.append(
            {
                "type": "seg",
                "track": self.track_id,
                "number": number,
                **stored._asdict(),
                "t0_us": t0_us,
                "end_us": end_us,
                "media_t0": ticks(start),
                "media_end": ticks(self.end),
                "samples": self._count,
                "key": key,
                **picture,
                "rtp": {
                    "ssrc": self._ssrc,
                    "first_seq": first_seq,
                    "last_seq": self._last_seq,
                    "first_ts": timestamp,
                    "ntp_us": sender_us,
                },
                "lost": self._lost,
                "wall": format_wall(self._opened + timedelta(microseconds=t0_us)),
            }
        )

    def _begin_us(self, start: int, end_us: int) -> int:
        """Session time at which the open segment starts; never before the end of the last one.

        The first of a run started before anything was reported: it moves a little to where it is
        known to belong by now. Any other starts where the one before it ends.
        """
        begin_us = self._start_us
        if start != self._closed:
            latest_us = min(begin_us + MAX_MOVE_US, max(end_us - 1, begin_us))
            known_us = min(self._timeline.estimate_us(start), latest_us)
            begin_us = max(known_us, begin_us - MAX_MOVE_US)
        return max(begin_us, self._closed_us)

    def snapshot(self) -> list[Any]:
        """See :meth:`Persistent.snapshot`."""
        return [*super().snapshot(), self.file.snapshot()]

    def restore(self, values: list[Any]) -> None:
        """See :meth:`Persistent.restore`; the files on disk are brought to the same moment."""
        *values, file = values
        super().restore(values)
        self._samples = [Sample(*sample) for sample in self._samples]
        self._held = None if self._held is None else Sample(*self._held)
        self.file.restore(file)

    def _append(self, samples: Sequence[Sample]) -> None:
        if self._container == "webm":
            self.file.append(webm.cluster(samples))
        else:
            self._fragments += 1
            self.file.append(cmaf.fragment(self._fragments, samples, video=self._video))
