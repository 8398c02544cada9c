"""The demo's past: the same for the same moment, of the last thirty days, understood and priced as any other."""

from __future__ import annotations

from collections import Counter

from metrion.call import Outcome
from metrion.kit.clock import DAY_MS
from metrion.ledger.price import price
from metrion.prices.catalog import PriceBook
from metrion.sandbox.history import DAYS, HABITS, history
from metrion.storage.rows import COLUMNS

NOW = 1_795_267_800_000  # 2026-11-21T13:30:00Z
CALLS = list(history(7, NOW, 1))


def test_it_is_a_month_in_order() -> None:
    assert 15_000 < len(CALLS) < 25_000
    starts = [call.started_ms for call in CALLS]
    assert starts == sorted(starts)
    assert (NOW // DAY_MS - DAYS + 1) * DAY_MS <= starts[0] < NOW - (DAYS - 2) * DAY_MS
    assert NOW - DAY_MS < starts[-1] < NOW
    ids = [call.id for call in CALLS]
    assert len(set(ids)) == len(ids)
    assert {call.account_id for call in CALLS} == {7}
    assert {int.from_bytes(call.id[:6], "big") - call.started_ms for call in CALLS} == {0}


def test_the_same_seed_gives_the_same_calls() -> None:
    assert [call.id for call in history(7, NOW, 1)] == [call.id for call in CALLS]
    assert [call.id for call in history(7, NOW, 2)] != [call.id for call in CALLS]


def test_all_of_it_is_understood() -> None:
    book = PriceBook.load(None)
    rows = [dict(zip(COLUMNS, price(book, call), strict=True)) for call in CALLS]
    sources = Counter(row["cost_source"] for row in rows)
    assert sources["unpriced"] == 0
    assert sources["unknown"] < len(rows) / 100
    assert sources["provider"] > 0
    assert {row["requester"] for row in rows} == {habit.requester for habit in HABITS}
    ended = Counter(row["outcome"] for row in rows)
    assert ended.keys() == {Outcome.OK, Outcome.PROVIDER_ERROR, Outcome.REJECTED, Outcome.CLIENT_GONE}
    assert all(0 < row["ttft_us"] <= row["latency_us"] for row in rows)
    assert all(0 <= row["latency_us"] - row["provider_us"] < 1000 for row in rows)
    assert sum(row["saved_nano"] for row in rows) > 0
