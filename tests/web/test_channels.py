"""Webhooks as a person uses them: made, tested, told of an alert, looked at, sent again, turned off, deleted."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest

from metrion.kit.clock import now_ms
from tests.alerts.receiver import OK, Receiver, answer
from tests.conftest import NewMetrion
from tests.fake_provider import FakeProvider
from tests.mail_server import MailServer, text_of
from tests.support import EMAIL, PROVIDERS, Metrion, exchange, provider_key
from tests.web.browser import Browser, Page
from tests.web.conftest import TRUST
from tests.web.people import by_link, signed_up

CHAT = "/api/proxy/openai/v1/chat/completions"
CHAT_BODY = b'{"model":"gpt-4o-mini","messages":[{"role":"user","content":"hi"}]}'
NEW = "/settings/alerts/webhooks/new"
MARKUP = "<script>alert('x')</script>"


@pytest.fixture(scope="module")
def lenient(fake: FakeProvider, mail: MailServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Metrion]:
    """A Metrion whose operator lets webhooks be sent to this machine."""
    settings = {"METRION_ALLOW_PRIVATE_WEBHOOKS": "on", "METRION_SMTP_URL": mail.url, **TRUST}
    server = Metrion(tmp_path_factory.mktemp("metrion") / "data", dict.fromkeys(PROVIDERS, fake.origin), settings)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


@pytest.fixture
def ada(lenient: Metrion, mail: MailServer, email: str) -> Browser:
    return signed_up(lenient, mail, email)


def add(browser: Browser, url: str, name: str = "", kind: str = "signed") -> str:
    """Where the new webhook's page is."""
    browser.get(NEW)
    page = browser.submit(NEW, url=url, name=name, kind=kind)
    assert (page.status, page.path != NEW) == (200, True), page.text
    return page.path


def until(browser: Browser, path: str, true_of: Callable[[Page], bool]) -> Page:
    deadline = time.monotonic() + 10
    while not true_of(page := browser.get(path)):
        assert time.monotonic() < deadline, page.text
        time.sleep(0.05)
    return page


def test_one_that_takes_nothing_is_told_of_by_mail_and_on_pages(
    lenient: Metrion, mail: MailServer, ada: Browser, receiver: Receiver, email: str
) -> None:
    receiver.answers = [answer(503, MARKUP.encode())]
    path = add(ada, receiver.origin, "Our bot")
    ada.submit(f"{path}/test")
    until(ada, path, lambda page: "Trying again" in page.text)
    assert "has taken no alert" not in ada.get("/alerts").text
    with closing(sqlite3.connect(lenient.data_dir / "metrion.db")) as connection, connection:  # nearly a day later
        connection.execute("UPDATE deliveries SET next_ms = 1, until_ms = ? WHERE tries = 1", (now_ms() + 9_000,))
    ada.get(path)
    ada.submit(f"{path}/test")  # which has the courier look at once
    letter = mail.wait_for(email)
    assert letter["Subject"] == "Our bot does not take your alerts"
    assert f"{lenient.origin}{path}" in text_of(letter)
    page = ada.get("/alerts")
    assert "Our bot has taken no alert since" in page.text
    assert "It answers 503" in page.text
    assert MARKUP not in page.html
    assert "Failing" in ada.get("/settings/alerts").text
    receiver.answers = [OK]
    ada.get(path)
    ada.submit(f"{path}/test")
    until(ada, "/alerts", lambda page: "has taken no alert" not in page.text)
    assert "Failing" not in ada.get("/settings/alerts").text


