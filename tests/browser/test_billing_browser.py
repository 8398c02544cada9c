"""Pro as people buy, use, cancel and lose it, in a browser. Stripe is our fake; webhooks come when the test says."""

from __future__ import annotations

import json
import random
import re
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from playwright.sync_api import Browser as Chromium
from playwright.sync_api import Locator, Page, expect

from tests.billing.customers import wait_until
from tests.billing.stripe_fake import ApiError, StripeFake
from tests.browser.house import CHAT, CHAT_BODY, TRUST, open_context
from tests.browser.judge import all_wrong
from tests.chromium import needs_chromium, watch
from tests.fake_provider import FakeProvider
from tests.mail_server import MailServer, text_of
from tests.support import PROVIDERS, Answer, Metrion, exchange, provider_key
from tests.web.people import by_link
from tests.web.spent import change_account, draw_calls, write

pytestmark = needs_chromium

DAY = 86_400
MONTH = 5  # requests of a free one
OLD = "requester-of-long-ago"  # in a row that only Pro shows


@dataclass
class Buyer:
    """Somebody on Free with a key, a row of eight days ago when they were on Pro, and a browser."""

    page: Page
    metrion: Metrion
    stripe: StripeFake
    mail: MailServer
    email: str
    token: str

    def go(self, path: str) -> None:
        self.page.goto(self.metrion.origin + path)

    def press(self, name: str, within: Locator | None = None) -> None:
        (within or self.page.locator("main, body").first).get_by_role("button", name=name, exact=True).first.click()

    def sees(self, *texts: str) -> None:
        for text in texts:
            expect(self.page.get_by_role("main")).to_contain_text(text)

    def call(self) -> Answer:
        return exchange(self.metrion.port, "POST", CHAT, [("Authorization", f"Bearer {self.token}")], CHAT_BODY)

    def statuses(self, count: int) -> list[int]:
        return [self.call().status for _ in range(count)]

    def webhooks_come(self, seed: int = 1) -> None:
        """All that ever happened, each five times and shuffled."""
        told = len(self.stripe.events)
        assert self.stripe.storm(f"{self.metrion.origin}/webhooks/stripe", seed=seed) == [200] * 5 * told

    @property
    def subscription(self) -> str:
        return str(self.stripe.all("subscription")[-1]["id"])


@pytest.fixture
def ada(chromium: Chromium, fake: FakeProvider, tmp_path: Path) -> Iterator[Buyer]:
    """Whatever the browser complains of at our pages fails the test."""
    email = f"ada-{uuid4().hex[:8]}@example.com"
    with ExitStack() as held:
        stripe, mail = held.enter_context(StripeFake()), held.enter_context(MailServer())
        settings = stripe.settings() | TRUST | {"METRION_FREE_MONTHLY_REQUESTS": str(MONTH)}
        upstreams = dict.fromkeys(PROVIDERS, fake.origin)
        metrion = Metrion(tmp_path / "data", upstreams, settings | {"METRION_SMTP_URL": mail.url})
        token = json.loads(metrion.call("account", "create", email, "--plan", "pro", "--json"))["token"]
        metrion.call("key", "set", "openai", "--account", email, given=provider_key("openai") + "\n")
        long_ago = int((time.time() - 8 * DAY) * 1000)
        write(metrion, draw_calls(random.Random(1), change_account(metrion, email), [long_ago], (OLD,)))
        before = Metrion(metrion.data_dir, upstreams, settings)  # without mail: that one came to free is not told
        before.call("account", "set-plan", email, "free")
        metrion.start()
        held.callback(metrion.stop)
        page = held.enter_context(open_context(chromium, metrion, by_link(metrion, email).cookies)).new_page()
        complaints = watch(page)
        yield Buyer(page, metrion, stripe, mail, email, token)
        # The fake's own pages have no icon.
        assert [one for one in complaints if not one.endswith("/favicon.ico")] == []


def test_from_a_used_up_month_to_pro_to_its_end_and_back(ada: Buyer) -> None:
    use_up_the_month(ada)
    what_free_lacks(ada)
    upgrade(ada)
    what_pro_opens(ada)
    cancel(ada)
    after_the_period(ada)
    ada.go("/settings/billing")
    upgrade(ada)
    what_pro_brings_back(ada)


