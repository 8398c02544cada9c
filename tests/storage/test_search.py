"""The log's search: pages in both directions hold what a straight filter over the rows does, whatever was looked at."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from metrion.kit.clock import DAY_MS, HOUR_MS
from metrion.ledger.fold import fold_all
from metrion.ledger.totals import count
from metrion.storage import accounts, search
from metrion.storage.database import Database
from metrion.storage.rows import COLUMNS, Row
from metrion.storage.search import Count, Sort, Wanted
from tests.storage.samples import call_row, new_database, write_rows

NOON = 1_793_534_400_000  # 2026-11-01T12:00:00Z
NOW = NOON + 6 * DAY_MS

HOSTILE = ["", "bot", "BOT-2", "50%", "a_b", "<b>x</b>", "'; DROP TABLE calls; --", "\u202etxt", "🦊"]


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few rows to a page and few that are looked at, so that a few rows are enough to see every border."""
    for name, value in {"PAGE": 3, "_LOOKED": 7, "_FEW": 2, "COUNTED": 5, "SORTED": 20, "_LOOKED_FEW": 5}.items():
        monkeypatch.setattr(search, name, value)


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """A database for many examples, each with accounts of its own."""
    database = new_database(tmp_path_factory.mktemp("search"))
    yield database
    database.close()


def two_accounts(database: Database) -> tuple[int, int]:
    with database.begin() as connection:
        one, other = (accounts.add_account(connection, f"{uuid4().hex}@b.c", "pro", NOON) for _ in range(2))
    return one, other


