"""What a line can carry, from what its far end tells. Pure: time is an argument.

Measured with Chromium as a receiver (RTP timestamps alone, no extension for it): its REMB falls
within 0.4 s of an overload to what gets through, and is then a good figure; but it starts low,
stays where it fell for many seconds, through other overloads too, and never grows far beyond what
is sent. It falls as well when a machine is busy or a sender falters: so its *fall* is believed only
if loss or the round trip agrees, and that it is low only if they agree for a while; its rise is
not believed at all. We find out ourselves whether more gets through, by sending a little more
(:class:`Estimate` says how much) before any picture depends on it.

Loss alone says little: a bad line loses at any rate. What is usual on a line is learned, and only
what goes beyond it counts; by itself only where it is severe. Where loss was the witness, and
sending less has not helped, it was the line's own.
"""

from __future__ import annotations

from collections import deque

SECOND_NS = 1_000_000_000

FALL = 0.93
"""REMB below this share of the one before it is a fall."""

WITNESS_LOSS = 0.03
"""From so much unusual loss on, a fall of REMB is believed, and a trial has failed ..."""

CHANCE = 0.8
"""... and by this part of the usual loss more: the few packets of a tick are lost unevenly."""

WITNESS_RISE_MS = 120.0
"""... or when the round trip is longer by this than the shortest of the last minute."""

SEVERE_LOSS = 0.3
"""So much loss is an overload by itself, until it is shown to be the line's own."""

THROUGH = 0.85
"""Of what seems to get through, so much is taken for sure: loss is told late, queues have to drain.
"""

HOPELESS_LOSS = 0.5
"""No line that is of any use loses so much by itself: less is sent until it does not."""

PROOF_NS = 2 * SECOND_NS
"""After this time at a lower rate loss has to be lower, or it is not ours."""

FALL_COUNTS_NS = 1_500_000_000
"""For how long after a fall its witnesses are heard."""

AGREED_TICKS = 3
"""For so long REMB is below what is sent while loss or the round trip agrees: it has no need to
fall again."""

SETTLE_NS = 1_500_000_000
"""After less is sent, before what comes back speaks of that: a queue has to drain first."""

HOLD_NS = 4 * SECOND_NS
MAX_HOLD_NS = 60 * SECOND_NS
"""After an overload, before more is tried; doubled each time that it was too early."""

PROVEN_HOLD_NS = 1_500_000_000
"""After a trial that went well, before the next one: pictures have to begin at the new rate."""

TRIAL_NS = 8 * SECOND_NS
"""An overload so soon after a rise is the rise's fault."""

FIRST_STEP, MORE_STEP, LAST_STEP = 0.05, 0.05, 0.3
"""What is sent grows by this part in the first tick of a trial, by so much more in each that went
well, and at most by the last: an overload stays small until it is seen."""

PROVEN_TICKS = 3
PROVEN_SHARE = 0.9
"""So many ticks at the rate of a trial, or nearly, prove it."""

LEARNING = 0.05
"""Part of what is lost beyond the usual that is usual from now on, in each tick."""

BLOATED_MS = 400.0
BLOATED_TICKS = 4
"""A round trip longer by this for so long is a queue of ours, whatever else is said."""

LASTING_TICKS = 6
"""What was lost in each of so many ticks is usual on the line, if no queue goes with it."""

ROOM = 1.1
"""A proven rate is taken for so much more: what a picture takes goes up and down."""

LEAST_BPS = 30_000
_BASE_NS = 60 * SECOND_NS


