"""History: a month of made-up calls, as a small company would have made them, for a demo that has just begun.

The calls depend on the seed and the moment alone. What happens in them, so that a dashboard has something to show: days
follow working hours and weekends, use grows, one provider limits calls for an afternoon and another fails for an hour,
prompts get cached since the middle of the month, and in the last week one bot moves to a dearer model.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from math import exp
from random import Random
from typing import Any, NamedTuple

import msgspec

from metrion.call import Call, Outcome, Reading
from metrion.kit.clock import DAY_MS, HOUR_MS
from metrion.sandbox.failures import ANTHROPIC, GEMINI, GROK, MISTRAL, OPENAI
from metrion.sandbox.models import GROK_TICKS, answered_as

DAYS = 30
_A_DAY = 520  # calls, at the beginning
_BY_HOUR = (
    2,
    1,
    1,
    1,
    1,
    2,
    4,
    9,
    16,
    20,
    21,
    19,
    14,
    18,
    21,
    20,
    17,
    12,
    7,
    5,
    4,
    4,
    3,
    2,
)  # of a working day, in UTC
_WEEKEND = 0.35
_GROWTH = 0.9  # in a month
_REFUSED_SHARE = 0.002
_ERROR_SHARE = 0.006


class Habit(NamedTuple):
    """How a requester uses a model: how often, with how long a prompt and answer, how fast and for how many days."""

    requester: str
    provider: str
    model: str
    weight: float
    prompt: int  # tokens, as the median; those of the answer likewise
    answer: int
    cached: float  # the part of the prompt that a cache holds, once it is used
    first_ms: int  # to the first byte
    per_second: int  # tokens of the answer
    stream: bool = True
    since: int = 0  # day of the month it begins with, and the one it ends before
    until: int = DAYS
    nightly: bool = False


HABITS = (
    Habit("support-agent", "anthropic", "claude-sonnet-5-5", 26, 5200, 420, 0.8, 820, 72),
    Habit("support-agent", "anthropic", "claude-haiku-4-5", 18, 1900, 160, 0.6, 410, 140),
    Habit("invoice-bot", "openai", "gpt-5.4-mini", 24, 3100, 260, 0.5, 640, 110, stream=False, until=DAYS - 5),
    Habit("invoice-bot", "openai", "gpt-5.5", 22, 3100, 340, 0.5, 1250, 64, stream=False, since=DAYS - 5),
    Habit("search-indexer", "openai", "text-embedding-3-small", 30, 900, 0, 0, 95, 0, stream=False, nightly=True),
    Habit("search-indexer", "gemini", "gemini-3.5-flash", 14, 6400, 210, 0, 520, 150, stream=False, nightly=True),
    Habit("nightly-report", "openai", "gpt-5.5", 3, 21000, 1900, 0, 2600, 58, stream=False, nightly=True),
    Habit("nightly-report", "gemini", "gemini-3.1-pro-preview", 2, 34000, 2100, 0, 3900, 66, nightly=True),
    Habit("ana@example.com", "anthropic", "claude-opus-4-8", 4, 9000, 900, 0.7, 1500, 48),
    Habit("ben@example.com", "grok", "grok-code-fast-1", 7, 4200, 650, 0.6, 480, 160),
    Habit("ben@example.com", "openai", "gpt-5.4-mini", 6, 2600, 500, 0.4, 600, 110),
    Habit("translator", "mistral", "mistral-large-4", 8, 1100, 780, 0, 430, 95, since=9),
    Habit("", "openai", "gpt-4o-mini", 6, 700, 190, 0, 380, 120),
)
_REFUSED = (
    (429, "rate_limit", "More than 100 requests a minute with this Metrion key. Try again in a moment."),
    (400, "bad_request", "The body has no `model`."),
)
_FAILURES: dict[str, dict[int, Any]] = {
    "openai": OPENAI,
    "anthropic": ANTHROPIC,
    "gemini": GEMINI,
    "mistral": MISTRAL,
    "grok": GROK,
}
_MISHAPS = {  # by provider: on which days before now, from which hour to which, what share fails, and with what
    "openai": (6, 13, 17, 0.22, 429),
    "anthropic": (2, 9, 10, 0.5, 529),
}


def history(account_id: int, now_ms: int, seed: int) -> Iterator[Call]:
    """About 19,000 ended calls of the 30 days (UTC) that end with `now_ms`, oldest first."""
    rng = Random(seed)  # noqa: S311 (sample data)
    first_ms = (now_ms // DAY_MS - DAYS + 1) * DAY_MS
    number = 0
    for hour_ms in range(first_ms, now_ms, HOUR_MS):
        starts = sorted(rng.randrange(HOUR_MS) for _ in range(_how_many(rng, hour_ms, first_ms)))
        for started_ms in (hour_ms + start for start in starts):
            if started_ms < now_ms - 60_000:
                number += 1
                yield _call(rng, account_id, number, started_ms, now_ms)


def _how_many(rng: Random, hour_ms: int, first_ms: int) -> int:
    at = datetime.fromtimestamp(hour_ms / 1000, UTC)
    day = _A_DAY * (1 + _GROWTH * (hour_ms - first_ms) / (DAYS * DAY_MS)) * (_WEEKEND if at.weekday() > 4 else 1)
    return round(day * _BY_HOUR[at.hour] / sum(_BY_HOUR) * rng.lognormvariate(0, 0.2))


def _call(rng: Random, account_id: int, number: int, started_ms: int, now_ms: int) -> Call:
    day = DAYS - 1 - (now_ms // DAY_MS - started_ms // DAY_MS)
    hour = started_ms // HOUR_MS % 24
    usual = [one for one in HABITS if one.since <= day < one.until]
    weights = [one.weight * (6 if hour < 6 else 0.4) if one.nightly else one.weight for one in usual]
    habit = rng.choices(usual, weights)[0]
    status = _status(rng, habit.provider, started_ms, now_ms)
    call = Call(
        id=started_ms.to_bytes(6, "big") + number.to_bytes(4, "big") + rng.randbytes(6),
        account_id=account_id,
        started_ms=started_ms,
        provider=habit.provider,
        endpoint=_ENDPOINTS[habit.provider] if habit.answer else "embeddings",
        format=_FORMATS[habit.provider] if habit.answer else "openai_embeddings",
        mode="stored",
        requester=habit.requester,
        requested_model=habit.model,
        stream=habit.stream,
        request_bytes=habit.prompt * 4,
        status=status,
    )
    if rng.random() < _REFUSED_SHARE:
        _refuse(rng, call)
    elif status >= 400:
        _fail(rng, call)
    else:
        _answer(rng, call, habit, caching=day > DAYS // 2)
    return call


_ENDPOINTS = {
    "openai": "chat.completions",
    "mistral": "chat.completions",
    "grok": "chat.completions",
    "anthropic": "messages",
    "gemini": "generateContent",
}
_FORMATS = {
    "openai": "openai_chat",
    "mistral": "openai_chat",
    "grok": "openai_chat",
    "anthropic": "anthropic_messages",
    "gemini": "gemini_generate",
}


def _status(rng: Random, provider: str, started_ms: int, now_ms: int) -> int:
    ago, first, last, share, status = _MISHAPS.get(provider, (-1, 0, 0, 0.0, 0))
    days_ago = now_ms // DAY_MS - started_ms // DAY_MS
    if days_ago == ago and first <= started_ms // HOUR_MS % 24 < last and rng.random() < share:
        return status
    return rng.choice((429, 500, 500, 503)) if rng.random() < _ERROR_SHARE else 200


def _refuse(rng: Random, call: Call) -> None:
    call.status, call.error_code, call.error_message = rng.choice(_REFUSED)
    call.outcome = Outcome.REJECTED.value
    call.latency_us = call.ttft_us = rng.randrange(150, 900)


def _fail(rng: Random, call: Call) -> None:
    known = _FAILURES[call.provider]
    call.status = call.status if call.status in known else 500
    call.outcome = Outcome.PROVIDER_ERROR.value
    call.error_message = str(known[call.status][-1])
    call.provider_us = rng.randrange(60_000, 700_000)
    call.ttft_us = call.latency_us = call.provider_us + rng.randrange(300, 900)


def _answer(rng: Random, call: Call, habit: Habit, *, caching: bool) -> None:
    prompt = max(8, round(habit.prompt * rng.lognormvariate(0, 0.45)))
    answer = max(1, round(habit.answer * rng.lognormvariate(0, 0.6))) if habit.answer else 0
    cached = round(prompt * habit.cached / 128) * 128 if caching and rng.random() < 0.8 else 0
    busy = 1 + 0.5 * exp(-(((call.started_ms / HOUR_MS) % 24 - 14) ** 2) / 8)  # afternoons are slower everywhere
    first_us = habit.first_ms * 1000 * busy * rng.lognormvariate(0, 0.3)
    text_us = answer / habit.per_second * 1e6 * rng.lognormvariate(0, 0.15) if answer else 0
    own_us = rng.randrange(250, 900)
    call.provider_us = round(first_us + text_us)
    call.latency_us = call.provider_us + own_us
    call.ttft_us = round(first_us) + own_us if habit.stream else call.latency_us
    call.response_bytes = answer * 5 + 300
    call.outcome = Outcome.CLIENT_GONE.value if habit.stream and rng.random() < 0.004 else Outcome.OK.value
    usage = _usage(call.provider, habit, prompt, cached, answer)
    call.reading = Reading(
        model=answered_as(habit.model),
        usage=[msgspec.Raw(msgspec.json.encode(usage))],
        done=call.outcome == Outcome.OK.value,
    )


def _usage(provider: str, habit: Habit, prompt: int, cached: int, answer: int) -> dict[str, Any]:
    """Usage as that provider tells it."""
    if provider == "anthropic":
        written = prompt // 10 if cached else 0
        return {
            "input_tokens": prompt - cached - min(written, prompt - cached),
            "cache_read_input_tokens": cached,
            "cache_creation_input_tokens": min(written, prompt - cached),
            "output_tokens": answer,
        }
    if provider == "gemini":
        return {"promptTokenCount": prompt, "candidatesTokenCount": answer, "totalTokenCount": prompt + answer}
    usage: dict[str, Any] = {"prompt_tokens": prompt, "total_tokens": prompt + answer}
    if habit.answer:
        usage |= {"completion_tokens": answer, "prompt_tokens_details": {"cached_tokens": cached}}
    if ticks := GROK_TICKS.get(habit.model):
        cost = (prompt - cached) * ticks.fresh + cached * ticks.cached + answer * ticks.output
        usage["cost_in_usd_ticks"] = cost
    return usage
