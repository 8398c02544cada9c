from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metrion.call import Reading
from metrion.wire import openai_chat, openai_responses
from metrion.wire.understand import understand
from metrion.wire.usage import Plain, Usage
from tests.wire.answers import Json, counts, document, events, read, understood


def completion(usage: Json | None, **more: object) -> bytes:
    return document(
        {"id": "chatcmpl-1", "object": "chat.completion", "model": "gpt-4o", "choices": [], "usage": usage} | more
    )


def chunk(content: str, **more: object) -> Json:
    choice = {"index": 0, "delta": {"content": content}, "finish_reason": None}
    return {"id": "chatcmpl-1", "object": "chat.completion.chunk", "model": "gpt-4o", "choices": [choice], **more}


def test_details_are_parts_of_the_counts() -> None:
    body = completion(
        {
            "prompt_tokens": 100,
            "completion_tokens": 50,
            "total_tokens": 150,
            "prompt_tokens_details": {
                "cached_tokens": 64,
                "audio_tokens": 10,
                "image_tokens": 3,
                "cache_write_tokens": 5,
            },
            "completion_tokens_details": {"reasoning_tokens": 20, "audio_tokens": 7, "rejected_prediction_tokens": 4},
        },
        service_tier="flex",
    )
    usage = understood("openai", "openai_chat", body)
    assert counts(usage) == {
        "input_tokens": 100,
        "cached_input_tokens": 64,
        "cache_write_5m_tokens": 5,
        "output_tokens": 50,
        "reasoning_tokens": 20,
        "audio_input_tokens": 10,
        "audio_output_tokens": 7,
        "image_input_tokens": 3,
    }
    assert (usage.service_tier, usage.problem) == ("flex", "")


def test_a_stream_tells_usage_in_its_last_chunk() -> None:
    pieces = [chunk(word, usage=None) for word in ("one", "two", "three", "four", "five")]
    usage = {"prompt_tokens": 14, "completion_tokens": 5, "total_tokens": 19}
    reading = read("openai_chat", events(*pieces, chunk("", choices=[], usage=usage, service_tier="default"), "[DONE]"))
    assert (reading.model, reading.response_id, reading.service_tier, reading.done) == (
        "gpt-4o",
        "chatcmpl-1",
        "default",
        True,
    )
    assert [bytes(one) for one in reading.usage] == [document(usage)]


def test_a_stream_without_usage_has_none() -> None:
    reading = read("openai_chat", events(*(chunk("word") for _ in range(9)), "[DONE]"))
    assert (reading.model, reading.done) == ("gpt-4o", True)
    assert understand("openai", "openai_chat", reading) == (None, None)


def test_an_empty_usage_says_nothing_and_takes_nothing_back() -> None:
    assert understand("openai", "openai_chat", read("openai_chat", completion({}))) == (None, None)
    stream = events(chunk("a", usage={"prompt_tokens": 1}), chunk("", usage={}))
    assert counts(understood("openai", "openai_chat", stream)) == {"input_tokens": 1}


def test_a_stream_that_was_cut_is_not_done() -> None:
    assert not read("openai_chat", events(*(chunk("word") for _ in range(9)))).done


def test_words_about_usage_in_the_text_are_no_usage() -> None:
    said = chunk('{"usage": {"prompt_tokens": 9}} "error" [DONE]')
    reading = read("openai_chat", events(chunk("a"), chunk("b"), said, chunk("c")))
    assert (reading.usage, reading.error, reading.done) == ([], "", False)


def test_an_error_inside_a_stream_is_read() -> None:
    error = {"error": {"message": "The server had an error", "type": "server_error"}}
    reading = read("openai_chat", events(*(chunk("word") for _ in range(5)), error, "[DONE]"))
    assert (reading.error, reading.done) == ("The server had an error", True)