class Estimate:
    """The rate that a receiver's line carries. Call :meth:`tick` about twice a second."""

    def __init__(self) -> None:
        self.bps: int | None = None
        """What may be sent in all; None while nothing speaks of a limit."""
        self.probe_bps = 0
        """What to send in all now, to learn whether it gets through; 0: nothing beside media."""
        self.overloads = 0
        self._remb = 0
        self._fell_ns = -FALL_COUNTS_NS
        self._sent_before: int | None = None
        self._base_ms = (0.0, 0)
        self._hold_ns = HOLD_NS
        self._quiet_since_ns = 0
        self._lowered_at_ns = -SETTLE_NS
        self._rose_ns = -TRIAL_NS
        self._steps = 0
        self._proven = 0
        self.usual_loss = 0.0
        """What the line loses by itself, whatever is sent (0 to 1)."""
        self._losses: deque[float] = deque(maxlen=LASTING_TICKS)
        self._beside_bps = 0
        self._bloated = 0
        self._agreed = 0
        self._suspect: tuple[int, float, int | None, int] | None = None
        """When the rate was lowered for loss: then, the loss, the limit before, what was sent."""

    def begin(self, round_trip_ms: float, now_ns: int) -> None:
        """What the round trip was before anything was sent: whatever is more is a queue."""
        self._base_ms = (round_trip_ms, now_ns)

    def remb(self, bps: int, now_ns: int) -> None:
        """The receiver's own estimate has come."""
        if bps < FALL * self._remb:
            self._fell_ns = now_ns
        self._remb = bps

    def tick(
        self,
        now_ns: int,
        sent_bps: int,
        beside_bps: int,
        loss: float,
        round_trip_ms: float | None,
        needed_bps: int | None,
        *,
        trusted: bool = True,
        can_probe: bool = True,
    ) -> None:
        """Take what the last tick showed.

        ``sent_bps`` is everything sent, of which ``beside_bps`` (sound) is not in REMB; ``loss`` is
        0 to 1, before repair. ``needed_bps`` is what the next better picture takes in all, None
        where nothing is held back. Not ``trusted`` is what was seen while this process itself was
        late: it speaks of us, not of the line. A trial proves something if it was really sent, or
        where nothing but the pictures themselves can be (not ``can_probe``).
        """
        if not trusted:
            self._sent_before = sent_bps
            self._losses.clear()
            self._bloated = self._agreed = 0
            return
        self._beside_bps = beside_bps
        if self._suspect is not None:
            self._judge(now_ns, sent_bps, loss)
        rise_ms = self._rise(round_trip_ms, now_ns)
        self._learn(loss, rise_ms, now_ns)
        # A tick has few packets: two of them tell more.
        recent = list(self._losses)[-2:]
        lost = max(sum(recent) / len(recent) - self.usual_loss, 0.0)
        # What has just grown or shrunk says nothing yet: the lesser of two ticks was sent for sure.
        before = sent_bps if self._sent_before is None else self._sent_before
        steady_bps, self._sent_before = min(sent_bps, before), sent_bps
        limit = self._overload(now_ns, steady_bps, beside_bps, lost, rise_ms)
        if limit is not None:
            self._lower(limit, now_ns)
            return
        if self.bps is not None:
            self._raise(now_ns, sent_bps, needed_bps, can_probe)

    def _overload(
        self, now_ns: int, sent_bps: int, beside_bps: int, lost: float, rise_ms: float
    ) -> int | None:
        """What gets through, where it is less than what is sent; None where nothing says so."""
        if now_ns - self._lowered_at_ns < SETTLE_NS:
            return None
        queued = rise_ms > WITNESS_RISE_MS
        lossy = lost > WITNESS_LOSS + CHANCE * self.usual_loss
        limit = self._remb + beside_bps
        agreed = limit < sent_bps and (lossy or queued)
        self._agreed = self._agreed + 1 if agreed and self._remb else 0
        fell = now_ns - self._fell_ns < FALL_COUNTS_NS
        if agreed and (fell or self._agreed >= AGREED_TICKS):
            if not queued:
                self._suspect = (now_ns, lost, self.bps, sent_bps)
            return limit
        if (lossy or queued) and self.bps is not None and self._trying(now_ns):
            # REMB may be where it fell the last time: it does not tell again.
            return min(self.bps, int(sent_bps * THROUGH)) if not self.probe_bps else self.bps
        if lost > SEVERE_LOSS and self._suspect is None:
            self._suspect = (now_ns, lost, self.bps, sent_bps)
            return int(sent_bps * (1.0 - lost) * THROUGH)
        self._bloated = self._bloated + 1 if rise_ms > BLOATED_MS else 0
        return int(sent_bps * THROUGH) if self._bloated >= BLOATED_TICKS else None

    def _learn(self, loss: float, rise_ms: float, now_ns: int) -> None:
        """What the line loses by itself: at once what is lost no more, slowly what is lost now."""
        self._losses.append(loss)
        if loss < self.usual_loss:
            self.usual_loss = (self.usual_loss + loss) / 2
        elif not self._trying(now_ns) and rise_ms < WITNESS_RISE_MS:
            # Slowly, unless it lasts: an overload must not pass for usual.
            self.usual_loss += (min(loss, SEVERE_LOSS) - self.usual_loss) * LEARNING
            if len(self._losses) == LASTING_TICKS:
                self.usual_loss = max(self.usual_loss, min(*self._losses, SEVERE_LOSS))

    def _trying(self, now_ns: int) -> bool:
        """Whether more is sent than was known to get through, or was a moment ago."""
        return self.probe_bps > 0 or now_ns - self._rose_ns < TRIAL_NS

    def _rise(self, round_trip_ms: float | None, now_ns: int) -> float:
        if round_trip_ms is None:
            return 0.0
        base_ms, since_ns = self._base_ms
        if not since_ns or round_trip_ms < base_ms or now_ns - since_ns > _BASE_NS:
            self._base_ms = (round_trip_ms, now_ns)
            return 0.0
        return round_trip_ms - base_ms

    def _judge(self, now_ns: int, sent_bps: int, loss: float) -> None:
        """Whether sending less has helped against loss that came alone."""
        assert self._suspect is not None
        since_ns, before, limit, sent_before = self._suspect
        if now_ns - since_ns < PROOF_NS:
            return
        if loss > HOPELESS_LOSS and sent_bps > 1.2 * self._beside_bps:
            # Of one step down nothing is known yet: the first was as wrong as what it went by.
            self._suspect = (now_ns, before, limit, sent_before)
            self._lower(int(sent_bps * (1.0 - loss) * THROUGH), now_ns)
            return
        self._suspect = None
        if loss > 0.7 * before and sent_bps < THROUGH * sent_before:
            self.usual_loss = loss
            self.bps = limit

    def _lower(self, limit: int, now_ns: int) -> None:
        if self._trying(now_ns):
            self._hold_ns = min(2 * self._hold_ns, MAX_HOLD_NS)
            self._rose_ns = now_ns - TRIAL_NS
        self.overloads += 1
        self._lowered_at_ns = now_ns
        limit = limit if self.bps is None else min(self.bps, limit)
        # Sound is sent whatever the limit is.
        self.bps = max(limit, LEAST_BPS, self._beside_bps)
        self.probe_bps = self._steps = self._proven = self._agreed = 0
        self._quiet_since_ns = now_ns

    def _raise(self, now_ns: int, sent_bps: int, needed_bps: int | None, can_probe: bool) -> None:
        assert self.bps is not None
        if now_ns - self._rose_ns > 2 * TRIAL_NS and not self.probe_bps:
            quiet_ns = now_ns - self._quiet_since_ns
            self._hold_ns = HOLD_NS if quiet_ns > MAX_HOLD_NS else self._hold_ns
        if needed_bps is None or needed_bps <= self.bps:
            self.probe_bps = self._steps = self._proven = 0
            return
        if now_ns - self._quiet_since_ns < self._hold_ns:
            return
        if self.probe_bps < needed_bps:
            before = max(self.probe_bps, min(sent_bps, self.bps), LEAST_BPS)
            step = min(FIRST_STEP + MORE_STEP * self._steps, LAST_STEP)
            self._steps += 1
            self.probe_bps = min(int(before * (1.0 + step)) + 1, needed_bps)
            return
        if sent_bps >= PROVEN_SHARE * self.probe_bps or not can_probe:
            self._proven += 1
        if self._proven >= PROVEN_TICKS:
            self.bps = max(self.bps, int(needed_bps * ROOM))
            self.probe_bps = self._steps = self._proven = 0
            self._hold_ns = max(self._hold_ns // 2, HOLD_NS)
            self._rose_ns = now_ns
            self._quiet_since_ns = now_ns + PROVEN_HOLD_NS - self._hold_ns


QUEUE_NS = 150_000_000
"""So much longer on their way than the fastest of late: packets wait in a queue of the line."""

GROWTH = 1.08
"""In each tick without an overload."""


class Uplink:
    """What a publisher is told to send at most, for REMB. Call :meth:`tick` twice a second.

    Chromium itself sends less when we report more than 10 % lost; what it cannot see without our
    help is a queue that grows while nothing is lost yet, and sound waits in it too.
    """

    def __init__(self) -> None:
        self._bps: int | None = None
        self._ticks = 0

    def tick(self, received_bps: int, delay_ns: int, lost: float, most_bps: int) -> int:
        """What may be sent in all; ``lost`` is 0 to 1, ``most_bps`` what is wanted at most."""
        self._ticks = self._ticks + 1 if delay_ns > QUEUE_NS else 0
        if self._ticks >= 2 or (self._ticks and lost > WITNESS_LOSS):
            limit = int(received_bps * THROUGH)
            self._bps = max(min(limit, self._bps or limit), 2 * LEAST_BPS)
        elif self._bps is not None and not self._ticks:
            self._bps = int(self._bps * GROWTH) + 1
            if self._bps >= most_bps:
                self._bps = None
        return most_bps if self._bps is None else min(self._bps, most_bps)
