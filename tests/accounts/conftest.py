"""An account in a real database, a vault, and a clock that tests set."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from metrion.accounts import codes, links, people, sessions
from metrion.accounts.vault import Vault, open_vault
from metrion.config import Settings
from metrion.storage.database import Database
from tests.storage.samples import new_database

EMAIL = "ada@example.com"


class Clock:
    """The time of day in Unix ms; moved by hand."""

    def __init__(self, ms: int) -> None:
        self.ms = ms

    def __call__(self) -> int:
        return self.ms


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock(1_793_534_400_000)
    for module in (codes, links, people, sessions):
        monkeypatch.setattr(module, "now_ms", clock)
    return clock


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = new_database(tmp_path)
    yield database
    database.close()


@pytest.fixture
def vault(tmp_path: Path, database: Database) -> Vault:
    return open_vault(Settings(data_dir=tmp_path), database)


@pytest.fixture
def account(database: Database, vault: Vault) -> int:
    """The number of an account that signed up."""
    return add_account(database, vault, EMAIL)


def add_account(database: Database, vault: Vault, email: str) -> int:
    with database.begin() as connection:
        return people.sign_up(connection, vault, email, None, plan="pro", confirmed=True).account_id