def test_embeddings_and_completions_are_read_alike() -> None:
    embeddings = document(
        {"object": "list", "data": [], "model": "text-embedding-3-small", "usage": {"prompt_tokens": 2}}
    )
    assert counts(understood("openai", "openai_embeddings", embeddings)) == {"input_tokens": 2}
    completed = document(
        {"id": "cmpl-1", "model": "davinci-002", "usage": {"prompt_tokens": 8, "completion_tokens": 9}}
    )
    assert counts(understood("openai", "openai_completions", completed)) == {"input_tokens": 8, "output_tokens": 9}


NAMES = ["prompt_tokens", "completion_tokens", "total_tokens", "service_tier", "cost", "cached_tokens"]
INNER = ["cached_tokens", "cache_write_tokens", "audio_tokens", "reasoning_tokens", "text_tokens", "new_tokens"]
numbers = st.integers(0, 60)
odd = st.sampled_from([None, True, -1, 2**53, 2**53 + 1, 10**19, 2.0, 1.5, "7", "x", [], {}, [1], {"a": 1}])
details = st.dictionaries(st.sampled_from(INNER), numbers | odd, max_size=3)
usages = st.dictionaries(st.sampled_from(NAMES), numbers | odd, max_size=4).flatmap(
    lambda usage: st.fixed_dictionaries(
        {}, optional={"prompt_tokens_details": details | odd, "completion_tokens_details": details | odd}
    ).map(lambda inner: usage | inner)
)


@given(usages, st.sampled_from(["gpt-4o", "gpt-4o-search-preview"]))
def test_a_plain_usage_is_read_as_any_other(usage: Json, model: str) -> None:
    plain = openai_chat.count_plain(document(usage), model)
    tolerant = openai_chat.understand(json.loads(document(usage)), Reading(model=model))
    assert plain is None or as_usage(plain) == tolerant


def as_usage(plain: Plain) -> Usage:
    return Usage(input_tokens=plain[0], cached_input_tokens=plain[1], output_tokens=plain[2], reasoning_tokens=plain[3])


def test_the_plain_way_is_taken() -> None:
    usage: Json = {"prompt_tokens": 19, "completion_tokens": 30, "total_tokens": 49}
    usage["prompt_tokens_details"] = {"cached_tokens": 8, "audio_tokens": 0}
    usage["completion_tokens_details"] = {"reasoning_tokens": 3, "accepted_prediction_tokens": 0}
    assert openai_chat.count_plain(document(usage), "gpt-4o") == (19, 8, 30, 3)


RESPONSE_NAMES = ["input_tokens", "output_tokens", "total_tokens", "service_tier", "cost"]
response_usages = st.dictionaries(st.sampled_from(RESPONSE_NAMES), numbers | odd, max_size=4).flatmap(
    lambda usage: st.fixed_dictionaries(
        {}, optional={"input_tokens_details": details | odd, "output_tokens_details": details | odd}
    ).map(lambda inner: usage | inner)
)


@given(response_usages)
def test_a_plain_usage_of_a_response_is_read_as_any_other(usage: Json) -> None:
    plain = openai_responses.count_plain(document(usage), "gpt-5")
    tolerant = openai_responses.understand(json.loads(document(usage)), Reading(model="gpt-5"))
    assert plain is None or as_usage(plain) == tolerant


def test_the_plain_way_is_taken_by_responses() -> None:
    usage: Json = {"input_tokens": 19, "output_tokens": 30, "total_tokens": 49}
    usage["input_tokens_details"] = {"cached_tokens": 8, "cache_write_tokens": 0}
    usage["output_tokens_details"] = {"reasoning_tokens": 3}
    assert openai_responses.count_plain(document(usage), "gpt-5") == (19, 8, 30, 3)


