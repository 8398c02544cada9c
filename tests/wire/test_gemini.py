from __future__ import annotations

import pytest

from tests.wire.answers import Json, counts, document, events, read, understood


def answer(usage: Json, model: str = "gemini-2.5-flash", **candidate: object) -> Json:
    one = {"content": {"parts": [{"text": "hi {"}], "role": "model"}, "index": 0, **candidate}
    return {"candidates": [one], "usageMetadata": usage, "modelVersion": model, "responseId": "abc"}


def test_thoughts_are_output_and_what_tools_read_is_input() -> None:
    usage = {
        "promptTokenCount": 147,
        "candidatesTokenCount": 108,
        "totalTokenCount": 783,
        "toolUsePromptTokenCount": 360,
        "thoughtsTokenCount": 168,
        "cachedContentTokenCount": 100,
        "serviceTier": "STANDARD",
    }
    told = understood("gemini", "gemini_generate", document(answer(usage)))
    assert counts(told) == {
        "input_tokens": 507,
        "cached_input_tokens": 100,
        "output_tokens": 276,
        "reasoning_tokens": 168,
    }
    assert (told.service_tier, told.problem) == ("standard", "")


@pytest.mark.parametrize(
    ("candidates", "thoughts", "total", "output", "reasoning"),
    [
        (12, 42, 64, 54, 42),  # outside: the total is the sum of all
        (54, 42, 64, 54, 42),  # inside: the total is the sum without them
        (12, 42, None, 54, 42),  # no total: outside, as documented
        (12, None, 64, 54, 42),  # in the total alone
        (None, 42, 52, 42, 42),  # nothing but thoughts
        (12, None, 22, 12, 0),
    ],
)
def test_the_total_says_how_thoughts_stand_to_the_output(
    candidates: int | None, thoughts: int | None, total: int | None, output: int, reasoning: int
) -> None:
    usage = {
        "promptTokenCount": 10,
        "candidatesTokenCount": candidates,
        "thoughtsTokenCount": thoughts,
        "totalTokenCount": total,
    }
    told = understood("gemini", "gemini_generate", document(answer(usage)))
    assert (told.output_tokens, told.reasoning_tokens, told.problem) == (output, reasoning, "")


def test_a_total_below_its_parts_is_a_problem() -> None:
    usage = {"promptTokenCount": 10, "candidatesTokenCount": 5, "totalTokenCount": 14}
    told = understood("gemini", "gemini_generate", document(answer(usage)))
    assert (told.input_tokens, told.output_tokens, bool(told.problem)) == (10, 5, True)


def test_modalities_come_as_names_or_numbers() -> None:
    def usage(text: object, image: object, video: object, audio: object, document: object) -> Json:
        return {
            "promptTokenCount": 100,
            "candidatesTokenCount": 50,
            "cachedContentTokenCount": 60,
            "promptTokensDetails": [
                {"modality": text, "tokenCount": 40},
                {"modality": image, "tokenCount": 20},
                {"modality": audio, "tokenCount": 30},
                {"modality": document, "tokenCount": 10},
            ],
            "toolUsePromptTokenCount": 9,
            "toolUsePromptTokensDetails": [{"modality": video, "tokenCount": 9}],
            "cacheTokensDetails": [{"modality": audio, "tokenCount": 5}, {"modality": text}],
            "candidatesTokensDetails": [
                {"modality": audio, "tokenCount": 7},
                {"modality": image, "tokenCount": 8},
                {"modality": video, "tokenCount": 6},
            ],
        }

    named = understood(
        "gemini", "gemini_generate", document(answer(usage("TEXT", "IMAGE", "VIDEO", "AUDIO", "DOCUMENT")))
    )
    assert understood("gemini", "gemini_generate", document(answer(usage(1, 2, 3, 4, 5)))) == named
    assert counts(named) == {
        "input_tokens": 109,
        "cached_input_tokens": 60,
        "output_tokens": 50,
        "audio_input_tokens": 30,
        "cached_audio_tokens": 5,
        "audio_output_tokens": 7,
        "image_input_tokens": 30,
        "image_output_tokens": 8,
        "video_input_tokens": 9,
        "video_output_tokens": 6,
    }