def test_a_webhook_from_its_making_to_its_end(lenient: Metrion, ada: Browser, receiver: Receiver, email: str) -> None:
    assert "No webhook yet" in ada.get("/settings/alerts").text
    path = add(ada, f"{receiver.origin}/hook/very-secret-path", "Our bot")
    assert "Nothing was sent yet" in ada.page.text
    assert "very-secret-path" not in ada.page.html
    assert "whsec_" not in ada.page.html.replace("whsec_•", "")
    secret = ada.secret(f"{path}/secret")
    ada.submit(f"{path}/test")
    (one,) = receiver.wait_for(1)
    at, signature = re.fullmatch(r"t=(\d+),v1=(\w+)", one.headers["metrion-signature"]).groups()  # type: ignore[union-attr]
    assert hmac.new(secret.encode(), f"{at}.".encode() + one.body, hashlib.sha256).hexdigest() == signature
    page = until(ada, path, lambda page: "Delivered" in page.text)
    assert "Test of a webhook" in page.text
    ada.submit(f"{path}/again")
    again = receiver.wait_for(2)[1]
    assert (again.body, again.headers["metrion-delivery"]) == (one.body, one.headers["metrion-delivery"])
    ada.get(path)
    ada.submit(f"{path}/secret/replace")
    assert ada.secret(f"{path}/secret") not in ("", secret)
    ada.get(path)
    page = ada.submit(path, name="Their bot", url="")
    assert "Their bot" in page.text
    assert "The webhook is off" in ada.submit(f"{path}/switch").text
    assert f"{path}/test" not in ada.page.html
    assert "Off" in ada.get("/settings/alerts").text
    ada.get(path)
    ada.submit(f"{path}/switch")
    export = json.loads(ada.get("/settings/profile/data.json").body)
    (kept,) = export["webhooks"]
    assert (kept["name"], kept["origin"], kept["kind"]) == ("Their bot", receiver.origin, "signed")
    assert len(export["deliveries"]) == 1
    assert "very-secret-path" not in json.dumps(export)
    ada.get(path)
    assert "The webhook is deleted" in ada.submit(f"{path}/delete").text
    assert ada.get(path).status == 404


def test_an_alert_is_sent_within_seconds_to_those_it_is_for(
    lenient: Metrion, mail: MailServer, ada: Browser, receiver: Receiver, email: str
) -> None:
    used = add(ada, f"{receiver.origin}/used")
    add(ada, f"{receiver.origin}/slack", kind="slack")
    muted = add(ada, f"{receiver.origin}/muted")
    ada.get("/alerts/new?kind=volume")
    form = ada.page.form("/alerts/new")
    numbers = range(number_of(used), number_of(muted) + 1)
    offered = {name for name in form.fields if name.startswith("channel_")}
    assert offered == {"channel_mail", *(f"channel_{number}" for number in numbers)}
    fields = {name: value for name, value in form.fields.items() if name not in ("channel_mail", channel(muted))}
    page = ada.post("/alerts/new", fields | {"limit": "10", "name": MARKUP})
    assert (page.status, page.path) == (200, "/alerts")
    lenient.call("key", "set", "openai", "--account", email, given=provider_key("openai") + "\n")
    ada.get("/integrate")
    token = ada.secret("/integrate/token")
    for _ in range(9):
        assert exchange(lenient.port, "POST", CHAT, [("Authorization", f"Bearer {token}")], CHAT_BODY).status == 200
    began = time.monotonic()
    told = {one.target: one.json() for one in receiver.wait_for(2)}
    assert time.monotonic() - began < 5
    assert set(told) == {"/used", "/slack"}
    assert (told["/used"]["event"], told["/used"]["value"], told["/used"]["percent"]) == ("alert.warning", 9.0, 90)
    assert told["/slack"]["blocks"][0]["text"]["text"] == f"{MARKUP} is near its limit"
    assert MARKUP not in until(ada, used, lambda page: "Delivered" in page.text).html
    assert [one for one in mail.letters(email) if "limit" in str(one["Subject"])] == []
    rule = ada.get("/alerts").links["Change"]
    fields = ada.get(rule).form(rule).fields
    assert "channel_mail" not in fields
    assert channel(muted) not in fields
    assert fields[channel(used)] == "yes"


def number_of(path: str) -> int:
    return int(path.rpartition("/")[2])


def channel(path: str) -> str:
    return f"channel_{number_of(path)}"


def test_a_log_shows_what_went_wrong_as_text(ada: Browser, receiver: Receiver) -> None:
    receiver.answers = [answer(500, f"{MARKUP} broken".encode()), OK]
    path = add(ada, receiver.origin)
    ada.submit(f"{path}/test")
    page = until(ada, path, lambda page: "Trying again" in page.text)
    assert f"{MARKUP} broken" in page.text
    assert MARKUP not in page.html
    assert "500" in page.text


@pytest.mark.parametrize(
    ("fields", "field", "problem"),
    [
        ({"url": "ftp://x.example.com"}, "field-url", "begins with https://"),
        ({"url": ""}, "field-url", "begins with https://"),
        ({"url": "https://hooks.example.com", "name": "x" * 61}, "field-name", "at most 60"),
    ],
)
def test_what_is_wrong_stands_beside_its_field(ada: Browser, fields: dict[str, str], field: str, problem: str) -> None:
    ada.get(NEW)
    page = ada.submit(NEW, **fields)
    assert page.status == 422
    assert problem in page.errors[field]
    assert "ftp://" not in page.html  # an address may be a secret: it is typed again


