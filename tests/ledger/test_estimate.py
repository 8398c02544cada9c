"""A streamed chat without usage gets an estimate from its texts where there can be one, marked so, and else none."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from metrion.call import Call, Outcome
from metrion.kit.held import REQUEST_BYTES, Shelf
from metrion.ledger.estimate import estimate, hold, vocabulary_of
from metrion.ledger.price import price
from metrion.ledger.record import COMPLETION, frame, records
from metrion.ledger.reprice import Scope, step
from metrion.ledger.writer import write_calls
from metrion.prices import rules
from metrion.prices.catalog import PriceBook
from metrion.storage.rows import COLUMNS
from metrion.wire.tap import open_tap
from tests.ledger.samples import make_call, rows_of
from tests.storage.samples import new_database

BOOK = PriceBook.load()
Json = dict[str, Any]
Said = tuple[str, str | None, str]  # role, name, content

# The examples of https://developers.openai.com/cookbook/examples/how_to_count_tokens_with_tiktoken, whose counts are
# what the API counted.
JARGON: list[Said] = [
    (
        "system",
        None,
        "You are a helpful, pattern-following assistant that translates corporate jargon into plain English.",
    ),
    ("system", "example_user", "New synergies will help drive top-line growth."),
    ("system", "example_assistant", "Things working well together will increase revenue."),
    (
        "system",
        "example_user",
        "Let's circle back when we have more bandwidth to touch base on opportunities for increased leverage.",
    ),
    ("system", "example_assistant", "Let's talk later when we're less busy about how to do better."),
    (
        "user",
        None,
        "This late pivot means we don't have time to boil the ocean for the client deliverable.",
    ),
]
WEATHER: list[Said] = [
    ("system", None, "You are a helpful assistant that can answer to questions about the weather."),
    ("user", None, "What's the weather like in San Francisco?"),
]
FUNCTION = {
    "name": "get_current_weather",
    "description": "Get the current weather in a given location",
    "parameters": {
        "type": "object",
        "properties": {
            "location": {"type": "string", "description": "The city and state, e.g. San Francisco, CA"},
            "unit": {
                "type": "string",
                "description": "The unit of temperature to return",
                "enum": ["celsius", "fahrenheit"],
            },
        },
        "required": ["location"],
    },
}
HELLO: list[Said] = [("user", None, "Hello")]  # 3 for the message, 1 each for role and text, 3 for the reply: 8


def messages(given: list[Said]) -> list[Json]:
    return [{"role": role, "content": content} | ({"name": name} if name else {}) for role, name, content in given]


def chunk(delta: Json, index: int = 0, **fields: Any) -> bytes:
    choices = [{"index": index, "delta": delta, "finish_reason": None}]
    return (
        b"data: "
        + json.dumps({"id": "c", "model": "gpt-4o-2024-08-06", "choices": choices} | fields).encode()
        + b"\n\n"
    )


def said(*texts: str) -> bytes:
    return b"".join(chunk({"content": text}) for text in texts)


ANSWER = chunk({"role": "assistant", "content": ""}) + said("t", "ikt", "oken is gr", "eat!") + b"data: [DONE]\n\n"  # 6


def streamed(request: Json | bytes, answer: bytes = ANSWER, *, encoding: str = "", **values: Any) -> Call:
    """A call as the proxy leaves it: its request held, its answer past the tap in pieces."""
    body = request if isinstance(request, bytes) else json.dumps(request).encode()
    asked = json.loads(body)["model"]
    given: Json = {"requested_model": asked, "stream": True, "format": "openai_chat", "status": 200}
    call = make_call(**given | values)
    call.held = hold(Shelf(), call, body)
    tap = open_tap(call.format, call.status, "text/event-stream", encoding, call.held)
    assert tap is not None
    wire = gzip.compress(answer) if encoding == "gzip" else answer
    for at in range(0, len(wire), 50):
        tap.feed(wire[at : at + 50])
    call.reading = tap.finish()
    return call


def chat(given: list[Said] = HELLO, model: str = "gpt-4o", **fields: Any) -> Json:
    return {"model": model, "stream": True, "messages": messages(given)} | fields


def counts(call: Call) -> tuple[int, int] | None:
    usage = estimate(call)
    return None if usage is None else (usage.input_tokens, usage.output_tokens)


def priced(call: Call) -> Json:
    return dict(zip(COLUMNS, price(BOOK, call), strict=True))


@pytest.mark.parametrize(
    ("model", "jargon", "weather"),
    [("gpt-3.5-turbo", 129, 105), ("gpt-4", 129, 105), ("gpt-4o", 124, 101), ("gpt-4o-mini", 124, 101)],
)
def test_the_prompts_that_openai_published_count_as_published(model: str, jargon: int, weather: int) -> None:
    named = ANSWER.replace(b"gpt-4o-2024-08-06", model.encode())
    assert counts(streamed(chat(JARGON, model), named)) == (jargon, 6)
    tools = [{"type": "function", "function": FUNCTION}]
    assert counts(streamed(chat(WEATHER, model, tools=tools), named)) == (weather, 6)
    assert counts(streamed(chat(WEATHER, model, functions=[FUNCTION]), named)) == (weather, 6)


def test_the_row_is_marked_and_priced() -> None:
    row = priced(streamed(chat()))
    assert (row["input_tokens"], row["output_tokens"]) == (8, 6)
    assert row["cost_nano"] == 8 * 2_500 + 6 * 10_000
    assert row["cost_source"] == "estimated"
    assert row["price_ref"]
    assert row["usage_raw"] is None
    assert json.loads(row["rare"])["facts"] == {"tokenizer": "o200k_base"}


def test_usage_that_was_sent_is_what_counts() -> None:
    usage = {"prompt_tokens": 50, "completion_tokens": 60, "total_tokens": 110}
    row = priced(streamed(chat(), ANSWER.replace(b"data: [DONE]", chunk({}, usage=usage) + b"data: [DONE]")))
    assert (row["input_tokens"], row["output_tokens"], row["cost_source"]) == (50, 60, "computed")


@pytest.mark.parametrize("outcome", [Outcome.CLIENT_GONE, Outcome.TIMEOUT, Outcome.UPSTREAM_FAILED])
def test_a_cut_stream_is_estimated_as_far_as_it_came(outcome: Outcome) -> None:
    cut = said("tiktoken", " is", " great!") + chunk({"content": " and more"})[:-30]
    row = priced(streamed(chat(), cut, outcome=outcome.value))
    assert (row["output_tokens"], row["cost_source"]) == (6, "estimated")


@pytest.mark.parametrize("answer", [b"", b": comment\n\n", b"{}"])
def test_without_an_event_there_is_no_estimate(answer: bytes) -> None:
    row = priced(streamed(chat(), answer, outcome=Outcome.TIMEOUT.value))
    assert (row["cost_nano"], row["cost_source"], row["input_tokens"]) == (None, "unknown", 0)


def test_a_compressed_stream_is_counted_uncompressed() -> None:
    assert counts(streamed(chat(), encoding="gzip")) == (8, 6)


@pytest.mark.parametrize("end", [b"\r\n", b"\r"])
def test_lines_end_in_any_way(end: bytes) -> None:
    assert counts(streamed(chat(), ANSWER.replace(b"\n", end))) == (8, 6)


def test_each_choice_counts_for_itself() -> None:
    answer = chunk({"content": "tiktoken"}, 0) + chunk({"content": "2 + 2"}, 1) + said(" is great!")
    assert counts(streamed(chat(n=2), answer + chunk({"content": " = 4"}, 1))) == (8, 6 + 7)


def test_tool_calls_count_with_their_names_and_arguments() -> None:
    first = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "get", "arguments": ""}}
    more = [{"index": 0, "function": {"arguments": part}} for part in ('{"a"', ":1}")]
    answer = b"".join(chunk({"tool_calls": [one]}) for one in (first, *more))
    assert counts(streamed(chat(), answer)) == (8, 7 + 6)  # get {" a ": 1 }
    asked = [*messages(HELLO), {"role": "assistant", "content": None, "tool_calls": [first]}]
    assert counts(streamed(chat() | {"messages": asked})) == (8 + 3 + 1 + 7 + 1, 6)


def test_text_parts_and_refusals_count_and_the_answer_s_schema() -> None:
    parts = [
        {"role": "user", "content": [{"type": "text", "text": "tiktoken"}, {"type": "text", "text": " is great!"}]}
    ]
    assert counts(streamed(chat() | {"messages": parts}, chunk({"refusal": "2 + 2 = 4"}))) == (3 + 3 + 1 + 6, 7)
    schema = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object"}}}
    assert (counts(streamed(chat(response_format=schema))) or (0, 0))[0] > 8


def test_completions_count_their_prompt_alone() -> None:
    answer = b'data: {"model":"gpt-3.5-turbo-instruct:20230824-v2","choices":[{"index":0,"text":" 2 + 2"}]}\n\n'
    request = {"model": "gpt-3.5-turbo-instruct", "prompt": "2 + 2 = 4", "stream": True}
    assert counts(streamed(request, answer, format="openai_completions")) == (7, 5)
    assert counts(streamed(request | {"prompt": ["2 + 2 = 4"] * 2}, answer, format="openai_completions")) == (14, 5)


IMAGE = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://example.com/x.png"}}]}]


@pytest.mark.parametrize(
    "fields",
    [
        {"messages": IMAGE},
        {"modalities": ["text", "audio"]},
        {"prediction": {"type": "content", "content": "x"}},
        {"web_search_options": {}},
        {"tools": [{"type": "custom", "custom": {"name": "x"}}]},
        {"messages": 7},
        {"messages": [{"role": "assistant", "audio": {"id": "a"}}]},
        {"model": "gpt-5"},
        {"model": "gpt-5.2", "reasoning_effort": "low"},
        {"model": "o4-mini"},
        {"model": "gpt-4o-audio-preview"},
        {"model": "gpt-4o-search-preview"},
        {"model": "gpt-9"},
    ],
)
def test_what_is_not_text_or_not_shown_is_not_estimated(fields: Json) -> None:
    model = fields.get("model", "gpt-4o")
    answer = ANSWER.replace(b"gpt-4o-2024-08-06", str(model).encode())
    row = priced(streamed(chat() | fields, answer))
    assert (row["cost_nano"], row["cost_source"], row["input_tokens"]) == (None, "unknown", 0)


def test_a_model_that_was_told_not_to_reason_is_estimated() -> None:
    answer = ANSWER.replace(b"gpt-4o-2024-08-06", b"gpt-5.2-2025-12-11")
    assert counts(streamed(chat(model="gpt-5.2", reasoning_effort="none"), answer)) == (8, 6)
    request = {"model": "davinci-002", "prompt": "x", "echo": True}
    assert counts(streamed(request, format="openai_completions")) is None


def test_an_answer_with_sound_or_an_error_is_not_estimated() -> None:
    assert counts(streamed(chat(), chunk({"audio": {"data": "xx"}}))) is None
    assert counts(streamed(chat(), said("a") + b'data: {"error":{"message":"overloaded"}}\n\n')) is None


@pytest.mark.parametrize(
    ("values", "length"),
    [
        ({"provider": "grok"}, 0),
        ({"format": "openai_responses"}, 0),
        ({"requested_model": "gpt-5-codex"}, 0),
        ({}, REQUEST_BYTES + 1),
    ],
)
def test_what_cannot_be_estimated_is_not_held(values: Json, length: int) -> None:
    given: Json = {"requested_model": "gpt-4o"}
    call = make_call(**given | values)
    assert hold(Shelf(), call, b"x" * max(length, 10)) is None


def test_what_outgrew_its_room_is_unknown() -> None:
    call = streamed(chat(), said("x" * 1000) * 1200)
    assert call.held is not None and not call.held.request
    assert priced(call)["cost_source"] == "unknown"


def test_nothing_held_gets_into_the_journal_or_into_sight() -> None:
    call = streamed(chat([("user", None, "my secret prompt")]), said("my secret answer"))
    record = frame(COMPLETION, call)
    assert b"secret" not in record and "secret" not in repr(call)
    ((_, read),) = records(record)
    assert read.held is None
    assert priced(read)["cost_source"] == "unknown"  # after a kill
    assert msgspec.json.encode(read) == msgspec.json.encode(msgspec.structs.replace(call, held=None))


@pytest.mark.parametrize(
    ("model", "vocabulary"),
    [
        ("gpt-4o", "o200k_base"),
        ("gpt-4o-mini-2024-07-18", "o200k_base"),
        ("chatgpt-4o-latest", "o200k_base"),
        ("gpt-4.1-nano", "o200k_base"),
        ("gpt-5.2-chat-latest", "o200k_base"),
        ("ft:gpt-4o-mini-2024-07-18:acme::abc", "o200k_base"),
        ("gpt-4", "cl100k_base"),
        ("gpt-4-turbo-2024-04-09", "cl100k_base"),
        ("gpt-3.5-turbo-0125", "cl100k_base"),
        ("gpt-40", ""),
        ("gpt-4.7", ""),
        ("gpt-6", ""),
        ("my-gpt-4o", ""),
        ("gpt-5-pro", ""),
        ("gpt-image-1", ""),
        ("", ""),
    ],
)
def test_models_have_the_vocabulary_that_was_published_for_them(model: str, vocabulary: str) -> None:
    assert vocabulary_of(model) == vocabulary


def test_an_estimate_is_priced_again_by_its_counts(tmp_path: Path) -> None:
    database = new_database(tmp_path)
    answer = ANSWER.replace(b"gpt-4o-2024-08-06", b"ft:gpt-4o:acme::x")
    write_calls(database, BOOK, [streamed(chat()), streamed(chat(model="ft:gpt-4o:acme::x"), answer)], fresh=True)
    assert [row["cost_source"] for row in rows_of(database)] == ["estimated", "unpriced"]
    own = """
        [[price]]
        provider = "openai"
        model = ["gpt-4o", "ft:gpt-4o:acme::x"]
        usd_per_million = { input = "1", output = "2" }
    """
    book = PriceBook([*rules.load(None), *rules.parse(own, Path("prices.toml"), rules.OPERATOR)])
    scope = Scope(1, bytes(16), (1 << 47).to_bytes(6, "big") + bytes(10))
    for _ in range(2):  # the second time changes nothing
        step(database, book, scope, 0, "why")
        rows = [(row["input_tokens"], row["output_tokens"], row["cost_nano"]) for row in rows_of(database)]
        assert rows == [(8, 6, 20_000)] * 2
    assert [row["cost_source"] for row in rows_of(database)] == ["estimated"] * 2
    database.close()
