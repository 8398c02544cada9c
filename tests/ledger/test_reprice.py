"""Rows priced again: what changes, what stays, and what is kept of before."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from metrion.call import Outcome, Reading
from metrion.config import Settings
from metrion.kit.clock import HOUR_MS
from metrion.ledger import reprice
from metrion.ledger.reprice import Scope, Step, rehearse, step
from metrion.ledger.writer import write_calls
from metrion.prices import rules
from metrion.prices.catalog import PriceBook
from metrion.storage import tables
from metrion.storage.database import Database, open_reader
from tests.ledger.samples import NOON, make_call, rows_of, sums_of
from tests.ledger.straight import check_totals
from tests.storage.samples import new_database

LIST = PriceBook.load()
EVER = (1 << 47).to_bytes(6, "big") + bytes(10)
TICKS = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15, "cost_in_usd_ticks": 770}


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    made = new_database(tmp_path)
    yield made
    made.close()


def own(text: str) -> PriceBook:
    """The book with an operator's prices over it."""
    return PriceBook([*rules.load(None), *rules.parse(text, Path("prices.toml"), rules.OPERATOR)])


def discount(percent: int) -> PriceBook:
    return own(f'[[price]]\nprovider = "openai"\nprefix = ""\ndiscount = "{percent}"\n')


def used(provider: str, model: str, usage: dict[str, Any], **values: Any) -> Any:
    reading = Reading(model=model, usage=[msgspec.Raw(json.dumps(usage).encode())])
    return make_call(provider=provider, requested_model=model, reading=reading, **values)


def run(database: Database, book: PriceBook, scope: Scope | None = None, reason: str = "why") -> list[Step]:
    """Every step of a run."""
    rest = scope or Scope(1, bytes(16), EVER)
    steps = [step(database, book, rest, 0, reason)]
    while (following := steps[-1].next) is not None:
        rest = msgspec.structs.replace(rest, first=following)
        steps.append(step(database, book, rest, steps[-1].run_id, reason))
    return steps


def versions(database: Database) -> list[dict[str, Any]]:
    with database.begin() as connection:
        found = connection.execute(select(tables.repricings).order_by(tables.repricings.c.version))
        return [dict(one) for one in found.mappings()]


def test_a_new_price_becomes_a_new_version_and_the_old_one_stays(database: Database) -> None:
    write_calls(database, LIST, [make_call()], fresh=True)
    before = rows_of(database)[0]
    [done] = run(database, discount(10), reason="we signed")
    after = rows_of(database)[0]
    assert (before["cost_nano"], after["cost_nano"]) == (4500, 4050)  # 10 × 150 + 5 × 600
    assert after["price_ref"] != before["price_ref"]
    assert {name for name in before if before[name] != after[name]} == {
        "cost_nano",
        "price_ref",
        "input_nano",
        "output_nano",
    }
    [kept] = versions(database)
    assert {name: kept[name] for name in ("version", "cost_nano", "cost_source", "price_ref", "counts")} == {
        "version": 1,
        "cost_nano": 4500,
        "cost_source": "computed",
        "price_ref": before["price_ref"],
        "counts": None,
    }
    with database.begin() as connection:
        [told] = connection.execute(select(tables.repricing_runs)).all()
    assert (told.id, told.reason) == (kept["run_id"], "we signed")
    assert kept["run_id"] == done.run_id
    [changed] = done.changed
    assert (changed.provider, changed.rows, changed.old_nano, changed.new_nano) == ("openai", 1, 4500, 4050)
    check_totals(database)


def test_running_it_twice_changes_nothing(database: Database) -> None:
    write_calls(database, LIST, [make_call() for _ in range(3)], fresh=True)
    run(database, discount(10))
    rows, sums, kept = rows_of(database), sums_of(database), versions(database)
    [again] = run(database, discount(10))
    assert (again.changed, again.run_id) == ([], 0)
    assert (rows_of(database), sums_of(database), versions(database)) == (rows, sums, kept)


def test_each_version_is_kept(database: Database) -> None:
    write_calls(database, LIST, [make_call()], fresh=True)
    for percent in (10, 20, 0):
        run(database, discount(percent))
    assert [(one["version"], one["cost_nano"]) for one in versions(database)] == [(1, 4500), (2, 4050), (3, 3600)]
    assert rows_of(database)[0]["cost_nano"] == 4500


