"""What is mailed about a rule: what happened, how it compares, and what to do."""

from __future__ import annotations

from metrion.alerts.webhooks import label
from metrion.alerts.words import amount, dashboard_path, span_words, told, watched
from metrion.mail.letters import Letter, Letters, Link
from metrion.mail.message import Message
from metrion.storage.alerts import Rule
from metrion.storage.webhooks import Webhook

_TO_DO = {
    "budget": "See which models and requesters cost most. A cheaper model, shorter prompts or caching bring it down.",
    "error_rate": "See which errors there are, and of which provider and model: 429 asks for fewer requests at a time,"
    " 401 for another key, 5xx for patience or another provider.",
    "error_count": "See which errors there are, and of which provider and model: 429 asks for fewer requests at a time,"
    " 401 for another key, 5xx for patience or another provider.",
    "latency": "See which models are slow. Shorter answers, a smaller model or streaming help.",
    "volume": "See which requesters send most, and whether one of them repeats itself.",
}


def fired(letters: Letters, url: str, to: str, rule: Rule, level: str, value: int | None) -> Message:
    """A warning, an alert, or the test of a rule. `url`: the origin of the pages."""
    said = told(rule, level, value)
    now, limit = amount(rule.kind, value, rule.currency), amount(rule.kind, rule.threshold, rule.currency)
    letter = Letter(
        kind=f"alert_{level}",
        subject=said.heading if level == "test" else f"{said.heading}: {now} of {limit}",
        heading=said.heading,
        lead=said.lead,
        button=Link("See what it is made of", f"{url}{dashboard_path(rule)}"),
        facts=[("Now", now), ("Limit", limit), ("Time", span_words(rule)), ("Of", watched(rule))],
        rest=[_TO_DO[rule.kind], "Your apps go on working: Metrion stops no request because of a rule."],
        help=Link("Change or pause this rule", f"{url}/alerts/{rule.id}"),
        why=f"your account at {letters.host} has this alert rule",
    )
    return letters.write(to, letter)


def failing(letters: Letters, url: str, to: str, webhook: Webhook, said: str) -> Message:
    """A webhook has taken nothing for long. `said`: what came of the latest try."""
    name = label(webhook)
    letter = Letter(
        kind="webhook_failing",
        subject=f"{name} does not take your alerts",
        heading=f"{name} does not take your alerts",
        lead="Metrion tried again and again to tell this webhook of an alert, and did not get through.",
        button=Link("See what was tried", f"{url}/settings/alerts/webhooks/{webhook.id}"),
        facts=[("Webhook", name), ("Address", f"{webhook.origin}/…"), ("Now", said)],
        rest=[
            "See to what stands at that address, or enter another one, and send it a test. What waits is tried again"
            " for a day; what was given up by then can be sent again from there. If you need it no more, turn it off.",
            "What your rules tell stands under Alerts, whatever becomes of the webhook. This is not mailed again until"
            " the webhook has taken something.",
        ],
        help=Link("See your alerts", f"{url}/alerts"),
        why=f"your account at {letters.host} has this webhook",
    )
    return letters.write(to, letter)