@pytest.mark.parametrize(
    "usage",
    [
        {"prompt_tokens": -5, "completion_tokens": 1},
        {"prompt_tokens": 1.5, "completion_tokens": 1},
        {"prompt_tokens": True, "completion_tokens": 1},
        {"prompt_tokens": 2**60, "completion_tokens": 1},
        {"prompt_tokens": 10, "prompt_tokens_details": {"cached_tokens": 11}},
        {"prompt_tokens": 10, "prompt_tokens_details": {"cached_tokens": 6, "cache_write_tokens": 5}},
        {"prompt_tokens": 10, "prompt_tokens_details": {"audio_tokens": 11}},
        {"completion_tokens": 10, "completion_tokens_details": {"reasoning_tokens": 11}},
        {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 14},
    ],
)
def test_contradictions_are_marked_and_never_negative(usage: Json) -> None:
    reading = read("openai_chat", completion(usage))
    told, raw = understand("openai", "openai_chat", reading)
    assert told is not None
    assert told.problem
    assert min(counts(told).values(), default=0) >= 0
    assert raw == document(usage).decode()


@pytest.mark.parametrize(
    "usage",
    [
        {"prompt_tokens": 10, "prompt_tokens_details": {"cached_tokens": 10}},
        {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15},
        {"prompt_tokens": "10", "completion_tokens": 5.0, "prompt_tokens_details": None},
    ],
)
def test_what_only_looks_odd_is_no_problem(usage: Json) -> None:
    told = understood("openai", "openai_chat", completion(usage))
    assert (told.problem, told.input_tokens) == ("", 10)


RESPONSE: Json = {
    "id": "resp_1",
    "object": "response",
    "model": "gpt-5-2025-08-07",
    "status": "completed",
    "error": None,
    "service_tier": "flex",
    "output": [],
    "usage": {
        "input_tokens": 1493,
        "input_tokens_details": {"cached_tokens": 1280},
        "output_tokens": 125,
        "output_tokens_details": {"reasoning_tokens": 64},
        "total_tokens": 1618,
    },
}


def response(**more: object) -> Json:
    return RESPONSE | more


def test_a_response_is_read() -> None:
    usage = understood("openai", "openai_responses", document(RESPONSE))
    assert counts(usage) == {
        "input_tokens": 1493,
        "cached_input_tokens": 1280,
        "output_tokens": 125,
        "reasoning_tokens": 64,
    }
    assert usage.service_tier == "flex"


@pytest.mark.parametrize("ending", ["completed", "incomplete", "failed", "cancelled"])
def test_a_streams_closing_event_has_the_last_word(ending: str) -> None:
    opened = response(service_tier="auto", status="in_progress", usage=None)
    delta = {"type": "response.output_text.delta", "delta": "word", "item_id": "msg_1"}
    body = events(
        {"type": "response.created", "response": opened},
        {"type": "response.in_progress", "response": opened},
        *(delta for _ in range(5)),
        {"type": f"response.{ending}", "response": RESPONSE},
        names=True,
    )
    reading = read("openai_responses", body)
    assert (reading.model, reading.service_tier, reading.done) == ("gpt-5-2025-08-07", "flex", True)
    assert len(reading.usage) == 1
    cut = read("openai_responses", body[: body.index(f"event: response.{ending}".encode())])
    assert (cut.response_id, cut.done, cut.usage) == ("resp_1", False, [])


@pytest.mark.parametrize(
    "error",
    [{"type": "error", "message": "no quota"}, {"type": "error", "error": {"code": "x", "message": "no quota"}}],
)
def test_an_error_event_of_either_shape_is_read(error: Json) -> None:
    failed = response(status="failed", usage=None, error={"code": "x", "message": "no quota"})
    assert (
        read("openai_responses", events({"type": "response.created", "response": RESPONSE}, error)).error == "no quota"
    )
    reading = read("openai_responses", events(error, {"type": "response.failed", "response": failed}))
    assert (reading.error, reading.done, reading.usage) == ("no quota", True, [])


SEARCHED = {"type": "web_search_call", "status": "completed", "action": {"type": "search", "query": "x"}}


def test_tools_are_counted_as_they_are_billed() -> None:
    output = [
        SEARCHED,
        SEARCHED | {"action": {"type": "open_page", "url": "x"}},
        SEARCHED | {"status": "failed"},
        SEARCHED,
        {"type": "file_search_call", "status": "completed"},
        {"type": "code_interpreter_call", "status": "completed", "container_id": "cntr_1"},
        {"type": "code_interpreter_call", "status": "completed", "container_id": "cntr_1"},
        {"type": "code_interpreter_call", "status": "completed", "container_id": "cntr_2"},
        {"type": "mcp_call"},
        {"type": "function_call", "status": "completed"},
    ]
    usage = understood("openai", "openai_responses", document(response(output=output)))
    assert usage.tool_calls == {"web_search": 2, "file_search": 1, "code_interpreter": 2}


