"""Reports: which calls and sums an account gets to see, and that sums equal rows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from metrion.kit.clock import DAY_MS, HOUR_MS, now_ms
from metrion.storage.database import Database
from metrion.storage.reports import CALL_FIELDS, DIMENSIONS, Sums, call_fields, recent_calls, stream_calls, usage
from tests.storage.samples import call_row, new_database, write_rows

NOON = 1_793_534_400_000  # 2026-11-01T12:00:00Z
MIDNIGHT = NOON - 12 * HOUR_MS


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = new_database(tmp_path)
    yield database
    database.close()


def test_calls_stream_oldest_first_across_the_steps_and_no_other_accounts(database: Database) -> None:
    write_rows(database, [call_row(NOON + n // 2, n) for n in range(1203)])
    write_rows(database, [call_row(NOON, 5000, account_id=2)])
    seen = [row.request_id for row in stream_calls(database.connection, 1, None, None)]
    assert len(seen) == 1203
    assert seen == sorted(set(seen))
    database.connection.rollback()


def test_a_stream_holds_no_transaction_while_its_reader_waits(database: Database) -> None:
    write_rows(database, [call_row(NOON, n) for n in range(3)])
    calls = stream_calls(database.connection, 1, None, None)
    next(calls)
    assert not database.connection.in_transaction()


def test_a_range_includes_its_start_and_not_its_end(database: Database) -> None:
    write_rows(database, [call_row(NOON + ms, 2**32 - 1) for ms in range(5)])
    rows = list(stream_calls(database.connection, 1, NOON + 1, NOON + 3))
    assert [row.started_ms - NOON for row in rows] == [1, 2]
    newest = recent_calls(database.connection, 1, NOON + 1, None, 2)
    assert [row.started_ms - NOON for row in newest] == [4, 3]
    database.connection.rollback()


def test_a_call_has_the_names_of_the_spec(database: Database) -> None:
    rare = {"tool_calls": {"web_search": 2}, "image_tokens": 7, "service_tier": "flex", "problem": "odd"}
    rare |= {"quantities": {"pages": 3}}
    row = call_row(
        NOON + 125,
        input_tokens=10,
        output_tokens=5,
        stream=1,
        cost_nano=37_500,
        latency_us=1_234_567,
        rare=orjson.dumps(rare).decode(),
        usage_raw='{"a": 1}',
    )
    write_rows(database, [row])
    fields = call_fields(recent_calls(database.connection, 1, None, None, 1)[0])
    database.connection.rollback()
    assert tuple(fields) == CALL_FIELDS
    assert fields["started_at"] == "2026-11-01T12:00:00.125Z"
    assert (fields["total_tokens"], fields["stream"], fields["cost_usd"]) == (15, True, "0.0000375")
    assert (fields["latency_ms"], fields["ttft_ms"]) == (1234.567, 0)
    assert (fields["tool_calls"], fields["image_tokens"], fields["audio_input_tokens"]) == ({"web_search": 2}, 7, 0)
    assert fields["service_tier"] == "flex"
    assert (fields["quantities"], fields["problem"]) == ({"pages": 3}, "odd")


def test_requests_leave_out_refusals_and_errors_leave_out_what_is_not_one(database: Database) -> None:
    outcomes = [
        "ok",
        "ok",
        "cached",
        "client_gone",
        "rejected",
        "provider_error",
        "timeout",
        "upstream_failed",
        "interrupted",
    ]
    write_rows(database, [call_row(NOON, n, outcome=outcome) for n, outcome in enumerate(outcomes)])
    total = usage(database.connection, 1, "model", None, None).total
    assert (total.requests, total.refused, total.errors) == (8, 1, 4)
    database.connection.rollback()


def test_a_group_without_any_known_cost_has_none_and_not_zero(database: Database) -> None:
    rows = [
        call_row(NOON, 1, model="new", cost_source="unpriced", cost_nano=None),
        call_row(NOON, 2, model="both", cost_source="unknown", cost_nano=None),
        call_row(NOON, 3, model="both", cost_nano=5_000_000_000),
        call_row(NOON, 4, model="free", cost_nano=0),
        call_row(NOON, 5, model="refused", outcome="rejected", cost_source="unknown", cost_nano=None),
    ]
    write_rows(database, rows)
    groups = {group.key: group for group in usage(database.connection, 1, "model", None, None).groups}
    database.connection.rollback()
    assert {key: (group.cost_usd, group.without_cost) for key, group in groups.items()} == {
        "new": (None, 1),
        "both": ("5", 1),
        "free": ("0", 0),
        "refused": ("0", 0),
    }


def test_bounds_are_widened_to_whole_hours_and_told(database: Database) -> None:
    write_rows(database, [call_row(NOON + minutes * 60_000) for minutes in (-1, 0, 59, 60)])
    found = usage(database.connection, 1, "day", NOON + 10 * 60_000, NOON + 20 * 60_000)
    assert (found.from_ms, found.to_ms, found.total.requests) == (NOON, NOON + HOUR_MS, 2)
    exact = usage(database.connection, 1, "day", NOON, NOON + HOUR_MS)
    assert exact == found
    database.connection.rollback()


def test_days_begin_at_midnight_utc(database: Database) -> None:
    write_rows(database, [call_row(MIDNIGHT - 1, 1), call_row(MIDNIGHT, 2), call_row(MIDNIGHT + DAY_MS - 1, 3)])
    by_day = usage(database.connection, 1, "day", None, None)
    assert [(group.key, group.requests) for group in by_day.groups] == [("2026-10-31", 1), ("2026-11-01", 2)]
    assert by_day.from_ms == MIDNIGHT - DAY_MS
    assert by_day.to_ms == now_ms() // DAY_MS * DAY_MS + DAY_MS
    database.connection.rollback()


def test_groups_come_by_cost_but_days_in_order(database: Database) -> None:
    write_rows(database, [call_row(NOON, n, model=model, cost_nano=n) for n, model in enumerate("abc")])
    assert [group.key for group in usage(database.connection, 1, "model", None, None).groups] == ["c", "b", "a"]
    database.connection.rollback()


def test_an_account_without_calls_has_an_empty_usage(database: Database) -> None:
    write_rows(database, [call_row(NOON, 1, account_id=2)])
    for by in DIMENSIONS:
        found = usage(database.connection, 1, by, None, None)
        assert (found.groups, found.total) == ([], Sums("total"))
        assert found.to_ms - found.from_ms == DAY_MS
    database.connection.rollback()


a_call = st.fixed_dictionaries(
    {
        "started_ms": st.integers(NOON - 3 * DAY_MS, NOON + 3 * DAY_MS),
        "account_id": st.sampled_from([1, 2]),
        "provider": st.sampled_from(["openai", "grok"]),
        "model": st.sampled_from(["a", "b", ""]),
        "requester": st.sampled_from(["", "bot"]),
        "outcome": st.sampled_from(["ok", "timeout", "rejected"]),
        "input_tokens": st.integers(0, 10**9),
        "output_tokens": st.integers(0, 10**9),
        "cost_nano": st.none() | st.integers(0, 10**15),
    }
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    given_calls=st.lists(a_call, max_size=30),
    from_hour=st.none() | st.integers(-80, 80),
    to_hour=st.none() | st.integers(-80, 80),
)
def test_sums_equal_the_rows_in_every_dimension_and_range(
    tmp_path_factory: pytest.TempPathFactory,
    given_calls: list[dict[str, int]],
    from_hour: int | None,
    to_hour: int | None,
) -> None:
    database = new_database(tmp_path_factory.mktemp("sums"))
    rows = []
    for number, call in enumerate(given_calls):
        source = "unknown" if call["cost_nano"] is None else "computed"
        rows.append(call_row(number=number, cost_source=source, **call))
    write_rows(database, rows)
    from_ms = None if from_hour is None else NOON + from_hour * HOUR_MS
    to_ms = None if to_hour is None else NOON + to_hour * HOUR_MS
    seen = [
        row
        for row in stream_calls(database.connection, 1, from_ms, to_ms)
        if (from_ms is None or row.started_ms >= from_ms) and (to_ms is None or row.started_ms < to_ms)
    ]
    database.connection.rollback()
    for by in DIMENSIONS:
        total = usage(database.connection, 1, by, from_ms, to_ms).total
        database.connection.rollback()
        assert total.requests == sum(row.outcome != "rejected" for row in seen)
        assert total.refused == sum(row.outcome == "rejected" for row in seen)
        assert total.input_tokens == sum(row.input_tokens for row in seen)
        assert total.output_tokens == sum(row.output_tokens for row in seen)
        assert total.cost_nano == sum(row.cost_nano or 0 for row in seen)
    database.close()
