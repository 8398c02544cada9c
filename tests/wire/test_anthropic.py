from __future__ import annotations

import json

import pytest

from metrion.wire.understand import understand
from tests.wire.answers import Json, counts, document, events, read, understood

MODEL = "claude-sonnet-4-6"


def message(usage: Json, **more: object) -> bytes:
    return document({"id": "msg_1", "type": "message", "model": MODEL, "content": [], "usage": usage} | more)


def stream(start: Json, *deltas: Json, stop: str = "end_turn") -> bytes:
    opening = {"type": "message_start", "message": {"id": "msg_1", "model": MODEL, "content": [], "usage": start}}
    text = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": '"usage": {"no": 1}'}}
    closing = [{"type": "message_delta", "delta": {"stop_reason": stop}, "usage": delta} for delta in deltas]
    return events(opening, {"type": "ping"}, text, text, *closing, {"type": "message_stop"}, names=True)


def test_input_is_what_was_read_fresh_from_cache_and_into_it() -> None:
    cache = {"ephemeral_5m_input_tokens": 100, "ephemeral_1h_input_tokens": 30}
    usage = understood(
        "anthropic",
        "anthropic_messages",
        message(
            {
                "input_tokens": 5,
                "cache_read_input_tokens": 1000,
                "cache_creation_input_tokens": 130,
                "cache_creation": cache,
                "output_tokens": 7,
                "output_tokens_details": {"thinking_tokens": 4},
            }
        ),
    )
    assert counts(usage) == {
        "input_tokens": 1135,
        "cached_input_tokens": 1000,
        "cache_write_5m_tokens": 100,
        "cache_write_1h_tokens": 30,
        "output_tokens": 7,
        "reasoning_tokens": 4,
    }
    assert usage.problem == ""


def test_cache_writes_without_their_life_are_the_short_ones() -> None:
    usage = understood(
        "anthropic", "anthropic_messages", message({"input_tokens": 1, "cache_creation_input_tokens": 9})
    )
    assert (usage.cache_write_5m_tokens, usage.cache_write_1h_tokens, usage.input_tokens) == (9, 0, 10)


def test_a_delta_overwrites_what_the_start_said_key_by_key() -> None:
    reading = read(
        "anthropic_messages",
        stream(
            {
                "input_tokens": 690,
                "cache_creation_input_tokens": 0,
                "output_tokens": 8,
                "service_tier": "standard",
                "inference_geo": "eu",
            },
            {
                "input_tokens": 3042,
                "output_tokens": 354,
                "server_tool_use": {"web_search_requests": 2, "web_fetch_requests": 1},
            },
        ),
    )
    usage, raw = understand("anthropic", "anthropic_messages", reading)
    assert usage is not None
    assert counts(usage) == {"input_tokens": 3042, "output_tokens": 354}
    assert (usage.service_tier, usage.facts, usage.tool_calls) == (
        "standard",
        {"inference_geo": "eu"},
        {"web_search": 2},
    )
    assert (reading.model, reading.response_id, reading.done) == (MODEL, "msg_1", True)
    assert raw is not None
    assert [one["output_tokens"] for one in json.loads(raw)] == [8, 354]


def test_a_null_in_a_delta_overwrites_nothing() -> None:
    usage = understood(
        "anthropic",
        "anthropic_messages",
        stream({"input_tokens": 7, "output_tokens": 1}, {"input_tokens": None, "output_tokens": 2}),
    )
    assert counts(usage) == {"input_tokens": 7, "output_tokens": 2}


def test_the_latest_of_many_deltas_counts_and_few_are_kept() -> None:
    reading = read("anthropic_messages", stream({"input_tokens": 1}, *({"output_tokens": n} for n in range(100))))
    usage, _ = understand("anthropic", "anthropic_messages", reading)
    assert usage is not None
    assert counts(usage) == {"input_tokens": 1, "output_tokens": 99}
    assert len(reading.usage) < 20


