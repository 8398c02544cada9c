"""Small hand-written answers, one per endpoint: what a request gets that brings no script.

Each sample carries its own figures, and `FIGURES` repeats them in the terms of Metrion's rows.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from tests.fake_provider.script import Script

JSON = ("Content-Type", "application/json")
SSE = ("Content-Type", "text/event-stream; charset=utf-8")

PLAIN = {"prompt_tokens": 40, "completion_tokens": 12, "total_tokens": 52}
CHAT_USAGE: dict[str, dict[str, Any]] = {  # one count, as each of the four who speak this API writes it
    "openai": PLAIN
    | {
        "prompt_tokens_details": {"cached_tokens": 8, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 4, "audio_tokens": 0},
    },
    "gemini": PLAIN | {"completion_tokens": 8},  # thoughts stand in the total alone
    "mistral": PLAIN | {"num_cached_tokens": 8},
    "grok": PLAIN
    | {
        "completion_tokens": 8,  # reasoning stands beside it
        "prompt_tokens_details": {"text_tokens": 40, "audio_tokens": 0, "image_tokens": 0, "cached_tokens": 8},
        "completion_tokens_details": {"reasoning_tokens": 4, "audio_tokens": 0},
    },
}
RESPONSES_USAGE = {
    "input_tokens": 40,
    "input_tokens_details": {"cached_tokens": 8},
    "output_tokens": 12,
    "output_tokens_details": {"reasoning_tokens": 4},
    "total_tokens": 52,
}
ANTHROPIC_USAGE = {
    "input_tokens": 32,
    "cache_creation_input_tokens": 0,
    "cache_read_input_tokens": 8,
    "output_tokens": 12,
    "service_tier": "standard",
}
GEMINI_USAGE = {
    "promptTokenCount": 40,
    "cachedContentTokenCount": 8,
    "candidatesTokenCount": 8,
    "thoughtsTokenCount": 4,
    "totalTokenCount": 52,
}
FIGURES = {"input_tokens": 40, "cached_input_tokens": 8, "output_tokens": 12, "total_tokens": 52}


def sample(method: str, target: str, headers: Sequence[tuple[str, str]]) -> Script:
    """An answer fit for that path; `x-sample: stream` asks for its streamed form."""
    path = target.partition("?")[0]
    stream = ("x-sample", "stream") in [(n.lower(), v) for n, v in headers]
    if path.endswith("/messages"):
        return anthropic_stream() if stream else anthropic_message()
    if path.endswith("/responses"):
        return responses_stream() if stream else responses_body()
    if path.endswith(("/chat/completions", "/fim/completions")):
        return chat_stream() if stream else chat_body()
    if "GenerateContent" in path or "generateContent" in path:
        return gemini_stream() if stream else gemini_body()
    return Script(headers=[JSON], text=json.dumps({"object": "list", "data": []}))


def chat_body(model: str = "gpt-4o-mini-2024-07-18", provider: str = "openai") -> Script:
    message = {"role": "assistant", "content": "Grüße"}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    usage = CHAT_USAGE[provider]
    return _json(id="chatcmpl-1", object="chat.completion", created=1, model=model, choices=[choice], usage=usage)


def chat_stream(model: str = "gpt-4o-mini-2024-07-18", provider: str = "openai") -> Script:
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": model}
    choice = {"index": 0, "delta": {"content": "Grüße"}, "finish_reason": None}
    last = head | {"choices": [], "usage": CHAT_USAGE[provider]}
    documents: list[Any] = [head | {"choices": [choice], "usage": None}, last]
    return _sse([f"data: {json.dumps(d, ensure_ascii=False)}\n\n" for d in documents] + ["data: [DONE]\n\n"])


def responses_body(model: str = "gpt-5-2025-08-07") -> Script:
    return _json(
        id="resp_1", object="response", created_at=1, status="completed", model=model, output=[], usage=RESPONSES_USAGE
    )


def responses_stream(model: str = "gpt-5-2025-08-07") -> Script:
    response = {"id": "resp_1", "object": "response", "model": model, "output": []}
    documents: list[dict[str, Any]] = [
        {"type": "response.created", "response": response | {"status": "in_progress", "usage": None}},
        {"type": "response.output_text.delta", "delta": "hi"},
        {"type": "response.completed", "response": response | {"status": "completed", "usage": RESPONSES_USAGE}},
    ]
    return _sse([f"event: {d['type']}\ndata: {json.dumps(d)}\n\n" for d in documents])


def anthropic_message(model: str = "claude-sonnet-4-5-20250929") -> Script:
    content = [{"type": "text", "text": "Grüße"}]
    return _json(
        id="msg_1",
        type="message",
        role="assistant",
        model=model,
        content=content,
        stop_reason="end_turn",
        usage=ANTHROPIC_USAGE,
    )


def anthropic_stream(model: str = "claude-sonnet-4-5-20250929") -> Script:
    message = {"id": "msg_1", "type": "message", "role": "assistant", "model": model, "content": []}
    documents: list[dict[str, Any]] = [
        {"type": "message_start", "message": message | {"usage": ANTHROPIC_USAGE | {"output_tokens": 1}}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "ping"},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "hi"}},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 12}},
        {"type": "message_stop"},
    ]
    return _sse([f"event: {d['type']}\ndata: {json.dumps(d)}\n\n" for d in documents])


def gemini_body(model: str = "gemini-2.5-flash") -> Script:
    candidate = {"content": {"parts": [{"text": "Grüße"}], "role": "model"}, "finishReason": "STOP", "index": 0}
    return _json(candidates=[candidate], usageMetadata=GEMINI_USAGE, modelVersion=model, responseId="r1")


def gemini_stream(model: str = "gemini-2.5-flash") -> Script:
    early = {"promptTokenCount": 40, "cachedContentTokenCount": 8, "thoughtsTokenCount": 4, "totalTokenCount": 44}
    part = {"content": {"parts": [{"text": "hi"}], "role": "model"}, "index": 0}
    documents = [
        {"candidates": [part], "usageMetadata": early, "modelVersion": model},
        {"candidates": [part | {"finishReason": "STOP"}], "usageMetadata": GEMINI_USAGE, "modelVersion": model},
    ]
    return _sse([f"data: {json.dumps(d)}\r\n\r\n" for d in documents])


ERRORS: dict[str, Any] = {  # each provider's own way to say 429
    "anthropic": {
        "type": "error",
        "error": {"type": "rate_limit_error", "message": "Slow down."},
        "request_id": "req_1",
    },
    "openai": {"error": {"message": "Slow down.", "type": "requests", "param": None, "code": "rate_limit_exceeded"}},
    "gemini": {"error": {"code": 429, "message": "Slow down.", "status": "RESOURCE_EXHAUSTED"}},
    "mistral": {"object": "error", "message": "Slow down.", "type": "rate_limited", "param": None, "code": "1300"},
    "grok": {"code": "Some resource has been exhausted", "error": "Slow down."},
}


def provider_error(provider: str, status: int = 429) -> Script:
    return Script(status=status, reason="No", headers=[JSON], text=json.dumps(ERRORS[provider]))


def _json(**document: Any) -> Script:
    return Script(headers=[JSON], text=json.dumps(document, ensure_ascii=False))


def _sse(events: list[str]) -> Script:
    return Script(headers=[SSE], text="".join(events), framing="chunked", chunk=70)
