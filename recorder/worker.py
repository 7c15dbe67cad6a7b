"""The recorder process: one socket, one recording, one thread.

``python -m recorder.worker --socket PATH [--session ID]`` connects to the media server, receives
its :class:`~recorder.wire.Job`, answers with ``Hello`` and then takes numbered inputs until the
archive is sealed or the server is gone. Before this in a packet's path: :mod:`server.sfu.tap`.
After it: :mod:`recorder.frames`.

Exit codes: 0 when the archive is sealed, or when the server hung up (everything is then durable and
can be taken up again); 1 when it could not go on, after ``Failed`` has said why.
"""

from __future__ import annotations

import argparse
import gc
import logging
import os
import signal
import socket
import struct
import sys
import time
from pathlib import Path

from recorder import wire
from recorder.archive import Layout
from recorder.frames import Frames
from recorder.intake import Intake
from recorder.journal import Journal, SealedArchive
from recorder.state import await_release
from rooms.errors import Internal, MessageMalformed, TingxunError

logger = logging.getLogger(__name__)

READ_BYTES = 1 << 18

NICE = 5
"""Added to the process's niceness: others go first where the CPU is scarce."""

GATHER_S = 0.25
"""Pause between two reads: waking up often costs more than recording. Shorter than what is waited
for late media when a session closes, so that the order to close finds the recorder awake."""

HURRIED_S = 0.01
"""The same while somebody waits for what comes next."""

BUSY_BYTES = 160_000
"""After a read of at least so much there is more to read at once."""

SEND_TIMEOUT_S = 10
"""A server that takes no report for so long hears no more."""


def begin(job: wire.Job) -> Intake | SealedArchive:
    """Start a recording, or go on with what another recorder has left of it.

    Waits for the recorder before it. Raises what :class:`~recorder.journal.Journal` raises.
    """
    parent = Path(job.archive_parent)
    # The recorder before may be about to seal.
    await_release(Layout.recording(parent, job.session_id).state)
    sealed = Layout.sealed(parent, job.session_id)
    if sealed.root.exists() and not Layout.recording(parent, job.session_id).root.exists():
        return SealedArchive(sealed)
    journal = Journal(job)
    try:
        return Intake(job, journal)
    except BaseException:
        journal.release()
        raise


class Worker:
    """A connected recorder."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        limit = struct.pack("@ll", SEND_TIMEOUT_S, 0)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
        self._frames = Frames(self._packet, self._message)
        self._recording: Intake | SealedArchive | None = None
        self._heard = True
        """Whether the server still takes reports."""

    def run(self) -> int:
        """Work until the end; returns the exit code."""
        try:
            return self._serve()
        except TingxunError as error:
            return self._fail(error)
        except OSError as error:
            return self._fail(Internal(f"{type(error).__name__}: {error.strerror}"))
        except Exception as error:
            logger.exception("a fault in the recorder")
            return self._fail(Internal(type(error).__name__))

    def _serve(self) -> int:
        while True:
            try:
                chunk = self._connection.recv(READ_BYTES)
            except ConnectionError:
                chunk = b""
            if not chunk:
                if self._recording is not None:
                    self._recording.stop()
                return 0
            self._frames.feed(chunk)
            self._send_reports()
            recording = self._recording
            if recording is not None:
                if recording.sealed:
                    return 0
                if len(chunk) < BUSY_BYTES:
                    time.sleep(HURRIED_S if recording.hurried else GATHER_S)

    def _packet(self, n: int, arrival_us: int, index: int, packet: bytes) -> None:
        raise MessageMalformed("a packet before the job")

    def _message(self, message: wire.Message) -> None:
        if self._recording is None:
            self._start(message)
        elif not self._recording.sealed:
            self._recording.take(message)

    def _start(self, message: wire.Message) -> None:
        if not isinstance(message, wire.Job):
            raise MessageMalformed("the first message is a job")
        self._recording = begin(message)
        self._frames.on_packet = self._recording.packet
        # What is here now stays to the end; what comes with a packet goes with it.
        gc.collect()
        gc.freeze()

    def _send_reports(self) -> None:
        recording = self._recording
        if recording is None or not recording.reports:
            return
        frames = b"".join(map(wire.encode_report, recording.reports))
        recording.reports.clear()
        if self._heard:
            try:
                self._connection.sendall(frames)
            except OSError:
                # The server is gone. What it had sent before is still to be read and kept.
                self._heard = False

    def _fail(self, error: TingxunError) -> int:
        logger.error("%s: %s", error.code, error.message)
        recording = self._recording
        try:
            if recording is not None:
                recording.reports.append(wire.Failed(error.code, error.message))
                self._send_reports()
                recording.release()
            else:
                self._connection.sendall(wire.encode_report(wire.Failed(error.code, error.message)))
        except OSError:
            logger.warning("the server did not take the last report")
        return 1


def main(arguments: list[str] | None = None) -> int:
    """Entry point. ``--session`` is only there to be seen in a list of processes."""
    parser = argparse.ArgumentParser(prog="recorder.worker", description=__doc__)
    parser.add_argument("--socket", required=True, help="Unix socket of the media server")
    parser.add_argument("--session", help="session id, to find the process by")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="recorder %(levelname)s %(message)s")
    # Interrupting the server from a terminal must not interrupt the recorder before the server has
    # told it what to do: it ends when the connection ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Packets on their way to people cannot wait; what the server keeps for us can, for minutes.
    os.nice(NICE)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        try:
            connection.connect(options.socket)
        except OSError:
            logger.exception("cannot reach the server")
            return 1
        return Worker(connection).run()


if __name__ == "__main__":
    sys.exit(main())
