"""How much of something a peer may cause: so much at once, and so much a second.

Floods are bounded by it without being answered: of requests in :mod:`server.sfu.resend`, of RTCP
in :mod:`server.sfu.rtcp`. What is sent again on a line is bounded by :mod:`server.sfu.rationing`.
No clock: time is given.
"""

from __future__ import annotations


class Allowance:
    """A bucket that holds ``burst`` and is refilled by ``per_s`` each second; full at first."""

    __slots__ = ("_burst", "_left", "_per_ns", "_since_ns", "refused")

    def __init__(self, burst: float, per_s: float) -> None:
        self.refused = 0
        """How often there was not enough left."""
        self._burst = self._left = float(burst)
        self._per_ns = per_s / 1e9
        self._since_ns = 0

    def change(self, burst: float, per_s: float) -> None:
        """Hold and be refilled by another amount from now on."""
        self._burst, self._per_ns = float(burst), per_s / 1e9

    def take(self, amount: float, now_ns: int) -> bool:
        """Take ``amount`` out if there is so much; ``now_ns`` is monotonic."""
        self._left = min(self._left + (now_ns - self._since_ns) * self._per_ns, self._burst)
        self._since_ns = now_ns
        if self._left < amount:
            self.refused += 1
            return False
        self._left -= amount
        return True
