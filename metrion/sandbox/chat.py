"""OpenAI's chat completions, completions and embeddings, and what Mistral, xAI and Gemini do differently in them.

Sources: the response types of the `openai` 3.52 and `mistralai` 3.7 packages; https://docs.x.ai/docs/api-reference;
https://ai.google.dev/gemini-api/docs/openai.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from metrion.sandbox.draft import Asked, Draft, Reply, count_tokens, token_hex, vector, write_draft
from metrion.sandbox.models import GROK_LONG, GROK_TICKS, LISTED, answered_as, thinks
from metrion.sandbox.sse import DONE, data_event

TIERS = {"flex": "flex", "priority": "priority", "fast": "priority"}  # anything else is served as "default"


def chat_completions(asked: Asked) -> Reply:
    limit = asked.body.get("max_completion_tokens", asked.body.get("max_tokens"))
    reasons = thinks(asked.provider, asked.model)
    draft = write_draft(asked, [asked.body.get("messages"), asked.body.get("tools")], limit, reasons=reasons)
    head = _head(asked, "chatcmpl-", "chat.completion.chunk" if asked.stream else "chat.completion")
    if asked.stream:
        return _chat_stream(asked, draft, head)
    message: dict[str, Any] = {"role": "assistant", "content": draft.text}
    if asked.provider == "openai":
        message |= {"refusal": None, "annotations": []}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": _finish(draft)}
    return Reply(body=head | {"choices": [choice], "usage": _usage(asked, draft)})


def _chat_stream(asked: Asked, draft: Draft, head: dict[str, Any]) -> Reply:
    wanted = _usage_wanted(asked)
    blank = {"usage": None} if wanted and asked.provider == "openai" else {}

    def chunk(delta: dict[str, Any], finish: str | None) -> dict[str, Any]:
        return head | {"choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}]} | blank

    chunks = [chunk({"role": "assistant", "content": ""}, None)]
    chunks += [chunk({"content": piece}, None) for piece in draft.pieces]
    last = chunk({"content": ""} if asked.provider == "mistral" else {}, _finish(draft))
    if asked.provider in ("mistral", "gemini"):  # these two put the usage beside the last choice
        last |= {"usage": _usage(asked, draft)} if wanted else {}
        chunks.append(last)
    else:
        chunks.append(last)
        chunks += [head | {"choices": [], "usage": _usage(asked, draft)}] if wanted else []
    return Reply(events=(*map(data_event, chunks), DONE), media_type="text/event-stream; charset=utf-8")


def completions(asked: Asked) -> Reply:
    """The old completions of OpenAI."""
    draft = write_draft(asked, asked.body.get("prompt"), asked.body.get("max_tokens", 16), reasons=False)
    head = _head(asked, "cmpl-", "text_completion")
    if not asked.stream:
        choice = {"text": draft.text, "index": 0, "logprobs": None, "finish_reason": _finish(draft)}
        return Reply(body=head | {"choices": [choice], "usage": _plain_usage(draft)})
    wanted = _usage_wanted(asked)
    blank = {"usage": None} if wanted else {}
    chunks = [
        head | {"choices": [{"text": piece, "index": 0, "logprobs": None, "finish_reason": None}]} | blank
        for piece in draft.pieces
    ]
    chunks[-1]["choices"][0]["finish_reason"] = _finish(draft)
    if wanted:
        chunks.append(head | {"choices": [], "usage": _plain_usage(draft)})
    return Reply(events=(*map(data_event, chunks), DONE), media_type="text/event-stream; charset=utf-8")


def fim_completions(asked: Asked) -> Reply:
    """Mistral's fill-in-the-middle: a prompt and a suffix in, a chat completion out."""
    messages = [asked.body.get("prompt"), asked.body.get("suffix")]
    return chat_completions(replace(asked, body={**asked.body, "messages": messages}))