@pytest.mark.parametrize("modality", ["SMELL", 9, "", None])
def test_a_modality_that_is_not_known_is_a_problem(modality: object) -> None:
    usage: Json = {"promptTokenCount": 9, "promptTokensDetails": [{"modality": modality, "tokenCount": 5}]}
    assert "modality" in understood("gemini", "gemini_generate", document(answer(usage))).problem
    usage["promptTokensDetails"][0]["tokenCount"] = 0
    assert understood("gemini", "gemini_generate", document(answer(usage))).problem == ""


@pytest.mark.parametrize(
    ("told", "tier"),
    [
        ({}, ""),
        ({"serviceTier": "FLEX"}, "flex"),
        ({"trafficType": "ON_DEMAND"}, ""),
        ({"trafficType": "ON_DEMAND_PRIORITY"}, "priority"),
        ({"trafficType": "PROVISIONED_THROUGHPUT"}, "provisioned_throughput"),
        ({"serviceTier": "STANDARD", "trafficType": "ON_DEMAND_FLEX"}, "standard"),
        ({"serviceTier": None, "trafficType": None}, ""),
    ],
)
def test_the_tier_is_told_by_either_name(told: Json, tier: str) -> None:
    usage = understood("gemini", "gemini_generate", document(answer({"promptTokenCount": 1} | told)))
    assert (usage.service_tier, usage.problem) == (tier, "")


STREAM = [
    answer({"promptTokenCount": 46, "totalTokenCount": 46}),
    answer({"promptTokenCount": 46, "totalTokenCount": 46}),
    answer({"promptTokenCount": 44, "candidatesTokenCount": 77, "totalTokenCount": 121}, finishReason="STOP"),
]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_the_last_piece_of_a_stream_counts(end: str) -> None:
    reading = read("gemini_generate", events(*STREAM, end=end))
    assert (reading.model, reading.response_id, reading.done) == ("gemini-2.5-flash", "abc", True)
    assert counts(understood("gemini", "gemini_generate", events(*STREAM, end=end))) == {
        "input_tokens": 44,
        "output_tokens": 77,
    }


def test_a_stream_may_be_a_json_array() -> None:
    assert read("gemini_generate", document(STREAM)) == read("gemini_generate", events(*STREAM))


def test_a_blocked_prompt_is_input_alone() -> None:
    body = {
        "promptFeedback": {"blockReason": "SAFETY"},
        "usageMetadata": {"promptTokenCount": 14, "totalTokenCount": 14},
    }
    reading = read("gemini_generate", events(body))
    assert reading.done
    assert counts(understood("gemini", "gemini_generate", document(body))) == {"input_tokens": 14}


@pytest.mark.parametrize(
    ("model", "billed"),
    [("gemini-2.5-pro", 1), ("gemini-3-flash-preview", 2), ("models/gemini-3.1-pro", 2), ("gemini-10", 2), ("", 1)],
)
def test_grounding_is_billed_by_prompt_before_gemini_3_and_by_query_since(model: str, billed: int) -> None:
    grounding = {"webSearchQueries": ["weather", "", "weather tomorrow"], "groundingChunks": [{"web": {"uri": "x"}}]}
    pieces = [answer({"promptTokenCount": 1}, model, groundingMetadata=grounding)] * 2
    told = understood("gemini", "gemini_generate", events(*pieces))
    assert (told.tool_calls, told.facts) == ({"google_search": billed}, {"google_search_queries": "2"})


def test_a_search_for_images_is_a_search() -> None:
    grounding = {"webSearchQueries": ["a"], "imageSearchQueries": ["b", ""]}
    body = document(answer({"promptTokenCount": 1}, "gemini-3.8-flash", groundingMetadata=grounding))
    assert understood("gemini", "gemini_generate", body).tool_calls == {"google_search": 2}


def test_an_answer_offered_no_search_is_not_billed_one() -> None:
    told = understood("gemini", "gemini_generate", document(answer({"promptTokenCount": 1}, groundingMetadata={})))
    assert told.tool_calls == {}


def test_grounding_on_maps_is_counted() -> None:
    grounding = {"groundingChunks": [{"maps": {"placeId": "x"}}]}
    told = understood(
        "gemini", "gemini_generate", document(answer({"promptTokenCount": 1}, groundingMetadata=grounding))
    )
    assert told.tool_calls == {"google_maps": 1}