def test_cache_writes_that_a_delta_adds_are_of_the_kind_seen_before() -> None:
    start = {
        "input_tokens": 1,
        "cache_creation_input_tokens": 10,
        "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 10},
    }
    usage = understood("anthropic", "anthropic_messages", stream(start, {"cache_creation_input_tokens": 25}))
    assert (usage.cache_write_5m_tokens, usage.cache_write_1h_tokens, usage.problem) == (0, 25, "")


def test_a_cut_stream_keeps_what_was_seen() -> None:
    body = stream({"input_tokens": 12, "output_tokens": 1}, {"output_tokens": 50})
    reading = read("anthropic_messages", body[: body.index(b"message_delta")])
    usage, _ = understand("anthropic", "anthropic_messages", reading)
    assert usage is not None
    assert counts(usage) == {"input_tokens": 12, "output_tokens": 1}
    assert not reading.done


def iteration(kind: str, model: str = "", **tokens: int) -> Json:
    return {"type": kind, **({"model": model} if model else {}), **tokens}


def test_compaction_is_added_to_the_top_level_that_leaves_it_out() -> None:
    usage = understood(
        "anthropic",
        "anthropic_messages",
        message(
            {
                "input_tokens": 220,
                "output_tokens": 8,
                "iterations": [
                    iteration("compaction", input_tokens=55000, output_tokens=125, cache_read_input_tokens=6),
                    iteration("message", input_tokens=220, output_tokens=8),
                ],
            }
        ),
    )
    assert counts(usage) == {"input_tokens": 55226, "cached_input_tokens": 6, "output_tokens": 133}
    assert [(part.model, part.usage.input_tokens, part.usage.output_tokens) for part in usage.parts] == [
        (MODEL, 220, 8),
        (MODEL, 55006, 125),
    ]


def test_the_turns_of_a_tool_loop_stand_in_the_top_level_already() -> None:
    turns = [iteration("message", MODEL, input_tokens=10, output_tokens=5) for _ in range(2)]
    whole = {"input_tokens": 20, "output_tokens": 10, "server_tool_use": {"web_search_requests": 2}, "speed": "fast"}
    usage = understood("anthropic", "anthropic_messages", message(whole | {"iterations": turns}))
    assert counts(usage) == {"input_tokens": 20, "output_tokens": 10}
    assert usage.tool_calls == {"web_search": 2}
    assert [(part.usage.input_tokens, part.usage.tool_calls, part.usage.facts) for part in usage.parts] == [
        (10, {"web_search": 2}, {"speed": "fast"}),
        (10, {}, {"speed": "fast"}),
    ]


@pytest.mark.parametrize("turn", [{"input_tokens": 9}, {"input_tokens": 10, "cache_read_input_tokens": 1}])
def test_turns_that_do_not_add_up_are_left_to_the_top_level(turn: dict[str, int]) -> None:
    turns = [iteration("message", MODEL, input_tokens=10), iteration("message", MODEL, **turn)]
    usage = understood("anthropic", "anthropic_messages", message({"input_tokens": 20, "iterations": turns}))
    assert (usage.input_tokens, usage.parts) == (20, [])


def test_a_kind_of_iteration_that_is_not_known_is_a_problem() -> None:
    odd = [iteration("dreaming", MODEL, input_tokens=1000)]
    usage = understood("anthropic", "anthropic_messages", message({"input_tokens": 20, "iterations": odd}))
    assert (usage.input_tokens, "dreaming" in usage.problem) == (20, True)


def test_server_tools_are_counted_by_name_and_fetching_is_free() -> None:
    used = {"web_search_requests": 2, "web_fetch_requests": 3, "tool_search_requests": 0, "holodeck_requests": 1}
    usage = understood("anthropic", "anthropic_messages", message({"input_tokens": 1, "server_tool_use": used}))
    assert (usage.tool_calls, usage.problem) == ({"web_search": 2, "holodeck": 1}, "")


