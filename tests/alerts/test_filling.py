"""Sums made in steps, while rows are written, changed and other rules look on, are those of all rows."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from metrion.alerts import sums
from metrion.alerts.fill import Filler, fill_some
from metrion.alerts.sums import refill
from metrion.alerts.values import measure
from metrion.kit.clock import HOUR_MS
from metrion.ledger import reprice
from metrion.ledger.reprice import Scope
from metrion.ledger.writer import write_calls
from metrion.storage import accounts
from metrion.storage import alerts as stored
from metrion.storage.alerts import Rule
from metrion.storage.database import Database
from tests.alerts.post_room import PostRoom
from tests.alerts.rules import PLAIN
from tests.alerts.test_values import check, house, per_usd, straight
from tests.ledger.samples import NOON, make_call, rows_of, usage_of
from tests.ledger.test_fold import CHEAPER, EVER, LIST
from tests.storage.samples import call_row, write_rows


def begun(database: Database, **columns: Any) -> Rule:
    """A rule of which one step is done, whatever time it may take."""
    rule = PLAIN._replace(**columns)
    with database.begin() as connection:
        return refill(connection, rule._replace(id=stored.add_rule(connection, rule)), NOON, seconds=0)


def found(database: Database, rule: Rule) -> Rule:
    with database.begin() as connection:
        now = stored.find_rule(connection, rule.account_id, rule.id)
    assert now is not None
    return now


KINDS = [
    {"kind": "volume", "threshold": 1},
    {"kind": "error_rate", "threshold": 1},
    {"kind": "latency", "threshold": 1},
    {"kind": "budget", "threshold": 1, "currency": "USD", "span": "month"},
]


@settings(max_examples=12, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
@given(
    st.sampled_from(KINDS),
    st.lists(st.integers(-2 * HOUR_MS, HOUR_MS), min_size=8, max_size=30),
    st.lists(st.sampled_from(["step", "write", "cheaper", "dearer"]), max_size=12),
)
def test_whatever_happens_between_two_steps(
    tmp_path_factory: pytest.TempPathFactory, kind: dict[str, Any], before: list[int], acts: list[str]
) -> None:
    database = house(tmp_path_factory.mktemp("house"))
    size, sums._FILL_ROWS = sums._FILL_ROWS, 3
    try:
        calls = [call(NOON + at, number) for number, at in enumerate(before)]
        write_calls(database, LIST, calls, fresh=True)
        rule = begun(database, **kind)
        assert found(database, rule).filled is not None
        for number, act in enumerate(acts):
            match act:
                case "step":
                    step(database)
                case "write":  # calls that began earlier, and later, than where the filling is
                    write_calls(database, LIST, [call(NOON - 90 * 60_000 * number, 0), call(NOON, 1)], fresh=True)
                case _:
                    book = CHEAPER if act == "cheaper" else LIST
                    reprice.step(database, book, Scope(1, bytes(16), EVER), 0, "why")
        while step(database):
            pass
        rule = found(database, rule)
        assert rule.filled is None
        with database.begin() as connection:
            [value] = measure(connection, [rule], NOON, per_usd)
        check(value.figure, straight(rows_of(database), rule, NOON), rule.kind)
    finally:
        sums._FILL_ROWS = size
        database.close()


def call(at_ms: int, number: int) -> Any:
    failed = number % 3 == 0
    status, outcome = (500, "provider_error") if failed else (200, "ok")
    latency = 1000 * (number + 1)
    return make_call(at_ms, reading=usage_of(1000 + number, 10), status=status, outcome=outcome, latency_us=latency)


def step(database: Database) -> bool:
    """One step of filling, of three rows."""
    with database.begin() as connection:
        rule = stored.next_unfilled(connection)
        if rule is not None:
            sums.fill(connection, rule, seconds=0)
    return rule is not None


def test_it_takes_several_steps_and_a_rule_has_no_value_until_the_last(tmp_path: Path) -> None:
    database = house(tmp_path)
    write_rows(database, (call_row(NOON - number // 10, number % 10) for number in range(20_000)))
    rule, steps = begun(database, kind="latency"), 0
    while fill_some(database):
        steps += 1
    assert steps >= 1
    with database.begin() as connection:
        assert measure(connection, [rule], NOON, per_usd)[0].requests == 20_000
        assert stored.due_accounts(connection) == [1]
    database.close()


def test_a_rule_that_cannot_be_counted_keeps_no_row_out(tmp_path: Path) -> None:
    database = house(tmp_path)
    rule = begun(database, **KINDS[0])
    with database.begin() as connection:
        stored.update_rule(connection, rule.account_id, rule.id, filled="no request's id")
    assert write_calls(database, LIST, [call(NOON, 1)], fresh=True) == 1
    assert len(rows_of(database)) == 1
    database.close()


@pytest.mark.anyio
async def test_a_server_fills_between_its_batches(tmp_path: Path) -> None:
    """And whoever waits for the writer waits for a step, not for all of them."""
    async with PostRoom(tmp_path) as room:
        await room.change(lambda connection: accounts.add_account(connection, "2@b.c", "pro", NOON))
        rows = [call_row(NOON - number // 10, number % 10) for number in range(20_000)]
        await room.writer.run(lambda database: write_rows(database, rows))
        rule = await room.writer.run(lambda database: begun(database, kind="latency"))
        assert rule.filled is not None
        filler = Filler(room.writer.run)
        filler.start()
        between = 0
        async with asyncio.timeout(60):
            while await room.change(stored.next_unfilled) is not None:
                between += 1
        await filler.stop()
        assert between > 3
        with room.reader.connect() as connection:
            assert measure(connection, [rule], NOON, per_usd)[0].requests == 20_000
