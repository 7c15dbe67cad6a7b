"""All sessions that this process holds: somebody is in them, or their recording is not yet sealed.

One conductor each. A session is held by one process at a time (:mod:`server.claims`).
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from dataclasses import replace
from typing import Any

from aiortc import RTCCertificate

from recorder import certificates, wire
from rooms.errors import SessionHeldElsewhere
from rooms.events import from_record
from rooms.room import Room
from server.claims import Claims
from server.conductor import Conductor
from server.config import Config
from server.recording import unfinished
from server.records import Records
from server.sfu.binding import Binding
from server.sfu.port import MediaPorts

logger = logging.getLogger(__name__)

SWEEP_S = 30.0
"""How often conductors that nobody needs any more are let go."""

CLAIM_AGAIN_S = (0.02, 0.05, 0.1, 0.2)
"""Pauses before a session is claimed again: a process that is being started has, for a moment, the
locks of the one that starts it.
"""

HELD_AGAIN_S = 2.0
"""An unfinished recording that another process still holds is looked at again after so long."""


class Conductors:
    """Finds or makes the conductor of a session; a session never has two."""

    def __init__(self, config: Config, records: Records, claims: Claims) -> None:
        self._config = config
        self._records = records
        self._claims = claims
        self._seal = seal_job(config)
        self._certificate = RTCCertificate.generateCertificate()
        media = config.media
        self._ports = MediaPorts(
            Binding(media.bind_address, media.announced_address, media.port_min, media.port_max)
        )
        self._conductors: dict[str, Conductor] = {}
        self._past: Counter[tuple[str, str]] = Counter()
        self._making = asyncio.Lock()
        self._sweeper = asyncio.create_task(self._sweep())

    async def get(self, session_id: str) -> Conductor:
        """The conductor of a session; one that a dead server held is taken over.

        Raises ``session_unknown`` if there is no such session, and ``session_held_elsewhere``.
        """
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
        totals.update({(name, ""): count for name, count in self._ports.counts().items()})
        for conductor in self._conductors.values():
            conductor.figures.look()
            totals.update(conductor.figures.totals.counts)
        return totals

    async def recover(self) -> list[str]:
        """Take over what a server that died left unfinished; returns the session ids."""
        taken = []
        waiting = unfinished(self._config.archive_dir)
        while waiting:
            held_elsewhere = []
            for session_id in waiting:
                try:
                    await self.get(session_id)
                    taken.append(session_id)
                except SessionHeldElsewhere:
                    held_elsewhere.append(session_id)
                except Exception:
                    # One damaged recording must not keep the others; it stays on disk.
                    logger.exception("recording of session %s cannot be taken over", session_id)
            waiting = held_elsewhere
            if waiting:
                await asyncio.sleep(HELD_AGAIN_S)
        return taken

    async def shutdown(self) -> None:
        """The process ends: what is live is left for the next to take over."""
        self._sweeper.cancel()
        await asyncio.gather(*(c.stop() for c in self._conductors.values()))
        self._conductors.clear()
        self._claims.release_all()
        self._ports.close()

    async def _make(self, session_id: str) -> Conductor:
        session = await self._records.session(session_id)
        await self._claim(session_id)
        room = Room(
            session,
            max_tracks_per_participant=self._config.media.max_tracks_per_participant,
        )
        conductor = Conductor(
            room, self._config, self._records, self._certificate, self._ports, self._seal
        )
        try:
            # Read only now: until it let go of its claim, the process before may have added some.
            history = [from_record(record) for record in await self._records.events(session_id)]
            await conductor.take_over(history)
        except BaseException:
            await conductor.stop()
            self._claims.release(session_id)
            raise
        return conductor

    async def _claim(self, session_id: str) -> None:
        for pause_s in CLAIM_AGAIN_S:
            try:
                self._claims.take(session_id)
            except SessionHeldElsewhere:
                await asyncio.sleep(pause_s)
            else:
                return
        self._claims.take(session_id)

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
                    self._claims.release(session_id)


def seal_job(config: Config) -> wire.SealJob:
    """The keys to seal with: the operator's where config names them, else this installation's.

    Those are made where there are none yet.
    """
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
