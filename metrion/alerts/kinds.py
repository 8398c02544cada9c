"""Kinds of rules, as data, and the spans of time that they look at.

A rolling span is counted in buckets, of which the one that is under way is the last: an hour is 60 minutes, of which
this one has begun. The others have a beginning, and some an end.
"""

from __future__ import annotations

from typing import NamedTuple

from metrion.kit.clock import DAY_MS, HOUR_MS
from metrion.kit.zones import QUARTER_MS, day_start, hour_start, month_start
from metrion.storage.alerts import Rule

MINUTE_MS = 60_000
SPANS = {
    "hour": "The last hour",
    "day": "The last 24 hours",
    "week": "The last 7 days",
    "month": "This calendar month",
    "since": "From a day on",
}
_ROLLING = {"hour": HOUR_MS, "day": DAY_MS, "week": 7 * DAY_MS}


class Kind(NamedTuple):
    """What a rule watches. `scale`: how many of the stored unit are in the one that people type."""

    label: str
    unit: str  # as people type it; "" for money, whose unit is the rule's currency
    scale: int
    about: str  # in a sentence
    span: str  # by default
    limit: str  # as typed, by default
    least: int  # requests without which it tells nothing, by default; 0: it always does
    most: int  # the greatest limit, as typed
    of_requesters: bool  # whether it may watch some requesters only


KINDS = {
    "budget": Kind(
        "Budget",
        "",
        1_000_000_000,
        "What your calls cost, in your currency.",
        "month",
        "50",
        0,
        1_000_000,
        True,
    ),
    "error_rate": Kind(
        "Error rate",
        "%",
        1000,
        "The share of requests that were answered with 4xx or 5xx. What Metrion itself refused does not count.",
        "day",
        "5",
        20,
        100,
        False,
    ),
    "error_count": Kind(
        "Errors",
        "errors",
        1,
        "How many requests were answered with 4xx or 5xx. What Metrion itself refused does not count.",
        "day",
        "50",
        0,
        1_000_000_000,
        False,
    ),
    "latency": Kind(
        "Latency p95",
        "ms",
        1000,
        "The time within which 95 of 100 requests are done, to their last byte.",
        "day",
        "5000",
        20,
        86_400_000,
        False,
    ),
    "volume": Kind(
        "Request volume",
        "requests",
        1,
        "How many requests were sent to providers.",
        "day",
        "10000",
        0,
        1_000_000_000,
        True,
    ),
}


def bucket_of(rule: Rule, minute_ms: int) -> int | None:
    """Which of a rule's buckets counts what started in that minute; None where it looks at another time.

    What is converted by day has a bucket a day, in the rule's time zone.
    """
    if rule.span == "hour":
        return minute_ms
    if rule.span == "day":
        return minute_ms // QUARTER_MS * QUARTER_MS
    if rule.span == "week":
        return hour_start(rule.zone, minute_ms)
    if minute_ms < rule.from_ms or (rule.to_ms is not None and minute_ms >= rule.to_ms):
        return None
    return max(day_start(rule.zone, minute_ms), rule.from_ms)


def begin(rule: Rule, now_ms: int) -> int:
    """The first bucket that a rule looks at now."""
    length = _ROLLING.get(rule.span)
    if length is not None:
        last = bucket_of(rule, now_ms // MINUTE_MS * MINUTE_MS)
        assert last is not None
        return last - length + 1
    return month_start(rule.zone, now_ms) if rule.span == "month" else rule.from_ms


def ended(rule: Rule, now_ms: int) -> bool:
    """Whether the time that a rule looks at is over; calls that began in its last minute may take one to end."""
    return rule.to_ms is not None and now_ms >= rule.to_ms + MINUTE_MS
