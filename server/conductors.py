"""All sessions that somebody is in, or whose recording is not yet sealed; one conductor each."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from dataclasses import replace
from typing import Any

from aiortc import RTCCertificate

from recorder import certificates, wire
from rooms.events import from_record
from rooms.room import Room
from server.conductor import Conductor
from server.config import Config
from server.recording import unfinished
from server.records import Records

logger = logging.getLogger(__name__)

SWEEP_S = 30.0
"""How often conductors that nobody needs any more are let go."""


class Conductors:
    """Finds or makes the conductor of a session; a session never has two."""

    def __init__(self, config: Config, records: Records) -> None:
        self._config = config
        self._records = records
        self._seal = _seal_job(config)
        self._certificate = RTCCertificate.generateCertificate()
        self._conductors: dict[str, Conductor] = {}
        self._past: Counter[tuple[str, str]] = Counter()
        self._making = asyncio.Lock()
        self._sweeper = asyncio.create_task(self._sweep())

    async def get(self, session_id: str) -> Conductor:
        """The conductor of a session; ``session_unknown`` if there is no such session."""
        conductor = self._conductors.get(session_id)
        if conductor is not None:
            return conductor
        async with self._making:
            conductor = self._conductors.get(session_id)
            if conductor is None:
                conductor = await self._make(session_id)
                self._conductors[session_id] = conductor
            return conductor

    def running(self) -> dict[str, dict[str, Any]]:
        """Sessions that are held now, with their recording state: for the lobby and operators."""
        return {
            session_id: {
                "phase": str(conductor.room.phase),
                "recording": conductor.room.recording.to_record(),
                "present": len(conductor.room.present),
                "recorder_pid": conductor.recorder_pid,
            }
            for session_id, conductor in self._conductors.items()
        }

    def held(self) -> list[Conductor]:
        """The conductors of the sessions that are held now."""
        return list(self._conductors.values())

    def totals(self) -> Counter[tuple[str, str]]:
        """What all sessions since the start have counted, by name and kind of track."""
        totals = self._past.copy()
        for conductor in self._conductors.values():
            conductor.figures.look()
            totals.update(conductor.figures.totals.counts)
        return totals

    async def recover(self) -> list[str]:
        """Seal what a server that died left unfinished; returns the session ids taken up."""
        taken = []
        for session_id in unfinished(self._config.archive_dir):
            try:
                conductor = await self.get(session_id)
                if await conductor.recover():
                    taken.append(session_id)
            except Exception:
                # One damaged recording must not keep the server from starting; it stays on disk.
                logger.exception("recording of session %s could not be taken up", session_id)
        return taken

    async def shutdown(self) -> None:
        """The server ends."""
        self._sweeper.cancel()
        await asyncio.gather(*(c.stop() for c in self._conductors.values()))
        self._conductors.clear()

    async def _make(self, session_id: str) -> Conductor:
        session = await self._records.session(session_id)
        room = Room(
            session,
            max_tracks_per_participant=self._config.media.max_tracks_per_participant,
        )
        for record in await self._records.events(session_id):
            room.apply(from_record(record))
        return Conductor(room, self._config, self._records, self._certificate, self._seal)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_S)
            for session_id, conductor in list(self._conductors.items()):
                if conductor.idle:
                    del self._conductors[session_id]
                    # Nothing more is counted for one that is idle.
                    conductor.figures.look()
                    self._past.update(conductor.figures.totals.counts)
                    await conductor.stop()


def _seal_job(config: Config) -> wire.SealJob:
    """The keys to seal with: the operator's where config names them, else this installation's."""
    own = certificates.ensure(config.certificates_dir, config.seal.tsa_url)
    seal = config.seal
    named = {
        "cert_path": seal.cert,
        "key_path": seal.key,
        "chain_path": seal.chain,
        "tsa_cert_path": seal.tsa_cert,
        "tsa_key_path": seal.tsa_key,
        "tsa_roots_path": seal.tsa_roots,
    }
    return replace(own, **{name: str(path) for name, path in named.items() if path is not None})