def test_what_a_provider_reported_stays(database: Database) -> None:
    write_calls(database, LIST, [used("grok", "grok-4", TICKS)], fresh=True)
    book = own('[[price]]\nprovider = "grok"\nprefix = ""\ndiscount = "50"\n')
    assert run(database, book)[0].changed == []
    assert rows_of(database)[0]["cost_nano"] == 77


def test_a_model_without_a_price_gets_one_and_loses_it_again(database: Database) -> None:
    call = used("openai", "house-1", {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15})
    write_calls(database, LIST, [call], fresh=True)
    assert rows_of(database)[0]["cost_source"] == "unpriced"
    book = own('[[price]]\nprovider = "openai"\nmodel = "house-1"\nusd_per_million = { input = "1", output = "2" }\n')
    [gained] = run(database, book)[0].changed
    assert (gained.old_without, gained.new_without, gained.new_nano) == (1, 0, 20_000)
    check_totals(database)
    run(database, LIST)
    row = rows_of(database)[0]
    assert (row["cost_nano"], row["cost_source"]) == (None, "unpriced")
    check_totals(database)


def test_usage_that_is_read_otherwise_now_changes_the_counts_and_they_are_kept(database: Database) -> None:
    write_calls(database, LIST, [make_call()], fresh=True)
    with database.begin() as connection:  # as an earlier version of Metrion might have counted
        connection.execute(tables.calls.update().values(input_tokens=8, cost_nano=4200))
        for table in (tables.model_hours, tables.requester_hours):
            connection.execute(table.update().values(input_tokens=8, cost_nano=4200))
    run(database, LIST)
    row, [kept] = rows_of(database)[0], versions(database)
    assert (row["input_tokens"], row["cost_nano"]) == (10, 4500)
    assert (kept["cost_nano"], json.loads(kept["counts"])) == (4200, {"input_tokens": 8})
    check_totals(database)


def test_an_estimate_stays_an_estimate(database: Database) -> None:
    write_calls(database, LIST, [make_call(reading=None)], fresh=True)
    with database.begin() as connection:
        values = {"cost_source": "estimated", "input_tokens": 10, "output_tokens": 5, "cost_nano": 4500}
        connection.execute(tables.calls.update().values(**values))
    assert run(database, LIST)[0].changed == []
    run(database, discount(10))
    row = rows_of(database)[0]
    assert (row["cost_source"], row["cost_nano"]) == ("estimated", 4050)


@pytest.mark.parametrize("outcome", [Outcome.TIMEOUT, Outcome.REJECTED, Outcome.INTERRUPTED])
def test_a_row_without_usage_is_left_alone(database: Database, outcome: Outcome) -> None:
    write_calls(database, LIST, [make_call(reading=None, outcome=outcome.value)], fresh=True)
    with database.begin() as connection:  # for instance one whose usage was metered with another call
        connection.execute(tables.calls.update().values(cost_nano=1, cost_source="computed"))
    assert run(database, discount(10))[0].changed == []


@pytest.mark.parametrize(
    ("scope", "repriced"),
    [
        (Scope(1, bytes(16), EVER), {"a", "b", "c"}),
        (Scope(2, bytes(16), EVER), {"other"}),
        (Scope(1, bytes(16), EVER, provider="anthropic"), {"c"}),
        (Scope(1, bytes(16), EVER, model="gpt-4o-mini"), {"a"}),
        (Scope(1, bytes(16), EVER, model="GPT-4o"), {"b"}),
        (Scope(1, bytes(16), EVER, model="gpt-4o-mini-2024-07-18"), {"a"}),
    ],
)
def test_only_the_calls_asked_for(database: Database, scope: Scope, repriced: set[str]) -> None:
    usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
    message = {"input_tokens": 10, "output_tokens": 5}
    calls = [
        used("openai", "gpt-4o-mini-2024-07-18", usage, requester="a"),
        used("openai", "gpt-4o", usage, requester="b"),
        used("anthropic", "claude-opus-4-5", message, requester="c", format="anthropic_messages"),
        used("openai", "gpt-4o", usage, requester="other", account_id=2),
    ]
    write_calls(database, LIST, calls, fresh=True)
    before = {row["request_id"]: row["cost_nano"] for row in rows_of(database)}
    entry = '[[price]]\nprovider = "{}"\nprefix = ""\ndiscount = "10"\n'
    run(database, own(entry.format("openai") + entry.format("anthropic")), scope)
    assert {row["requester"] for row in rows_of(database) if row["cost_nano"] != before[row["request_id"]]} == repriced


