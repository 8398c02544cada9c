"""Results of batches as each provider hands them out: whose items, by which API, and none lost without a word."""

from __future__ import annotations

import json

import pytest

from metrion.wire.batch import item_ids
from metrion.wire.understand import understand
from tests.wire.answers import Json, counts, document, read, understood


def lines(*answers: Json) -> bytes:
    return b"".join(json.dumps(answer).encode() + b"\n" for answer in answers)


def line(name: str, body: Json) -> Json:
    return {"id": f"batch_req_{name}", "custom_id": name, "response": {"status_code": 200, "body": body}}


CHAT: Json = {"id": "cmpl_1", "model": "mistral-small-2603", "usage": {"prompt_tokens": 10, "completion_tokens": 2}}
OCR: Json = {"model": "mistral-ocr-2512", "pages": [], "usage_info": {"pages_processed": 3, "doc_size_bytes": 9}}


def test_a_line_may_be_of_images_of_pages_or_of_a_response_with_tools() -> None:
    searched = [{"type": "web_search_call", "action": {"type": "search"}}]
    response = {"id": "resp_1", "model": "gpt-5", "output": searched, "usage": {"input_tokens": 7, "output_tokens": 3}}
    drawn = {"input_tokens": 5, "output_tokens": 9, "input_tokens_details": {"image_tokens": 5, "text_tokens": 0}}
    usage = understood(
        "openai",
        "openai_batch_results",
        lines(line("1", response), line("2", {"model": "gpt-image-1", "usage": drawn})),
    )
    assert [(part.id, part.usage.tool_calls, part.usage.image_output_tokens) for part in usage.parts] == [
        ("resp_1", {"web_search": 1}, 0),
        ("batch_req_2", {}, 9),
    ]
    assert usage.tool_calls == {"web_search": 1}


def test_mistrals_file_is_read_as_openais_and_understood_as_its_own() -> None:
    cached = CHAT | {"usage": CHAT["usage"] | {"num_cached_tokens": 4}}
    usage = understood("mistral", "openai_batch_results", lines(line("1", cached), line("2", OCR)))
    assert [(part.id, part.model, part.usage.cached_input_tokens, part.usage.quantities) for part in usage.parts] == [
        ("cmpl_1", "mistral-small-2603", 4, {}),
        ("batch_req_2", "mistral-ocr-2512", 0, {"pages": 3}),
    ]
    assert (usage.quantities, usage.service_tier, usage.problem) == ({"pages": 3}, "batch", "")


def test_a_mistral_job_has_its_results_in_it() -> None:
    failed = {"id": "3", "custom_id": "3", "response": None, "error": {"message": "no"}}
    job = {"id": "job_1", "status": "SUCCESS", "model": None, "outputs": [line("1", CHAT), line("2", OCR), failed]}
    usage = understood("mistral", "mistral_batch", document(job))
    assert [part.id for part in usage.parts] == ["cmpl_1", "batch_req_2"]
    assert counts(usage) == {"input_tokens": 10, "output_tokens": 2}
    for none in (
        {"id": "job_1", "status": "RUNNING"},
        {"id": "job_1", "outputs": None},
        {"id": "job_1", "outputs": []},
    ):
        assert understand("mistral", "mistral_batch", read("mistral_batch", document(none))) == (None, None)


def xai(**response: Json) -> Json:
    return {"batch_request_id": "r", "batch_result": {"response": response}, "error_message": None}


GROK: Json = {
    "id": "chat_1",
    "model": "grok-4.6",
    "usage": {
        "prompt_tokens": 10,
        "completion_tokens": 2,
        "total_tokens": 15,
        "completion_tokens_details": {"reasoning_tokens": 3},
        "cost_in_usd_ticks": 500,
    },
}


def test_xais_results_come_in_pages_with_their_cost() -> None:
    other = GROK | {"id": "chat_2"}
    page = {"results": [xai(chat_get_completion=GROK), xai(chat_get_completion=other), {"batch_result": None}]}
    usage = understood("grok", "xai_batch_results", document(page))
    assert [(part.id, part.usage.output_tokens, part.usage.reported_cost_nano) for part in usage.parts] == [
        ("chat_1", 5, 50),
        ("chat_2", 5, 50),
    ]
    assert (usage.reported_cost_nano, usage.service_tier) == (100, "batch")


def test_answers_without_an_id_are_told_apart_by_their_place() -> None:
    """Embeddings have none; two alike are two."""
    embedded = {"object": "list", "model": "v1", "usage": {"prompt_tokens": 5, "total_tokens": 5}}
    body = document({"results": [xai(embeddings=embedded)] * 2})
    ids = item_ids(read("xai_batch_results", body))
    assert (len(set(ids)), all(ids)) == (2, True)
    assert item_ids(read("xai_batch_results", body)) == ids
    assert understood("grok", "xai_batch_results", body).input_tokens == 10


