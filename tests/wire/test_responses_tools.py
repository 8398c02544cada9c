"""What the tools of OpenAI's responses cost beside the tokens: which calls, containers and images are counted."""

from __future__ import annotations

import pytest

from tests.wire.answers import Json, counts, document, events, read, understood

USAGE: Json = {"input_tokens": 100, "output_tokens": 20, "total_tokens": 120}
RAN = {"type": "code_interpreter_call", "status": "completed", "container_id": "cntr_1"}
SHELL = {"type": "shell_call", "status": "completed", "environment": {"type": "container_reference"}}


def response(*output: Json, tools: list[Json] | None = None, **more: object) -> bytes:
    answer = {"id": "resp_1", "model": "gpt-5.6", "output": list(output), "tools": tools or [], "usage": USAGE}
    return document(answer | more)


def tools_of(*output: Json, tools: list[Json] | None = None) -> dict[str, int]:
    return understood("openai", "openai_responses", response(*output, tools=tools)).tool_calls


@pytest.mark.parametrize(
    ("container", "name"),
    [
        ({"type": "auto"}, "code_interpreter"),
        ({"type": "auto", "memory_limit": None}, "code_interpreter"),
        ({"type": "auto", "memory_limit": "1g"}, "code_interpreter"),
        ({"type": "auto", "memory_limit": "4g"}, "code_interpreter_4g"),
        ({"type": "auto", "memory_limit": "64g"}, "code_interpreter_64g"),
        ("cntr_1", "code_interpreter"),  # opened before: its size is not told
    ],
)
def test_containers_are_named_by_their_size(container: object, name: str) -> None:
    assert tools_of(RAN, RAN, tools=[{"type": "code_interpreter", "container": container}]) == {name: 1}


def test_a_shell_is_billed_by_its_container_and_not_where_the_client_runs_it() -> None:
    hosted = SHELL | {"environment": {"type": "container_reference", "container_id": "cntr_2"}}
    large = [{"type": "shell", "environment": {"type": "container_auto", "memory_limit": "16g"}}]
    assert tools_of(hosted, hosted, tools=large) == {"shell_16g": 1}
    assert tools_of(hosted) == {"shell": 1}
    for local in ({"type": "local"}, None):
        assert tools_of(SHELL | {"environment": local}) == {}


def test_a_container_that_two_tools_share_is_billed_once() -> None:
    shared = SHELL | {"environment": {"type": "container_reference", "container_id": "cntr_1"}}
    assert tools_of(RAN, shared) == {"code_interpreter": 1}


@pytest.mark.parametrize(
    "free", ["function_call", "custom_tool_call", "mcp_call", "computer_call", "local_shell_call", "apply_patch_call"]
)
def test_calls_that_cost_their_tokens_alone_are_not_counted(free: str) -> None:
    assert tools_of({"type": free, "status": "completed"}) == {}


def test_a_kind_of_call_that_is_not_known_is_counted_by_its_name() -> None:
    assert tools_of({"type": "holodeck_call"}, {"type": "holodeck_call"}, {"type": "message"}) == {"holodeck": 2}
    assert tools_of({"type": "holodeck_call", "status": "failed"}) == {}


def test_a_drawn_image_is_counted_where_nothing_tells_its_tokens() -> None:
    drawn = {"type": "image_generation_call", "status": "completed"}
    assert tools_of(drawn) == {"image_generation": 1}
    told = response(drawn, tool_usage={"image_gen": {"input_tokens": 1, "output_tokens": 9, "total_tokens": 10}})
    usage = understood("openai", "openai_responses", told)
    assert (usage.tool_calls, [part.model for part in usage.parts]) == ({}, ["gpt-5.6", "gpt-image-2.6-sunburst"])


def test_an_image_written_as_svg_is_a_part_at_the_model_that_wrote_it() -> None:
    written = {
        "model": "gpt-5.6-mini",
        "input_tokens": 7,
        "output_tokens": 30,
        "reasoning_tokens": 9,
        "total_tokens": 37,
    }
    drawn = {"type": "image_generation_call", "status": "completed", "svg_usage": written}
    told = {"image_gen": {"input_tokens": 1, "output_tokens": 9, "total_tokens": 10}}
    usage = understood("openai", "openai_responses", response(drawn, tool_usage=told))
    assert [(part.model, part.usage.output_tokens) for part in usage.parts] == [
        ("gpt-5.6", 20),
        ("gpt-image-2.6-sunburst", 9),
        ("gpt-5.6-mini", 30),
    ]
    assert usage.reasoning_tokens == 9


def test_tools_not_as_documented_take_nothing_from_the_tokens() -> None:
    usage = understood("openai", "openai_responses", response({"type": 5}))
    assert (usage.input_tokens, usage.tool_calls) == (100, {"unreadable": 1})


def test_cache_writes_of_twelve_hours_are_the_long_kind() -> None:
    def writes(all_of_them: int, long: int) -> Json:
        details = {"cache_write_tokens": all_of_them, "cache_write_tokens_details": {"ttl_12h_tokens": long}}
        return USAGE | {"input_tokens_details": details}

    usage = understood("openai", "openai_responses", response(usage=writes(50, 30)))
    assert (usage.cache_write_5m_tokens, usage.cache_write_1h_tokens, usage.problem) == (20, 30, "")
    forever = {"cache_write_tokens": 50, "cache_write_tokens_details": {"ttl_30m_tokens": 20, "ttl_forever_tokens": 30}}
    new = understood("openai", "openai_responses", response(usage=USAGE | {"input_tokens_details": forever}))
    assert (new.cache_write_5m_tokens, "ttl_forever_tokens" in new.problem) == (50, True)
    odd = understood("openai", "openai_responses", response(usage=writes(50, 51)))
    assert (odd.cache_write_5m_tokens, odd.cache_write_1h_tokens, bool(odd.problem)) == (0, 51, True)


RUN: Json = {
    "id": "run_1",
    "object": "thread.run",
    "model": "gpt-4o",
    "status": "completed",
    "usage": {"prompt_tokens": 123, "completion_tokens": 45, "total_tokens": 168},
}


def test_a_run_of_an_assistant_tells_its_usage_once_it_is_over() -> None:
    assert counts(understood("openai", "openai_runs", document(RUN))) == {"input_tokens": 123, "output_tokens": 45}
    assert read("openai_runs", document(RUN | {"status": "queued", "usage": None})).usage == []


def test_a_streamed_run_counts_itself_and_not_its_steps() -> None:
    step = {"id": "step_1", "object": "thread.run.step", "usage": {"prompt_tokens": 123, "completion_tokens": 45}}
    body = events(RUN | {"usage": None}, {"object": "thread.message.delta", "id": "msg_1"}, step, RUN, step, "[DONE]")
    reading = read("openai_runs", body)
    assert (reading.response_id, reading.model, reading.done, len(reading.usage)) == ("run_1", "gpt-4o", True, 1)
    failed = read("openai_runs", document(RUN | {"usage": None, "last_error": {"code": "x", "message": "no quota"}}))
    assert failed.error == "no quota"
