"""Totals equal the straight sum over rows, to the last nano-dollar, however the calls came."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metrion.call import Call, Outcome, Reading
from metrion.kit.clock import DAY_MS, HOUR_MS
from metrion.ledger.writer import write_calls
from metrion.prices.catalog import PriceBook
from metrion.storage import tables
from metrion.storage.tables import SUMS
from tests.ledger.samples import MODEL, NOON, make_call, rows_of, sums_of
from tests.storage.samples import new_database

MIDNIGHT = NOON + 12 * HOUR_MS
TABLES = {
    "model_hours": (HOUR_MS, ("provider", "model", "status", "outcome")),
    "model_days": (DAY_MS, ("provider", "model", "status", "outcome")),
    "requester_hours": (HOUR_MS, ("provider", "requester", "outcome")),
    "requester_days": (DAY_MS, ("provider", "requester", "outcome")),
}


@pytest.fixture(scope="module")
def book() -> PriceBook:
    return PriceBook.load()


def made(
    at: int, account: int, outcome: str, status: int, requester: str, said: tuple[str, str, dict[str, int]]
) -> Call:
    provider, model, usage = said
    raw = [msgspec.Raw(msgspec.json.encode(usage))] if usage else []
    return make_call(
        at,
        account_id=account,
        outcome=outcome,
        status=status,
        requester=requester,
        provider=provider,
        latency_us=at % 10_007,
        reading=Reading(model=model, usage=raw, done=at % 2 == 0),
    )


chats = st.fixed_dictionaries(
    {"prompt_tokens": st.integers(0, 10**7), "completion_tokens": st.integers(0, 10**7)},
    optional={"cost_in_usd_ticks": st.integers(0, 10**12)},
)
said = st.tuples(
    st.sampled_from(["openai", "grok"]), st.sampled_from([MODEL, "grok-3-mini", "no-price"]), st.just({}) | chats
)
# Around the borders of hours and days, where a wrong rounding would show.
moments = st.sampled_from([NOON, MIDNIGHT, MIDNIGHT + HOUR_MS]).flatmap(
    lambda at: st.integers(at - 2, at + 2)
) | st.integers(NOON, NOON + 3 * DAY_MS)
random_calls = st.builds(
    made,
    moments,
    st.integers(1, 2),
    st.sampled_from(list(Outcome)).map(str),
    st.sampled_from([0, 200, 201, 429]),
    st.sampled_from(["", "bot"]),
    said,
)


def straight(rows: list[dict[str, Any]], bucket_ms: int, names: tuple[str, ...]) -> set[tuple[Any, ...]]:
    """What a totals table must hold, from the rows alone."""
    sums: defaultdict[tuple[Any, ...], list[int]] = defaultdict(lambda: [0] * len(SUMS))
    for row in rows:
        total = sums[(row["account_id"], row["started_ms"] // bucket_ms * bucket_ms, *(row[name] for name in names))]
        cost, source = row["cost_nano"] or 0, row["cost_source"]
        figures = {**row, "requests": 1, "cost_nano": cost, f"cost_{source}": 1, f"{source}_nano": cost}
        for at, name in enumerate(SUMS):
            total[at] += figures.get(name, 0)
    return {(*key, *total) for key, total in sums.items()}


@settings(max_examples=40, deadline=None)
@given(batches=st.lists(st.lists(random_calls, max_size=8), max_size=4), repeat=st.booleans())
def test_totals_equal_the_sum_over_rows(
    tmp_path_factory: pytest.TempPathFactory, book: PriceBook, batches: list[list[Call]], repeat: bool
) -> None:
    database = new_database(tmp_path_factory.mktemp("totals"))
    for batch in batches:
        write_calls(database, book, batch, fresh=True)
        if repeat:  # as after a crash between commit and removal
            assert write_calls(database, book, batch, fresh=False) == 0
    rows, sums = rows_of(database), sums_of(database)
    assert len(rows) == sum(map(len, batches))
    for name, (bucket_ms, names) in TABLES.items():
        assert len(sums[name]) == len(set(sums[name]))
        assert set(sums[name]) == straight(rows, bucket_ms, names)
    database.close()


@pytest.mark.parametrize(("bucket_ms", "table"), [(HOUR_MS, "model_hours"), (DAY_MS, "model_days")])
def test_a_bucket_begins_with_its_first_millisecond(
    tmp_path: Path, book: PriceBook, bucket_ms: int, table: str
) -> None:
    database = new_database(tmp_path)
    write_calls(database, book, [make_call(MIDNIGHT + ms) for ms in (-1, 0, bucket_ms - 1, bucket_ms)], fresh=True)
    at = [column.name for column in tables.metadata.tables[table].columns].index("requests")
    found = {row[1]: row[at] for row in sums_of(database)[table]}
    assert found == {MIDNIGHT - bucket_ms: 1, MIDNIGHT: 2, MIDNIGHT + bucket_ms: 1}
    database.close()
