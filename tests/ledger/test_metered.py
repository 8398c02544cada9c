"""Usage that comes again counts once: responses fetched, batch results downloaded, however it happens."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy import func, select

from metrion.call import Call, Outcome, Reading
from metrion.kit.clock import DAY_MS, now_ms
from metrion.ledger.record import COMPLETION, frame, records
from metrion.ledger.reprice import Scope, step
from metrion.ledger.writer import write_apart, write_calls
from metrion.prices import rules
from metrion.prices.catalog import PriceBook
from metrion.storage.database import Database
from metrion.storage.metered import add_metered, forget_metered
from metrion.storage.tables import metered
from tests.ledger.samples import make_call, rows_of, sums_of
from tests.storage.samples import new_database

BOOK = PriceBook.load()
USAGE = {"input_tokens": 10, "output_tokens": 5, "total_tokens": 15}
COST = 4_500  # nano-dollars by gpt-4o-mini: 10 × 150 + 5 × 600
EVER = (1 << 47).to_bytes(6, "big") + bytes(10)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    made = new_database(tmp_path)
    yield made
    made.close()


def raw(value: Any) -> msgspec.Raw:
    return msgspec.Raw(json.dumps(value).encode())


def response(own_id: str, usage: Any = USAGE, *, fetched: bool = False, **values: Any) -> Call:
    """An OpenAI response: asked for, or fetched."""
    reading = Reading(model="gpt-4o-mini", response_id=own_id, usage=[raw(usage)] if usage else [], done=True)
    endpoint = "responses.retrieve" if fetched else "responses"
    given: dict[str, Any] = {"endpoint": endpoint, "format": "openai_responses", "reading": reading}
    return make_call(**given | values)


def batch(*items: str, **values: Any) -> Call:
    """A download of a batch's results, with these ids; all items are alike."""
    usage = [raw({"id": one, "model": "gpt-4o-mini", "usage": USAGE}) for one in items]
    reading = Reading(model="gpt-4o-mini", usage=usage)
    given: dict[str, Any] = {"endpoint": "files.content", "format": "openai_batch_results", "reading": reading}
    return make_call(**given | values)


def write(database: Database, *calls: Call, fresh: bool = True) -> list[tuple[int, int | None, str]]:
    """Input tokens, cost and source of every row there is then."""
    write_calls(database, BOOK, calls, fresh=fresh)
    return [(row["input_tokens"], row["cost_nano"], row["cost_source"]) for row in rows_of(database)]


def test_a_stored_response_fetched_again_is_a_row_without_usage(database: Database) -> None:
    rows = write(database, response("resp_1"))
    assert rows == [(10, COST, "computed")]
    assert write(database, response("resp_1", fetched=True))[1:] == [(0, 0, "computed")]
    assert rows_of(database)[1]["usage_raw"] is None


def test_a_response_fetched_in_the_same_batch_of_rows_counts_once(database: Database) -> None:
    rows = write(database, response("resp_1"), response("resp_1", fetched=True), response("resp_1", fetched=True))
    assert [tokens for tokens, _, _ in rows] == [10, 0, 0]


def test_a_background_response_is_counted_by_the_first_fetch_that_tells_its_usage(database: Database) -> None:
    write(database, response("resp_1", None))
    write(database, response("resp_1", None, fetched=True))
    write(database, response("resp_1", fetched=True))
    rows = write(database, response("resp_1", fetched=True))
    assert rows == [(0, None, "unknown"), (0, 0, "computed"), (10, COST, "computed"), (0, 0, "computed")]


@pytest.mark.parametrize("other", [{"account_id": 2}, {"provider": "grok"}])
def test_ids_are_an_accounts_and_a_providers_own(database: Database, other: dict[str, Any]) -> None:
    write(database, response("resp_1"))
    write(database, response("resp_1", fetched=True, **other))
    assert sorted(row["input_tokens"] for row in rows_of(database)) == [10, 10]


def test_a_response_whose_stream_was_cut_is_counted_when_it_is_fetched(database: Database) -> None:
    cut = Reading(model="gpt-4o-mini", response_id="resp_1", usage=[raw(USAGE)])
    write(database, response("resp_1", outcome=Outcome.CLIENT_GONE.value, reading=cut))
    assert write(database, response("resp_1", fetched=True))[1] == (10, COST, "computed")


def test_batch_results_downloaded_twice_count_once(database: Database) -> None:
    cost = COST // 2  # batches cost half
    assert write(database, batch("a", "b", "c")) == [(30, 3 * cost, "computed")]
    assert write(database, batch("a", "b", "c"))[1:] == [(0, 0, "computed")]


@pytest.mark.parametrize(
    ("provider", "endpoint", "format"),
    [
        ("gemini", "batches.retrieve", "gemini_batch"),
        ("gemini", "files.download", "gemini_batch_results"),
        ("mistral", "batch.jobs.retrieve", "mistral_batch"),
        ("grok", "batches.results", "xai_batch_results"),
        ("anthropic", "messages.batches.results", "anthropic_batch_results"),
    ],
)
def test_so_do_those_of_every_provider(database: Database, provider: str, endpoint: str, format: str) -> None:
    told = {"provider": provider, "endpoint": endpoint, "format": format}
    write(database, batch("a", "b", **told))
    assert write(database, batch("a", "b", **told))[1:] == [(0, 0, "computed")]
    write(database, batch("b", "c", **told))
    assert json.loads(rows_of(database)[2]["usage_raw"])["id"] == "c"


