"""Writes small archives by hand, through ledger, checkpoints and seal, for tests to read."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recorder import certificates, manifest
from recorder.archive import Container, Layout
from recorder.checkpoint import CheckpointFile, SessionKey
from recorder.ledger import Ledger
from recorder.seal import SealResult, seal_archive
from recorder.verify import Trust
from recorder.wire import SealJob

SESSION = {
    "id": "s-2026-0001",
    "case_number": "（2026）沪0101刑初17号",
    "kind": "interrogation",
    "title": "Questioning of L.",
    "starts_at": "2026-11-23T14:00:00.000Z",
    "room_id": "room-1",
    "site_ids": ["bureau", "detention"],
    "assignments": [
        {
            "participant_id": "officer-1",
            "name": "王警官",
            "role": "questioner",
            "site_id": "bureau",
            "site_name": "Bureau",
        }
    ],
}
WALL = "2026-11-23T14:05:07.123Z"
SEGMENT_US = 4_000_000


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@dataclass
class Keys:
    """Certificates of an installation, and what to trust of them."""

    directory: Path
    job: SealJob

    @property
    def trust(self) -> Trust:
        return Trust.of_installation(self.directory)

    @property
    def pem(self) -> Path:
        return self.directory / certificates.TRUSTED


class Scribe:
    """Writes an archive step by step, as a recorder does."""

    def __init__(self, parent: Path, seed: bytes = bytes(range(32))) -> None:
        self.layout = Layout.recording(parent, SESSION["id"])
        self.layout.make_directories()
        self.ledger = Ledger.create(self.layout.chain)
        self.checkpoints = CheckpointFile.create(self.layout.checkpoints)
        self.key = SessionKey(seed, f"tingxun.test/{SESSION['id']}")
        self.digests: dict[str, tuple[int, str]] = {}
        self.inits: dict[str, dict[str, Any]] = {}
        self.segments: dict[str, list[dict[str, Any]]] = {}
        self.gaps: dict[str, list[tuple[int, int]]] = {}
        self.ledger.append(
            {
                "type": "open",
                "format": 1,
                "session": SESSION,
                "opened_wall": WALL,
                "origin": self.key.origin,
                "key": self.key.verifier_key,
                "software": "tingxun-test/1",
                "recorder": "test",
                "clock": {"source": "system", "offset_us": None},
            }
        )

    def _store(self, path: Path, content: bytes) -> dict[str, Any]:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
        relative = self.layout.relative(path)
        self.digests[relative] = (len(content), sha256(content))
        return {"file": relative, "size": len(content), "sha256": sha256(content)}

    def init(self, track: str, source: str, codec: str, container: Container) -> None:
        path = self.layout.init(track, container)
        record = {
            "type": "init",
            "track": track,
            "source": source,
            "participant": "officer-1",
            "site": "bureau",
            "label": "Bureau",
            "codec": codec,
            "container": container,
            **self._store(path, f"init of {track}".encode() * 3),
            "timescale": 1000 if container == "webm" else 48000,
            "ssrc": 1234,
        }
        self.inits[track] = record
        self.segments[track] = []
        self.gaps[track] = []
        self.ledger.append(record)

    def segment(
        self,
        track: str,
        t0_us: int,
        length_us: int = SEGMENT_US,
        media_t0_us: int | None = None,
    ) -> None:
        """A segment at ``t0_us`` of the session; its media begin there too unless told."""
        media_us = t0_us if media_t0_us is None else media_t0_us
        init = self.inits[track]
        number = len(self.segments[track]) + 1
        content = b"".join(
            hashlib.sha256(f"{track} {number} {i}".encode()).digest() for i in range(40)
        )
        ticks = init["timescale"]
        record = {
            "type": "seg",
            "track": track,
            "number": number,
            **self._store(self.layout.segment(track, number, init["container"]), content),
            "t0_us": t0_us,
            "end_us": t0_us + length_us,
            "media_t0": media_us * ticks // 1_000_000,
            "media_end": (media_us + length_us) * ticks // 1_000_000,
            "samples": 100,
            "key": True,
            "rtp": {"ssrc": 1234, "first_seq": 1, "last_seq": 100, "first_ts": 0, "ntp_us": None},
            "lost": 0,
            "wall": WALL,
        }
        self.segments[track].append(record)
        self.ledger.append(record)
        if init["codec"] != "opus":
            self.checkpoint()

    def gap(self, track: str, from_us: int, to_us: int) -> None:
        self.gaps[track].append((from_us, to_us))
        self.ledger.append(
            {
                "type": "gap",
                "track": track,
                "from_us": from_us,
                "to_us": to_us,
                "cause": "network",
                "detail": "nothing came from the sender",
            }
        )

    def event(self, t_us: int | None, event: dict[str, Any]) -> None:
        self.ledger.append({"type": "event", "t_us": t_us, "wall": WALL, "event": event})

    def checkpoint(self) -> None:
        self.checkpoints.append(self.key.sign(self.ledger.size, self.ledger.root()))

    def close(self, closed_us: int, **changes: Any) -> None:
        """Playlists, the close line and the last checkpoint."""
        for track, init in self.inits.items():
            if init["container"] == "cmaf" and self.segments[track]:
                text = manifest.playlist(init, self.segments[track])
                self._store(self.layout.playlist(track), text)
        accounts = []
        for track, init in self.inits.items():
            gap_us = sum(end - start for start, end in self.gaps[track])
            accounts.append(
                {
                    "track": track,
                    "source": init["source"],
                    "participant": init["participant"],
                    "site": init["site"],
                    "codec": init["codec"],
                    "segments": len(self.segments[track]),
                    "samples": sum(s["samples"] for s in self.segments[track]),
                    "expected_us": closed_us,
                    "captured_us": closed_us - gap_us,
                    "gap_us": gap_us,
                    "gaps": len(self.gaps[track]),
                }
            )
        record = {
            "type": "close",
            "closed_us": closed_us,
            "live": [[0, closed_us]],
            "tracks": accounts,
            "checkpoints": self.checkpoints.count,
        }
        self.ledger.append({**record, **changes})
        self.checkpoint()

    def seal(self, job: SealJob) -> SealResult:
        self.ledger.close()
        self.checkpoints.close()
        return seal_archive(self.layout, SESSION, self.digests, job, "tingxun-test/1")


def write_session(parent: Path) -> Scribe:
    """A session of 12 s with three tracks, all but sealed."""
    scribe = Scribe(parent)
    scribe.event(0, {"type": "session_live", "copies": 1})
    scribe.init("cam-1", "camera", "avc3.42E01F", "cmaf")
    scribe.init("mic-1", "microphone", "opus", "cmaf")
    scribe.init("evidence-1", "evidence_display", "vp8", "webm")
    for t0_us in range(0, 12_000_000, SEGMENT_US):
        for track in ("cam-1", "mic-1"):
            scribe.segment(track, t0_us)
    scribe.segment("evidence-1", 0)
    scribe.gap("evidence-1", 4_000_000, 6_500_000)
    scribe.segment("evidence-1", 6_500_000, 5_500_000)
    scribe.event(
        11_000_000, {"type": "marker_added", "participant_id": "officer-1", "text": "供述"}
    )
    scribe.close(12_000_000)
    return scribe


def make_writable(root: Path) -> None:
    for current, _, files in os.walk(root):
        Path(current).chmod(0o755)
        for name in files:
            path = Path(current) / name
            if not path.is_symlink():
                path.chmod(0o644)
