"""Accounts whose address nobody confirmed go after two weeks; all others stay."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest

from metrion.accounts import people, unconfirmed
from metrion.accounts.codes import issue_code
from metrion.accounts.links import issue_link
from metrion.accounts.sessions import start_session
from metrion.accounts.unconfirmed import KEPT_MS, Unconfirmed
from metrion.accounts.vault import Vault, open_vault
from metrion.config import Settings
from metrion.datadir import open_for_writing
from metrion.kit.clock import HOUR_MS
from metrion.storage import accounts as stored
from metrion.storage.database import Connection, Database
from tests.accounts.conftest import Clock
from tests.storage.samples import call_row, write_rows
from tests.support import EMAIL, Metrion

pytestmark = pytest.mark.anyio
T = TypeVar("T")


class House:
    def __init__(self, database: Database, vault: Vault, clock: Clock) -> None:
        self.database, self.vault, self.clock = database, vault, clock
        self.reloaded: list[int] = []

    async def change(self, act: Callable[[Connection], T], of: int) -> T:
        with self.database.begin() as connection:
            result = act(connection)
        self.reloaded += [of] if of else []
        return result

    def sign_up(self, email: str, *, confirmed: bool = False) -> int:
        """An account as the form makes it where mail is on: without a password, with a code on its way."""
        with self.database.begin() as connection:
            number = people.sign_up(connection, self.vault, email, None, plan="pro", confirmed=confirmed).account_id
            issue_code(connection, self.vault, number, "confirm")
        return number

    def do(self, act: Callable[[Connection], object]) -> None:
        with self.database.begin() as connection:
            act(connection)

    async def left(self) -> list[int]:
        """Which accounts there are after a look of the task."""
        await Unconfirmed(self.vault, self.change).work()
        with self.database.begin() as connection:
            return [row.id for row in stored.list_accounts(connection)]


@pytest.fixture
def house(database: Database, vault: Vault, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> House:
    monkeypatch.setattr(unconfirmed, "now_ms", clock)
    return House(database, vault, clock)


async def test_two_weeks_and_no_longer(house: House) -> None:
    first = house.sign_up("first@example.com")
    house.clock.ms += HOUR_MS
    second = house.sign_up("second@example.com")
    house.clock.ms += KEPT_MS - HOUR_MS
    assert await house.left() == [first, second]
    house.clock.ms += 1
    assert await house.left() == [second]
    assert house.reloaded == [first]  # so that its Metrion key is no longer known
    house.clock.ms += HOUR_MS
    assert await house.left() == []


async def test_whoever_asked_for_a_code_lately_may_still_use_it(house: House) -> None:
    number = house.sign_up("ada@example.com")
    house.clock.ms += KEPT_MS - 1
    house.do(lambda connection: issue_code(connection, house.vault, number, "confirm"))
    house.clock.ms += KEPT_MS
    assert await house.left() == [number]
    house.clock.ms += 1
    assert await house.left() == []


LIVES: dict[str, Callable[[House, Connection, int], object]] = {
    "confirmed": lambda _, connection, number: people.confirm(connection, number),
    "a password": lambda _, connection, number: stored.update_account(connection, number, password="$argon2id$x"),
    "used": lambda _, connection, number: stored.update_account(connection, number, used_ms=1),
    "an operator": lambda _, connection, number: people.make_operator(connection, number),
    "signed in": lambda _, connection, number: start_session(connection, number, "", ""),
    "a key": lambda _, connection, number: stored.set_provider_key(connection, number, "openai", b"x", "tail", 1),
}


@pytest.mark.parametrize("life", LIVES)
async def test_what_came_to_life_stays(house: House, life: str) -> None:
    number = house.sign_up("ada@example.com")
    house.do(lambda connection: LIVES[life](house, connection, number))
    house.clock.ms += 100 * KEPT_MS
    assert await house.left() == [number]


async def test_who_confirms_in_the_last_moment_stays(house: House) -> None:
    number = house.sign_up("ada@example.com")
    house.clock.ms += 2 * KEPT_MS

    async def change(act: Callable[[Connection], T], of: int) -> T:
        result = await house.change(act, of)
        if not of:  # they were looked for, and none is deleted yet
            house.do(lambda connection: people.confirm(connection, number))
        return result

    await Unconfirmed(house.vault, change).work()
    assert await house.left() == [number]


async def test_who_has_requests_stays(house: House) -> None:
    number = house.sign_up("ada@example.com")
    write_rows(house.database, [call_row(house.clock.ms, account_id=number)])
    house.clock.ms += 100 * KEPT_MS
    assert await house.left() == [number]


async def test_a_link_of_the_operators_may_still_be_used(house: House) -> None:
    number = house.sign_up("ada@example.com")
    house.clock.ms += KEPT_MS
    house.do(lambda connection: issue_link(connection, "sign_in", account_id=number))
    house.clock.ms += KEPT_MS
    assert await house.left() == [number]


async def test_all_of_many_go(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unconfirmed, "_AT_ONCE", 2)
    for number in range(5):
        house.sign_up(f"{number}@example.com")
    house.clock.ms += 2 * KEPT_MS
    rests = [await Unconfirmed(house.vault, house.change).work() for _ in range(3)]
    assert rests[:2] == [0, 0]
    assert rests[2] > 0
    assert await house.left() == []


def test_a_server_deletes_them_by_itself(tmp_path: Path) -> None:
    metrion = Metrion(tmp_path / "data", {})
    metrion.create_account(keys=())
    settings = Settings(data_dir=metrion.data_dir)
    with open_for_writing(settings) as database:
        vault = open_vault(settings, database)
        with database.begin() as connection:
            made = people.sign_up(connection, vault, "nobody@example.com", None, plan="pro", confirmed=False)
            stored.update_account(connection, made.account_id, created_ms=1)
    metrion.start()
    try:
        deadline = time.monotonic() + 20
        while "nobody@example.com" in (listed := metrion.call("account", "list")):
            assert time.monotonic() < deadline
            time.sleep(0.02)
    finally:
        metrion.stop()
    assert EMAIL in listed
