"""Anthropic's Messages API. Source: `anthropic.types` of the `anthropic` 2.11 package."""

from __future__ import annotations

from typing import Any

from metrion.sandbox.draft import Asked, Draft, Reply, count_tokens, write_draft
from metrion.sandbox.models import LISTED, answered_as
from metrion.sandbox.sse import named_event

SIGNATURE = "c2FuZGJveA=="  # real ones are long and opaque; clients hand them back unread
ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"


def messages(asked: Asked) -> Reply:
    body = asked.body
    prompt = [body.get("system"), body.get("messages"), body.get("tools")]
    thinking = isinstance(body.get("thinking"), dict) and body["thinking"].get("type") in ("enabled", "adaptive")
    draft = write_draft(asked, prompt, body.get("max_tokens"), reasons=thinking)
    usage = _usage(asked, draft)
    message: dict[str, Any] = {
        "id": _id(asked, "msg_01"),
        "type": "message",
        "role": "assistant",
        "model": answered_as(asked.model),
        "content": _blocks(draft, searches=_searches(asked), asked=asked),
        "stop_reason": "max_tokens" if draft.cut else "end_turn",
        "stop_sequence": None,
        "usage": usage,
    }
    if not asked.stream:
        return Reply(body=message)
    return Reply(events=_events(message, usage, draft), media_type="text/event-stream; charset=utf-8")


def count(asked: Asked) -> Reply:
    """`/v1/messages/count_tokens`."""
    prompt = [asked.body.get("system"), asked.body.get("messages"), asked.body.get("tools")]
    return Reply(body={"input_tokens": count_tokens(prompt)})


def models(asked: Asked) -> Reply:
    data = [
        {"type": "model", "id": name, "display_name": name, "created_at": "2025-10-01T00:00:00Z", "lifecycle": "active"}
        for name in LISTED["anthropic"]
    ]
    return Reply(body={"data": data, "has_more": False, "first_id": data[0]["id"], "last_id": data[-1]["id"]})


def _id(asked: Asked, prefix: str) -> str:
    return prefix + "".join(asked.rng.choice(ALPHABET) for _ in range(22))


def _searches(asked: Asked) -> bool:
    tools = asked.body.get("tools")
    kinds = [str(t.get("type")) for t in tools if isinstance(t, dict)] if isinstance(tools, list) else []
    return any(kind.startswith("web_search_") for kind in kinds)


def _usage(asked: Asked, draft: Draft) -> dict[str, Any]:
    """Input beside the cache, unlike OpenAI's: the three parts are added up by whoever wants the whole."""
    ttl = _cache_ttl(asked.body)
    marked = count_tokens(asked.body.get("system")) if ttl else 0
    hit = marked > 0 and asked.rng.random() < 0.7  # a sandbox remembers nothing: it was here before, or it was not
    written, read = (0, marked) if hit else (marked, 0)
    usage: dict[str, Any] = {
        "input_tokens": max(1, draft.input_tokens - marked),
        "cache_creation_input_tokens": written,
        "cache_read_input_tokens": read,
        "cache_creation": {
            "ephemeral_5m_input_tokens": written if ttl == "5m" else 0,
            "ephemeral_1h_input_tokens": written if ttl == "1h" else 0,
        },
        "output_tokens": draft.output_tokens,
        "service_tier": "standard",
        "inference_geo": "not_available",
    }
    if draft.reasoning_tokens:
        usage["output_tokens_details"] = {"thinking_tokens": draft.reasoning_tokens}
    if _searches(asked):
        usage["server_tool_use"] = {"web_search_requests": 1, "web_fetch_requests": 0}
    return usage


def _cache_ttl(body: Any) -> str:
    """How long the request wants its system prompt cached: "5m", "1h", or "" where it does not ask."""
    system = body.get("system")
    blocks = system if isinstance(system, list) else []
    controls = [b["cache_control"] for b in blocks if isinstance(b, dict) and isinstance(b.get("cache_control"), dict)]
    return str(controls[-1].get("ttl", "5m")) if controls else ""


def _blocks(draft: Draft, *, searches: bool, asked: Asked) -> list[dict[str, Any]]:
    blocks: list[dict[str, Any]] = []
    if draft.reasoning_tokens:
        blocks.append({"type": "thinking", "thinking": "Let me see what is asked.", "signature": SIGNATURE})
    if searches:
        tool = _id(asked, "srvtoolu_01")
        blocks.append({"type": "server_tool_use", "id": tool, "name": "web_search", "input": {"query": "order terms"}})
        blocks.append({"type": "web_search_tool_result", "tool_use_id": tool, "content": []})
    return [*blocks, {"type": "text", "text": draft.text}]


def _events(message: dict[str, Any], usage: dict[str, Any], draft: Draft) -> tuple[bytes, ...]:
    opened = message | {"content": [], "stop_reason": None, "usage": usage | {"output_tokens": 1}}
    events: list[dict[str, Any]] = [{"type": "message_start", "message": opened}]
    for index, block in enumerate(message["content"]):
        events.append({"type": "content_block_start", "index": index, "content_block": _begun(block)})
        events += [{"type": "ping"}] if index == 0 else []
        deltas = ({"type": "content_block_delta", "index": index, "delta": delta} for delta in _deltas(block, draft))
        events += [*deltas, {"type": "content_block_stop", "index": index}]
    final = {k: v for k, v in usage.items() if k not in ("cache_creation", "service_tier", "inference_geo")}
    delta = {"stop_reason": message["stop_reason"], "stop_sequence": None}
    events += [{"type": "message_delta", "delta": delta, "usage": final}, {"type": "message_stop"}]
    return tuple(map(named_event, events))


def _begun(block: dict[str, Any]) -> dict[str, Any]:
    empty: dict[str, dict[str, Any]] = {
        "text": {"text": ""},
        "thinking": {"thinking": "", "signature": ""},
        "server_tool_use": {"input": {}},
    }
    return {**block, **empty.get(block["type"], {})}


def _deltas(block: dict[str, Any], draft: Draft) -> list[dict[str, Any]]:
    if block["type"] == "text":
        return [{"type": "text_delta", "text": piece} for piece in draft.pieces]
    if block["type"] == "thinking":
        thought = {"type": "thinking_delta", "thinking": block["thinking"]}
        return [thought, {"type": "signature_delta", "signature": block["signature"]}]
    if block["type"] == "server_tool_use":
        return [{"type": "input_json_delta", "partial_json": '{"query": "order terms"}'}]
    return []