def test_what_openai_says_of_billable_searches_wins() -> None:
    said = response(output=[SEARCHED, SEARCHED], tool_usage={"web_search": {"num_requests": 1}})
    assert understood("openai", "openai_responses", document(said)).tool_calls == {"web_search": 1}
    none = response(output=[SEARCHED], tool_usage={"web_search": {"num_requests": 0}})
    assert understood("openai", "openai_responses", document(none)).tool_calls == {}


@pytest.mark.parametrize(
    ("tool", "name"),
    [
        ("web_search", "web_search"),
        ("web_search_2025_08_26", "web_search"),
        ("web_search_preview", "web_search_preview"),
        ("web_search_preview_2025_03_11", "web_search_preview"),
    ],
)
def test_searches_are_named_by_the_tool_that_was_offered(tool: str, name: str) -> None:
    body = response(tools=[{"type": "function", "name": "x"}, {"type": tool}], output=[SEARCHED])
    assert understood("openai", "openai_responses", document(body)).tool_calls == {name: 1}
    idle = response(tools=[{"type": tool}], output=[])
    assert understood("openai", "openai_responses", document(idle)).tool_calls == {}


@pytest.mark.parametrize(
    ("model", "tools"),
    [
        ("gpt-4o-search-preview-2025-03-11", {"web_search_preview": 1}),
        ("gpt-4o-mini-search-preview", {"web_search_preview": 1}),
        ("gpt-5-search-api-2025-10-14", {"web_search": 1}),
        ("gpt-4o", {}),
    ],
)
def test_a_search_model_searches_once_for_each_request(model: str, tools: dict[str, int]) -> None:
    usage = {"prompt_tokens": 9, "completion_tokens": 5, "total_tokens": 14}
    assert understood("openai", "openai_chat", document({"model": model, "usage": usage})).tool_calls == tools


def test_cached_tokens_of_an_image_tool_by_kind() -> None:
    drawn = {
        "input_tokens": 40,
        "output_tokens": 10,
        "total_tokens": 50,
        "input_tokens_details": {"image_tokens": 30, "text_tokens": 10},
        "cached_tokens": 25,
        "cached_tokens_details": {"cached_image_tokens": 20, "cached_text_tokens": 5},
    }
    part = understood("openai", "openai_responses", document(response(tool_usage={"image_gen": drawn}))).parts[1].usage
    assert (part.cached_input_tokens, part.cached_image_tokens, part.facts) == (25, 20, {"cached_by_kind": "true"})
    del drawn["cached_tokens_details"]
    part = understood("openai", "openai_responses", document(response(tool_usage={"image_gen": drawn}))).parts[1].usage
    assert (part.cached_input_tokens, part.cached_image_tokens, part.facts) == (25, 0, {})


def test_an_image_drawn_by_a_tool_is_a_part_at_its_own_model() -> None:
    drawn = {
        "input_tokens": 40,
        "output_tokens": 1000,
        "total_tokens": 1040,
        "input_tokens_details": {"image_tokens": 30},
    }
    body = response(tools=[{"type": "image_generation", "model": "gpt-image-1-mini"}], tool_usage={"image_gen": drawn})
    usage = understood("openai", "openai_responses", document(body))
    assert (usage.input_tokens, usage.output_tokens, usage.image_output_tokens) == (1533, 1125, 1000)
    assert [(part.model, part.usage.input_tokens) for part in usage.parts] == [
        ("gpt-5-2025-08-07", 1493),
        ("gpt-image-1-mini", 40),
    ]
    idle = response(tool_usage={"image_gen": {"input_tokens": 0, "output_tokens": 0, "total_tokens": 0}})
    assert understood("openai", "openai_responses", document(idle)).parts == []