def test_the_first_millisecond_is_in_and_the_end_is_out(database: Database) -> None:
    calls = [make_call(NOON + at) for at in (-1, 0, 1, 2)]
    write_calls(database, LIST, calls, fresh=True)
    first, end = ((NOON + at).to_bytes(6, "big") + bytes(10) for at in (0, 2))
    run(database, discount(10), Scope(1, first, end))
    assert [row["cost_nano"] for row in rows_of(database)] == [4500, 4050, 4050, 4500]


def test_small_steps_reach_every_row_and_are_one_run(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reprice, "STEP_ROWS", 2)
    write_calls(database, LIST, [make_call(NOON + at) for at in range(5)], fresh=True)
    steps = run(database, discount(10))
    assert [sum(one.rows for one in done.changed) for done in steps] == [2, 2, 1]
    assert {row["cost_nano"] for row in rows_of(database)} == {4050}
    assert len({one["run_id"] for one in versions(database)}) == 1


def test_a_row_of_many_bytes_ends_its_step(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reprice, "_STEP_BYTES", 1)
    write_calls(database, LIST, [make_call(NOON + at) for at in range(3)], fresh=True)
    assert len(run(database, discount(10))) == 4  # the last finds nothing more
    assert {row["cost_nano"] for row in rows_of(database)} == {4050}


def test_a_run_that_was_stopped_is_ended_by_another(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reprice, "STEP_ROWS", 2)
    write_calls(database, LIST, [make_call(NOON + at) for at in range(5)], fresh=True)
    step(database, discount(10), Scope(1, bytes(16), EVER), 0, "stopped")
    run(database, discount(10), reason="ended")
    assert {row["cost_nano"] for row in rows_of(database)} == {4050}
    assert [one["version"] for one in versions(database)] == [1] * 5
    check_totals(database)


def test_a_rehearsal_tells_the_same_and_changes_nothing(database: Database, tmp_path: Path) -> None:
    write_calls(database, LIST, [make_call(), used("openai", "x", {"prompt_tokens": 1})], fresh=True)
    rows, sums = rows_of(database), sums_of(database)
    reader = open_reader(Settings(data_dir=tmp_path))
    with reader.connect() as connection:
        told = rehearse(connection, discount(10), Scope(1, bytes(16), EVER))
    reader.dispose()
    assert (rows_of(database), sums_of(database), versions(database)) == (rows, sums, [])
    assert told.changed == run(database, discount(10))[0].changed


books = st.sampled_from(
    [LIST, discount(10), discount(100), own('[[price]]\nprovider = "openai"\nmodel = "x"\nfactor = "2"\n')]
)
some_calls = st.lists(
    st.tuples(
        st.integers(NOON - 30 * HOUR_MS, NOON + 30 * HOUR_MS),
        st.sampled_from([("openai", "gpt-4o-mini"), ("openai", "x"), ("grok", "grok-4")]),
        st.fixed_dictionaries(
            {"prompt_tokens": st.integers(0, 10**9), "completion_tokens": st.integers(0, 10**6)},
            optional={"cost_in_usd_ticks": st.integers(0, 10**12)},
        ),
        st.sampled_from(["", "bot"]),
        st.sampled_from([Outcome.OK, Outcome.TIMEOUT]),
    ),
    max_size=6,
)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(some_calls, books), min_size=1, max_size=4))
def test_totals_are_the_sum_of_the_rows_after_any_mix_of_writes_and_runs(
    tmp_path_factory: pytest.TempPathFactory, mix: list[tuple[list[Any], PriceBook]]
) -> None:
    database = new_database(tmp_path_factory.mktemp("mix"))
    try:
        for written, book in mix:
            calls = [
                used(provider, model, usage, started_ms=at, requester=requester, outcome=outcome.value)
                for at, (provider, model), usage, requester, outcome in written
            ]
            write_calls(database, book, calls, fresh=True)
            run(database, book)
            check_totals(database)
            assert run(database, book)[0].changed == []
    finally:
        database.close()
