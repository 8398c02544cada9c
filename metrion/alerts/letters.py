"""What is mailed about a rule: what happened, how it compares, and what to do."""

from __future__ import annotations

from urllib.parse import urlencode

from metrion.alerts.words import amount, share, span_words, title, watched
from metrion.mail.letters import Letter, Letters, Link
from metrion.mail.message import Message
from metrion.storage.alerts import Rule

_TO_DO = {
    "budget": "See which models and requesters cost most. A cheaper model, shorter prompts or caching bring it down.",
    "error_rate": "See which errors there are, and of which provider and model: 429 asks for fewer requests at a time,"
    " 401 for another key, 5xx for patience or another provider.",
    "error_count": "See which errors there are, and of which provider and model: 429 asks for fewer requests at a time,"
    " 401 for another key, 5xx for patience or another provider.",
    "latency": "See which models are slow. Shorter answers, a smaller model or streaming help.",
    "volume": "See which requesters send most, and whether one of them repeats itself.",
}
_RANGES = {"hour": "24h", "day": "24h", "week": "7d", "month": "30d", "since": "30d"}


def fired(letters: Letters, url: str, to: str, rule: Rule, level: str, value: int | None) -> Message:
    """A warning, an alert, or the test of a rule. `url`: the origin of the pages."""
    name, now = title(rule.kind, rule.name), amount(rule.kind, value, rule.currency)
    limit, part = amount(rule.kind, rule.threshold, rule.currency), share(value, rule.threshold)
    heading, lead = {
        "warning": (f"{name} is near its limit", f"It is at {now}, which is {part} % of the limit of {limit}."),
        "alert": (f"{name} has reached its limit", f"It is at {now}, which is {part} % of the limit of {limit}."),
        "test": (
            f"Test of {name}",
            f"This is how Metrion tells you when it comes near {limit}. It is at {now} now; nothing happened.",
        ),
    }[level]
    letter = Letter(
        kind=f"alert_{level}",
        subject=heading if level == "test" else f"{heading}: {now} of {limit}",
        heading=heading,
        lead=lead,
        button=Link("See what it is made of", f"{url}/dashboard{_query(rule)}"),
        facts=[("Now", now), ("Limit", limit), ("Time", span_words(rule)), ("Of", watched(rule))],
        rest=[_TO_DO[rule.kind], "Your apps go on working: Metrion stops no request because of a rule."],
        help=Link("Change or pause this rule", f"{url}/alerts/{rule.id}"),
        why=f"your account at {letters.host} has this alert rule",
    )
    return letters.write(to, letter)


def _query(rule: Rule) -> str:
    """What shows a rule's calls on the dashboard, which knows one provider and one requester at a time."""
    pairs = [("range", _RANGES[rule.span])]
    pairs += [("provider", one) for one in rule.providers if len(rule.providers) == 1]
    pairs += [("model", one) for one in rule.models]
    pairs += [("requester", one) for one in rule.requesters if len(rule.requesters) == 1]
    return f"?{urlencode(pairs)}"
