"""What a person takes along: all that is kept of their account, nothing of another's, and no key."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import orjson
import pytest
from sqlalchemy import insert

from metrion.accounts import export, people, provider_keys, sessions
from metrion.accounts.export import export_account
from metrion.accounts.tokens import reveal_token
from metrion.accounts.vault import Vault
from metrion.config import Settings
from metrion.kit.clock import DAY_MS, now_ms
from metrion.storage import tables
from metrion.storage.database import Connection, Database, Engine, open_reader
from metrion.storage.reports import CALL_FIELDS
from metrion.storage.rows import COLUMNS
from tests.accounts.conftest import EMAIL, add_account
from tests.storage.samples import call_row, write_rows

pytestmark = pytest.mark.anyio

T = TypeVar("T")
KEY = "sk-proj-0123456789abcdef"
HOUR_MS = 3_600_000


class Reader:
    """Reads as pages do, each step on a connection of its own; counts the steps."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.steps = 0
        self.before: Callable[[], None] = lambda: None

    async def __call__(self, query: Callable[[Connection], T]) -> T:
        self.steps += 1
        self.before()
        with self._engine.connect() as connection:
            return query(connection)


@pytest.fixture
def read(database: Database, tmp_path: Path) -> Iterator[Reader]:
    engine = open_reader(Settings(data_dir=tmp_path))
    yield Reader(engine)
    engine.dispose()


async def exported(read: Reader, account: int) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(
        b"".join([piece async for piece in export_account(read, Settings(), account)])
    )
    return document


async def test_it_holds_everything_and_no_key(database: Database, vault: Vault, account: int, read: Reader) -> None:
    with database.begin() as connection:
        people.set_profile(connection, account, name='Ada "L"', currency="CHF", time_zone="Europe/Zurich")
        provider_keys.set_provider_key(connection, vault, account, "openai", KEY)
        cookie = sessions.start_session(connection, account, "a browser", "127.0.0.1")
        token = reveal_token(connection, vault, account).reveal().decode()
    bob = add_account(database, vault, "bob@example.com")
    started = now_ms() - HOUR_MS
    write_rows(
        database,
        [
            call_row(started, 1, account_id=account, requester="bot", usage_raw='{"total": 1.10}', cost_nano=1_500),
            call_row(started, 2, account_id=account, rare='{"service_tier":"batch"}'),
            call_row(started, 3, account_id=bob, requester="secret of bob", model="model of bob"),
        ],
    )
    text = b"".join([piece async for piece in export_account(read, Settings(), account)]).decode()
    for secret in (KEY, token, cookie, "bob", "digest", "sealed", "password"):
        assert secret not in text
    found = json.loads(text)
    assert (found["account"]["id"], found["account"]["email"], found["account"]["name"]) == (account, EMAIL, 'Ada "L"')
    assert found["settings"] == {"currency": "CHF", "time_zone": "Europe/Zurich"}
    (key,) = found["provider_keys"]
    assert (key["provider"], key["tail"]) == ("openai", "cdef")
    assert key["used_at"] == max(log["started_at"] for log in found["logs"] if log["provider"] == "openai")
    assert [list(one) for one in found["metrion_keys"]] == [["created_at"]]
    assert [(one["agent"], one["address"]) for one in found["sessions"]] == [("a browser", "127.0.0.1")]
    assert found["alert_rules"] == []
    first, second = found["logs"]
    assert list(first) == list(CALL_FIELDS)
    assert (first["requester"], first["cost_usd"], first["usage_raw"]) == ("bot", "0.0000015", {"total": 1.1})
    assert '"usage_raw":{"total": 1.10}' in text  # as the provider wrote it
    assert second["service_tier"] == "batch"
    (model,) = found["usage"]["by_model"]
    assert (model["model"], model["requests"], model["cost_usd"]) == ("gpt-4o-mini", 2, "0.0000015")
    assert {one["requester"] for one in found["usage"]["by_requester"]} == {"", "bot"}
    assert "account_id" not in model


async def test_an_account_without_anything_is_a_document_too(account: int, read: Reader) -> None:
    found = await exported(read, account)
    assert (found["logs"], found["usage"], found["sessions"]) == ([], {"by_model": [], "by_requester": []}, [])


