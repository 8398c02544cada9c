"""Rules in words and figures: how letters and pages tell of them."""

from __future__ import annotations

from fractions import Fraction
from typing import NamedTuple
from urllib.parse import urlencode

from metrion.alerts.kinds import KINDS, SPANS
from metrion.storage.alerts import Rule

_SIGNS = {"USD": "$", "EUR": "€", "CHF": "CHF "}


def amount(kind: str, value: int | None, currency: str = "") -> str:
    """A stored value as people read it: $12.30, 4.25 %, 1,284 requests, 850 ms."""
    if value is None:
        return "not known yet"
    told = KINDS[kind]
    exact = Fraction(value, told.scale)
    if kind == "budget":
        return f"{_SIGNS.get(currency, currency + ' ')}{float(exact):,.2f}"
    if kind == "error_rate":
        return f"{float(exact):.4g} %"
    count = round(exact)
    return f"{count:,} {told.unit.removesuffix('s') if count == 1 and told.scale == 1 else told.unit}"


def title(kind: str, name: str) -> str:
    """What a rule is called."""
    return name or KINDS[kind].label


def span_words(rule: Rule) -> str:
    """What time a rule looks at."""
    return "Since its beginning" if rule.span == "since" else SPANS[rule.span]


def watched(rule: Rule) -> str:
    """What a rule looks at."""
    parts = [", ".join(rule.providers) or "all providers"]
    parts += [
        f"{label} {', '.join(chosen)}"
        for label, chosen in (("model", rule.models), ("requester", rule.requesters))
        if chosen
    ]
    return "; ".join(parts)


def share(value: int | None, threshold: int) -> int | None:
    """A value in whole percent of the limit, rounded down: 100 only where it is reached."""
    return None if value is None or threshold <= 0 else 100 * value // threshold


_RANGES = {"hour": "24h", "day": "24h", "week": "7d", "month": "30d", "since": "30d"}


class Told(NamedTuple):
    """What happened, in a heading and in a sentence."""

    heading: str
    lead: str


def told(rule: Rule, level: str, value: int | None) -> Told:
    """A warning, an alert, or the test of a rule."""
    name, now = title(rule.kind, rule.name), amount(rule.kind, value, rule.currency)
    limit, part = amount(rule.kind, rule.threshold, rule.currency), share(value, rule.threshold)
    if level == "test":
        lead = f"This is how Metrion tells you when it comes near {limit}. It is at {now} now; nothing happened."
        return Told(f"Test of {name}", lead)
    heading = f"{name} is near its limit" if level == "warning" else f"{name} has reached its limit"
    return Told(heading, f"It is at {now}, which is {part} % of the limit of {limit}.")


def dashboard_path(rule: Rule) -> str:
    """What shows a rule's calls on the dashboard, which knows one provider and one requester at a time."""
    pairs = [("range", _RANGES[rule.span])]
    pairs += [("provider", one) for one in rule.providers if len(rule.providers) == 1]
    pairs += [("model", one) for one in rule.models]
    pairs += [("requester", one) for one in rule.requesters if len(rule.requesters) == 1]
    return f"/dashboard?{urlencode(pairs)}"
