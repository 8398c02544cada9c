"""The data directory: who may write in it, and how it is opened for reading and writing.

serve.lock is held with flock by a running server, or by a command for as long as it writes: so the database has one
writer at any time. A directory or database that is not there yet is made.
"""

from __future__ import annotations

import fcntl
import importlib
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from metrion.config import Settings
from metrion.errors import LockedError, VaultError
from metrion.storage.database import Database, Engine, migrate, open_reader, open_writer, stored_revision
from metrion.storage.migrations import REVISIONS

PATIENCE = 15.0  # seconds, for a server that is starting or stopping, or another command
RETRY_SECONDS = 0.05


@contextmanager
def hold_lock(settings: Settings, holder: str = "serve") -> Iterator[None]:
    """Hold the data directory as `holder` ("serve" or "command"); raises LockedError naming who does.

    A command is waited for, since it is done in a moment; a server is not.
    """
    settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    settings.database_path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    deadline = time.monotonic() + PATIENCE
    with ExitStack() as held:
        # The database's own directory too: two data directories may name one database.
        for folder in sorted({settings.data_dir.resolve(), settings.database_path.parent.resolve()}):
            held.enter_context(_lock(folder / "serve.lock", holder, deadline))
        yield


@contextmanager
def _lock(path: Path, holder: str, deadline: float) -> Iterator[None]:
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        while not _try_lock(file):
            who, _, pid = os.pread(file, 64, 0).decode(errors="replace").strip().partition(" ")
            if who == "serve" or time.monotonic() > deadline:
                name = "a running server" if who == "serve" else "another command"
                raise LockedError(f"{path.parent} is in use by {name} (pid {pid or 'unknown'}); stop it first")
            time.sleep(RETRY_SECONDS)
        os.ftruncate(file, 0)
        os.pwrite(file, f"{holder} {os.getpid()}\n".encode(), 0)
        try:
            yield
        finally:
            os.ftruncate(file, 0)
    finally:
        os.close(file)


def lock_holder(settings: Settings) -> str | None:
    """Who holds the data directory, as "serve 1234"; None where nobody does."""
    try:
        file = os.open(settings.data_dir / "serve.lock", os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        return None if _try_lock(file) else os.pread(file, 64, 0).decode(errors="replace").strip()
    finally:
        os.close(file)


def _try_lock(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def open_for_writing(settings: Settings) -> Iterator[Database]:
    """The database as a command may change it: locked, of this version, with what a dead server left in the journal."""
    with hold_lock(settings, "command"):
        database = open_writer(settings)
        try:
            migrate(database)
            if has_journal(settings):
                _recover(settings, database)
            yield database
        finally:
            database.close()


@contextmanager
def open_for_reading(settings: Settings) -> Iterator[Engine]:
    """The database as a command may read it, made or brought up to date first where no server does so."""
    deadline = time.monotonic() + PATIENCE
    while not _is_current(settings) or has_journal(settings):
        try:
            with open_for_writing(settings):
                break
        except VaultError:  # without the master key, a journal after a deletion cannot be told apart; rows can be read
            if _is_current(settings):
                break
            raise
        except LockedError:
            if _is_current(settings):  # the running server's journal is its own affair
                break
            if time.monotonic() > deadline:
                raise
        time.sleep(RETRY_SECONDS)
    engine = open_reader(settings)
    try:
        yield engine
    finally:
        engine.dispose()


def _recover(settings: Settings, database: Database) -> None:
    # The ledger brings logs and the price book with it; a command that has nothing to recover should not wait for them.
    importlib.import_module("metrion.kit.logs").configure_logs(settings.log_level)
    importlib.import_module("metrion.ledger.recovery").recover(settings, database)


def has_journal(settings: Settings) -> bool:
    """Whether the journal holds anything, which without a running server is what a killed one left."""
    try:
        return any(entry.stat().st_size for entry in os.scandir(settings.data_dir / "journal"))
    except FileNotFoundError:  # no journal, or a running server that just let a segment go
        return False


def _is_current(settings: Settings) -> bool:
    if not settings.database_path.exists():
        return False
    engine = open_reader(settings)
    try:
        with engine.connect() as connection:
            return stored_revision(connection) == REVISIONS[-1]
    finally:
        engine.dispose()