def embeddings(asked: Asked) -> Reply:
    given = asked.body.get("input")
    inputs = given if isinstance(given, list) and given and not isinstance(given[0], int) else [given]
    data = [
        {"object": "embedding", "index": i, "embedding": vector(asked.rng, asked.body.get("dimensions"))}
        for i in range(len(inputs))
    ]
    tokens = count_tokens(given)
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    body: dict[str, Any] = {"object": "list", "data": data, "model": answered_as(asked.model), "usage": usage}
    if asked.provider == "mistral":
        body |= {"id": token_hex(asked.rng, 32), "usage": usage | {"completion_tokens": 0}}
    return Reply(body=body)


def models(asked: Asked) -> Reply:
    owner = {"openai": "system", "gemini": "google", "mistral": "mistralai", "grok": "xai"}[asked.provider]
    prefix = "models/" if asked.provider == "gemini" else ""
    data = [
        {"id": prefix + name, "object": "model", "created": asked.created, "owned_by": owner}
        for name in LISTED[asked.provider]
    ]
    return Reply(body={"object": "list", "data": data})


def _head(asked: Asked, prefix: str, kind: str) -> dict[str, Any]:
    ids = {"openai": prefix + token_hex(asked.rng, 24), "grok": _uuid(asked), "gemini": token_hex(asked.rng, 22)}
    head = {
        "id": ids.get(asked.provider) or token_hex(asked.rng, 32),
        "object": kind,
        "created": asked.created,
        "model": answered_as(asked.model),
    }
    if asked.provider == "openai" and kind != "text_completion":
        head |= {"service_tier": TIERS.get(str(asked.body.get("service_tier")), "default"), "system_fingerprint": None}
    if asked.provider == "grok":
        head["system_fingerprint"] = "fp_" + token_hex(asked.rng, 10)
    return head


def _uuid(asked: Asked) -> str:
    digits = token_hex(asked.rng, 32)
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def _finish(draft: Draft) -> str:
    return "length" if draft.cut else "stop"


def _usage_wanted(asked: Asked) -> bool:
    if asked.provider in ("mistral", "grok"):  # these send it unasked
        return True
    options = asked.body.get("stream_options")
    return isinstance(options, dict) and bool(options.get("include_usage"))


def _plain_usage(draft: Draft) -> dict[str, Any]:
    total = draft.input_tokens + draft.output_tokens
    return {"prompt_tokens": draft.input_tokens, "completion_tokens": draft.output_tokens, "total_tokens": total}


def _usage(asked: Asked, draft: Draft) -> dict[str, Any]:
    if asked.provider == "mistral":
        return _mistral_usage(draft)
    if asked.provider == "gemini":  # its thoughts stand in the total alone
        return _plain_usage(draft) | {"completion_tokens": draft.text_tokens}
    return _grok_usage(asked, draft) if asked.provider == "grok" else _openai_usage(draft)


def _openai_usage(draft: Draft) -> dict[str, Any]:
    return _plain_usage(draft) | {
        "prompt_tokens_details": {"cached_tokens": draft.cached_tokens, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": draft.reasoning_tokens,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def _mistral_usage(draft: Draft) -> dict[str, Any]:
    usage = _plain_usage(draft)
    return usage | {"num_cached_tokens": draft.cached_tokens} if draft.cached_tokens else usage


def _grok_usage(asked: Asked, draft: Draft) -> dict[str, Any]:
    """xAI counts reasoning beside `completion_tokens`, not in it, and says what it charged where the price is known."""
    usage = _plain_usage(draft) | {
        "completion_tokens": draft.text_tokens,
        "prompt_tokens_details": {
            "text_tokens": draft.input_tokens,
            "audio_tokens": 0,
            "image_tokens": 0,
            "cached_tokens": draft.cached_tokens,
        },
        "completion_tokens_details": {
            "reasoning_tokens": draft.reasoning_tokens,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
        "num_sources_used": 0,
    }
    return usage | grok_cost(asked.model, draft)


def grok_cost(model: str, draft: Draft) -> dict[str, int]:
    """`cost_in_usd_ticks`, or nothing where the sandbox does not know the price."""
    ticks = GROK_TICKS.get(model)
    if ticks is None or draft.input_tokens >= GROK_LONG:
        return {}
    fresh = draft.input_tokens - draft.cached_tokens
    cost = fresh * ticks.fresh + draft.cached_tokens * ticks.cached + draft.output_tokens * ticks.output
    return {"cost_in_usd_ticks": cost}
