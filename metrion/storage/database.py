"""Database: one connection that writes, any number that only read. SQLite today; PostgreSQL becomes a second engine.

SQLite before 3.51.3 can damage a WAL when two connections checkpoint at once, so only the writer does: it is the only
connection that may write, and whoever opens it holds the data directory's lock.
"""

from __future__ import annotations

import importlib
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from urllib.parse import quote

from sqlalchemy import Connection, Engine, ExceptionContext, QueuePool, StaticPool, create_engine, event

from metrion.config import Settings
from metrion.errors import StorageError
from metrion.storage.memory import Memory, begin_reading, take_changed
from metrion.storage.migrations import REVISIONS

__all__ = [
    "Connection",
    "Database",
    "Engine",
    "migrate",
    "open_reader",
    "open_writer",
    "quick_check",
    "stored_revision",
]

_BUSY_SECONDS = 5.0
# A reader may hold the WAL's end for a moment; 16 MiB between checkpoints keeps them few and their fsyncs rare.
_CHECKPOINT_PAGES = 4096
# Of the writing connection; SQLite's own 2 MiB are less than one great batch of rows changes.
_CACHE_KIB = 16_384


class Database:
    """The writing connection. It may move between threads, but is used by one at a time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.memory = Memory()
        self._file = -1
        self._engine = create_engine(
            "sqlite://", creator=lambda: _connect_writer(path), poolclass=StaticPool, hide_parameters=True
        )
        event.listen(self._engine, "begin", _begin_immediate)
        event.listen(self._engine, "handle_error", lambda context: _raise(path, context))
        self.connection: Connection = self._engine.connect()

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        """A write transaction: committed at the end, rolled back on any error. Then readers' memory is told of it."""
        try:
            with self.connection.begin():
                yield self.connection
        finally:
            self.memory.tell(take_changed(self.connection))

    def checkpoint(self) -> bool:
        """Move the WAL into the database file and fsync it; False where a reader kept a part of it from moving."""
        busy, in_wal, moved = self._raw.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        return not busy and in_wal == moved

    def empty_wal(self) -> bool:
        """Move the WAL into the database file, and leave no older copy of a page: not in the WAL, not in our cache.

        False where a reader is in the way; it is not waited for.
        """
        raw = self._raw
        raw.execute("PRAGMA busy_timeout=0")
        try:
            busy, _, _ = raw.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            raw.execute("PRAGMA shrink_memory")
            return not busy
        finally:
            raw.execute(f"PRAGMA busy_timeout={int(_BUSY_SECONDS * 1000)}")

    @property
    def file(self) -> int:
        """A descriptor of the database file, for `wipe`.

        It stays open as long as the connection: to close any descriptor of a file drops all locks that the process has
        on it, SQLite's too (https://www.sqlite.org/howtocorrupt.html, 2.2).
        """
        if self._file < 0:
            self._file = os.open(self.path, os.O_RDWR | os.O_CLOEXEC)
        return self._file

    @property
    def _raw(self) -> sqlite3.Connection:
        # Past SQLAlchemy, which would begin a transaction, and that is in the way of a checkpoint.
        raw = self.connection.connection.dbapi_connection
        assert isinstance(raw, sqlite3.Connection)
        return raw

    def close(self) -> None:
        """Checkpoint and close."""
        self.connection.close()
        self._engine.dispose()
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def open_writer(settings: Settings) -> Database:
    """The writing connection, creating directory and file if need be; the caller holds the data directory's lock."""
    path = settings.database_path
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        return Database(path)
    except OSError as error:
        raise StorageError(f"the database {path} cannot be opened for writing: {error.strerror}") from None


def open_reader(settings: Settings, memory: Memory | None = None) -> Engine:
    """An engine whose connections only read, never checkpoint, and see one moment per transaction; StorageError.

    `memory`: of the process's own writing connection, where there is one.
    """
    path = settings.database_path
    if not path.exists():
        raise StorageError(f"there is no database {path}; run `metrion migrate`")
    # Not the pool that "sqlite://" means: with more than five threads, it closes connections that others use.
    engine = create_engine(
        "sqlite://", creator=lambda: _connect_reader(path), poolclass=QueuePool, hide_parameters=True
    )
    event.listen(engine, "begin", partial(_begin, memory))
    event.listen(engine, "handle_error", lambda context: _raise(path, context))
    return engine


def migrate(database: Database) -> bool:
    """Bring the schema to this version's; False if it was. Raises StorageError for a database from a newer Metrion."""
    revision = stored_revision(database.connection)
    if revision == REVISIONS[-1]:
        return False
    if revision is not None and revision not in REVISIONS:
        raise StorageError(f"the database is of a newer version ({revision}); run the Metrion that made it, or upgrade")
    # Alembic takes longer to import than a command to run, and is needed once per release.
    importlib.import_module("metrion.storage.upgrade").upgrade(database)
    return True


def stored_revision(connection: Connection) -> str | None:
    """The schema's revision; None for an empty database. Leaves no transaction open."""
    with connection.begin():
        if not connection.exec_driver_sql("SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'").first():
            return None
        found = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar_one_or_none()
    return None if found is None else str(found)


def quick_check(connection: Connection) -> str:
    """What is wrong inside the database file; "" if nothing is."""
    found = str(connection.exec_driver_sql("PRAGMA quick_check(1)").scalar_one())
    return "" if found == "ok" else found


def _connect_writer(path: Path) -> sqlite3.Connection:
    # isolation_level=None: the driver begins nothing on its own; `begin` does.
    connection = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    for pragma in (
        "journal_mode=WAL",
        "synchronous=NORMAL",
        "foreign_keys=ON",
        "trusted_schema=OFF",
        "secure_delete=ON",  # what is deleted is overwritten; Debian's SQLite does so anyway
        f"cache_size=-{_CACHE_KIB}",
        f"wal_autocheckpoint={_CHECKPOINT_PAGES}",
    ):
        connection.execute(f"PRAGMA {pragma}")
    return connection


def _connect_reader(path: Path) -> sqlite3.Connection:
    # mode=ro still shares the WAL's index file, and so sees what the writer committed.
    uri = f"file:{quote(str(path))}?mode=ro"
    connection = sqlite3.connect(uri, uri=True, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA query_only=ON")
    connection.execute("PRAGMA trusted_schema=OFF")
    return connection


def _raise(path: Path, context: ExceptionContext) -> None:
    """What the driver says, without the statement and its values."""
    raise StorageError(f"the database {path} fails: {context.original_exception}")


def _begin_immediate(connection: Connection) -> None:
    # A deferred transaction that turns into a writing one can fail halfway; this one waits its turn first.
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _begin(memory: Memory | None, connection: Connection) -> None:
    if memory is not None:
        begin_reading(connection, memory)
    connection.exec_driver_sql("BEGIN")
