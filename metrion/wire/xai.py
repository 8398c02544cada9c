"""What xAI does its own way: reasoning outside the completion, its own cost, sources and server tools in the usage.

Sources: https://docs.x.ai/developers/cost-tracking (10^10 ticks are one dollar, all discounts and tool fees included),
https://docs.x.ai/developers/pricing (names of tools), https://docs.x.ai/developers/advanced-api-usage/prompt-caching.
"""

from __future__ import annotations

from typing import Any

from metrion.call import Reading
from metrion.wire import openai_chat, openai_responses
from metrion.wire.counts import Counts, Known
from metrion.wire.usage import Usage

_TICKS_PER_NANO = 10
_OWN: Known = dict.fromkeys(
    (
        "cost_in_usd_ticks",
        "num_sources_used",
        "num_server_side_tools_used",  # the sum of the details
        "server_side_tool_usage_details",
        "context_details",  # how long the context is by now
    )
)
_KNOWN = openai_chat.KNOWN | _OWN
_KNOWN_OF_RESPONSES = openai_responses.KNOWN | _OWN


def understand(usage: dict[str, Any], reading: Reading) -> Usage:
    """The counts of a chat completion. xAI lets `cached_tokens` be above `prompt_tokens` (seen with images)."""
    counts = Counts(usage)
    own = openai_chat.base(counts, reading)
    total = counts.take("total_tokens")
    if total != own.total_tokens or not own.reasoning_tokens <= own.output_tokens:
        own.output_tokens += own.reasoning_tokens
    return _finish(counts, own, _KNOWN)


def understand_response(usage: dict[str, Any], reading: Reading) -> Usage:
    """The counts of a response: reasoning stands inside the output here."""
    counts = Counts(usage)
    return _finish(counts, openai_responses.base(counts, reading), _KNOWN_OF_RESPONSES)


def add_reported_cost(usage: Usage, raw: dict[str, Any]) -> None:
    """Take over what xAI says it bills, rounded to the nano-dollar."""
    if isinstance(ticks := raw.get("cost_in_usd_ticks"), int) and ticks >= 0:
        usage.reported_cost_nano = (ticks + _TICKS_PER_NANO // 2) // _TICKS_PER_NANO


def _finish(counts: Counts, usage: Usage, known: Known) -> Usage:
    details = counts.usage.get("server_side_tool_usage_details")
    if isinstance(details, dict):
        calls = {name.removesuffix("_calls"): counts.count(calls, name) for name, calls in details.items()}
        usage.tool_calls = {name: count for name, count in calls.items() if count}
    if sources := counts.take("num_sources_used"):
        usage.tool_calls["live_search_source"] = sources
    return counts.check(usage, counts.take("total_tokens"), known=known, cached_within=False)
