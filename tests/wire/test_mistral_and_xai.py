from __future__ import annotations

import pytest

from tests.wire.answers import Json, counts, document, events, read, understood


def chat(usage: Json) -> bytes:
    return document({"id": "x", "model": "m", "choices": [], "usage": usage})


@pytest.mark.parametrize(
    "cached",
    [
        {"num_cached_tokens": 32},
        {"prompt_tokens_details": {"cached_tokens": 32}},
        {"prompt_token_details": {"cached_tokens": 32}},
    ],
)
def test_mistrals_cached_tokens_go_by_three_names(cached: Json) -> None:
    usage = understood(
        "mistral", "openai_chat", chat({"prompt_tokens": 56, "completion_tokens": 6, "total_tokens": 62, **cached})
    )
    assert counts(usage) == {"input_tokens": 56, "cached_input_tokens": 32, "output_tokens": 6}


def test_mistral_sends_usage_with_the_last_words() -> None:
    usage = {"prompt_tokens": 96, "total_tokens": 119, "completion_tokens": 23}
    chunks = [{"id": "x", "model": "mistral-small-latest", "choices": [{"delta": {"content": "a"}}]} for _ in range(5)]
    body = events(*chunks, chunks[0] | {"usage": usage}, "[DONE]")
    assert counts(understood("mistral", "openai_chat", body)) == {"input_tokens": 96, "output_tokens": 23}


def test_mistral_counts_sound_by_the_second() -> None:
    usage = {"prompt_audio_seconds": 203, "prompt_tokens": 4, "completion_tokens": 635, "total_tokens": 3264}
    told = understood("mistral", "openai_audio", document({"model": "voxtral-mini", "text": "x", "usage": usage}))
    assert (told.quantities, told.input_tokens, told.output_tokens) == ({"audio_ms": 203_000}, 4, 635)
    none = {"prompt_audio_seconds": None, "prompt_tokens": 10, "total_tokens": 10, "prompt_token_details": None}
    assert understood("mistral", "openai_embeddings", chat(none)).quantities == {}


def test_mistrals_connectors_are_input_and_tools() -> None:
    usage = {
        "prompt_tokens": 10,
        "completion_tokens": 5,
        "total_tokens": 45,
        "connector_tokens": 30,
        "connectors": {"web_search": 2},
    }
    told = understood("mistral", "openai_chat", document({"conversation_id": "conv_1", "usage": usage}))
    assert (told.input_tokens, told.tool_calls, told.problem) == (40, {"web_search": 2}, "")


CONVERSED = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 45, "connector_tokens": 30}


def test_a_conversation_names_its_model_in_what_it_put_out() -> None:
    outputs = [{"type": "tool.execution", "name": "web_search"}, {"type": "message.output", "model": "mistral-medium"}]
    body = document({"object": "conversation.response", "conversation_id": "c", "outputs": outputs, "usage": CONVERSED})
    reading = read("mistral_conversations", body)
    assert reading.model == "mistral-medium"
    assert counts(understood("mistral", "mistral_conversations", body)) == {"input_tokens": 40, "output_tokens": 5}


def test_a_streamed_conversation_tells_its_usage_at_its_end() -> None:
    started = {"type": "conversation.response.started", "conversation_id": "c"}
    tool = {"type": "tool.execution.started", "name": "web_search", "id": "t", "usage": None}
    delta = {"type": "message.output.delta", "id": "m", "content": "x", "model": "mistral-medium", "agent_id": None}
    done = {"type": "conversation.response.done", "usage": CONVERSED | {"connectors": {"web_search": 1}}}
    body = events(started, *[tool] * 20, *[delta] * 9, done, names=True)
    reading = read("mistral_conversations", body)
    assert (reading.model, reading.done, len(reading.usage)) == ("mistral-medium", True, 1)
    told = understood("mistral", "mistral_conversations", body)
    assert (told.input_tokens, told.tool_calls, told.problem) == (40, {"web_search": 1}, "")
    cut = read("mistral_conversations", events(started, delta, names=True))
    assert (cut.done, cut.usage) == (False, [])


def test_an_agents_conversation_does_not_name_its_model() -> None:
    outputs = [{"type": "message.output", "model": None, "agent_id": "ag_1"}]
    assert read("mistral_conversations", document({"outputs": outputs, "usage": CONVERSED})).model == ""


