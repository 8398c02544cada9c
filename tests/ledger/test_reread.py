"""A row, read again, makes the same row: whatever usage needs is kept with it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metrion.call import Call, Outcome, Reading
from metrion.ledger.price import price
from metrion.ledger.reread import call_of, usage_of
from metrion.prices.catalog import PriceBook
from metrion.storage.rows import COLUMNS, Row
from metrion.wire.tap import FORMATS
from metrion.wire.understand import understand
from tests.ledger.samples import make_call, readings
from tests.wire.answers import read
from tests.wire.samples import SAMPLES

BOOK = PriceBook.load()
PROVIDERS = ("anthropic", "openai", "gemini", "mistral", "grok")
counts = st.integers(0, 10**6)


def stored(row: Row) -> Any:
    return SimpleNamespace(**dict(zip(COLUMNS, row, strict=True)))


def again(row: Row) -> Row:
    return price(BOOK, call_of(stored(row)))


def raw(usage: Any) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(usage))


def nested(*names: str) -> st.SearchStrategy[dict[str, int]]:
    return st.fixed_dictionaries({}, optional=dict.fromkeys(names, counts))


# Keys as providers name them, all mixed: what a format does not know it leaves alone.
DETAILS = nested(
    "cached_tokens", "cache_write_tokens", "audio_tokens", "image_tokens", "reasoning_tokens", "text_tokens"
)
COUNTED = dict.fromkeys(
    (
        *("prompt_tokens", "completion_tokens", "input_tokens", "output_tokens", "total_tokens", "num_cached_tokens"),
        *("cache_read_input_tokens", "cache_creation_input_tokens", "cost_in_usd_ticks", "num_sources_used"),
        *("promptTokenCount", "candidatesTokenCount", "thoughtsTokenCount", "totalTokenCount", "seconds"),
        *("total_input_tokens", "total_output_tokens", "connector_tokens", "pages_processed", "prompt_audio_seconds"),
    ),
    counts,
)
NESTED: dict[str, st.SearchStrategy[Any]] = {
    "prompt_tokens_details": DETAILS,
    "input_tokens_details": DETAILS,
    "completion_tokens_details": DETAILS,
    "server_tool_use": nested("web_search_requests"),
    "cache_creation": nested("ephemeral_5m_input_tokens", "ephemeral_1h_input_tokens"),
    "server_side_tool_usage_details": nested("web_search_calls", "x_search_calls"),
    "connectors": nested("web_search"),
    "service_tier": st.sampled_from(["default", "flex", "batch"]),
    "speed": st.sampled_from(["standard", "fast"]),
    "cacheTokensDetails": st.lists(
        st.fixed_dictionaries({"modality": st.sampled_from(["TEXT", "AUDIO", 2]), "tokenCount": counts}), max_size=2
    ),
    "iterations": st.lists(
        st.fixed_dictionaries(
            {
                "type": st.sampled_from(["compaction", "advisor_message", "message", "fallback_message"]),
                "model": st.sampled_from(["claude-opus-4-5", "claude-haiku-4-5"]),
                "input_tokens": counts,
                "output_tokens": counts,
            }
        ),
        max_size=3,
    ),
}
usages = st.fixed_dictionaries({}, optional={**COUNTED, **NESTED})
MODELS = [
    "gpt-4o-mini",
    "claude-opus-4-5",
    "gemini-2.5-flash",
    "gemini-3-pro",
    "mistral-large-latest",
    "grok-4",
    "x",
    "",
]
FACTS: dict[str, st.SearchStrategy[str]] = {
    "stop_reason": st.just("refusal"),
    "images": st.sampled_from(["1", "3"]),
    "quality": st.just("high"),
    "seconds": st.sampled_from(["2.5", "61"]),
    "annotated": st.just("true"),
    "items_lost": st.just("2"),
    "characters": st.sampled_from(["1", "4000"]),
    "salvaged": st.just("true"),
    "svg_usage": st.just('[{"model":"gpt-5.6","input_tokens":3,"output_tokens":90}]'),
    "image_model": st.just("gpt-image-1"),
    "image_usage": st.just('{"input_tokens":3,"output_tokens":90,"total_tokens":93}'),
}


@st.composite
def answered(draw: st.DrawFn) -> Call:
    format = draw(st.sampled_from(["", *FORMATS]))
    found = draw(st.lists(usages, max_size=3))
    if format and FORMATS[format].results:
        model = st.sampled_from(MODELS)
        more: list[dict[str, Any]] = [{}, {"tools": {"web_search": 2}}, {"shape": "openai_responses"}]
        tools = st.sampled_from(more)
        found = [{"id": str(at), "model": draw(model), "usage": usage, **draw(tools)} for at, usage in enumerate(found)]
    facts = draw(st.fixed_dictionaries({}, optional=FACTS))
    if "image_usage" in facts:
        facts["image_model"] = "gpt-image-1"  # the two come together
    reading = Reading(
        model=draw(st.sampled_from(MODELS)),
        service_tier=draw(st.sampled_from(["", "default", "flex"])),
        usage=[raw(usage) for usage in found],
        tools=draw(nested("web_search", "google_search", "google_maps", "code_interpreter")),
        facts=facts,
        done=draw(st.booleans()),
    )
    return make_call(
        provider=draw(st.sampled_from(PROVIDERS)),
        format=format,
        requested_model=draw(st.sampled_from(MODELS)),
        outcome=draw(st.sampled_from(list(Outcome))).value,
        reading=draw(st.sampled_from([reading, reading, reading, None])),
    )


@given(answered())
def test_a_row_read_again_is_the_same_row(call: Call) -> None:
    row = price(BOOK, call)
    assert again(row) == row


@given(readings, st.sampled_from(PROVIDERS), st.sampled_from(["", *FORMATS]))
def test_so_is_one_of_nonsense(reading: Reading, provider: str, format: str) -> None:
    row = price(BOOK, make_call(provider=provider, format=format, reading=reading))
    assert again(row) == row


@pytest.mark.parametrize("sample", SAMPLES.values(), ids=SAMPLES.keys())
def test_the_usage_of_a_row_is_that_of_its_answer(sample: Any) -> None:
    reading = read(sample.format, sample.body)
    row = stored(price(BOOK, make_call(provider=sample.provider, format=sample.format, reading=reading)))
    assert usage_of(row) == understand(sample.provider, sample.format, reading)[0]


def test_an_estimate_is_what_the_row_counts() -> None:
    row = stored(price(BOOK, make_call(reading=None)))
    row.cost_source, row.input_tokens, row.output_tokens = "estimated", 7, 3
    found = usage_of(row)
    assert found is not None
    assert (found.input_tokens, found.output_tokens) == (7, 3)


def test_text_that_is_no_usage_stays_as_it_was() -> None:
    for broken in (b'{"prompt_tokens": 1', b"[1, 2"):
        call = make_call(reading=Reading(model="gpt-4o-mini", usage=[msgspec.Raw(broken)]))
        row = price(BOOK, call)
        assert again(row) == row
