"""Alerts as people use them, in a browser: each kind of rule made by its form, traffic across its limit, real mail."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from email.message import EmailMessage
from math import ceil
from uuid import uuid4

import pytest
from playwright.sync_api import Browser as Chromium
from playwright.sync_api import Locator, Page, expect

from tests.browser.house import CHAT, CHAT_BODY, TRUST, open_context
from tests.chromium import needs_chromium, watch
from tests.fake_provider import FakeProvider, Script
from tests.fake_provider.samples import chat_body, provider_error
from tests.mail_server import MailServer
from tests.mail_server import text_of as wrapped_text_of
from tests.support import PROVIDERS, Metrion, exchange, provider_key
from tests.web.people import by_link

pytestmark = needs_chromium

SOON = 5000  # ms in which a crossed line must be told
MILLION = 1_000_000  # input tokens of gpt-4o-mini cost $0.15 (openai.com/api/pricing, November 2026)


@pytest.fixture(scope="module")
def mail() -> Iterator[MailServer]:
    with MailServer() as server:
        yield server


@pytest.fixture(scope="module")
def watching(mail: MailServer, fake: FakeProvider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Metrion]:
    data = tmp_path_factory.mktemp("watching") / "data"
    server = Metrion(data, dict.fromkeys(PROVIDERS, fake.origin), TRUST | {"METRION_SMTP_URL": mail.url})
    server.start()
    yield server
    server.stop()


@dataclass
class Watcher:
    """Somebody on Pro with a browser, and the calls of their apps."""

    page: Page
    metrion: Metrion
    mail: MailServer
    email: str
    token: str
    sent: int = 0
    told: list[EmailMessage] = field(default_factory=list)

    def go(self, path: str = "/alerts") -> None:
        self.page.goto(self.metrion.origin + path)

    def press(self, name: str, within: Locator | None = None) -> None:
        (within or self.page.locator("main")).get_by_role("button", name=name, exact=True).first.click()

    def make_rule(self, kind: str, limit: str, **fields: str) -> None:
        """By the form that /alerts leads to; `fields` by the form's names, a provider's as "yes"."""
        self.go()
        self.page.get_by_role("main").get_by_role("link", name=kind, exact=True).click()
        self.page.get_by_label(re.compile("^Limit")).fill(limit)
        for name, value in fields.items():
            box = self.page.locator(f'main [name="{name}"]')
            if value == "yes":
                box.check()
            elif name in ("span", "currency"):
                box.select_option(value)
            else:
                box.fill(value)
        self.press("Make rule")
        expect(self.page.get_by_text("The rule is made.")).to_be_visible()

    def send(self, *scripts: Script, requester: str = "") -> None:
        """These calls, at once; returns when their rows are written."""

        def call(script: Script) -> int:
            headers = [("Authorization", f"Bearer {self.token}"), ("x-fake", script.header())]
            headers += [("x-metrion-user", requester)] if requester else []
            return exchange(self.metrion.port, "POST", CHAT, headers, CHAT_BODY).status

        with ThreadPoolExecutor(len(scripts)) as pool:
            assert list(pool.map(call, scripts)) == [script.status for script in scripts]
        self.sent += len(scripts)
        self.metrion.rows(self.sent, email=self.email)

    def shows(self, text: str) -> None:
        """The list says so by now."""
        self.go()
        expect(self.page.get_by_role("main")).to_contain_text(text)

    def hears(self, subject: str) -> EmailMessage:
        """The next letter, which must be that one."""
        letter = self.next_letter()
        assert letter["Subject"] == subject
        return letter

    def next_letter(self) -> EmailMessage:
        letter = self.mail.wait_for(self.email, SOON / 1000)
        if letter["Message-ID"] in [one["Message-ID"] for one in self.told]:  # sent again after a crash, as the same
            return self.next_letter()
        self.told.append(letter)
        return letter

    def heard_nothing_else(self) -> None:
        all_there_are = {one["Message-ID"]: one["Subject"] for one in self.mail.letters(self.email)}
        assert all_there_are == {one["Message-ID"]: one["Subject"] for one in self.told}


@pytest.fixture
def ada(chromium: Chromium, watching: Metrion, mail: MailServer) -> Iterator[Watcher]:
    """Whatever the browser complains of fails the test."""
    email = f"ada-{uuid4().hex[:8]}@example.com"
    token = json.loads(watching.call("account", "create", email, "--plan", "pro", "--json"))["token"]
    for provider in ("openai", "mistral"):
        watching.call("key", "set", provider, "--account", email, given=provider_key(provider) + "\n")
    with open_context(chromium, watching, by_link(watching, email).cookies) as context:
        page = context.new_page()
        complaints = watch(page)
        yield Watcher(page, watching, mail, email, token)
        assert complaints == []


OK = chat_body()
FAILED = provider_error("openai", 500)
LIMITED = provider_error("openai", 429)


def text_of(letter: EmailMessage) -> str:
    return " ".join(wrapped_text_of(letter).split())


def spends(tokens: int) -> Script:
    """An answer that took so many input tokens."""
    body = json.loads(OK.text)
    body["usage"] = {"prompt_tokens": tokens, "completion_tokens": 0, "total_tokens": tokens}
    return Script(headers=OK.headers, text=json.dumps(body))


# ── each kind across its two lines ────────────────────────────────────────────────────────────────────────────────────


def test_a_budget(ada: Watcher) -> None:
    ada.make_rule("Budget", "1.50", currency="USD", name="Spring")
    ada.send(*[spends(MILLION)] * 8, spends(MILLION * 9 // 10))  # $1.335: 89 %
    ada.shows("$1.33 of $1.50 (89 %)")
    ada.send(spends(MILLION // 10))
    warning = ada.hears("Spring is near its limit: $1.35 of $1.50")
    assert "It is at $1.35, which is 90 % of the limit of $1.50." in text_of(warning)
    ada.send(spends(MILLION * 9 // 10))  # $1.485
    ada.shows("(99 %)")
    ada.send(spends(MILLION // 10))
    alert = ada.hears("Spring has reached its limit: $1.50 of $1.50")
    assert "This calendar month" in text_of(alert)
    ada.send(spends(MILLION))
    ada.shows("$1.65 of $1.50 (110 %)")
    history = ada.page.get_by_role("table").get_by_role("row")
    expect(history).to_have_count(3)
    expect(history.nth(1)).to_contain_text(re.compile(r"Spring.*Alert\s*\$1.50\s*\$1.50", re.DOTALL))
    expect(history.nth(2)).to_contain_text(re.compile(r"Spring.*Warning\s*\$1.35\s*\$1.50", re.DOTALL))
    ada.heard_nothing_else()


def test_an_error_rate_in_percent(ada: Watcher) -> None:
    ada.make_rule("Error rate", "50", least="20")
    ada.send(*[OK] * 11, *[FAILED] * 4, *[LIMITED] * 4)
    ada.shows("Too few requests")
    ada.send(FAILED)  # 9 of 20
    ada.hears("Error rate is near its limit: 45 % of 50 %")
    ada.send(FAILED)  # 10 of 21
    ada.shows("47.62 % of 50 % (95 %)")
    ada.send(LIMITED)  # 11 of 22
    alert = ada.hears("Error rate has reached its limit: 50 % of 50 %")
    assert "429 asks for fewer requests at a time" in text_of(alert)
    ada.send(FAILED)
    ada.shows("52.17 % of 50 %")
    ada.heard_nothing_else()


def test_a_count_of_errors_of_one_model(ada: Watcher) -> None:
    ada.make_rule("Errors", "10", provider_openai="yes", models="gpt-4o-mini")
    ada.send(*[OK] * 5, *[FAILED] * 8)
    ada.shows("8 errors of 10 errors (80 %)")
    ada.send(FAILED)
    warning = ada.hears("Errors is near its limit: 9 errors of 10 errors")
    link = MailServer.link_in(warning)
    assert re.search(r"/dashboard\?range=24h&provider=openai&model=gpt-4o-mini$", link)
    ada.send(FAILED)
    ada.hears("Errors has reached its limit: 10 errors of 10 errors")
    ada.page.goto(link)
    expect(ada.page.get_by_role("main")).to_contain_text("gpt-4o-mini")
    ada.heard_nothing_else()


def test_latency(ada: Watcher) -> None:
    ada.make_rule("Latency p95", "60000", least="20", name="Slow")
    ada.send(*[Script(headers=OK.headers, text=OK.text, delay=0.3)] * 20)
    p95 = straight_p95(ada)
    ada.page.get_by_role("main").get_by_role("link", name="Change").click()
    limit = ceil(p95 * 1.05)
    ada.page.get_by_label(re.compile("^Limit")).fill(str(limit))
    ada.press("Save")
    expect(ada.page.get_by_text("Saved.")).to_be_visible()
    check_latency(ada.next_letter(), "Slow is near its limit", p95, limit)
    ada.send(*[Script(headers=OK.headers, text=OK.text, delay=p95 / 1000 + 0.3)] * 2)  # 20 of 22 are still as fast
    check_latency(ada.next_letter(), "Slow has reached its limit", straight_p95(ada), limit)
    ada.heard_nothing_else()


def straight_p95(ada: Watcher) -> float:
    """In milliseconds, by the rows."""
    times = sorted(row["latency_ms"] for row in ada.metrion.rows(ada.sent, email=ada.email))
    return float(times[ceil(0.95 * len(times)) - 1])


def check_latency(letter: EmailMessage, words: str, p95: float, limit: int) -> None:
    found = re.fullmatch(rf"{words}: ([\d,]+) ms of {limit:,} ms", letter["Subject"])
    assert found, letter["Subject"]
    assert abs(int(found[1].replace(",", "")) - p95) <= p95 * 0.02 + 1  # as `kit.buckets` promises


def test_a_volume_of_one_requester(ada: Watcher) -> None:
    ada.make_rule("Request volume", "10", requesters="bot, nightly", span="hour", name="Bots")
    ada.send(*[OK] * 4, requester="somebody-else")
    ada.send(*[OK] * 5, requester="nightly")
    ada.send(*[FAILED] * 3, requester="bot")
    ada.shows("8 requests of 10 requests (80 %)")
    ada.send(OK, requester="bot")
    ada.hears("Bots is near its limit: 9 requests of 10 requests")
    ada.send(*[OK] * 3, requester="nightly")
    ada.hears("Bots has reached its limit: 12 requests of 10 requests")
    ada.heard_nothing_else()


# ── a rule's life ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_tested_once_in_twelve_hours(ada: Watcher) -> None:
    ada.make_rule("Budget", "20", currency="CHF")
    old_tab = ada.page.context.new_page()
    old_tab.goto(ada.metrion.origin + "/alerts")
    ada.press("Send a test")
    expect(ada.page.get_by_text("The test is on its way")).to_be_visible()
    letter = ada.hears("Test of Budget")
    assert "CHF 20.00" in text_of(letter)
    assert "nothing happened" in text_of(letter)
    expect(ada.page.get_by_text("again after 12 hours")).to_be_visible()
    expect(ada.page.get_by_role("button", name="Send a test")).to_have_count(0)
    old_tab.get_by_role("button", name="Send a test").click()
    expect(old_tab.get_by_text("tested within the last 12 hours")).to_be_visible()
    ada.make_rule("Request volume", "2")
    ada.send(OK, OK)
    ada.hears("Request volume has reached its limit: 2 requests of 2 requests")  # whatever came before came before it
    ada.heard_nothing_else()


def test_paused_it_is_silent_and_goes_on_where_it_should_be(ada: Watcher) -> None:
    ada.make_rule("Request volume", "4", name="Calls")
    ada.press("Pause")
    expect(ada.page.get_by_text("Paused: this rule tells nothing")).to_be_visible()
    ada.send(*[OK] * 5)
    ada.shows("5 requests of 4 requests")
    ada.press("Go on")
    expect(ada.page.get_by_text("The rule watches again.")).to_be_visible()
    ada.hears("Calls has reached its limit: 5 requests of 4 requests")
    ada.heard_nothing_else()


def test_a_restart_between_two_lines_neither_forgets_nor_repeats(ada: Watcher) -> None:
    ada.make_rule("Request volume", "10", name="Calls")
    ada.send(*[OK] * 9)
    ada.hears("Calls is near its limit: 9 requests of 10 requests")
    ada.metrion.kill()
    ada.metrion.start()
    ada.send(OK)
    ada.hears("Calls has reached its limit: 10 requests of 10 requests")
    ada.send(OK)
    ada.shows("11 requests of 10 requests")
    ada.heard_nothing_else()


def test_deleted_it_is_silent_and_its_history_stays(ada: Watcher) -> None:
    ada.make_rule("Request volume", "2", name="First")
    ada.send(OK, OK)
    ada.hears("First has reached its limit: 2 requests of 2 requests")
    ada.make_rule("Errors", "1", name="Doomed")
    ada.press("Delete", ada.page.locator("main .card", has_text="Doomed"))
    ada.press("Delete rule", ada.page.get_by_role("dialog"))
    expect(ada.page.get_by_text("The rule is deleted.")).to_be_visible()
    ada.press("Delete")
    ada.press("Delete rule", ada.page.get_by_role("dialog"))
    ada.send(FAILED)
    ada.shows("No rule watches your calls yet")
    expect(ada.page.get_by_role("table")).to_contain_text("First")
    ada.make_rule("Request volume", "3", name="Last")
    ada.hears("Last has reached its limit: 3 requests of 3 requests")
    ada.heard_nothing_else()


def test_bad_input_stays_in_the_form_with_what_is_wrong(ada: Watcher) -> None:
    ada.go("/alerts/new?kind=budget")
    ada.page.get_by_label(re.compile("^Limit")).fill("-3")
    ada.page.locator('main [name="name"]').fill("Über <b>alles</b>")
    ada.press("Make rule")
    expect(ada.page.get_by_text("Enter a number above 0")).to_be_visible()
    expect(ada.page.get_by_label(re.compile("^Limit"))).to_have_value("-3")
    ada.page.get_by_label(re.compile("^Limit")).fill("0.01")
    ada.press("Make rule")
    expect(ada.page.get_by_text("Über <b>alles</b>").first).to_be_visible()
    ada.send(spends(MILLION))
    letter = ada.hears("Über <b>alles</b> has reached its limit: $0.15 of $0.01")
    assert "<b>alles</b>" not in letter.get_body(("html",)).get_content()  # type: ignore[union-attr]
    ada.heard_nothing_else()


def test_a_value_that_is_being_counted_appears_by_itself(ada: Watcher) -> None:
    ada.send(OK, OK, OK)
    ada.make_rule("Request volume", "10", name="Counted", span="day")
    with counting_from_the_start(ada.metrion, "Counted"):
        ada.go()
        expect(ada.page.get_by_text("Counting your calls")).to_be_visible()
        ada.page.evaluate("document.querySelector('main').dataset.same = 'yes'")
        ada.page.get_by_role("link", name="Change").focus()
    expect(ada.page.get_by_text("3 requests of 10 requests")).to_be_visible(timeout=10_000)
    expect(ada.page.get_by_text("Counting your calls")).to_have_count(0)
    expect(ada.page.locator("main[data-same]")).to_have_count(1)  # without a reload
    expect(ada.page.get_by_role("link", name="Change")).to_be_focused()
    expect(ada.page.locator("#rules [hx-get]")).to_have_count(0)


@contextmanager
def counting_from_the_start(metrion: Metrion, name: str) -> Iterator[None]:
    """As if that rule were new with many calls to count; the server, which cannot write in the block, does so after."""
    with closing(sqlite3.connect(metrion.data_dir / "metrion.db", isolation_level=None)) as connection:
        (rule_id,) = connection.execute("SELECT id FROM alert_rules WHERE name = ?", (name,)).fetchone()
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("DELETE FROM alert_sums WHERE rule_id = ?", (rule_id,))
        connection.execute("UPDATE alert_rules SET filled = '00' WHERE id = ?", (rule_id,))
        connection.execute("COMMIT")
        connection.execute("BEGIN IMMEDIATE")
        yield


def test_on_free_it_is_shown_and_not_made(ada: Watcher) -> None:
    ada.make_rule("Request volume", "2", name="Calls")
    ada.metrion.call("account", "set-plan", ada.email, "free")
    ada.hears("Your Metrion account is on the free plan now")
    ada.shows("Alerts are part of Pro")
    expect(ada.page.get_by_role("main")).to_contain_text("Latency p95")
    ada.go("/alerts/new")
    expect(ada.page.get_by_role("main")).to_contain_text("Alerts are part of Pro")
    ada.send(OK, OK, OK)
    ada.metrion.call("account", "set-plan", ada.email, "pro")
    ada.hears("Calls has reached its limit: 3 requests of 2 requests")
    ada.send(OK)
    ada.shows("4 requests of 2 requests")
    ada.heard_nothing_else()
