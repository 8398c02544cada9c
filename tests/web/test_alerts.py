"""Alerts as a person uses them: made, crossed, mailed once, tested, paused, deleted; each for its owner alone."""

from __future__ import annotations

import time

from tests.mail_server import MailServer, text_of
from tests.support import Metrion, exchange, provider_key
from tests.web.browser import Browser
from tests.web.people import signed_up

CHAT = "/api/proxy/openai/v1/chat/completions"
CHAT_BODY = b'{"model":"gpt-4o-mini","messages":[{"role":"user","content":"hi"}]}'


def send(metrion: Metrion, browser: Browser, email: str, count: int) -> None:
    metrion.call("key", "set", "openai", "--account", email, given=provider_key("openai") + "\n")
    browser.get("/integrate")
    token = browser.secret("/integrate/token")
    for _ in range(count):
        assert exchange(metrion.port, "POST", CHAT, [("Authorization", f"Bearer {token}")], CHAT_BODY).status == 200


def test_a_rule_from_its_making_to_its_end(mailing: Metrion, mail: MailServer, email: str) -> None:
    browser = signed_up(mailing, mail, email)
    mailing.call("account", "set-plan", email, "pro")
    assert "No rule watches your calls yet" in browser.get("/alerts").text
    browser.get("/alerts/new?kind=volume")
    assert "above 0" in browser.submit("/alerts/new", limit="0").errors["field-limit"]
    page = browser.submit("/alerts/new", limit="10", name="Calls")
    assert (page.status, page.path) == (200, "/alerts")
    action = page.links["Change"]
    send(mailing, browser, email, 9)
    letter = mail.wait_for(email)
    assert letter["Subject"] == "Calls is near its limit: 9 requests of 10 requests"
    send(mailing, browser, email, 1)
    letter = mail.wait_for(email)
    assert letter["Subject"] == "Calls has reached its limit: 10 requests of 10 requests"
    assert f"{mailing.origin}{action}" in text_of(letter)
    page = browser.get("/alerts")
    assert "Reached its limit 10 requests of 10 requests (100 %)" in page.text
    browser.submit(f"{action}/test")
    assert mail.wait_for(email)["Subject"] == "Test of Calls"
    assert "again after 12 hours" in browser.get("/alerts").text
    assert "Paused" in browser.submit(f"{action}/pause").text
    assert browser.get(action).form(action).fields["limit"] == "10"
    browser.submit(action, limit="2.5")
    browser.get("/alerts")
    page = browser.submit(f"{action}/delete")
    assert "No rule watches" in page.text
    assert "History" in page.text
    assert len([one for one in mail.letters(email) if "limit" in str(one["Subject"])]) == 2


def test_nobody_elses_rule_and_nothing_on_free(silent: Metrion, email: str) -> None:
    browser = signed_up(silent, None, email)
    silent.call("account", "set-plan", email, "pro")
    browser.get("/alerts/new")
    action = browser.submit("/alerts/new", limit="5").links["Change"]
    other = signed_up(silent, None, f"other-{email}")
    silent.call("account", "set-plan", f"other-{email}", "pro")
    other.get("/alerts/new")
    csrf = other.page.form("/alerts/new").fields["csrf"]
    assert other.get(action).status == 404
    for end in ("", "/pause", "/test", "/delete"):
        assert (
            other.post(f"{action}{end}", {"csrf": csrf, "limit": "7", "span": "day", "currency": "USD"}).status == 404
        )
    silent.call("account", "set-plan", f"other-{email}", "free")
    deadline = time.monotonic() + 5
    while "Alerts are part of Pro" not in other.get("/alerts").text and time.monotonic() < deadline:
        time.sleep(0.05)
    assert "Error rate" in other.page.text
    assert other.post("/alerts/new", {"csrf": csrf, "kind": "volume"}).status == 403
    assert "Budget" in browser.get("/alerts").text