a_call = st.fixed_dictionaries(
    {
        "started_ms": st.integers(0, 80).map(lambda hours: NOON + hours * HOUR_MS // 2),
        "mine": st.sampled_from([True, True, True, False]),
        "provider": st.sampled_from(["openai", "grok"]),
        "model": st.sampled_from(["gpt-5", "gpt-5-mini", "grok-4"]),
        "requester": st.sampled_from(HOSTILE),
        "stream": st.sampled_from([0, 1]),
        "status": st.sampled_from([200, 200, 200, 301, 404, 500, 0]),
        "cost_nano": st.none() | st.integers(0, 50),
        "latency_us": st.integers(1, 50),
        "input_tokens": st.integers(0, 50),
    }
)
what = st.builds(
    Wanted,
    from_ms=st.sampled_from([NOON, NOON + 5 * HOUR_MS]),
    to_ms=st.sampled_from([NOON + 2 * DAY_MS, NOON + 20 * HOUR_MS]),
    provider=st.sampled_from(["", "", "grok"]),
    models=st.sampled_from([(), (), ("gpt-5",), ("gpt-5", "grok-4")]),
    requester=st.sampled_from(["", "", *HOSTILE]),
    status=st.sampled_from([None, None, 0, 2, 3, 4, 5]),
    stream=st.sampled_from([None, None, True]),
    text=st.sampled_from(["", "", "GPT", "%", "_b", "bot", "<b>", "🦊", "0"]),
)
SEARCHED = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def written(database: Database, given_calls: list[dict[str, Any]]) -> tuple[int, list[dict[str, Any]]]:
    """Write these calls; whose most of them are, and they as dictionaries, oldest first."""
    rows: list[Row] = []
    one, other = two_accounts(database)
    for number, values in enumerate(given_calls):
        call = {name: value for name, value in values.items() if name != "mine"}
        call["account_id"] = one if values["mine"] else other
        outcome = "ok" if 0 < call["status"] < 400 else "rejected" if call["status"] == 404 else "provider_error"
        source = "unknown" if call["cost_nano"] is None else "computed"
        rows.append(call_row(number=number, outcome=outcome, cost_source=source, **call))
    write_rows(database, rows)
    return one, sorted((dict(zip(COLUMNS, row, strict=True)) for row in rows), key=lambda row: row["request_id"])


def straight(account_id: int, rows: list[dict[str, Any]], wanted: Wanted) -> list[dict[str, Any]]:
    """What matches, oldest first, found the plain way."""
    part = wanted.text.lower()
    return [
        row
        for row in rows
        if row["account_id"] == account_id
        and wanted.from_ms <= row["started_ms"] < wanted.to_ms
        and wanted.provider in ("", row["provider"])
        and (not wanted.models or row["model"] in wanted.models)
        and wanted.requester in ("", row["requester"])
        and wanted.status in (None, row["status"] // 100)
        and wanted.stream in (None, bool(row["stream"]))
        and any(part in row[name].lower() for name in ("model", "requested_model", "requester"))
    ]


def ids(rows: Any) -> list[bytes]:
    return [row["request_id"] if isinstance(row, dict) else row.request_id for row in rows]


@SEARCHED
@given(given_calls=st.lists(a_call, max_size=40), wanted=what)
def test_pages_hold_each_match_once_in_both_directions(
    small: None, many: Database, given_calls: list[dict[str, Any]], wanted: Wanted
) -> None:
    account_id, rows = written(many, given_calls)
    expected = ids(straight(account_id, rows, wanted))
    with many.begin() as connection:
        found = search.find(connection, account_id, wanted)
        down, last = ids(found.rows), found
        while found.older is not None:
            last = found = search.find(connection, account_id, wanted, before=found.older)
            down += ids(found.rows)
        assert down == expected[::-1]
        up = ids(last.rows)
        while last.newer is not None:
            last = search.find_newer(connection, account_id, wanted, last.newer)
            up = ids(last.rows) + up
        assert up == expected[::-1]
        number, more = search.count(connection, account_id, wanted)
        assert number <= len(expected) if more else number == len(expected)
        step = search.find_older_first(connection, account_id, wanted, bytes(16), 4)
        seen = ids(step.rows)
        while step.after is not None:
            step = search.find_older_first(connection, account_id, wanted, step.after, 4)
            seen += ids(step.rows)
        assert seen == expected


@SEARCHED
@given(
    given_calls=st.lists(a_call, max_size=40),
    wanted=what,
    sort=st.sampled_from(["cost", "latency", "tokens"]),
    folded_ms=st.sampled_from([0, NOON + 12 * HOUR_MS, NOW]),
)
def test_the_greatest_are_those_of_all_that_match(
    small: None,
    many: Database,
    given_calls: list[dict[str, Any]],
    wanted: Wanted,
    sort: Sort,
    folded_ms: int,
) -> None:
    column = {"cost": "cost_nano", "latency": "latency_us", "tokens": "input_tokens"}[sort]
    account_id, rows = written(many, given_calls)
    fold_all(many, folded_ms)
    least = (
        1 if len([row for row in rows if row["account_id"] == account_id]) > 20 else 0
    )  # of 0, no list of the greatest tells
    expected = [row for row in straight(account_id, rows, wanted) if row[column] is not None and row[column] >= least]
    expected.sort(key=lambda row: (row[column], row["request_id"]), reverse=True)
    found, page = [], 0
    with many.begin() as connection:
        while True:
            some = search.find_greatest(connection, account_id, wanted, sort, page)
            found += [one for one in some.rows if getattr(one, column, 1) >= least or not least]
            page += 1
            if not some.more:
                break
        few = search.find_few_greatest(connection, account_id, wanted, sort, 4)
    assert [one for one in ids(found) if one in ids(expected)] == ids(expected)
    if few.latest:  # of a requester or a failure, the latest and the greatest of each day
        shown = [row for row in expected if row["request_id"] in ids(few.rows)]
        assert [one for one in ids(few.rows) if one in ids(expected)] == ids(shown)
        assert len(few.rows) <= 4
    else:
        first = [one for one in ids(few.rows) if one in ids(expected)]
        assert first == ids(expected)[: len(first)]
        assert len(few.rows) == 4 or len(first) == len(expected)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = new_database(tmp_path)
    assert two_accounts(database) == (1, 2)
    yield database
    database.close()


def test_what_came_since_is_found_from_the_row_it_came_after(database: Database) -> None:
    wanted = Wanted(NOON, NOON + DAY_MS)
    write_rows(database, [call_row(NOON + number, number) for number in range(120)])
    with database.begin() as connection:
        first = search.find(connection, 1, wanted)
        assert (len(first.rows), first.newer) == (50, None)
        assert first.older is not None
    write_rows(database, [call_row(NOON + number, number) for number in range(120, 130)])
    with database.begin() as connection:
        second = search.find(connection, 1, wanted, before=first.older)
        assert not set(ids(second.rows)) & set(ids(first.rows))
        since = search.find_newer(connection, 1, wanted, first.rows[0].request_id)
        assert len(since.rows) == 10
        assert since.newer is None


def test_more_than_is_counted_is_told_by_totals_where_they_can(database: Database, small: None) -> None:
    rows = [call_row(NOON + number * HOUR_MS, number, model="a" if number % 2 else "b") for number in range(40)]
    rows += [call_row(NOON + number, 100 + number, outcome="rejected", status=429) for number in range(3)]
    write_rows(database, rows)
    ever = Wanted(NOON, NOON + 3 * DAY_MS)
    for folded_ms in (NOON, NOON + 30 * HOUR_MS, NOW):
        fold_all(database, folded_ms)
        with database.begin() as connection:
            assert search.count(connection, 1, ever) == Count(43, False)
            assert search.count(connection, 1, Wanted(NOON, NOON + 20 * HOUR_MS, models=("a",))) == Count(10, False)
            assert search.count(connection, 1, Wanted(NOON, NOON + 3 * DAY_MS, status=2)) == Count(40, False)
            assert search.count(connection, 1, Wanted(NOON, NOON + 3 * DAY_MS, text="gpt")).more
            assert search.count(connection, 1, Wanted(NOON + 1, NOON + 3 * DAY_MS)).more  # no whole hours


def test_refusals_that_only_totals_know_are_not_in_the_log(database: Database, small: None) -> None:
    rows = [call_row(NOON + number * HOUR_MS, number) for number in range(20)]
    write_rows(database, rows)
    with database.begin() as connection:
        count(connection, [call_row(NOON, 900 + number, outcome="rejected", status=429) for number in range(9)])
        assert search.count(connection, 1, Wanted(NOON, NOON + DAY_MS)) == Count(20, False)


@pytest.mark.parametrize("digits", [6, 12, 20, 32])
def test_the_beginning_of_an_id_finds_it(database: Database, digits: int) -> None:
    write_rows(database, [call_row(NOON + number * 60_000, number) for number in range(3)])
    with database.begin() as connection:
        wanted = Wanted(NOON, NOON + 5 * DAY_MS)
        one = search.find(connection, 1, wanted).rows[1].request_id
        found = search.find(connection, 1, Wanted(NOON, NOON + 5 * DAY_MS, text=one.hex()[:digits].upper()))
        assert one in ids(found.rows)
        assert (len(found.rows) == 1) == (digits > 6)


def test_an_id_opens_for_its_account_alone_and_while_it_is_kept(database: Database) -> None:
    write_rows(database, [call_row(NOON), call_row(NOON, 1, account_id=2)])
    with database.begin() as connection:
        mine = search.find(connection, 1, Wanted(0, NOW)).rows[0].request_id
        theirs = search.find(connection, 2, Wanted(0, NOW)).rows[0].request_id
        assert search.get(connection, 1, mine, NOON) is not None
        assert search.get(connection, 1, theirs, 0) is None
        assert search.get(connection, 1, mine, NOON + 1) is None


def test_the_last_id_of_all_has_nothing_behind_it(database: Database) -> None:
    write_rows(database, [call_row(NOON)])
    with database.begin() as connection:
        assert search.find_newer(connection, 1, Wanted(0, NOW), b"\xff" * 16).rows == []
        assert len(search.find_newer(connection, 1, Wanted(0, NOW), bytes(16)).rows) == 1
        assert search.find(connection, 1, Wanted(0, NOW), before=bytes(16)).rows == []
