"""One answer of each format and framing, to be cut, compressed and broken off."""

from __future__ import annotations

from typing import NamedTuple

from tests.wire.answers import Json, document, events

_TOKENS = {"prompt_tokens": 14, "completion_tokens": 5, "total_tokens": 19}
_CHUNK: Json = {"id": "c1", "model": "gpt-4o", "choices": [{"delta": {"content": 'é "usage": { \\ '}}], "usage": None}
_RESPONSE: Json = {"id": "r1", "model": "gpt-5", "output": [], "usage": {"input_tokens": 11, "output_tokens": 5}}
_MESSAGE: Json = {"id": "m1", "model": "claude", "content": [], "usage": {"input_tokens": 3, "output_tokens": 1}}
_GEMINI: Json = {
    "candidates": [{"content": {"parts": [{"text": 'a } { " \\'}]}, "finishReason": "STOP"}],
    "usageMetadata": {"promptTokenCount": 8, "candidatesTokenCount": 7, "totalTokenCount": 15},
    "modelVersion": "gemini-2.5-flash",
    "responseId": "g1",
}
_RESULT: Json = {"custom_id": "1", "result": {"type": "succeeded", "message": _MESSAGE}}
_INTERACTION: Json = {"id": "i1", "model": "gemini-3", "usage": {"total_input_tokens": 2, "total_output_tokens": 3}}


class Sample(NamedTuple):
    provider: str
    format: str
    body: bytes
    total: int  # tokens


def _chat(end: str) -> bytes:
    return events(*[_CHUNK] * 5, _CHUNK | {"choices": [], "usage": _TOKENS}, "[DONE]", end=end)


SAMPLES = {
    "chat": Sample("openai", "openai_chat", document(_CHUNK | {"usage": _TOKENS}), 19),
    "chat stream, LF": Sample("openai", "openai_chat", _chat("\n"), 19),
    "chat stream, CRLF": Sample("openai", "openai_chat", _chat("\r\n"), 19),
    "chat stream, CR": Sample("openai", "openai_chat", _chat("\r"), 19),
    "chat stream, comments": Sample(
        "grok", "openai_chat", b": hello\n\n" + _chat("\n").replace(b"\n\n", b"\n\n: .\n\n"), 19
    ),
    "embeddings": Sample("openai", "openai_embeddings", document({"data": [], "usage": _TOKENS, "model": "e"}), 19),
    "response": Sample("openai", "openai_responses", document(_RESPONSE), 16),
    "response stream": Sample(
        "openai",
        "openai_responses",
        events(
            {"type": "response.created", "response": _RESPONSE | {"usage": None}},
            *[{"type": "response.output_text.delta", "delta": "x"}] * 5,
            {"type": "response.completed", "response": _RESPONSE},
            names=True,
        ),
        16,
    ),
    "message": Sample("anthropic", "anthropic_messages", document(_MESSAGE), 4),
    "message stream": Sample(
        "anthropic",
        "anthropic_messages",
        events(
            {"type": "message_start", "message": _MESSAGE},
            *[{"type": "content_block_delta", "delta": {"type": "text_delta", "text": "é\n"}}] * 5,
            {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 9}},
            {"type": "message_stop"},
            names=True,
        ),
        12,
    ),
    "batch results": Sample("anthropic", "anthropic_batch_results", (document(_RESULT) + b"\n") * 3, 12),
    "gemini": Sample("gemini", "gemini_generate", document(_GEMINI), 15),
    "gemini stream": Sample("gemini", "gemini_generate", events(*[_GEMINI] * 3, end="\r\n"), 15),
    "gemini array": Sample("gemini", "gemini_generate", b"[" + b"\n,\r\n".join([document(_GEMINI)] * 3) + b"\n]", 15),
    "interaction stream": Sample(
        "gemini",
        "gemini_interactions",
        events({"event_type": "interaction.completed", "interaction": _INTERACTION}, "[DONE]", names=True),
        5,
    ),
}