def test_embeddings_tell_their_prompt_if_anything() -> None:
    body = {"embedding": {"values": [0.1]}, "usageMetadata": {"promptTokenCount": 6, "totalTokenCount": 6}}
    assert counts(understood("gemini", "gemini_embed", document(body))) == {"input_tokens": 6}
    assert read("gemini_embed", document({"embeddings": [{"values": [0.1, 0.2]}]})).usage == []


INTERACTION: Json = {
    "id": "v1_x",
    "status": "completed",
    "model": "gemini-3-flash",
    "service_tier": "standard",
    "usage": {
        "total_tokens": 346,
        "total_input_tokens": 266,
        "input_tokens_by_modality": [{"modality": "text", "tokens": 8}, {"modality": "image", "tokens": 258}],
        "total_cached_tokens": 4,
        "total_output_tokens": 3,
        "total_tool_use_tokens": 20,
        "total_thought_tokens": 57,
        "grounding_tool_count": [{"type": "google_search", "count": 2}],
    },
}


def test_an_interaction_names_its_counts_otherwise() -> None:
    told = understood("gemini", "gemini_interactions", document(INTERACTION))
    assert counts(told) == {
        "input_tokens": 286,
        "cached_input_tokens": 4,
        "output_tokens": 60,
        "reasoning_tokens": 57,
        "image_input_tokens": 258,
    }
    assert (told.tool_calls, told.service_tier, told.problem) == ({"google_search": 2}, "standard", "")


def test_an_interaction_streams_its_usage_at_its_end() -> None:
    opened = {
        "interaction": {"id": "v1_x", "status": "in_progress", "model": "gemini-3-flash"},
        "event_type": "interaction.created",
    }
    delta = {"index": 0, "id": "step", "delta": {"text": "x", "type": "text"}, "event_type": "step.delta"}
    closed = {"interaction": INTERACTION, "event_type": "interaction.completed"}
    reading = read("gemini_interactions", events(opened, delta, delta, closed, "[DONE]"))
    assert (reading.model, reading.response_id, reading.done, len(reading.usage)) == ("gemini-3-flash", "v1_x", True, 1)
    failed = read("gemini_interactions", events(opened, {"event_type": "error", "error": {"message": "broke"}}))
    assert failed.error == "broke"


@pytest.mark.parametrize(("status", "done"), [("completed", True), ("incomplete", True), ("in_progress", False)])
def test_a_change_of_status_may_bring_the_usage(status: str, done: bool) -> None:
    update = {"event_type": "interaction.status_update", "interaction_id": "v1_x", "status": status}
    opened = {"interaction": {"id": "v1_x", "model": "gemini-3-flash"}, "event_type": "interaction.created"}
    reading = read("gemini_interactions", events(opened, update | {"usage": INTERACTION["usage"]}))
    assert (reading.response_id, reading.model, reading.done, len(reading.usage)) == (
        "v1_x",
        "gemini-3-flash",
        done,
        1,
    )


def test_an_agent_stands_in_for_its_model() -> None:
    body = document(INTERACTION | {"model": None, "agent": "deep-research-pro"})
    assert read("gemini_interactions", body).model == "deep-research-pro"


def test_an_interaction_under_way_has_no_usage() -> None:
    body = document({"id": "v1_x", "status": "in_progress", "object": "interaction", "agent": "deep-research"})
    assert read("gemini_interactions", body).usage == []


@pytest.mark.parametrize(
    ("usage", "output", "reasoning"),
    [
        ({"prompt_tokens": 8, "completion_tokens": 7, "total_tokens": 38}, 30, 23),
        ({"prompt_tokens": 8, "completion_tokens": 7, "total_tokens": 15}, 7, 0),
        ({"prompt_tokens": 8, "total_tokens": 8}, 0, 0),
    ],
)
def test_the_openai_compatible_form_has_its_thoughts_in_the_total(usage: Json, output: int, reasoning: int) -> None:
    body = document({"id": "x", "model": "gemini-2.5-flash", "usage": usage})
    told = understood("gemini", "openai_chat", body)
    assert (told.input_tokens, told.output_tokens, told.reasoning_tokens) == (8, output, reasoning)
