"""Totals of one session over everything that has carried its media, however short it lived.

The parts of the media plane count for themselves: a track its packets, a peer what it refused.
They come and go with connections, while an operator's totals may only grow (Prometheus takes a
smaller counter for a restart). So the parts are looked at once a second and at each scrape, and
what each has counted since is added.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from server.recording import Recording
from server.sfu.downtrack import DownTrack
from server.sfu.publish_peer import PublishPeer
from server.sfu.rtp import HEADER_BYTES
from server.sfu.subscribe_peer import SubscribePeer
from server.sfu.tap import Tap
from server.sfu.uptrack import UpTrack

Part = UpTrack | DownTrack | PublishPeer | SubscribePeer | Tap | Recording


class Totals:
    """What was counted, by name and kind (``audio``, ``video`` or empty)."""

    def __init__(self) -> None:
        self.counts: Counter[tuple[str, str]] = Counter()
        self._known: dict[Part, tuple[str, Mapping[str, int]]] = {}

    def look(self, parts: Mapping[Part, str]) -> None:
        """Add what ``parts`` (each with its kind) have counted since the last look.

        A part that is no longer among them is read a last time and let go; but not a down track,
        which counts by its up track and does not know when it was detached.
        """
        gone = {part: kind for part, (kind, _) in self._known.items() if part not in parts}
        for part, kind in [*parts.items(), *gone.items()]:
            if part in gone and isinstance(part, DownTrack):
                continue
            counted = _read(part)
            _, before = self._known.get(part, (kind, {}))
            for name, value in counted.items():
                self.counts[name, kind] += value - before.get(name, 0)
            self._known[part] = (kind, counted)
        for part in gone:
            del self._known[part]


def _read(part: Part) -> Mapping[str, int]:
    match part:
        case UpTrack():
            return {
                "packets_in": part.packets,
                "bytes_in": part.bytes,
                "lost": part.lost,
                "missed": part.missed,
                "duplicates": part.duplicates,
                "unexpected": part.unexpected,
            }
        case DownTrack():
            return {
                "packets_out": part.packets,
                "bytes_out": part.octets + part.again.octets + HEADER_BYTES * part.packets,
                "retransmitted": part.again.retransmitted,
                "switches": part.switches,
                "probed": part.again.probed,
            }
        case PublishPeer():
            return {
                "rejected": part.rejected,
                "unknown": part.unknown + part.rtcp.malformed,
                "rtcp_refused": part.rtcp.refused,
            }
        case SubscribePeer():
            return {
                "rejected": part.rejected,
                "rtcp_refused": part.rtcp.refused,
                "overloads": part.rationing.estimate.overloads,
            }
        case Tap():
            return {"refused": part.refused}
        case Recording():
            return {"recorder_restarts": part.replaced}
