"""All tracks of a recording: who takes which packets, and what holds for every track alike.

Before this in a packet's path: :mod:`recorder.intake`. After it: :mod:`recorder.track`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from recorder.sender_clock import ParticipantClock
from recorder.setting import Setting
from recorder.state import Persistent
from recorder.track import Track
from recorder.wire import TrackInput
from rooms.errors import MessageMalformed

_MAX_TRACKS = 256
"""Logical tracks of one session; a session has at most some dozens."""

_NO_INDEX = -1


class Roster(Persistent):
    """The tracks by id and by index. Raises what the tracks raise."""

    def __init__(self, setting: Setting) -> None:
        self.takers: dict[int, Callable[[bytes, int], None]] = {}
        """What takes the packets of each track index; empty in a pause."""
        self.paused = False
        self._setting = setting
        self._clocks: dict[str, ParticipantClock] = {}
        self._tracks: dict[str, Track] = {}
        self._by_index: dict[int, Track] = {}

    def __iter__(self) -> Iterator[Track]:
        return iter(self._tracks.values())

    def __len__(self) -> int:
        return len(self._tracks)

    def at(self, index: int) -> Track | None:
        """The track that an index stands for."""
        return self._by_index.get(index)

    def stored(self) -> dict[str, Track]:
        """The tracks that have media, by id."""
        return {track_id: track for track_id, track in self._tracks.items() if track.stored}

    def bind(self, binding: TrackInput) -> None:
        """A track is announced, or has another SSRC. Raises :class:`MessageMalformed`."""
        track = self._tracks.get(binding.track_id)
        if track is None:
            if len(self._tracks) >= _MAX_TRACKS:
                raise MessageMalformed("too many tracks")
            track = self._add(binding)
        elif track.binding.codec != binding.codec:
            raise MessageMalformed(f"{binding.track_id} changes its codec")
        else:
            self._by_index.pop(track.binding.track_index, None)
            track.bind(binding)
        self._by_index[binding.track_index] = track
        self._find_takers()

    def pause(self, at_us: int) -> None:
        """The session is paused: nothing that comes now is recorded."""
        for track in self:
            track.pause(at_us)
        self.paused = True
        self._find_takers()

    def listen(self) -> None:
        """The session is about to go on: what comes is recorded again."""
        self.paused = False
        self._find_takers()

    def resume(self, at_us: int) -> None:
        """The session goes on."""
        self.listen()
        for track in self:
            track.resume(at_us)

    def unpublish(self, track_id: str, at_us: int) -> None:
        """A track is not published any more; nothing happens for one that nobody knows."""
        track = self._tracks.get(track_id)
        if track is not None:
            track.unpublish(at_us)
            self._by_index.pop(track.binding.track_index, None)
            self._find_takers()

    def finish(self, at_us: int) -> list[dict[str, Any]]:
        """The recording ends; the account of each track for the ``close`` record."""
        self.takers = {}
        for track in self:
            track.finish(at_us)
        return [self._tracks[track_id].account() for track_id in sorted(self._tracks)]

    def outage(self) -> None:
        """The server that gave the indexes is gone, and nothing more comes by them."""
        for track in self:
            # Those of the next server begin anew, and may be the same numbers for other tracks.
            track.binding = track.binding._replace(track_index=_NO_INDEX)
            track.outage()
        self._by_index.clear()
        self._find_takers()

    def snapshot(self) -> list[Any]:
        """See :meth:`Persistent.snapshot`."""
        return [
            self.paused,
            [[index, track.binding.track_id] for index, track in self._by_index.items()],
            {key: clock.snapshot() for key, clock in self._clocks.items()},
            [[list(track.binding), track.snapshot()] for track in self],
        ]

    def restore(self, values: list[Any]) -> None:
        """See :meth:`Persistent.restore`; the files on disk are brought to the same moment."""
        self.paused, indexes, clocks, tracks = values
        for participant_id, window in clocks.items():
            clock = self._clocks[participant_id] = ParticipantClock()
            clock.restore(window)
        for binding, parts in tracks:
            self._add(TrackInput(*binding)).restore(parts)
        self._by_index = {index: self._tracks[track_id] for index, track_id in indexes}
        self._find_takers()

    def _add(self, binding: TrackInput) -> Track:
        clock = self._clocks.setdefault(binding.participant_id, ParticipantClock())
        try:
            track = Track(binding, self._setting, clock)
        except KeyError as error:
            raise MessageMalformed(f"no such codec: {binding.codec}") from error
        self._tracks[binding.track_id] = track
        return track

    def _find_takers(self) -> None:
        by_index = {} if self.paused else self._by_index
        self.takers = {index: track.packet for index, track in by_index.items()}
