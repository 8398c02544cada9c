"""Totals equal the straight sum over rows, to the last nano-dollar, however the calls came."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Table, select, update

from metrion.call import Call, Outcome
from metrion.kit.clock import DAY_MS, HOUR_MS
from metrion.ledger.groups import shape
from metrion.ledger.totals import count
from metrion.ledger.writer import write_calls
from metrion.prices.catalog import PriceBook
from metrion.storage import accounts, tables
from metrion.storage.database import Database
from metrion.storage.totals import MOST_NAMES, OTHER
from tests.ledger.calls import calls_around
from tests.ledger.samples import NOON, make_call, rows_of, sums_of
from tests.ledger.straight import check_totals, kept
from tests.storage.samples import call_row, new_database, write_rows

MIDNIGHT = NOON + 12 * HOUR_MS


@settings(max_examples=40, deadline=None)
@given(batches=st.lists(st.lists(calls_around(NOON, MIDNIGHT), max_size=8), max_size=4), repeat=st.booleans())
def test_totals_equal_the_sum_over_rows(
    tmp_path_factory: pytest.TempPathFactory, book: PriceBook, batches: list[list[Call]], repeat: bool
) -> None:
    database = new_database(tmp_path_factory.mktemp("totals"))
    for batch in batches:
        write_calls(database, book, batch, fresh=True)
        if repeat:  # as after a crash between commit and removal
            assert write_calls(database, book, batch, fresh=False) == 0
    assert len(rows_of(database)) == sum(map(len, batches))
    check_totals(database)
    database.close()


def test_an_hour_begins_with_its_first_millisecond(tmp_path: Path, book: PriceBook) -> None:
    database = new_database(tmp_path)
    write_calls(database, book, [make_call(MIDNIGHT + ms) for ms in (-1, 0, HOUR_MS - 1, HOUR_MS)], fresh=True)
    found = {key[1]: sums[0] for key, sums in kept(database, "model_hours").items()}
    assert found == {MIDNIGHT - HOUR_MS: 1, MIDNIGHT: 2, MIDNIGHT + HOUR_MS: 1}
    database.close()


def test_hours_begin_where_the_accounts_clocks_say(tmp_path: Path, book: PriceBook) -> None:
    database = new_database(tmp_path)
    with database.begin() as connection:
        account = accounts.add_account(connection, "a@b.c", "pro", NOON)
        connection.execute(update(tables.accounts).values(time_zone="Asia/Kolkata"))
    half = HOUR_MS // 2
    calls = [make_call(NOON + ms, account_id=account) for ms in (half - 1, half, half + HOUR_MS - 1)]
    write_calls(database, book, calls, fresh=True)
    assert {key[1]: sums[0] for key, sums in kept(database, "model_hours").items()} == {NOON - half: 1, NOON + half: 2}
    database.close()


def test_what_calls_are_taken_back_leaves_nothing(tmp_path: Path) -> None:
    database = new_database(tmp_path)
    rows = [call_row(NOON + n, n, cost_nano=n, latency_us=1000 * n, outcome="ok" if n else "timeout") for n in range(3)]
    write_rows(database, rows)
    with database.begin() as connection:
        count(connection, (), rows)
    assert all(kept(database, name) == {} for name in sums_of(database))
    database.close()


def used_ms(database: Database, table: Table) -> list[int | None]:
    with database.begin() as connection:
        return list(connection.execute(select(table.c.used_ms).order_by(*table.primary_key)).scalars())


def test_accounts_and_stored_keys_know_when_they_were_last_used(tmp_path: Path) -> None:
    database = new_database(tmp_path)
    with database.begin() as connection:
        account = accounts.add_account(connection, "a@b.c", "pro", NOON)
        accounts.set_provider_key(connection, account, "openai", b"sealed", "abcd", NOON)
        accounts.set_provider_key(connection, account, "grok", b"sealed", "abcd", NOON)
    write_rows(database, [call_row(NOON + 5, 1, account_id=account), call_row(NOON + 9, 2, account_id=account)])
    write_rows(database, [call_row(NOON + 7, 3, account_id=account)])  # a longer one that ended later
    write_rows(database, [call_row(NOON + 20, 4, account_id=account, provider="grok", mode="pass_through")])
    assert used_ms(database, tables.accounts) == [NOON + 20]
    assert used_ms(database, tables.provider_keys) == [None, NOON + 9]  # by provider: grok, openai
    database.close()


@pytest.mark.parametrize(("kind", "table", "at"), [("model", "model_hours", 3), ("requester", "requester_hours", 3)])
def test_beyond_so_many_names_a_month_the_rest_counts_as_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, table: str, at: int
) -> None:
    monkeypatch.setitem(MOST_NAMES, kind, 3)
    database = new_database(tmp_path)
    names = ["a", "b", "", "a"]
    write_rows(database, [call_row(NOON, n, **{kind: name}) for n, name in enumerate(names)])
    write_rows(database, [call_row(NOON, 10 + n, **{kind: name}) for n, name in enumerate("dcbe")])
    write_rows(database, [call_row(NOON + 35 * DAY_MS, 30, **{kind: "e"})])  # another month
    found = {(key[1] > NOON, key[at]): sums[0] for key, sums in kept(database, table).items()}
    assert found == {
        (False, ""): 1,
        (False, "a"): 2,
        (False, "b"): 2,
        (False, "c"): 1,
        (False, OTHER): 2,
        (True, "e"): 1,
    }
    rows = [call_row(NOON, 10 + n, **{kind: name}) for n, name in enumerate("dcbe")]
    with database.begin() as connection:
        count(connection, (), rows)  # each is taken from where it was counted
    found = {(key[1] > NOON, key[at]): sums[0] for key, sums in kept(database, table).items()}
    assert found == {(False, ""): 1, (False, "a"): 2, (False, "b"): 1, (True, "e"): 1}
    database.close()


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ("", ""),
        ("Rate limit reached: 10000 of 9,876.5 tokens, try in 20.5s", "Rate limit reached: # of # tokens, try in #s"),
        ("no model gpt-4o-mini-2024-07-18", "no model gpt-4o-mini-2024-07-18"),
        ("request req_0a1B2c3D4e failed", "request req_… failed"),
        ("id 123e4567-e89b-12d3-a456-426614174000 at 12:30", "id … at #"),
        ("x" * 1000, "x" * 200),
    ],
)
def test_messages_of_one_kind_are_told_without_their_numbers(message: str, kind: str) -> None:
    assert shape(message) == kind


def test_every_outcome_is_either_an_error_or_not(tmp_path: Path) -> None:
    database = new_database(tmp_path)
    write_rows(
        database,
        [call_row(NOON, n, outcome=outcome.value, error_message="why") for n, outcome in enumerate(Outcome)],
    )
    told = {key[4] for key in kept(database, "error_hours")}
    assert told == {"provider_error", "rejected", "timeout", "upstream_failed", "interrupted"}
    database.close()