def use_up_the_month(ada: Buyer) -> None:
    """Banners at 80 % and 100 % on every page, and a refusal that says until when."""
    following = (datetime.now(UTC).replace(day=1) + timedelta(days=32)).replace(day=1)
    resets = f"{following.day} {following:%b %Y}"
    banner = ada.page.locator(".standing")
    assert ada.statuses(3) == [200] * 3
    ada.go("/dashboard")
    expect(banner).to_have_count(0)
    assert ada.statuses(1) == [200]
    ada.go("/integrate")
    expect(banner).to_contain_text(f"4 of this month's 5 requests are used. They start anew on {resets}.")
    assert ada.statuses(1) == [200]
    ada.go("/logs")
    expect(banner).to_contain_text(
        f"All 5 requests of this month are used. More are refused until {resets}, 00:00 UTC."
    )
    refused = ada.call()
    assert (refused.status, refused.get("x-should-retry")) == (429, "false")
    assert refused.json()["error"]["code"] == "insufficient_quota"
    seconds = (following.replace(hour=0, minute=0, second=0, microsecond=0) - datetime.now(UTC)).total_seconds()
    assert abs(int(str(refused.get("retry-after"))) - seconds) < 5
    banner.get_by_role("link", name="Upgrade to Pro").click()
    ada.page.wait_for_url("**/settings/billing")
    ada.sees("5 of 5", f"The count starts anew on {resets}, 00:00 UTC.", "€29.00 a month")


def what_free_lacks(ada: Buyer) -> None:
    ada.go("/alerts")
    ada.sees("Alerts are part of Pro")
    ada.page.get_by_role("link", name="See plans").click()
    ada.page.wait_for_url("**/settings/billing")
    ada.go("/logs?range=30d")
    expect(ada.page.get_by_role("link", name="Export CSV (Pro)")).to_have_attribute("href", "/settings/billing")
    expect(ada.page.get_by_text(OLD)).to_have_count(0)
    assert ada.page.request.get(ada.metrion.origin + "/logs.csv").status == 403
    ada.go("/settings/billing")


def upgrade(ada: Buyer) -> None:
    """By Checkout; no webhook comes before the browser is back."""
    ada.press("Upgrade to Pro")
    ada.page.get_by_role("heading", name="Subscribe").wait_for()
    assert ada.page.url.startswith(ada.stripe.origin)
    ada.press("Pay", ada.page.locator("body"))
    ada.page.wait_for_url(f"{ada.metrion.origin}/settings/billing")
    ends = datetime.fromtimestamp(ada.stripe.period_end(ada.subscription), UTC)
    ada.sees("You are on Pro now", f"Paid for again on {ends.day} {ends:%b %Y}")
    ada.webhooks_come()
    ada.page.reload()
    ada.sees("Metrion Pro", "Your plan has no limit")


def what_pro_opens(ada: Buyer) -> None:
    assert ada.statuses(3) == [200] * 3
    expect(ada.page.locator(".standing")).to_have_count(0)
    ada.go("/alerts/new?kind=volume")
    ada.page.get_by_label(re.compile("^Limit")).fill("10")
    ada.press("Make rule")
    ada.sees("The rule is made.", "8 requests of 10 requests")
    assert OLD in csv_of(ada)


def csv_of(ada: Buyer) -> str:
    ada.go("/logs?range=30d")
    with ada.page.expect_download() as waiting:
        ada.page.get_by_role("link", name="Export CSV", exact=True).click()
    return waiting.value.path().read_text()


def cancel(ada: Buyer) -> None:
    """At Stripe's portal; Pro stays on until it is no longer paid for."""
    ada.go("/settings/billing")
    ada.press("Manage")
    ada.press("Cancel", ada.page.locator("body"))
    ends = datetime.fromtimestamp(ada.stripe.period_end(ada.subscription), UTC)
    ada.sees(f"Pro stays on until {ends.day} {ends:%b %Y}, and is not paid for again", "Cancelled")
    ada.webhooks_come()
    assert OLD in csv_of(ada)
    ada.go("/alerts")
    ada.sees("8 requests of 10 requests")
    assert ada.mail.letters(ada.email) == []


def after_the_period(ada: Buyer) -> None:
    """What Pro opened closes; the month counts from zero; a letter says so, once."""
    ada.stripe.end_period(ada.subscription)
    ada.webhooks_come(seed=2)
    letter = ada.mail.wait_for(ada.email)
    assert letter["Subject"] == "Your Metrion account is on the free plan now"
    assert "this month is counted from zero" in " ".join(text_of(letter).split())
    ada.go("/settings/billing")
    deleted = datetime.now(UTC) + timedelta(days=30)
    ada.sees("0 of 5", "are hidden since you left Pro", f"They are deleted on {deleted.day} {deleted:%b %Y}")
    what_free_lacks(ada)
    assert ada.statuses(6) == [200] * 5 + [429]  # 13 are beyond the limit of the rule, which is paused
    ada.metrion.rows(13, email=ada.email)
    ada.webhooks_come(seed=3)
    assert len(ada.mail.letters(ada.email)) == 1


