"""Who is speaking: from how loud each microphone is (RFC 6464), looked at five times a second.

:class:`Speakers` decides and is pure: time and levels are its arguments. :class:`Speaking` reads
the levels of a session's tracks and tells everybody who may hear the one that speaks. Nothing is
done for each packet: :meth:`server.sfu.uptrack.UpTrack.loudness` reads what is kept anyway, for
retransmission.

The speaker changes seldom: a stage follows it, and a picture that jumps at a cough disturbs a
hearing. So somebody has to be loud in half of a window before they are the speaker, and stays it
for a second, through their own pauses, and against others who are not clearly louder.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

from rooms.media import Source
from rooms.room import Room
from server.member import Member
from server.sfu.uptrack import SILENT, UpTrack

SAMPLE_S = 0.2

LOUD = 50
"""In -dBov, as all levels here: speech near a microphone is at 20 to 40, a quiet room at 60 to 80.
"""

LOUDEST = 20
"""Louder than this counts as this: who sits nearer to the microphone is not more important."""

WINDOW = 8
"""Samples that are looked at together: 1.6 s."""

BEGIN = 4
"""So many loud ones of them make a speaker; a cough, a door or a dropped pen is over before."""

PAUSE = 2
"""A speaker with no more than so many loud ones gives way to whoever speaks."""

MARGIN = 6.0
"""Who talks against the speaker takes over only when so much louder, in dB over the window."""

HOLD_NS = 1_000_000_000
"""The least time between two speakers."""

SILENCE_NS = 3_000_000_000
"""After so long without a loud sample of theirs the speaker is nobody, if nobody else speaks."""


class _Voice:
    """The newest levels of one person."""

    def __init__(self) -> None:
        self._levels: deque[int] = deque(maxlen=WINDOW)
        self.loud_ns = 0
        """When they were last loud."""

    def take(self, level: int | None, now_ns: int) -> None:
        self._levels.append(SILENT if level is None else max(level, LOUDEST))
        if self._levels[-1] <= LOUD:
            self.loud_ns = now_ns

    @property
    def activity(self) -> int:
        """How many of the newest samples are loud."""
        return sum(level <= LOUD for level in self._levels)

    @property
    def level(self) -> float:
        """The mean of the window; what was not yet sampled was silent."""
        return (sum(self._levels) + SILENT * (WINDOW - len(self._levels))) / WINDOW


class Speakers:
    """Whose microphone is the one that speaks. The same samples always give the same speakers."""

    def __init__(self) -> None:
        self.speaker: str | None = None
        """Who is speaking now, None while nobody is."""
        self._voices: dict[str, _Voice] = {}
        self._changed_ns: int | None = None

    def take(self, levels: Mapping[str, int | None], now_ns: int) -> str | None:
        """Take a sample of everybody who can be heard now, in seat order; returns the speaker.

        Levels by participant, in -dBov, None where the sender does not tell. Who is missing (muted,
        gone) is not the speaker any more, at once.
        """
        for gone in self._voices.keys() - levels.keys():
            del self._voices[gone]
        for participant_id, level in levels.items():
            self._voices.setdefault(participant_id, _Voice()).take(level, now_ns)
        speaker = self._next(now_ns)
        if speaker != self.speaker:
            self.speaker, self._changed_ns = speaker, now_ns
        return speaker

    def _next(self, now_ns: int) -> str | None:
        now = None if self.speaker is None else self._voices.get(self.speaker)
        if self._changed_ns is not None and now_ns - self._changed_ns < HOLD_NS:
            return None if now is None else self.speaker
        ready = [who for who, v in self._voices.items() if v.activity >= BEGIN]
        best = min(ready, key=lambda who: self._voices[who].level, default=None)
        if now is None:
            return best
        if best is not None and (
            now.activity <= PAUSE or self._voices[best].level <= now.level - MARGIN
        ):
            return best
        return None if now_ns - now.loud_ns >= SILENCE_NS else self.speaker


class Speaking:
    """Tells the people of one session who is speaking; :meth:`sample` is called on a timer."""

    def __init__(
        self, room: Room, ups: Mapping[str, UpTrack], members: Mapping[str, Member]
    ) -> None:
        """``ups`` are the tracks that arrive, by id; ``members`` who is there, by participant."""
        self._room = room
        self._ups = ups
        self._members = members
        self._speakers = Speakers()
        self._told: dict[str, tuple[str, str | None]] = {}
        """What each person was last told, and on which connection."""

    def sample(self, now_ns: int) -> None:
        """Look at every microphone that is not muted; send ``speaker`` to whom it is news."""
        heard = {
            track.participant_id: track.track_id
            for track in self._room.published()
            if track.source is Source.MICROPHONE and not track.muted
        }
        speaker = self._speakers.take(
            {who: self._ups[one].loudness() for who, one in heard.items() if one in self._ups},
            now_ns,
        )
        hearing: frozenset[str] = frozenset()
        if speaker is not None:
            # The audience of nobody's track holds its publisher: they are told of themselves too.
            hearing = self._room.audience(heard[speaker]) | {speaker}
        for gone in self._told.keys() - self._members.keys():
            del self._told[gone]
        for participant_id, member in self._members.items():
            if member.connection is None:
                continue
            news = (member.connection.id, speaker if participant_id in hearing else None)
            # A page that has just come knows of nobody.
            if self._told.get(participant_id, (news[0], None)) != news:
                member.send({"type": "speaker", "participant_id": news[1]})
            self._told[participant_id] = news