def test_a_cost_that_one_item_lacks_is_not_that_of_all() -> None:
    plain = GROK | {"id": "chat_2", "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}}
    page = {"results": [xai(chat_get_completion=GROK), xai(chat_get_completion=plain)]}
    assert understood("grok", "xai_batch_results", document(page)).reported_cost_nano is None


ANSWER: Json = {
    "candidates": [{"content": {}, "finishReason": "STOP"}],
    "usageMetadata": {"promptTokenCount": 8, "candidatesTokenCount": 7, "totalTokenCount": 15},
    "modelVersion": "gemini-2.5-flash",
    "responseId": "g1",
}
GROUNDED = ANSWER | {
    "modelVersion": "gemini-3.8-flash",
    "responseId": "g2",
    "candidates": [{"groundingMetadata": {"webSearchQueries": ["a", "b"]}}],
}


def operation(*results: Json, done: bool = True, where: str = "metadata", model: str = "models/m") -> bytes:
    output = {"inlinedResponses": {"inlinedResponses": list(results)}}
    whole: Json = {"name": "batches/b1", "metadata": {"model": model, "state": "BATCH_STATE_SUCCEEDED"}, "done": done}
    if where == "metadata":
        whole["metadata"]["output"] = output
    else:
        whole["response"] = output
    return document(whole)


@pytest.mark.parametrize("where", ["metadata", "response"])
def test_geminis_inline_results_stand_in_the_operation(where: str) -> None:
    told = operation({"response": ANSWER}, {"error": {"code": 3}}, {"response": GROUNDED}, where=where)
    usage = understood("gemini", "gemini_batch", told)
    assert [(part.id, part.model, part.usage.total_tokens) for part in usage.parts] == [
        ("g1", "gemini-2.5-flash", 15),
        ("g2", "gemini-3.8-flash", 15),
    ]
    assert (usage.tool_calls, usage.service_tier) == ({"google_search": 2}, "batch")


def test_a_batch_under_way_has_no_results() -> None:
    body = document({"name": "batches/b1", "metadata": {"model": "models/m", "state": "BATCH_STATE_RUNNING"}})
    assert understand("gemini", "gemini_batch", read("gemini_batch", body)) == (None, None)


def test_geminis_embeddings_tell_a_count_and_the_batch_their_model() -> None:
    output = {"inlinedEmbedContentResponses": {"inlinedResponses": [{"response": {"tokenCount": "12"}}] * 2}}
    whole = {"name": "batches/b1", "metadata": {"model": "models/gemini-embedding-001", "output": output}}
    usage = understood("gemini", "gemini_batch", document(whole))
    assert [(part.id, part.model, part.usage.input_tokens) for part in usage.parts] == [
        ("batches/b1:0", "models/gemini-embedding-001", 12),
        ("batches/b1:1", "models/gemini-embedding-001", 12),
    ]


def test_geminis_file_has_a_result_in_each_line() -> None:
    nameless = {key: value for key, value in ANSWER.items() if key != "responseId"}
    body = lines(
        {"key": "1", "response": ANSWER},
        {"key": "2", "error": {"code": 3}},
        {"key": "3", "response": nameless},
        {"key": "4", "response": nameless},
    )
    reading = read("gemini_batch_results", body)
    ids = item_ids(reading)
    assert (ids[0], len(set(ids)), all(ids)) == ("g1", 3, True)
    assert item_ids(read("gemini_batch_results", body)) == ids  # of the same file, the same items
    assert counts(understood("gemini", "gemini_batch_results", body)) == {"input_tokens": 24, "output_tokens": 21}


@pytest.mark.parametrize(
    ("provider", "format", "body"),
    [
        ("openai", "openai_batch_results", lines(line("1", CHAT)) + b'{"id": nonsense, "usage": {"a": 1}}\n'),
        ("gemini", "gemini_batch_results", lines({"response": ANSWER}) + b'{"usageMetadata": {"promptTokenCount"\n'),
    ],
)
def test_a_line_that_cannot_be_read_is_told_and_takes_no_other_with_it(provider: str, format: str, body: bytes) -> None:
    usage = understood(provider, format, body)
    assert len(usage.parts) == 1
    assert usage.problem == "1 items of the batch are not counted"


@pytest.mark.parametrize(
    ("provider", "format", "whole"),
    [
        ("mistral", "mistral_batch", document({"id": "job_1", "outputs": [line("1", CHAT)]})),
        ("grok", "xai_batch_results", document({"results": [xai(chat_get_completion=GROK)]})),
        ("gemini", "gemini_batch", operation({"response": ANSWER})),
    ],
)
def test_a_document_cut_off_is_lost_and_says_so(provider: str, format: str, whole: bytes) -> None:
    assert read(format, whole).facts == {}
    reading = read(format, whole[:-3])
    assert (reading.usage, reading.facts) == ([], {"items_lost": "1"})
    assert understand(provider, format, reading) == (None, None)