def test_an_advisor_is_a_part_at_its_own_model() -> None:
    advice = iteration(
        "advisor_message", "claude-opus-4-8", input_tokens=30, cache_read_input_tokens=70, output_tokens=9
    )
    usage = understood(
        "anthropic", "anthropic_messages", message({"input_tokens": 1, "output_tokens": 2, "iterations": [advice]})
    )
    assert counts(usage) == {"input_tokens": 101, "cached_input_tokens": 70, "output_tokens": 11}
    assert [(part.model, counts(part.usage)) for part in usage.parts] == [
        (MODEL, {"input_tokens": 1, "output_tokens": 2}),
        ("claude-opus-4-8", {"input_tokens": 100, "cached_input_tokens": 70, "output_tokens": 9}),
    ]


@pytest.mark.parametrize(("output", "billed"), [(0, False), (1, True)])
def test_an_attempt_that_a_fallback_replaced_is_billed_once_it_had_output(output: int, billed: bool) -> None:
    iterations = [
        iteration("message", "claude-fable-5", input_tokens=408, output_tokens=output),
        iteration("fallback_message", MODEL, input_tokens=412, output_tokens=264),
    ]
    usage = understood(
        "anthropic",
        "anthropic_messages",
        message({"input_tokens": 412, "output_tokens": 264, "iterations": iterations}),
    )
    assert [part.model for part in usage.parts] == ([MODEL, "claude-fable-5"] if billed else [])
    assert usage.input_tokens == (820 if billed else 412)


@pytest.mark.parametrize(("output", "cost"), [(0, 0), (1, None)])
def test_a_refusal_before_any_output_is_not_billed(output: int, cost: int | None) -> None:
    body = message({"input_tokens": 412, "output_tokens": output}, stop_reason="refusal")
    usage = understood("anthropic", "anthropic_messages", body)
    assert (usage.input_tokens, usage.reported_cost_nano) == (412, cost)
    streamed = understood(
        "anthropic", "anthropic_messages", stream({"input_tokens": 412}, {"output_tokens": output}, stop="refusal")
    )
    assert streamed.reported_cost_nano == cost


def test_an_advisor_shares_the_calls_place_and_tier_and_not_its_speed() -> None:
    advice = iteration("advisor_message", "claude-opus-4-8", input_tokens=30, output_tokens=9)
    told = {"input_tokens": 1, "speed": "fast", "inference_geo": "us", "service_tier": "standard"}
    usage = understood("anthropic", "anthropic_messages", message(told | {"iterations": [advice]}))
    assert [(part.usage.facts, part.usage.service_tier) for part in usage.parts] == [
        ({"inference_geo": "us", "speed": "fast"}, "standard"),
        ({"inference_geo": "us"}, "standard"),
    ]


def test_speed_and_tier_are_kept() -> None:
    usage = understood(
        "anthropic", "anthropic_messages", message({"input_tokens": 1, "speed": "fast", "service_tier": "priority"})
    )
    assert (usage.facts, usage.service_tier) == ({"speed": "fast"}, "priority")


def test_more_writes_by_life_than_in_all_is_a_problem_and_not_negative() -> None:
    usage = understood(
        "anthropic",
        "anthropic_messages",
        message(
            {"input_tokens": 1, "cache_creation_input_tokens": 5, "cache_creation": {"ephemeral_5m_input_tokens": 8}}
        ),
    )
    assert usage.problem
    assert counts(usage) == {"input_tokens": 9, "cache_write_5m_tokens": 8}


def test_an_error_inside_a_stream_is_read() -> None:
    error = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
    reading = read("anthropic_messages", stream({"input_tokens": 1})[:-50] + b"\n\n" + events(error, names=True))
    assert reading.error == "Overloaded"


def test_a_legacy_completion_tells_its_model_and_its_end() -> None:
    piece = {"type": "completion", "id": "compl_1", "completion": " Hi", "stop_reason": None, "model": "claude-2.1"}
    body = events(
        piece, {"type": "ping"}, piece, piece | {"completion": "", "stop_reason": "stop_sequence"}, end="\r\n"
    )
    reading = read("anthropic_complete", body)
    assert (reading.model, reading.response_id, reading.done) == ("claude-2.1", "compl_1", True)
    assert understand("anthropic", "anthropic_complete", reading) == (None, None)
    assert not read("anthropic_complete", events(piece, piece)).done
