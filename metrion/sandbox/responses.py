"""OpenAI's Responses API, which xAI speaks too.

Source: `openai.types.responses` of the `openai` 3.52 package; https://docs.x.ai/docs/api-reference for xAI's usage.
"""

from __future__ import annotations

from typing import Any

from metrion.sandbox.chat import TIERS, grok_cost
from metrion.sandbox.draft import Asked, Draft, Reply, token_hex, write_draft
from metrion.sandbox.models import answered_as, thinks
from metrion.sandbox.sse import named_event


def responses(asked: Asked) -> Reply:
    body = asked.body
    prompt = [body.get("instructions"), body.get("input"), body.get("tools")]
    draft = write_draft(asked, prompt, body.get("max_output_tokens"), reasons=thinks(asked.provider, asked.model))
    opening = _opening(asked)
    items = _items(asked, draft)
    status = "incomplete" if draft.cut else "completed"
    closing = opening | {"status": status, "output": items, "usage": _usage(asked, draft)}
    if draft.cut:
        closing["incomplete_details"] = {"reason": "max_output_tokens"}
    if asked.provider == "openai":
        closing["service_tier"] = TIERS.get(str(body.get("service_tier")), "default")
    if not asked.stream:
        return Reply(body=closing)
    events = [{"type": "response.created", "response": opening}, {"type": "response.in_progress", "response": opening}]
    for index, item in enumerate(items):
        events += _item_events(index, item, draft)
    events.append({"type": f"response.{status}", "response": closing})
    numbered = (event | {"sequence_number": n} for n, event in enumerate(events))
    return Reply(events=tuple(map(named_event, numbered)), media_type="text/event-stream; charset=utf-8")


def input_tokens(asked: Asked) -> Reply:
    """`/v1/responses/input_tokens`: counts, answers nothing, costs nothing."""
    draft = write_draft(asked, [asked.body.get("instructions"), asked.body.get("input")], None, reasons=False)
    return Reply(body={"object": "response.input_tokens", "input_tokens": draft.input_tokens})


def _opening(asked: Asked) -> dict[str, Any]:
    body = asked.body
    return {
        "id": "resp_" + token_hex(asked.rng, 48),
        "object": "response",
        "created_at": asked.created,
        "status": "in_progress",
        "background": False,
        "error": None,
        "incomplete_details": None,
        "instructions": body.get("instructions"),
        "max_output_tokens": body.get("max_output_tokens"),
        "model": answered_as(asked.model),
        "output": [],
        "parallel_tool_calls": True,
        "previous_response_id": body.get("previous_response_id"),
        "reasoning": {"effort": None, "summary": None},
        "service_tier": body.get("service_tier") or "auto",
        "store": bool(body.get("store", True)),
        "temperature": 1.0,
        "text": {"format": {"type": "text"}, "verbosity": "medium"},
        "tool_choice": "auto",
        "tools": body.get("tools") or [],
        "top_p": 1.0,
        "truncation": "disabled",
        "usage": None,
        "user": None,
        "metadata": {},
    }


def _items(asked: Asked, draft: Draft) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = []
    if draft.reasoning_tokens:
        status = {"status": "completed"} if asked.provider == "grok" else {}  # OpenAI leaves it out
        items.append({"id": "rs_" + token_hex(asked.rng, 48), "type": "reasoning", "summary": []} | status)
    if _searches(asked):
        action = {"type": "search", "query": "order terms", "queries": ["order terms"]}
        items.append(
            {"id": "ws_" + token_hex(asked.rng, 48), "type": "web_search_call", "status": "completed", "action": action}
        )
    part = {"type": "output_text", "annotations": [], "logprobs": [], "text": draft.text}
    message = {"id": "msg_" + token_hex(asked.rng, 48), "type": "message", "role": "assistant"}
    items.append(message | {"status": "incomplete" if draft.cut else "completed", "content": [part]})
    return items


def _searches(asked: Asked) -> bool:
    tools = asked.body.get("tools")
    return isinstance(tools, list) and any(isinstance(t, dict) and t.get("type") == "web_search" for t in tools)


def _item_events(index: int, item: dict[str, Any], draft: Draft) -> list[dict[str, Any]]:
    place: dict[str, Any] = {"output_index": index}
    if item["type"] == "reasoning":
        steps: list[dict[str, Any]] = []
        begun = item
    elif item["type"] == "web_search_call":
        begun = item | {"status": "in_progress"}
        stages = ("in_progress", "searching", "completed")
        steps = [{"type": f"response.web_search_call.{stage}", "item_id": item["id"]} | place for stage in stages]
    else:
        begun = item | {"status": "in_progress", "content": []}
        steps = _text_events(place, item, draft)
    added = {"type": "response.output_item.added", "item": begun} | place
    return [added, *steps, {"type": "response.output_item.done", "item": item} | place]


def _text_events(place: dict[str, Any], item: dict[str, Any], draft: Draft) -> list[dict[str, Any]]:
    place = place | {"item_id": item["id"], "content_index": 0}
    part = item["content"][0]
    deltas = [{"type": "response.output_text.delta", "delta": piece, "logprobs": []} | place for piece in draft.pieces]
    return [
        {"type": "response.content_part.added", "part": part | {"text": ""}} | place,
        *deltas,
        {"type": "response.output_text.done", "text": draft.text, "logprobs": []} | place,
        {"type": "response.content_part.done", "part": part} | place,
    ]


def _usage(asked: Asked, draft: Draft) -> dict[str, Any]:
    usage: dict[str, Any] = {
        "input_tokens": draft.input_tokens,
        "input_tokens_details": {"cached_tokens": draft.cached_tokens},
        "output_tokens": draft.output_tokens,
        "output_tokens_details": {"reasoning_tokens": draft.reasoning_tokens},
        "total_tokens": draft.input_tokens + draft.output_tokens,
    }
    if asked.provider == "grok":
        return usage | {"num_sources_used": 0, "num_server_side_tools_used": 0} | grok_cost(asked.model, draft)
    usage["input_tokens_details"]["cache_write_tokens"] = 0
    return usage