def test_private_addresses_are_refused_unless_the_operator_allows_them(silent: Metrion, email: str) -> None:
    browser = signed_up(silent, None, email)
    browser.get(NEW)
    assert "private network" in browser.submit(NEW, url="http://127.0.0.1:9/").errors["field-url"]
    with Receiver() as receiver:
        path = add(browser, f"http://2130706433:{receiver.port}/")  # 127.0.0.1, as the resolver reads it
        browser.submit(f"{path}/test")
        assert "private network" in until(browser, path, lambda page: "Failed" in page.text).text
        assert receiver.connections == 0


def test_an_account_has_five_at_most(ada: Browser) -> None:
    for number in range(5):
        add(ada, f"https://hooks.example.com/{number}")
    assert NEW not in ada.get("/settings/alerts").html
    ada.get(NEW)
    assert "at most 5" in ada.submit(NEW, url="https://hooks.example.com/6").errors["field-url"]


def test_nobody_elses_webhook(lenient: Metrion, mail: MailServer, ada: Browser, receiver: Receiver, email: str) -> None:
    path = add(ada, receiver.origin)
    ada.submit(f"{path}/test")
    until(ada, path, lambda page: "Delivered" in page.text)
    eve = signed_up(lenient, mail, f"eve-{email}")
    eve.get(NEW)
    csrf = eve.page.form(NEW).fields["csrf"]
    assert eve.get(path).status == 404
    for end in ("", "/switch", "/delete", "/secret", "/secret/replace", "/test", "/again"):
        page = eve.post(path + end, {"csrf": csrf, "name": "eve's", "url": "https://eve.example.com", "delivery": "1"})
        assert page.status == 404, end
    assert "Delivered" in ada.get(path).text
    assert path not in eve.get("/settings/alerts").html
    assert "webhook" not in eve.get("/alerts/new").html.replace("Add webhooks", "")
    assert len(receiver.received) == 1


def test_on_free_nothing_can_be_made_and_all_can_be_deleted(lenient: Metrion, ada: Browser, email: str) -> None:
    path = add(ada, "https://hooks.example.com/x")
    csrf = ada.page.form(f"{path}/delete").fields["csrf"]
    lenient.call("account", "set-plan", email, "free")
    until(ada, "/settings/alerts", lambda page: "Alerts are part of Pro" in page.text)
    assert ada.get(NEW).status == 403
    for end in ("", "/switch", "/secret/replace", "/test", "/again"):
        assert ada.post(path + end, {"csrf": csrf}).status == 403, end
    assert ada.get(path).status == 200
    assert ada.submit(f"{path}/delete").status == 200


def test_tests_are_limited(ada: Browser, receiver: Receiver) -> None:
    path = add(ada, receiver.origin)
    csrf = ada.page.form(f"{path}/test").fields["csrf"]
    for _ in range(30):
        assert ada.post(f"{path}/test", {"csrf": csrf}).status == 200
    page = ada.post(f"{path}/test", {"csrf": csrf})
    assert page.status == 429
    assert "Too many attempts" in page.text
    assert len(receiver.wait_for(30)) == 30


def test_killed_between_an_alert_and_its_delivery_it_is_delivered_by_the_next(new_metrion: NewMetrion) -> None:
    """The lease of what was on the wire must pass first: some fifteen seconds."""
    with Receiver() as receiver:
        receiver.hold.clear()
        metrion = new_metrion({"METRION_ALLOW_PRIVATE_WEBHOOKS": "on", **TRUST})
        browser = by_link(metrion, EMAIL)
        path = add(browser, receiver.origin)
        browser.get("/alerts/new?kind=volume")
        browser.submit("/alerts/new", limit="1")
        headers = [("Authorization", f"Bearer {metrion.token}")]
        assert exchange(metrion.port, "POST", CHAT, headers, CHAT_BODY).status == 200
        receiver.wait_for(1)
        metrion.kill()
        receiver.hold.set()
        metrion.start()
        first, second = receiver.wait_for(2, 40)
        assert first.headers["metrion-delivery"] == second.headers["metrion-delivery"]
        assert first.json()["event"] == "alert.alert"
        page = until(by_link(metrion, EMAIL), path, lambda page: "Delivered" in page.text)
        assert page.text.count("has reached its limit") == 1
        assert len(receiver.received) == 2