def what_pro_brings_back(ada: Buyer) -> None:
    ada.go("/alerts")
    ada.sees("13 requests of 10 requests")
    letter = ada.mail.wait_for(ada.email)  # the rule was looked at when Pro was back
    assert letter["Subject"] == "Request volume has reached its limit: 13 requests of 10 requests"
    assert ada.statuses(1) == [200]
    assert OLD in csv_of(ada)
    assert [one["status"] for one in ada.stripe.all("subscription")] == ["canceled", "active"]
    assert ada.stripe.all("refund") == []
    assert len(ada.mail.letters(ada.email)) == 2


def test_a_failed_payment_is_shown_and_can_be_paid(ada: Buyer) -> None:
    ada.go("/settings/billing")
    upgrade(ada)
    ada.stripe.fail(ada.subscription)
    ada.webhooks_come()
    until = datetime.now(UTC) + timedelta(days=7)
    wait_until(lambda: ada.page.reload() is not None and "payment failed" in ada.page.content())
    ada.go("/dashboard")
    banner = ada.page.locator(".standing")
    expect(banner).to_contain_text(f"Your last payment failed. Pro stays on until {until.day} {until:%b %Y}.")
    banner.get_by_role("link", name="Pay what is owed").click()
    ada.press("Pay what is owed")
    ada.press("Pay what is owed", ada.page.locator("body"))  # at Stripe
    ada.page.wait_for_url(f"{ada.metrion.origin}/settings/billing")
    ada.sees("Paid for again on")
    expect(banner).to_have_count(0)


def test_with_the_account_its_subscription_ends_even_if_stripe_fails_at_first(ada: Buyer) -> None:
    ada.go("/settings/billing")
    upgrade(ada)
    subscription, customer = ada.subscription, ada.stripe.all("customer")[-1]["id"]
    ada.stripe.refuse = lambda asked: ApiError(500, "api_error")
    ada.go("/settings/profile/delete")
    ada.sees("A subscription ends at once, too: Stripe takes no more payments.")
    ada.press("Mail me the code")
    ada.page.get_by_label("6-digit code").fill(MailServer.code_in(ada.mail.wait_for(ada.email)))
    ada.press("Delete account for good")
    expect(ada.page.get_by_role("heading", name="Your account is deleted")).to_be_visible()
    wait_until(lambda: "stripe_customer_not_deleted" in ada.metrion.log.read_text())
    assert ada.stripe.things[subscription]["status"] == "active"
    assert ada.call().status == 401
    ada.webhooks_come()  # late ones change nothing and bring nothing back
    ada.stripe.refuse = lambda asked: None
    wait_until(lambda: ada.stripe.things[customer].get("deleted"), 30)
    assert ada.stripe.things[subscription]["status"] == "canceled"
    ada.webhooks_come(seed=2)
    wait_until(lambda: "wait to be" not in ada.metrion.call("billing", "list"))
    assert customer not in ada.metrion.call("billing", "list")
    assert ada.email not in ada.metrion.call("account", "list", "--json")


# ── how it looks ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_nothing_is_wrong_with_any_state_of_the_page(ada: Buyer, chromium: Chromium, axe: str) -> None:
    """As /settings/billing says it of each state of a subscription, and of a month that is nearly or quite used up."""
    wrong: dict[str, Any] = {}

    def look(state: str, words: str) -> None:
        with open_context(chromium, ada.metrion, by_link(ada.metrion, ada.email).cookies) as context:
            page = context.new_page()
            complaints = watch(page)
            page.goto(f"{ada.metrion.origin}/settings/billing")
            expect(page.get_by_role("main")).to_contain_text(words)
            if found := all_wrong(page, axe, complaints, acted=False):
                wrong[state] = found

    look("free", "Upgrade to Pro")
    ada.statuses(4)
    look("near", "4 of 5")
    ada.statuses(1)
    look("full", "5 of 5")
    ada.go("/settings/billing")
    upgrade(ada)
    look("pro", "Paid for again on")
    ada.stripe.cancel_at_period_end(ada.subscription)
    for status, words in (
        ("active", "is not paid for again"),
        ("past_due", "Your last payment failed"),
        ("paused", "Your subscription is paused"),
        ("unpaid", "Your payments failed"),
        ("incomplete", "Stripe waits for your first payment"),
        ("canceled", "Upgrade to Pro"),
        ("trialing", "Trial"),
    ):
        ada.stripe.set_status(ada.subscription, status)
        ada.metrion.call("billing", "reconcile")
        look(status, words)
    assert wrong == {}
