"""Which cost a call gets, by how it ended and what was said of its usage. Spec §3 and §4."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metrion.call import Call, Outcome, Reading
from metrion.ledger.metered import FETCHES
from metrion.ledger.price import price
from metrion.prices.catalog import PriceBook
from metrion.storage.rows import COLUMNS
from metrion.wire.format import LOST
from metrion.wire.understand import understand
from tests.ledger.samples import MODEL, calls, make_call, usage_of

WHOLE = 1000 * 150 + 100 * 600  # nano-dollars of 1000 tokens in and 100 out
NOTHING: tuple[int | None, str] = (0, "computed")
UNKNOWN: tuple[int | None, str] = (None, "unknown")
CUT = [Outcome.TIMEOUT, Outcome.UPSTREAM_FAILED, Outcome.CLIENT_GONE, Outcome.INTERRUPTED]


def row_of(book: PriceBook, call: Call) -> dict[str, Any]:
    return dict(zip(COLUMNS, price(book, call), strict=True))


def cost(book: PriceBook, **values: Any) -> tuple[int | None, str]:
    row = row_of(book, make_call(**values))
    return row["cost_nano"], row["cost_source"]


def partial(*, done: bool = False) -> Reading:
    reading = usage_of(1000, 100)
    reading.done = done
    return reading


def anthropic(*, done: bool) -> dict[str, Any]:
    usage = msgspec.Raw(b'{"input_tokens":1000,"output_tokens":1}')
    reading = Reading(model="claude-sonnet-4-5-20250929", usage=[usage], done=done)
    return {"provider": "anthropic", "format": "anthropic_messages", "endpoint": "messages", "reading": reading}


@pytest.mark.parametrize("outcome", list(Outcome))
def test_without_usage_only_what_was_refused_cost_nothing(book: PriceBook, outcome: Outcome) -> None:
    free = outcome in (Outcome.REJECTED, Outcome.PROVIDER_ERROR)
    for reading in (None, Reading(), Reading(model=MODEL, done=True)):
        assert cost(book, outcome=outcome.value, reading=reading) == (NOTHING if free else UNKNOWN)


def test_a_whole_answer_costs_what_its_usage_says(book: PriceBook) -> None:
    assert cost(book, reading=partial()) == (WHOLE, "computed")
    assert cost(book, **anthropic(done=False)) == (1000 * 3000 + 15000, "computed")


def test_an_error_that_was_billed_all_the_same_costs_what_its_usage_says(book: PriceBook) -> None:
    assert cost(book, outcome="provider_error", status=500, reading=partial()) == (WHOLE, "computed")


@pytest.mark.parametrize("outcome", CUT)
def test_a_cut_call_that_had_said_everything_costs_that(book: PriceBook, outcome: Outcome) -> None:
    assert cost(book, outcome=outcome.value, reading=partial(done=True)) == (WHOLE, "computed")


@pytest.mark.parametrize("outcome", CUT)
def test_a_cut_call_costs_at_least_what_was_counted_so_far_and_is_marked(book: PriceBook, outcome: Outcome) -> None:
    assert cost(book, outcome=outcome.value, reading=partial()) == (WHOLE, "estimated")


@pytest.mark.parametrize("outcome", CUT)
def test_a_cut_call_of_which_only_the_input_was_counted_is_unknown(book: PriceBook, outcome: Outcome) -> None:
    assert cost(book, outcome=outcome.value, **anthropic(done=False)) == UNKNOWN


@pytest.mark.parametrize("outcome", CUT)
@pytest.mark.parametrize("usage", ["{}", '{"prompt_tokens":0,"completion_tokens":0}', '{"prompt_tokens":-3}', "[]"])
def test_a_cut_call_is_never_free(book: PriceBook, outcome: Outcome, usage: str) -> None:
    reading = Reading(model=MODEL, usage=[msgspec.Raw(usage.encode())])
    assert cost(book, outcome=outcome.value, reading=reading) == UNKNOWN


@pytest.mark.parametrize(("outcome", "expected"), [("ok", NOTHING), ("timeout", UNKNOWN), ("client_gone", UNKNOWN)])
def test_an_endpoint_that_only_counts_is_free_where_it_answered(
    book: PriceBook, outcome: str, expected: tuple[int | None, str]
) -> None:
    assert cost(book, format="count_only", outcome=outcome, reading=Reading(model=MODEL)) == expected


@pytest.mark.parametrize("format", ["", "anthropic_complete", "openai_audio"])
def test_an_endpoint_that_tells_no_usage_has_unknown_cost(book: PriceBook, format: str) -> None:
    assert cost(book, format=format, reading=Reading(model=MODEL)) == UNKNOWN


@pytest.mark.parametrize("endpoint", sorted(FETCHES))
def test_fetching_what_is_not_there_yet_is_free_and_what_could_not_be_read_is_not(
    book: PriceBook, endpoint: str
) -> None:
    fetched = {"endpoint": endpoint, "format": "openai_batch_results"}
    assert cost(book, **fetched, reading=Reading()) == NOTHING
    assert cost(book, **fetched, reading=Reading(facts={LOST: "1"})) == UNKNOWN
    assert cost(book, **fetched, reading=Reading(), outcome="client_gone") == UNKNOWN


def speech(**values: Any) -> dict[str, Any]:
    asked = {"endpoint": "audio.speech", "format": "openai_audio", "requested_model": "tts-1", "reading": None}
    return asked | {"characters": 1000} | values


def test_speech_is_priced_by_the_text_it_speaks_and_marked(book: PriceBook) -> None:
    assert cost(book, **speech()) == (15_000_000, "estimated")
    assert cost(book, **speech(characters=0)) == UNKNOWN
    assert cost(book, **speech(outcome="provider_error", status=500)) == NOTHING
    assert cost(book, **speech(outcome="client_gone")) == UNKNOWN
    assert cost(book, **speech(requested_model="gpt-4o-mini-tts")) == (None, "unpriced")
    row = row_of(book, make_call(**speech()))
    assert (row["model"], json.loads(row["rare"])["quantities"]) == ("tts-1", {"characters": 1000})


def test_speech_whose_answer_tells_tokens_is_priced_by_them(book: PriceBook) -> None:
    usage = {"input_tokens": 14, "output_tokens": 101, "total_tokens": 115}
    told = Reading(usage=[msgspec.Raw(json.dumps(usage).encode())], done=True)
    nano, source = cost(book, **speech(requested_model="gpt-4o-mini-tts", reading=told))
    assert (bool(nano), source) == (True, "computed")


def test_mistrals_speech_is_priced_by_its_text_whatever_tokens_it_tells(book: PriceBook) -> None:
    usage = {"prompt_tokens": 14, "completion_tokens": 101, "total_tokens": 115}
    told = Reading(usage=[msgspec.Raw(json.dumps(usage).encode())], done=True)
    spoken = speech(provider="mistral", requested_model="voxtral-mini-tts-2603", reading=told)
    assert cost(book, **spoken) == (16_000_000, "estimated")
    assert cost(book, **spoken | {"characters": 0}) == (None, "unpriced")


def test_a_model_without_a_price_is_unpriced_and_keeps_its_tokens(book: PriceBook) -> None:
    reading = usage_of(10, 5)
    reading.model = "model-of-next-year"
    row = row_of(book, make_call(reading=reading))
    assert (row["cost_nano"], row["cost_source"], row["input_tokens"]) == (None, "unpriced", 10)


def test_what_the_provider_reports_wins(book: PriceBook) -> None:
    usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15, "cost_in_usd_ticks": 12345}
    reading = Reading(model="grok-4-fast-reasoning", usage=[msgspec.Raw(json.dumps(usage).encode())])
    assert cost(book, provider="grok", reading=reading) == (1235, "provider")


chats = st.fixed_dictionaries(
    {"prompt_tokens": st.integers(0, 10**6), "completion_tokens": st.integers(0, 10**5)},
    optional={
        "prompt_tokens_details": st.fixed_dictionaries(
            {"cached_tokens": st.integers(0, 10**6)}, optional={"audio_tokens": st.integers(0, 2)}
        ),
        "completion_tokens_details": st.fixed_dictionaries({"reasoning_tokens": st.integers(0, 10)}),
    },
)
# A usual one; one dearer above 272,000 tokens; one whose cached tokens have no price of their own; one that is odd to a
# nano-dollar; one that searches; and none.
SOME = ["gpt-4o", "gpt-5.4", "gpt-4-turbo", "text-embedding-3-large", "gpt-4o-search-preview", "model-of-next-year"]


@given(
    chats,
    st.sampled_from(["openai_chat", "openai_embeddings"]),
    st.sampled_from(SOME),
    st.sampled_from(["", "default", "flex", "new"]),
    st.sampled_from(["ok", "timeout"]),
)
def test_however_a_row_is_made_it_says_what_its_usage_says(
    book: PriceBook, usage: dict[str, Any], format: str, model: str, tier: str, outcome: str
) -> None:
    """Most calls are priced by a shorter way, and the figures must not tell which."""
    reading = Reading(model=model, service_tier=tier, usage=[msgspec.Raw(json.dumps(usage).encode())])
    call = make_call(reading=reading, format=format, outcome=outcome)
    row = row_of(book, call)

    read, raw = understand("openai", format, reading)
    assert read is not None
    expected = book.cost("openai", model, read, call.started_ms)
    if outcome == "ok":
        assert (row["cost_nano"], row["cost_source"], row["price_ref"]) == expected[:3]
        assert tuple(row[f"{part}_nano"] for part in expected.split._fields) == expected.split
    assert row["usage_raw"] == raw
    assert all(row[name] == getattr(read, name) for name in row if name.endswith("_tokens"))
    rare = json.loads(row["rare"] or "{}")
    assert rare.get("service_tier", "") == tier
    assert rare.get("tool_calls", {}) == read.tool_calls


def test_the_answers_model_stands_before_the_one_asked_for(book: PriceBook) -> None:
    assert row_of(book, make_call())["model"] == MODEL
    asked = row_of(book, make_call(reading=None))
    assert (asked["model"], asked["requested_model"]) == ("gpt-4o-mini", "gpt-4o-mini")


def test_usage_is_kept_verbatim(book: PriceBook) -> None:
    raw = '{"prompt_tokens" : 1,"new":{"x":[1.0,null]}, "completion_tokens":2}'
    row = row_of(book, make_call(reading=Reading(model=MODEL, usage=[msgspec.Raw(raw.encode())])))
    assert row["usage_raw"] == raw


@pytest.mark.parametrize(("tokens", "kept"), [(10**12, True), (10**12 + 1, False)])
def test_figures_no_call_can_have_are_not_counted(book: PriceBook, tokens: int, kept: bool) -> None:
    row = row_of(book, make_call(provider="mistral", reading=usage_of(tokens, 0)))
    assert row["input_tokens"] == (tokens if kept else 0)
    assert row["cost_source"] == ("unpriced" if kept else "unknown")
    assert str(tokens) in row["usage_raw"]


@given(calls)
def test_any_call_has_a_row_the_columns_can_hold(book: PriceBook, call: Call) -> None:
    row = row_of(book, call)
    assert row["request_id"] == call.id
    assert (row["cost_nano"] is None) == (row["cost_source"] in ("unpriced", "unknown"))
    assert all(-(1 << 63) <= value < 1 << 63 for value in row.values() if isinstance(value, int))
    assert all(value.encode().decode() == value for value in row.values() if isinstance(value, str))
    if call.outcome in CUT:
        assert row["cost_nano"] != 0


@given(st.sampled_from(CUT), st.sampled_from(["openai_chat", "gemini_generate", "anthropic_messages"]), calls)
def test_a_cut_call_is_never_free_whatever_it_said(book: PriceBook, outcome: Outcome, format: str, call: Call) -> None:
    call.outcome, call.format, call.provider = outcome.value, format, "openai"
    if call.reading is not None:
        call.reading.done, call.reading.model = False, MODEL
    assert row_of(book, call)["cost_nano"] != 0