def test_a_mistral_job_and_its_file_have_the_same_items(database: Database) -> None:
    inline = {"provider": "mistral", "endpoint": "batch.jobs.retrieve", "format": "mistral_batch"}
    write(database, batch("a", "b", **inline))
    assert write(database, batch("a", "b", provider="mistral"))[1] == (0, 0, "computed")


def test_a_run_is_counted_by_the_first_fetch_that_tells_its_usage(database: Database) -> None:
    def run(*usage: Any, endpoint: str = "threads.runs.retrieve") -> Call:
        reading = Reading(model="gpt-4o-mini", response_id="run_1", usage=[*map(raw, usage)], done=bool(usage))
        return make_call(endpoint=endpoint, format="openai_runs", reading=reading)

    used = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
    rows = write(database, run(endpoint="threads.runs"), run(), run(used), run(used))
    assert rows == [(0, None, "unknown"), (0, 0, "computed"), (10, COST, "computed"), (0, 0, "computed")]


def test_of_results_downloaded_in_part_the_new_items_count(database: Database) -> None:
    cost = COST // 2
    cut = batch("a", "b", outcome=Outcome.CLIENT_GONE.value)
    assert write(database, cut) == [(20, 2 * cost, "computed")]
    assert write(database, batch("a", "b", "c", "d", "d"))[1:] == [(20, 2 * cost, "computed")]
    kept = json.loads(rows_of(database)[1]["usage_raw"])
    assert [item["id"] for item in kept] == ["c", "d"]
    assert json.loads(rows_of(database)[1]["rare"])["seen"]["facts"] == {"counted_before": "3"}


def test_items_without_an_id_count_each_time(database: Database) -> None:
    write(database, batch("", "a"))
    assert [tokens for tokens, _, _ in write(database, batch("", "a"))] == [20, 10]


def test_a_large_batch_is_remembered_item_by_item(database: Database) -> None:
    names = [f"item_{n}" for n in range(1_203)]
    write(database, batch(*names))
    assert [tokens for tokens, _, _ in write(database, batch(*names, "one_more"))] == [12_030, 10]


def test_a_response_of_a_batch_can_be_fetched_by_itself(database: Database) -> None:
    write(database, batch("resp_1"))
    assert write(database, response("resp_1", fetched=True))[1] == (0, 0, "computed")


def test_recovery_writes_neither_again(database: Database) -> None:
    calls = [response("resp_1"), response("resp_1", fetched=True), batch("a"), batch("a", "b")]
    found = [call for _, call in records(b"".join(frame(COMPLETION, call) for call in calls))]
    write(database, *calls[:3])
    before = sums_of(database)
    assert [tokens for tokens, _, _ in write(database, *found[:3], fresh=False)] == [10, 0, 10]
    assert sums_of(database) == before
    assert [tokens for tokens, _, _ in write(database, *found, fresh=False)] == [10, 0, 10, 10]


def test_a_call_written_by_itself_is_not_its_own_repetition(database: Database) -> None:
    assert write_apart(database, BOOK, [response("resp_1", fetched=True), response("resp_1", fetched=True)]) == 2
    assert [row["input_tokens"] for row in rows_of(database)] == [10, 0]


def test_what_was_not_written_is_not_remembered(database: Database) -> None:
    broken = make_call(provider=None)
    with pytest.raises(Exception, match="NOT NULL"):
        write(database, response("resp_1", fetched=True), broken)
    assert write(database, response("resp_1", fetched=True)) == [(10, COST, "computed")]


def test_pricing_again_does_not_count_again(database: Database) -> None:
    write(database, response("resp_1"), response("resp_1", fetched=True), batch("a"), batch("a"), batch("a", "b"))
    dearer = PriceBook(
        [
            *rules.load(None),
            *rules.parse(
                '[[price]]\nprovider = "openai"\nprefix = ""\ndiscount = "50"\n', Path("x.toml"), rules.OPERATOR
            ),
        ]
    )
    assert sum(one.rows for one in step(database, dearer, Scope(1, bytes(16), EVER), 0, "why").changed) == 3
    rows = [(row["input_tokens"], row["cost_nano"]) for row in rows_of(database)]
    assert rows == [(10, COST // 2), (0, 0), (10, COST // 4), (0, 0), (10, COST // 4)]


def test_ordinary_calls_are_not_remembered(database: Database) -> None:
    reading = Reading(model="gpt-4o-mini", response_id="chatcmpl-1", usage=[raw({"prompt_tokens": 1})])
    write(database, make_call(reading=reading), make_call(reading=reading))
    assert [row["input_tokens"] for row in rows_of(database)] == [1, 1]
    assert _remembered(database) == 0


@pytest.mark.parametrize(("days", "kept"), [(59, 1), (61, 0)])
def test_a_response_is_remembered_for_sixty_days(database: Database, days: int, kept: int) -> None:
    write(database, response("resp_1"))
    with database.begin() as connection:
        forget_metered(connection, now_ms() + days * DAY_MS, 10)
    assert _remembered(database) == kept


def test_what_is_over_goes_when_something_new_comes(database: Database) -> None:
    with database.begin() as connection:
        add_metered(connection, [(1, "openai", bytes([n]), now_ms() - 1) for n in range(90)])
    write(database, response("resp_1"))
    assert _remembered(database) == 1


def _remembered(database: Database) -> int:
    with database.begin() as connection:
        return connection.execute(select(func.count()).select_from(metered)).scalar_one()
