"""The plan's page, the way to Stripe and back, and what stands above every page; in a real browser too."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from playwright.sync_api import expect

from tests.billing.customers import Customer, leads_to, new_customer, wait_until
from tests.billing.stripe_fake import PRICE, ApiError, StripeFake
from tests.chromium import needs_chromium, open_chromium, opened
from tests.conftest import NewMetrion
from tests.fake_provider import FakeProvider
from tests.mail_server import MailServer, text_of
from tests.support import PROVIDERS, Answer, Metrion, exchange
from tests.web.browser import Browser, Page
from tests.web.conftest import TRUST
from tests.web.people import by_link, new_browser

CHAT = "/api/proxy/openai/v1/chat/completions"
BODY = b'{"model":"gpt-4o-mini","messages":[{"role":"user","content":"hi"}]}'
UPGRADE, MANAGE = "/settings/billing/upgrade", "/settings/billing/manage"


@pytest.fixture(scope="module")
def stripe() -> Iterator[StripeFake]:
    with StripeFake() as fake:
        yield fake


@pytest.fixture(scope="module")
def selling(
    stripe: StripeFake, mail: MailServer, fake: FakeProvider, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Metrion]:
    settings = stripe.settings() | TRUST | {"METRION_FREE_MONTHLY_REQUESTS": "5", "METRION_SMTP_URL": mail.url}
    data = tmp_path_factory.mktemp("selling") / "data"
    server = Metrion(data, dict.fromkeys(PROVIDERS, fake.origin), settings)
    server.start()
    stripe.endpoint = f"{server.origin}/webhooks/stripe"
    yield server
    server.stop()


@pytest.fixture
def ada(selling: Metrion, stripe: StripeFake, email: str) -> Customer:
    return new_customer(selling, stripe, email)


def ask(metrion: Metrion, token: str) -> Answer:
    return exchange(metrion.port, "POST", CHAT, [("Authorization", f"Bearer {token}")], BODY)


def buttons(page: Page) -> list[str]:
    return [button for form in page.forms for button in form.buttons if button != "Log out"]


def day(seconds: float) -> str:
    at = datetime.fromtimestamp(seconds, UTC)
    return f"{at.day} {at:%b %Y}"


# ── the page ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_what_pro_costs_and_is_called_comes_from_stripe(ada: Customer) -> None:
    page = ada.browser.get("/settings/billing")
    assert "Metrion Pro: no cap on requests" in page.text
    assert "€29.00 a month" in page.text
    assert buttons(page) == ["Upgrade to Pro"]
    for line in ("Requests a month 5 No limit", "For 7 days For 90 days", "Logs as CSV – Yes", "Alerts – Yes"):
        assert line in page.text


def test_upgrade_is_right_before_any_webhook(ada: Customer) -> None:
    told, ada.stripe.endpoint = ada.stripe.endpoint, ""
    try:
        ada.stripe.pay(ada.to_checkout())
        assert "Upgrade" in ada.browser.get("/settings/billing").text
        page = ada.back()
    finally:
        ada.stripe.endpoint = told
    assert page.path == "/settings/billing"
    assert page.url.endswith("/settings/billing")
    assert "You are on Pro now" in page.text
    assert f"Paid for again on {day(time.time() + 30 * 86_400)}" in page.text
    assert buttons(page) == ["Manage"]
    assert "You are on Pro now" not in ada.browser.get("/settings/billing").text
    ada.stripe.settle()


def test_who_comes_back_without_paying_is_where_they_were(ada: Customer) -> None:
    session = ada.stripe.things[ada.to_checkout().rsplit("/", 1)[1]]
    assert session["cancel_url"] == f"{ada.metrion.origin}/settings/billing"
    page = ada.back()
    assert (page.status, buttons(page)) == (200, ["Upgrade to Pro"])


def test_each_state_says_what_it_means_and_offers_what_helps(ada: Customer) -> None:
    subscription = ada.subscribe()
    ends = day(ada.stripe.period_end(subscription))
    ada.stripe.cancel_at_period_end(subscription)
    page = ada.back()
    assert f"Pro stays on until {ends}, and is not paid for again" in page.text
    assert buttons(page) == ["Manage"]
    ada.stripe._set(subscription, cancel_at_period_end=False, cancel_at=None)
    for status, words, offered in (
        ("trialing", f"Free until {ends}, then €29.00 a month", ["Manage"]),
        ("paused", "Your subscription is paused", ["Manage"]),
        ("unpaid", "Your payments failed, so Pro has ended", ["Pay what is owed"]),
        ("incomplete", "Stripe waits for your first payment", ["Upgrade to Pro"]),
        ("canceled", "Metrion Pro: no cap", ["Upgrade to Pro"]),
    ):
        ada.stripe.set_status(subscription, status)
        page = ada.back()
        assert words in page.text, page.text
        assert buttons(page) == offered
    ada.stripe.settle()


def test_invoices_are_listed_with_what_became_of_them(ada: Customer) -> None:
    subscription = ada.subscribe()
    ada.stripe.fail(subscription)
    page = ada.back()
    assert re.search(r"MTR-\d+ 2\d|MTR-\d+ \d+ \w+ \d{4} Owed €29.00", page.text)
    assert "Paid €29.00" in page.text
    ada.stripe.settle()


def test_a_failed_payment_stands_above_every_page_until_it_is_paid(ada: Customer) -> None:
    subscription = ada.subscribe()
    ada.stripe.fail(subscription)
    ada.stripe.settle()
    words = f"Pro stays on until {day(time.time() + 7 * 86_400)}"
    for path in ("/settings", "/logs", "/integrate", "/settings/billing"):
        wait_until(lambda at=path: words in ada.browser.get(at).text)  # type: ignore[misc]
    assert buttons(ada.browser.page) == ["Pay what is owed"]
    ada.stripe.recover(subscription)
    ada.stripe.settle()
    wait_until(lambda: "payment failed" not in ada.browser.get("/logs").text)


def test_after_pro_the_page_says_what_is_hidden_and_how_long(ada: Customer, mail: MailServer) -> None:
    subscription = ada.subscribe()
    assert "hidden" not in ada.back().text
    ada.stripe.cancel(subscription)
    deleted = datetime.now(UTC) + timedelta(days=30)
    page = ada.back()
    assert f"They are deleted on {day(deleted.timestamp())}" in page.text
    letter = mail.wait_for(ada.email)
    assert "Older logs are hidden, and deleted in 30 days" in text_of(letter).replace("\n", " ")
    ada.stripe.settle()


# ── use of the month ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_month_is_counted_and_told_from_80_percent_on_every_page(new_metrion: NewMetrion) -> None:
    metrion = new_metrion({"METRION_FREE_MONTHLY_REQUESTS": "5"}, plan="free")
    browser = by_link(metrion, "tests@example.com")
    told = []
    for used in range(6):
        page = browser.get("/settings/billing")
        assert f"{used} of 5" in page.text
        above = browser.get("/logs").text
        told.append(("of this month's 5 requests are used" in above, "All 5 requests of this month are used" in above))
        assert ask(metrion, metrion.token).status == (200 if used < 5 else 429)
    assert told == [(False, False)] * 4 + [(True, False), (False, True)]
    following = (datetime.now(UTC).replace(day=1) + timedelta(days=32)).replace(day=1)
    assert f"until {day(following.timestamp())}, 00:00 UTC" in above
    assert browser.get("/logs").links["See your plan"] == "/settings/billing"
    assert "metrion account set-plan tests@example.com pro" in page.text
    metrion.call("account", "set-plan", "tests@example.com", "pro")
    page = browser.get("/settings/billing")
    assert "Your plan has no limit" in page.text
    assert "are used" not in page.text


def test_where_nothing_limits_free_accounts_nothing_is_told(silent: Metrion, email: str) -> None:
    silent.call("account", "create", email, "--plan", "free")
    page = by_link(silent, email).get("/settings/billing")
    assert "Your plan has no limit" in page.text


def test_the_operator_is_led_to_their_page(silent: Metrion, email: str) -> None:
    silent.call("account", "create", email, "--operator")
    page = by_link(silent, email).get("/settings/billing")
    assert page.links["operator's page"].startswith("/operator?q=")


def test_who_was_given_pro_is_told_so_and_sold_nothing(selling: Metrion, stripe: StripeFake, email: str) -> None:
    bob = new_customer(selling, stripe, email, plan="pro")
    page = bob.browser.get("/settings/billing")
    assert "gave you this plan" in page.text
    assert buttons(page) == []


# ── trouble, and who may ──────────────────────────────────────────────────────────────────────────────────────────────


def test_without_stripe_nothing_is_sold(silent: Metrion, email: str) -> None:
    silent.call("account", "create", email, "--plan", "free")
    browser = by_link(silent, email)
    page = browser.get("/settings/billing")
    assert buttons(page) == []
    csrf = page.html.partition('name="csrf" content="')[2].partition('"')[0]
    assert browser.post(UPGRADE, {"csrf": csrf}).status == 404
    assert browser.get("/settings/billing?from=checkout").path == "/settings/billing"


def test_while_stripe_does_not_answer_the_page_says_so_and_works(ada: Customer) -> None:
    ada.subscribe()
    ada.back()
    ada.stripe.settle()
    ada.stripe.refuse = lambda asked: ApiError(503, "api_error")
    try:
        page = ada.back()
        assert "Stripe did not answer just now" in page.text
        assert "Paid for again on" in page.text
        page = ada.browser.submit(MANAGE)
        assert page.status == 503
        assert "Try again in a moment" in page.text
    finally:
        ada.stripe.refuse = lambda asked: None
    assert "/p/session/" in leads_to(ada.browser.submit(MANAGE))


def test_who_pays_already_is_not_sold_a_second_one(ada: Customer) -> None:
    page = ada.browser.get("/settings/billing")
    ada.subscribe()
    ada.stripe.settle()
    ada.browser.page = page  # an old tab
    page = ada.browser.submit(UPGRADE)
    assert "You have a subscription already" in page.text
    assert all(one["status"] != "open" for one in ada.stripe.all("checkout.session", customer=ada.id)[1:])


def test_nobody_keeps_stripe_busy(ada: Customer) -> None:
    for _ in range(21):
        ada.back()
    assert ada.stripe.count("GET", f"/v1/customers/{ada.id}") <= 20
    page = ada.browser.submit(UPGRADE)
    assert page.status in (422, 429)
    assert "Too many attempts" in page.text


def test_only_its_owner_and_only_by_our_form(ada: Customer, selling: Metrion) -> None:
    stranger = new_browser(selling)
    assert stranger.get("/settings/billing").path == "/login"
    assert ada.browser.post(UPGRADE, {}).status == 403
    assert ada.browser.post(MANAGE, {"csrf": "x"}).status == 403
    foreign = {"sec-fetch-site": "cross-site", "origin": "https://evil.example"}
    csrf = ada.browser.get("/settings/billing").forms[-1].fields["csrf"]
    assert ada.browser.post(UPGRADE, {"csrf": csrf}, headers=foreign).status == 403


def test_the_operator_sees_refunds_and_disputes_and_nobody_else_does(
    ada: Customer, selling: Metrion, stripe: StripeFake
) -> None:
    subscription = ada.subscribe()
    stripe.refund(subscription)
    stripe.dispute(subscription)
    stripe.settle()
    operator = f"op-{ada.email}"
    selling.call("account", "create", operator, "--operator")
    browser = by_link(selling, operator)

    def shown() -> Page | None:
        page = browser.get("/operator")
        return page if "Dispute needs response (fraudulent)" in page.text and "Refund" in page.text else None

    page = wait_until(shown)
    assert "€29.00" in page.text
    wait_until(lambda: ada.plan == "pro")
    assert ada.browser.get("/operator").status == 404
    assert "They change no plan" in page.text


def test_an_operator_who_takes_pro_away_has_it_mailed(
    selling: Metrion, stripe: StripeFake, mail: MailServer, email: str
) -> None:
    new_customer(selling, stripe, email, plan="pro")
    operator = f"op-{email}"
    selling.call("account", "create", operator, "--operator")
    browser = by_link(selling, operator)
    page = browser.get(f"/operator?q={email}")
    form = next(one for one in page.forms if "plan" in one.fields and one.fields["plan"] == "pro")
    assert "is on the free plan now" in browser.post(form.action, form.fields | {"plan": "free"}).text
    assert mail.wait_for(email)["subject"] == "Your Metrion account is on the free plan now"


# ── in a real browser ─────────────────────────────────────────────────────────────────────────────────────────────────


@needs_chromium
@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "plain"])
def test_from_upgrade_to_pro_to_its_end_as_people_do_it(
    selling: Metrion, stripe: StripeFake, email: str, scripts: bool
) -> None:
    selling.call("account", "create", email, "--plan", "free")
    browser = by_link(selling, email)
    with (
        open_chromium() as chromium,
        opened(chromium, f"{selling.origin}/settings/billing", browser.cookies, scripts=scripts) as page,
    ):
        page.get_by_role("button", name="Upgrade to Pro").click()
        page.get_by_role("button", name="Pay").click()  # at Stripe
        expect(page.get_by_text("You are on Pro now")).to_be_visible()
        expect(page).to_have_url(f"{selling.origin}/settings/billing")
        page.get_by_role("button", name="Manage").click()
        page.get_by_role("button", name="Cancel").click()
        expect(page.get_by_text("is not paid for again")).to_be_visible()
        (customer,) = stripe.all("customer", email=email)
        (subscription,) = stripe.all("subscription", customer=customer["id"])
        stripe.end_period(subscription["id"])
        wait_until(lambda: _with(browser, "Upgrade to Pro"))  # the webhook was handled
        page.reload()
        expect(page.get_by_role("button", name="Upgrade to Pro")).to_be_visible()


@needs_chromium
def test_what_stands_above_moves_nothing_and_fits_a_phone(selling: Metrion, stripe: StripeFake, email: str) -> None:
    ada = new_customer(selling, stripe, email)
    ada.stripe.fail(ada.subscribe())
    ada.back()
    stripe.settle()
    with (
        open_chromium() as chromium,
        opened(chromium, f"{selling.origin}/settings/billing", ada.browser.cookies) as page,
    ):
        for width in (320, 390, 1440):
            page.set_viewport_size({"width": width, "height": 800})
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            expect(page.get_by_text("Your last payment failed").first).to_be_visible()


def test_the_price_may_change_and_be_by_tiers(new_metrion: NewMetrion) -> None:
    with StripeFake(amount=500, currency="jpy", name="メトリオン") as stripe:
        stripe.things[PRICE]["nickname"] = "<b>Pro</b> & more"
        metrion = new_metrion(stripe.settings() | TRUST, plan="free")
        browser = by_link(metrion, "tests@example.com")
        page = wait_until(lambda: _with(browser, "JPY 500 a month"))
        assert "<b>Pro</b> & more: no cap" in page.text
        assert "<b>Pro</b>" not in page.html


def _with(browser: Browser, words: str) -> Page | None:
    page = browser.get("/settings/billing")
    return page if words in page.text else None