def test_a_conversations_error_is_read() -> None:
    error = {"type": "conversation.response.error", "message": "no quota", "code": 1}
    reading = read("mistral_conversations", events({"type": "conversation.response.started"}, error, names=True))
    assert (reading.error, reading.done) == ("no quota", False)


def test_mistrals_cached_tokens_above_the_prompt_are_a_problem_kept_as_they_came() -> None:
    usage = {"prompt_tokens": 47, "completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": 128}}
    told = understood("mistral", "openai_chat", chat(usage))
    assert (told.input_tokens, told.cached_input_tokens, bool(told.problem)) == (47, 128, True)


def test_ocr_is_counted_by_the_page() -> None:
    answer: Json = {"pages": [], "model": "mistral-ocr", "usage_info": {"pages_processed": 3, "doc_size_bytes": 9}}
    assert understood("mistral", "mistral_ocr", document(answer)).quantities == {"pages": 3}
    annotated = document(answer | {"document_annotation": "{}"})
    assert understood("mistral", "mistral_ocr", annotated).quantities == {"pages": 3, "annotated_pages": 3}
    for note, pages in (("{}", {"pages": 3, "annotated_pages": 3}), (None, {"pages": 3})):
        images = document(answer | {"pages": [{"index": 0, "images": [{"id": "i", "image_annotation": note}]}]})
        assert understood("mistral", "mistral_ocr", images).quantities == pages
    assert read("mistral_ocr", document(answer)).model == "mistral-ocr"


@pytest.mark.parametrize(
    ("completion", "total", "output"),
    [
        (2, 292, 127),  # outside, as the total says
        (200, 490, 325),
        (127, 292, 127),  # inside
        (2, None, 127),  # no total: outside
    ],
)
def test_xai_reasons_outside_the_completion(completion: int, total: int | None, output: int) -> None:
    usage = {
        "prompt_tokens": 165,
        "completion_tokens": completion,
        "total_tokens": total,
        "completion_tokens_details": {"reasoning_tokens": 125},
    }
    told = understood("grok", "openai_chat", chat(usage))
    assert (told.output_tokens, told.reasoning_tokens, told.problem) == (output, 125, "")


def test_xai_may_cache_more_than_the_prompt() -> None:
    usage = {
        "prompt_tokens": 678,
        "completion_tokens": 4,
        "total_tokens": 682,
        "prompt_tokens_details": {"cached_tokens": 1056, "image_tokens": 256},
    }
    told = understood("grok", "openai_chat", chat(usage))
    assert counts(told) == {
        "input_tokens": 678,
        "cached_input_tokens": 1056,
        "output_tokens": 4,
        "image_input_tokens": 256,
    }
    assert told.problem == ""


@pytest.mark.parametrize(
    ("ticks", "nano"), [(37_756_000, 3_775_600), (14, 1), (15, 2), (0, 0), (-5, None), ("5", None)]
)
def test_xai_reports_its_cost_in_ticks(ticks: object, nano: int | None) -> None:
    body = chat({"prompt_tokens": 1, "completion_tokens": 1, "cost_in_usd_ticks": ticks})
    assert understood("grok", "openai_chat", body).reported_cost_nano == nano
    assert understood("openai", "openai_chat", body).reported_cost_nano is None


def test_xais_images_report_a_cost_and_nothing_else() -> None:
    body = document({"data": [{"url": "x"}], "usage": {"cost_in_usd_ticks": 200_000_000}})
    assert understood("grok", "openai_images", body).reported_cost_nano == 20_000_000


def test_xais_server_tools_and_sources_are_counted() -> None:
    usage = {
        "input_tokens": 5165,
        "output_tokens": 891,
        "output_tokens_details": {"reasoning_tokens": 860},
        "total_tokens": 6056,
        "num_sources_used": 3,
        "server_side_tool_usage_details": {"web_search_calls": 1, "x_search_calls": 2, "mcp_calls": 0},
    }
    body = document({"id": "r", "model": "grok-4.6", "output": [{"type": "web_search_call"}], "usage": usage})
    told = understood("grok", "openai_responses", body)
    assert told.tool_calls == {"web_search": 1, "x_search": 2, "live_search_source": 3}
    assert (told.output_tokens, told.reasoning_tokens) == (891, 860)
