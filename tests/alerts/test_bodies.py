"""What is sent says what happened, as JSON that programs can read, whatever people called things."""

from __future__ import annotations

import hashlib
import hmac
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metrion.alerts.bodies import alert_news, headers_of, signature, trial_news, write_body
from metrion.kit.secrets import Secret
from tests.alerts.rules import PLAIN
from tests.ledger.samples import NOON

URL = "https://metrion.example.com"
HOSTILE = '</script><!channel> & "quoted" <https://evil.example.com|click> \N{RIGHT-TO-LEFT OVERRIDE}*bold*'


@pytest.mark.parametrize(
    ("columns", "value", "told"),
    [
        ({"kind": "budget", "currency": "EUR", "threshold": 50_000_000_000}, 45_500_000_000, (45.5, 50.0, "EUR", 91)),
        ({"kind": "error_rate", "threshold": 5000}, 4500, (4.5, 5.0, "%", 90)),
        ({"kind": "error_count", "threshold": 50}, 50, (50.0, 50.0, "errors", 100)),
        ({"kind": "latency", "threshold": 5_000_000}, 5_100_000, (5100.0, 5000.0, "ms", 102)),
        ({"kind": "volume", "threshold": 1000}, 900, (900.0, 1000.0, "requests", 90)),
        ({"kind": "latency", "threshold": 5_000_000}, None, (None, 5000.0, "ms", None)),
    ],
)
def test_a_signed_body_has_the_figures_in_the_units_that_people_type(
    columns: dict[str, object], value: int | None, told: tuple[object, ...]
) -> None:
    rule = PLAIN._replace(id=7, models=("gpt-5",), **columns)  # type: ignore[arg-type]
    body = json.loads(write_body("signed", "a-name", alert_news(rule, "alert", value, NOON, URL)))
    assert tuple(body[name] for name in ("value", "limit", "unit", "percent")) == told
    assert (body["id"], body["event"], body["created_at"]) == ("a-name", "alert.alert", "2026-11-01T12:00:00.000Z")
    assert body["url"] == f"{URL}/dashboard?range=24h&model=gpt-5"
    assert body["rule"]["models"] == ["gpt-5"]
    assert "has reached its limit" in body["title"]


@given(st.text(max_size=60) | st.just(HOSTILE))
def test_no_name_gets_out_of_its_place(name: str) -> None:
    rule = PLAIN._replace(name=name, models=(name,))
    for level in ("warning", "alert", "test"):
        news = alert_news(rule, level, 95, NOON, URL)
        signed, slack = (json.loads(write_body(kind, "a-name", news)) for kind in ("signed", "slack"))
        assert signed["rule"]["name"] == name
        assert "<" not in slack["text"]
        assert ">" not in slack["text"]
        assert {block["type"] for block in slack["blocks"]} == {"header", "section", "actions"}
        assert slack["blocks"][0]["text"]["type"] == slack["blocks"][1]["text"]["type"] == "plain_text"
        assert len(slack["blocks"][0]["text"]["text"]) <= 150


def test_a_test_says_that_nothing_happened() -> None:
    body = json.loads(write_body("signed", "a-name", trial_news(NOON, URL)))
    assert (body["event"], body["url"]) == ("webhook.test", f"{URL}/settings/alerts")
    assert "Nothing happened" in body["text"]


def test_a_signature_by_the_book() -> None:
    secret, body = Secret("whsec_0123456789"), b'{"a":1}'
    headers = headers_of("signed", "a-name", body, secret, 1_793_534_400)
    wanted = hmac.new(b"whsec_0123456789", b'1793534400.{"a":1}', hashlib.sha256).hexdigest()
    assert headers["metrion-signature"] == f"t=1793534400,v1={wanted}"
    assert headers["metrion-delivery"] == "a-name"
    assert "metrion-signature" not in headers_of("slack", "a-name", body, Secret(""), 1)
    assert signature(Secret("other"), 1_793_534_400, body) != wanted