def test_images_are_billed_by_token_or_else_by_the_piece() -> None:
    tokens = {
        "input_tokens": 50,
        "output_tokens": 1056,
        "total_tokens": 1106,
        "input_tokens_details": {"text_tokens": 10, "image_tokens": 40},
    }
    answer: Json = {"created": 1, "data": [{"b64_json": "AAAA"}], "quality": "high", "size": "1024x1024"}
    usage = understood("openai", "openai_images", document(answer | {"usage": tokens}))
    assert counts(usage) == {
        "input_tokens": 50,
        "image_input_tokens": 40,
        "output_tokens": 1056,
        "image_output_tokens": 1056,
    }
    assert usage.quantities == {}
    pieces, raw = understand("openai", "openai_images", read("openai_images", document(answer)))
    assert pieces is not None
    assert (pieces.quantities, pieces.facts, raw) == ({"images": 1}, {"quality": "high", "size": "1024x1024"}, None)


def test_a_streamed_image_tells_its_usage_at_the_end_however_large() -> None:
    usage = {"input_tokens": 5, "output_tokens": 9, "total_tokens": 14}
    partial = {"type": "image_generation.partial_image", "b64_json": "A" * 3_000_000}
    body = events(
        partial, partial | {"type": "image_generation.completed", "b64_json": "A" * 9_000_000, "usage": usage}
    )
    reading = read("openai_images", body, cuts=range(0, len(body), 65_536))
    assert ([bytes(one) for one in reading.usage], reading.done) == ([document(usage)], True)


def test_an_svg_is_a_part_at_the_model_that_wrote_it() -> None:
    usage = {"input_tokens": 5, "output_tokens": 9, "total_tokens": 14}
    body = document({"data": [{}], "usage": usage, "svg_usage": usage | {"model": "gpt-5.6", "reasoning_tokens": 1}})
    assert [(part.model, part.usage.output_tokens) for part in understood("openai", "openai_images", body).parts] == [
        ("", 9),
        ("gpt-5.6", 9),
    ]


def test_a_transcription_is_billed_by_token_or_by_time() -> None:
    tokens = {
        "type": "tokens",
        "input_tokens": 14,
        "output_tokens": 45,
        "total_tokens": 59,
        "input_token_details": {"text_tokens": 4, "audio_tokens": 10},
    }
    by_token = understood("openai", "openai_audio", document({"text": "x", "usage": tokens}))
    assert counts(by_token) == {"input_tokens": 14, "audio_input_tokens": 10, "output_tokens": 45}
    streamed = events(
        {"type": "transcript.text.delta", "delta": "x"}, {"type": "transcript.text.done", "usage": tokens}
    )
    assert understood("openai", "openai_audio", streamed) == by_token
    by_time = understood(
        "openai", "openai_audio", document({"text": "x", "usage": {"type": "duration", "seconds": 3.4}})
    )
    assert (by_time.quantities, counts(by_time)) == ({"audio_ms": 3400}, {})


@pytest.mark.parametrize("duration", [8.47, "8.47"])
def test_a_verbose_transcription_without_usage_tells_its_length(duration: object) -> None:
    reading = read("openai_audio", document({"task": "transcribe", "duration": duration, "text": "x"}))
    usage, raw = understand("openai", "openai_audio", reading)
    assert usage is not None
    assert (usage.quantities, raw) == ({"audio_ms": 8470}, None)


def test_a_transcription_as_text_has_no_usage() -> None:
    for body in (b"hello there", document({"text": "x"}), b"1\n00:00:00,000 --> 00:00:01,000\nhello\n\n"):
        assert understand("openai", "openai_audio", read("openai_audio", body)) == (None, None)


def test_counting_endpoints_never_have_usage() -> None:
    body = document({"id": "modr-1", "model": "omni-moderation-latest", "results": [], "usage": {"input_tokens": 5}})
    reading = read("count_only", body)
    assert reading.model == "omni-moderation-latest"
    assert understand("openai", "count_only", reading)[0] is None
