"""The database behind the records: one connection, owned by one worker thread.

Callers hand in a function that takes a :class:`sqlalchemy.Connection`; it runs in the thread,
inside one transaction, and its result comes back to the event loop. A transaction that returned is
on the disk (``synchronous=FULL``), because events are stored before they are acted on. SQLite in
WAL mode is the embedded default; nothing here but the pragmas knows about it.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import StaticPool

from rooms.errors import DataDirUnwritable, DiskFull, TingxunError
from server import schema

Result = TypeVar("Result")


class Database:
    """The records' one connection and its thread; open it with :meth:`open`, end it with close."""

    def __init__(self, engine: Engine, worker: ThreadPoolExecutor, path: Path) -> None:
        self._engine = engine
        self._worker = worker
        self._path = path

    @classmethod
    async def open(cls, path: Path) -> Database:
        """Open the database file, making it and its folder first where they are missing.

        Raises :class:`~rooms.errors.DataDirUnwritable`, :class:`~rooms.errors.DiskFull` or, for a
        database of another version, :class:`~rooms.errors.ConfigInvalid`.
        """
        worker = ThreadPoolExecutor(1, thread_name_prefix="records")
        engine = create_engine(
            f"sqlite+pysqlite:///{path}",
            poolclass=StaticPool,
            connect_args={"check_same_thread": False},
        )
        event.listen(engine, "connect", _on_connect)
        event.listen(engine, "begin", _on_begin)
        database = cls(engine, worker, path)
        try:
            await asyncio.get_running_loop().run_in_executor(worker, _make_file, path)
            await database.run(schema.create)
        except BaseException:
            await database.close()
            raise
        return database

    async def run(self, work: Callable[[Connection], Result]) -> Result:
        """Run ``work`` in the worker thread as one transaction and return its result.

        An error of the platform raised by ``work`` undoes the transaction and comes through.
        """
        return await asyncio.get_running_loop().run_in_executor(self._worker, self._do, work)

    def _do(self, work: Callable[[Connection], Result]) -> Result:
        try:
            with self._engine.begin() as connection:
                return work(connection)
        except DBAPIError as error:
            raise self._explained(error) from error

    def _explained(self, error: DBAPIError) -> Exception:
        """The platform's error for what the disk did, or the error itself."""
        code = getattr(error.orig, "sqlite_errorcode", None)
        problem: TingxunError | None = None
        if code is not None and code & 0xFF == sqlite3.SQLITE_FULL:
            problem = DiskFull(f"{self._path}: {error.orig}")
        elif code is not None and code & 0xFF in _UNWRITABLE:
            problem = DataDirUnwritable(f"{self._path}: {error.orig}")
        return problem or error

    async def close(self) -> None:
        """Wait for what is under way, then close the file and end the thread."""
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._worker, self._engine.dispose)
        self._worker.shutdown(wait=False)


_UNWRITABLE = frozenset(
    {
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_NOTADB,
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_IOERR,
    }
)


def _make_file(path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.touch(mode=0o600)
    except OSError as error:
        raise DataDirUnwritable(f"{path.parent}: {error.strerror}") from error


def _on_connect(connection: Any, _record: object) -> None:
    # Python's own transaction handling would begin late and commit before some statements.
    connection.isolation_level = None
    for pragma in (
        # First: the others can meet another process of the server at work.
        "busy_timeout=5000",
        "journal_mode=WAL",
        "synchronous=FULL",
        "foreign_keys=ON",
    ):
        connection.execute(f"PRAGMA {pragma}")


def _on_begin(connection: Connection) -> None:
    # IMMEDIATE: a transaction that reads first must not fail when it comes to write.
    connection.exec_driver_sql("BEGIN IMMEDIATE")