@pytest.mark.parametrize("rows", [1, 4, 5, 6, 11])
async def test_every_row_comes_once_however_they_fall_into_steps(
    database: Database, account: int, read: Reader, monkeypatch: pytest.MonkeyPatch, rows: int
) -> None:
    monkeypatch.setattr(export, "_STEP_ROWS", 5)
    started = now_ms() - HOUR_MS
    write_rows(database, [call_row(started, n, account_id=account, model=f"m{n}") for n in range(rows)])
    found = await exported(read, account)
    assert [row["model"] for row in found["logs"]] == [f"m{n}" for n in range(rows)]
    assert sorted(total["model"] for total in found["usage"]["by_model"]) == sorted(f"m{n}" for n in range(rows))
    assert len(found["usage"]["by_requester"]) == 1


async def test_what_plan_and_clock_hide_is_not_in_it(database: Database, account: int, read: Reader) -> None:
    """Rows older than the plan keeps, and rows of after the start."""
    now = now_ms()
    moments = (now - 90 * DAY_MS - 60_000, now - 90 * DAY_MS + 60_000, now - 1, now + 60_000)
    write_rows(database, [call_row(ms, n, account_id=account, model=f"m{n}") for n, ms in enumerate(moments)])
    found = await exported(read, account)
    assert [row["model"] for row in found["logs"]] == ["m1", "m2"]
    assert len(found["usage"]["by_model"]) == 4  # totals stay


async def test_usage_that_is_no_json_is_text(database: Database, account: int, read: Reader) -> None:
    started = now_ms() - HOUR_MS
    said = ('{"cut": ', "[1", "NaN", '{"a":"\ud83d"}'.encode("utf-8", "replace").decode(), "null", "3")
    write_rows(database, [call_row(started, n, account_id=account, usage_raw=raw) for n, raw in enumerate(said)])
    found = await exported(read, account)
    assert [row["usage_raw"] for row in found["logs"]] == ['{"cut": ', "[1", "NaN", {"a": "?"}, None, 3]


async def test_what_a_call_cost_before_is_told(database: Database, account: int, read: Reader) -> None:
    row = call_row(now_ms() - HOUR_MS, 1, account_id=account, cost_nano=2_000)
    write_rows(database, [row])
    with database.begin() as connection:
        connection.execute(insert(tables.repricing_runs).values(id=1, reason="a contract"))
        which = {"account_id": account, "request_id": row[COLUMNS.index("request_id")]}
        old = {"cost_nano": 5_000, "cost_source": "computed", "replaced_ms": 7}
        connection.execute(insert(tables.repricings).values(version=1, run_id=1, **which, **old))
    (call,) = (await exported(read, account))["logs"]
    assert (call["cost_usd"], call["cost_version"]) == ("0.000002", 2)
    assert [(one["cost_usd"], one["reason"]) for one in call["cost_history"]] == [("0.000005", "a contract")]


async def test_large_rows_make_small_steps(database: Database, account: int, read: Reader) -> None:
    """The results of a batch are one row of megabytes."""
    large = orjson.dumps(["x" * 1_000_000]).decode()
    started = now_ms() - HOUR_MS
    write_rows(database, [call_row(started, n, account_id=account, usage_raw=large) for n in range(12)])
    pieces = [piece async for piece in export_account(read, Settings(), account)]
    assert max(map(len, pieces)) < 6_000_000
    assert len(json.loads(b"".join(pieces))["logs"]) == 12


async def test_an_account_that_ends_meanwhile_ends_the_document(
    database: Database, account: int, read: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "_STEP_ROWS", 5)
    started = now_ms() - HOUR_MS
    write_rows(database, [call_row(started, n, account_id=account) for n in range(20)])

    def end() -> None:
        if read.steps == 7:  # after the first rows
            with database.begin() as connection:
                connection.execute(tables.calls.delete())
                connection.execute(tables.accounts.delete())

    read.before = end
    assert len((await exported(read, account))["logs"]) == 5
    assert (await exported(read, account))["account"] == {}
