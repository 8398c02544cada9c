from __future__ import annotations

import json

import pytest

from metrion.wire import batch
from metrion.wire.understand import understand
from tests.wire.answers import Json, counts, read, understood


def lines(*answers: Json) -> bytes:
    return b"".join(json.dumps(answer).encode() + b"\n" for answer in answers)


def succeeded(name: str, model: str, **usage: int) -> Json:
    answered = {
        "id": name,
        "type": "message",
        "model": model,
        "content": [],
        "usage": {**usage, "service_tier": "batch"},
    }
    return {"custom_id": name, "result": {"type": "succeeded", "message": answered}}


def completed(name: str, body: Json) -> Json:
    return {"id": f"batch_req_{name}", "custom_id": name, "response": {"status_code": 200, "body": body}, "error": None}


ANTHROPIC = lines(
    succeeded("msg_1", "claude-haiku-4-5", input_tokens=19, output_tokens=4),
    {"custom_id": "2", "result": {"type": "errored", "error": {"type": "error", "error": {"message": "no usage"}}}},
    {"custom_id": "3", "result": {"type": "expired"}},
    succeeded("msg_4", "claude-opus-4-8", input_tokens=20, cache_read_input_tokens=5, output_tokens=5),
)
OPENAI = lines(
    completed("1", {"id": "chatcmpl-1", "model": "gpt-4o", "usage": {"prompt_tokens": 10, "completion_tokens": 2}}),
    completed("2", {"id": "resp_2", "model": "gpt-5", "usage": {"input_tokens": 7, "output_tokens": 3}}),
    completed("3", {"object": "list", "model": "text-embedding-3-small", "usage": {"prompt_tokens": 4}}),
    {"id": "batch_req_4", "custom_id": "4", "response": None, "error": {"message": "failed"}},
)


def test_anthropic_items_are_summed_and_kept_apart_by_model_and_id() -> None:
    usage = understood("anthropic", "anthropic_batch_results", ANTHROPIC)
    assert counts(usage) == {"input_tokens": 44, "cached_input_tokens": 5, "output_tokens": 9}
    assert [(part.id, part.model, part.usage.input_tokens) for part in usage.parts] == [
        ("msg_1", "claude-haiku-4-5", 19),
        ("msg_4", "claude-opus-4-8", 25),
    ]
    assert {usage.service_tier, *(part.usage.service_tier for part in usage.parts)} == {"batch"}


def test_openai_items_are_understood_by_the_api_that_answered_each() -> None:
    usage = understood("openai", "openai_batch_results", OPENAI)
    assert counts(usage) == {"input_tokens": 21, "output_tokens": 5}
    assert [part.id for part in usage.parts] == ["chatcmpl-1", "resp_2", "batch_req_3"]
    assert usage.service_tier == "batch"


def test_the_raw_usage_is_each_item_with_the_providers_object_in_it() -> None:
    _, raw = understand("anthropic", "anthropic_batch_results", read("anthropic_batch_results", ANTHROPIC))
    assert raw is not None
    assert json.loads(raw)[0] == {
        "id": "msg_1",
        "model": "claude-haiku-4-5",
        "usage": {"input_tokens": 19, "output_tokens": 4, "service_tier": "batch"},
    }


def test_a_last_line_without_its_end_is_read_and_a_cut_one_is_told() -> None:
    assert understood("anthropic", "anthropic_batch_results", ANTHROPIC.rstrip()).input_tokens == 44
    cut = understood("anthropic", "anthropic_batch_results", ANTHROPIC[:-4])
    assert (cut.input_tokens, cut.problem) == (19, "1 items of the batch are not counted")


def test_items_beyond_what_is_kept_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch, "MOST_ITEMS", 1)
    usage = understood("anthropic", "anthropic_batch_results", ANTHROPIC)
    assert (usage.input_tokens, usage.problem) == (19, "1 items of the batch are not counted")


def test_other_files_are_no_batch_results() -> None:
    training = lines({"messages": [{"role": "user", "content": "x"}], "usage": {"input_tokens": 5}})
    assert understand("openai", "openai_batch_results", read("openai_batch_results", training)) == (None, None)
    assert read("openai_batch_results", b"\x89PNG" + bytes(range(256)) * 50).usage == []
