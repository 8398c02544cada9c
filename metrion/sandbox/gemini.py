"""Gemini's own API.

Sources: https://ai.google.dev/api/generate-content and `google.genai.types` of the `google-genai` 3.4 package.
"""

from __future__ import annotations

from typing import Any

import orjson

from metrion.sandbox.draft import Asked, Draft, Reply, count_tokens, token_hex, vector, write_draft
from metrion.sandbox.models import LISTED, thinks
from metrion.sandbox.sse import data_event


def generate_content(asked: Asked) -> Reply:
    draft = _draft(asked)
    return Reply(body=_answer(asked, [draft.text], draft, last=True) | {"responseId": token_hex(asked.rng, 22)})


def stream_generate_content(asked: Asked, *, sse: bool) -> Reply:
    """Server-sent events with `?alt=sse`, else one JSON array whose elements arrive as they are made."""
    draft = _draft(asked)
    mark = {"responseId": token_hex(asked.rng, 22)}
    parts = draft.pieces
    documents = [_answer(asked, [p], draft, last=i == len(parts) - 1) | mark for i, p in enumerate(parts)]
    if sse:
        events = tuple(data_event(document, end=b"\r\n\r\n") for document in documents)
        return Reply(events=events, media_type="text/event-stream")
    pieces = [(b"[" if i == 0 else b",\r\n") + orjson.dumps(document) for i, document in enumerate(documents)]
    return Reply(events=(*pieces, b"]\n"), media_type="application/json; charset=UTF-8")


def embed_content(asked: Asked) -> Reply:
    tokens = count_tokens(asked.body.get("content"))
    size = asked.body.get("outputDimensionality")
    return Reply(body={"embedding": {"values": vector(asked.rng, size)}, "usageMetadata": _prompt(tokens)})


def batch_embed_contents(asked: Asked) -> Reply:
    requests = asked.body.get("requests")
    wanted = [r for r in requests if isinstance(r, dict)] if isinstance(requests, list) else []
    vectors = [{"values": vector(asked.rng, r.get("outputDimensionality"))} for r in wanted]
    tokens = sum(count_tokens(r.get("content")) for r in wanted)
    return Reply(body={"embeddings": vectors, "usageMetadata": _prompt(tokens)})


def count(asked: Asked) -> Reply:
    """`:countTokens`."""
    inner = asked.body.get("generateContentRequest")
    prompt = inner.get("contents") if isinstance(inner, dict) else asked.body.get("contents")
    tokens = count_tokens(prompt)
    return Reply(body={"totalTokens": tokens, "promptTokensDetails": _text(tokens)})


def models(asked: Asked) -> Reply:
    methods = ["generateContent", "countTokens"]
    return Reply(
        body={
            "models": [
                {
                    "name": f"models/{name}",
                    "displayName": name,
                    "inputTokenLimit": 1_048_576,
                    "outputTokenLimit": 65_536,
                    "supportedGenerationMethods": ["embedContent"] if "embedding" in name else methods,
                }
                for name in LISTED["gemini"]
            ]
        }
    )


def _draft(asked: Asked) -> Draft:
    body = asked.body
    config = body.get("generationConfig")
    limit = config.get("maxOutputTokens") if isinstance(config, dict) else None
    prompt = [body.get("systemInstruction"), body.get("contents"), body.get("tools")]
    return write_draft(asked, prompt, limit, reasons=thinks("gemini", asked.model))


def _answer(asked: Asked, texts: list[str], draft: Draft, *, last: bool) -> dict[str, Any]:
    candidate: dict[str, Any] = {"content": {"parts": [{"text": t} for t in texts], "role": "model"}, "index": 0}
    if last:
        candidate["finishReason"] = "MAX_TOKENS" if draft.cut else "STOP"
    return {"candidates": [candidate], "usageMetadata": _usage(draft, last=last), "modelVersion": asked.model}


def _usage(draft: Draft, *, last: bool) -> dict[str, Any]:
    """Thoughts stand beside the candidates; a stream's early events know the prompt and the thoughts alone."""
    usage: dict[str, Any] = {"promptTokenCount": draft.input_tokens}
    if last:
        usage["candidatesTokenCount"] = draft.text_tokens
    usage["totalTokenCount"] = draft.input_tokens + draft.reasoning_tokens + (draft.text_tokens if last else 0)
    if draft.cached_tokens:
        usage |= {"cachedContentTokenCount": draft.cached_tokens, "cacheTokensDetails": _text(draft.cached_tokens)}
    usage["promptTokensDetails"] = _text(draft.input_tokens)
    if draft.reasoning_tokens:
        usage["thoughtsTokenCount"] = draft.reasoning_tokens
    return usage


def _prompt(tokens: int) -> dict[str, Any]:
    return {"promptTokenCount": tokens, "promptTokenDetails": _text(tokens)}


def _text(tokens: int) -> list[dict[str, Any]]:
    return [{"modality": "TEXT", "tokenCount": tokens}]
