"""Bodies: what is sent to webhooks, and what it is signed with. docs/how-to/alerts.md tells receivers of it.

A signature is `t=<Unix seconds>,v1=<hex>`, where hex is the HMAC-SHA256, under the webhook's secret, of the seconds, a
dot and the body's bytes: as Stripe's, so that many have the code (https://docs.stripe.com/webhooks#verify-manually).
"""

from __future__ import annotations

import hmac
from fractions import Fraction
from typing import Any, NamedTuple

import orjson

from metrion import __version__
from metrion.alerts.kinds import KINDS
from metrion.alerts.words import dashboard_path, share, told
from metrion.kit.clock import iso
from metrion.kit.secrets import Secret
from metrion.storage.alerts import Rule

_LONGEST_HEADER = 150  # of Slack's (https://docs.slack.dev/reference/block-kit/blocks/header-block)


class News(NamedTuple):
    """What a webhook is told. `details`: further fields of a signed body, which are JSON."""

    event: str
    title: str
    text: str
    url: str  # where to see more
    at_ms: int
    details: dict[str, Any]


def alert_news(rule: Rule, level: str, value: int | None, at_ms: int, url: str) -> News:
    """A warning, an alert, or the test of a rule. `url`: the origin of the pages."""
    said, kind = told(rule, level, value), KINDS[rule.kind]
    details = {
        "rule": {
            "id": rule.id,
            "name": rule.name,
            "kind": rule.kind,
            "span": rule.span,
            "providers": rule.providers,
            "models": rule.models,
            "requesters": rule.requesters,
        },
        "value": None if value is None else float(Fraction(value, kind.scale)),
        "limit": float(Fraction(rule.threshold, kind.scale)),
        "unit": kind.unit or rule.currency,
        "percent": share(value, rule.threshold),
    }
    return News(f"alert.{level}", said.heading, said.lead, url + dashboard_path(rule), at_ms, details)


def trial_news(at_ms: int, url: str) -> News:
    """The test of a webhook."""
    text = "This is how Metrion tells you here of alerts. Nothing happened."
    return News("webhook.test", "Test of a webhook", text, f"{url}/settings/alerts", at_ms, {})


def write_body(kind: str, name: str, news: News) -> str:
    """JSON for a webhook of that kind; `name`: of the delivery."""
    content = _slack(news) if kind == "slack" else _signed(name, news)
    return orjson.dumps(content).decode()


def _signed(name: str, news: News) -> dict[str, Any]:
    head = {"id": name, "event": news.event, "created_at": iso(news.at_ms), "title": news.title, "text": news.text}
    return head | {"url": news.url} | news.details


def _slack(news: News) -> dict[str, Any]:
    """Names are what somebody typed: as plain text in blocks, and escaped where Slack would look for markup."""
    link = {"type": "button", "text": _plain("See what it is made of"), "url": news.url}
    return {
        "text": _escaped(f"{news.title}. {news.text}"),
        "blocks": [
            {"type": "header", "text": _plain(news.title[:_LONGEST_HEADER])},
            {"type": "section", "text": _plain(news.text)},
            {"type": "actions", "elements": [link]},
        ],
    }


def _plain(text: str) -> dict[str, Any]:
    return {"type": "plain_text", "text": text, "emoji": False}


def _escaped(text: str) -> str:
    # https://docs.slack.dev/messaging/formatting-message-text#escaping
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def headers_of(kind: str, name: str, body: bytes, secret: Secret, at_seconds: int) -> dict[str, str]:
    """What a body is sent with, at that Unix second."""
    headers = {
        "content-type": "application/json",
        "user-agent": f"Metrion/{__version__}",
        "connection": "close",
        "metrion-delivery": name,
    }
    if kind == "signed":
        headers["metrion-signature"] = f"t={at_seconds},v1={signature(secret, at_seconds, body)}"
    return headers


def signature(secret: Secret, at_seconds: int, body: bytes) -> str:
    """HMAC-SHA256 in hex."""
    return hmac.digest(secret.reveal(), b"%d.%b" % (at_seconds, body), "sha256").hex()
