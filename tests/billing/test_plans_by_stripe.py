"""What each state of a subscription does to an account; the way down and up; the end of an account. At real servers."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.billing.conftest import TRUST
from tests.billing.customers import Customer, leads_to, new_customer, wait_until
from tests.billing.stripe_fake import ApiError, StripeFake
from tests.conftest import NewMetrion
from tests.mail_server import MailServer, text_of
from tests.support import Answer, Metrion, exchange
from tests.web.people import by_link

CHAT = "/api/proxy/openai/v1/chat/completions"
BODY = b'{"model":"gpt-4o-mini","messages":[{"role":"user","content":"hi"}]}'
DAY = 86_400


def call(customer: Customer) -> Answer:
    headers = [("Authorization", f"Bearer {customer.token}")]
    return exchange(customer.metrion.port, "POST", CHAT, headers, BODY)


def with_key(customer: Customer) -> Customer:
    customer.metrion.call("key", "set", "openai", "--account", customer.email, given="a-key-of-nobody-0123456789\n")
    return customer


@pytest.mark.parametrize(
    ("status", "plan"),
    [
        ("trialing", "pro"),
        ("active", "pro"),
        ("past_due", "pro"),
        ("incomplete", "free"),
        ("incomplete_expired", "free"),
        ("unpaid", "free"),
        ("paused", "free"),
        ("canceled", "free"),
    ],
)
def test_each_state_of_a_new_subscription(ada: Customer, status: str, plan: str) -> None:
    subscription = ada.subscribe(status="trialing" if status == "trialing" else "active")
    if status != "trialing":
        ada.stripe.things[subscription]["status"] = status
    ada.back()
    assert ada.plan == plan


@pytest.mark.parametrize(
    ("status", "plan"),
    [
        ("incomplete", "pro"),
        ("incomplete_expired", "free"),
        ("unpaid", "free"),
        ("paused", "free"),
        ("canceled", "free"),
    ],
)
def test_each_state_of_one_that_was_paid(ada: Customer, status: str, plan: str) -> None:
    subscription = ada.subscribe()
    ada.back()
    ada.stripe.things[subscription]["status"] = status
    ada.back()
    assert ada.plan == plan


def test_cancelled_for_its_period_it_stays_until_then(ada: Customer) -> None:
    subscription = ada.subscribe()
    ada.stripe.cancel_at_period_end(subscription)
    page = ada.back()
    assert ada.plan == "pro"
    assert "is not paid for again" in page.text
    ada.stripe.end_period(subscription)
    assert "Upgrade to Pro" in ada.back().text
    assert ada.plan == "free"


@pytest.mark.parametrize(("days", "plan"), [(6.99, "pro"), (7.01, "free")])
def test_a_failed_payment_has_seven_days(ada: Customer, days: float, plan: str) -> None:
    subscription = ada.subscribe()
    ada.back()
    ada.stripe.fail(subscription, at=int(time.time() - days * DAY))
    page = ada.back()
    assert ada.plan == plan
    assert ("Pro stays on until" in page.text) == (plan == "pro")
    assert "Pay what is owed" in [button for form in page.forms for button in form.buttons]
    ada.stripe.recover(subscription)
    ada.back()
    assert ada.plan == "pro"


def test_the_grace_ends_by_itself_also_where_stripe_does_not_answer(ada: Customer) -> None:
    ada.stripe.fail(ada.subscribe(), at=int(time.time()) - 7 * DAY + 3)
    ada.back()
    assert ada.plan == "pro"
    ada.stripe.refuse = lambda asked: ApiError(503, "api_error") if ada.id in asked.path else None
    try:
        wait_until(lambda: ada.plan == "free", 20)
    finally:
        ada.stripe.refuse = lambda asked: None


def test_what_was_paid_twice_is_given_back(ada: Customer) -> None:
    older, newer = ada.subscribe(), ada.subscribe()
    page = ada.back()
    assert ada.plan == "pro"
    assert [ada.stripe.things[one]["status"] for one in (older, newer)] == ["active", "canceled"]
    (refund,) = ada.stripe.all("refund", customer=ada.id)
    assert refund["charge"] == ada.stripe._charge_of(newer)["id"]
    assert "Paid for again on" in page.text


def test_two_browsers_lead_to_one_checkout_that_can_be_paid(ada: Customer) -> None:
    first, second = ada.to_checkout(), ada.to_checkout()
    with pytest.raises(AssertionError, match="expired"):
        ada.stripe.pay(first)
    ada.stripe.pay(second)
    ada.back()
    assert ada.plan == "pro"
    page = ada.browser.submit("/settings/billing/manage")
    assert "/p/session/" in leads_to(page)


def test_two_that_press_upgrade_at_once_make_one_customer_and_one_checkout(
    selling: Metrion, stripe: StripeFake, email: str
) -> None:
    selling.call("account", "create", email, "--plan", "free")
    browsers = [by_link(selling, email) for _ in range(2)]
    for browser in browsers:
        browser.get("/settings/billing")
    stripe.slow = 0.1
    try:
        with ThreadPoolExecutor(2) as pool:
            ways = list(pool.map(lambda browser: leads_to(browser.submit("/settings/billing/upgrade")), browsers))
    finally:
        stripe.slow = 0.0
    (customer,) = stripe.all("customer", email=email)
    sessions = stripe.all("checkout.session", customer=customer["id"])
    assert sorted(one["status"] for one in sessions) == ["expired", "open"]
    assert next(one["url"] for one in sessions if one["status"] == "open") in ways


def test_a_plan_that_was_granted_outlives_a_subscription_and_one_that_is_paid_cannot_be_taken(ada: Customer) -> None:
    subscription = ada.subscribe()
    ada.back()
    with pytest.raises(RuntimeError) as caught:
        ada.metrion.call("account", "set-plan", ada.email, "free")
    assert "pays for pro" in str(caught.value.__cause__)
    ada.metrion.call("account", "set-plan", ada.email, "pro")
    ada.stripe.cancel(subscription)
    ada.back()
    assert ada.plan == "pro"
    ada.metrion.call("account", "set-plan", ada.email, "free")
    assert ada.plan == "free"


def test_a_customer_that_was_deleted_in_stripe_can_come_back(ada: Customer) -> None:
    ada.subscribe()
    ada.back()
    ada.stripe.delete_customer(ada.id)
    ada.back()
    assert ada.plan == "free"
    ada.stripe.pay(ada.to_checkout())
    ada.back()
    assert ada.plan == "pro"
    assert len({one["id"] for one in ada.stripe.all("customer", email=ada.email)} | {ada.id}) == 2


def test_an_account_of_two_sees_nothing_of_the_other(ada: Customer, selling: Metrion, stripe: StripeFake) -> None:
    bob = new_customer(selling, stripe, "b" + ada.email)
    ada.subscribe()
    ada.back()
    assert bob.plan == "free"
    assert "MTR-" in ada.browser.get("/settings/billing").text
    assert "MTR-" not in bob.back().text
    told = json.loads(bob.browser.get("/settings/profile/data.json").body)
    assert told["invoices"] == []
    assert (told["subscription"]["customer_id"], told["subscription"]["status"]) == (bob.id, "")


def test_the_download_holds_the_subscription_and_references_of_invoices(ada: Customer) -> None:
    subscription = ada.subscribe()
    ada.back()
    told = json.loads(ada.browser.get("/settings/profile/data.json").body)
    assert told["subscription"]["subscription_id"] == subscription
    assert told["subscription"]["status"] == "active"
    (invoice,) = told["invoices"]
    assert (invoice["status"], invoice["amount"], invoice["currency"]) == ("paid", 2900, "eur")
    assert invoice["number"].startswith("MTR-")


# ── the way down and up ───────────────────────────────────────────────────────────────────────────────────────────────


def test_after_the_way_down_the_month_counts_from_zero_also_after_a_restart(
    new_metrion: NewMetrion, mail: MailServer, email: str
) -> None:
    with StripeFake() as stripe:
        settings = stripe.settings() | TRUST | {"METRION_FREE_MONTHLY_REQUESTS": "3", "METRION_SMTP_URL": mail.url}
        metrion = new_metrion(settings, plan="free")
        ada = with_key(new_customer(metrion, stripe, email))
        assert [call(ada).status for _ in range(4)] == [200] * 3 + [429]
        subscription = ada.subscribe()
        ada.back()
        assert [call(ada).status for _ in range(5)] == [200] * 5
        metrion.rows(9, email=email)
        stripe.cancel(subscription)
        ada.back()
        assert [call(ada).status for _ in range(2)] == [200] * 2
        metrion.rows(11, email=email)
        metrion.stop()
        metrion.start()
        assert [call(ada).status for _ in range(2)] == [200, 429]
        assert "3 of 3" in ada.browser.get("/settings/billing").text
        text = text_of(mail.wait_for(email))
        assert "counted from zero" in text
        assert "3 requests a month" in text
        assert f"{metrion.origin}/settings/billing" in text


# ── the end of an account ─────────────────────────────────────────────────────────────────────────────────────────────


def test_with_the_account_its_subscription_ends_at_once(ada: Customer) -> None:
    subscription = ada.subscribe()
    ada.back()
    ada.metrion.call("account", "delete", ada.email, "--yes")
    wait_until(lambda: ada.stripe.things[ada.id].get("deleted"))
    assert ada.stripe.things[subscription]["status"] == "canceled"
    listed = ada.metrion.call("billing", "list")
    assert ada.id not in listed
    wait_until(lambda: "wait to be deleted" not in ada.metrion.call("billing", "list"))


def test_it_is_tried_until_stripe_has_done_it_also_after_a_restart(
    new_metrion: NewMetrion, mail: MailServer, email: str
) -> None:
    with StripeFake() as stripe:
        metrion = new_metrion(stripe.settings() | TRUST, plan="free")
        ada = new_customer(metrion, stripe, email)
        subscription = ada.subscribe()
        ada.back()
        stripe.refuse = lambda asked: ApiError(503, "api_error")
        metrion.call("account", "delete", email, "--yes")
        assert "1 customers of deleted accounts wait" in metrion.call("billing", "list")
        wait_until(lambda: "stripe_customer_not_deleted" in metrion.log.read_text())
        assert email not in metrion.log.read_text()
        metrion.stop()
        stripe.refuse = lambda asked: None
        assert metrion.call("billing", "reconcile") == "Everything is as Stripe says.\n"  # without a server
        assert stripe.things[ada.id].get("deleted")
        assert stripe.things[subscription]["status"] == "canceled"
        assert "wait" not in metrion.call("billing", "list")
        for path in metrion.data_dir.rglob("*"):
            assert not path.is_file() or ada.id.encode() not in path.read_bytes(), path


# ── reconciling ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_reconciling_repairs_what_no_webhook_told_and_says_what_it_was(
    selling: Metrion, stripe: StripeFake, email: str
) -> None:
    pays, ended, same = (new_customer(selling, stripe, f"{name}-{email}") for name in ("pays", "ended", "same"))
    gone = ended.subscribe()
    same.subscribe()
    for one in (ended, same):
        one.back()
    pays.subscribe()
    stripe.cancel(gone)
    stripe.dispute(same.stripe.all("subscription", customer=same.id)[0]["id"])
    lines = selling.call("billing", "reconcile").splitlines()
    told = {line.partition(": ")[0]: line.partition(": ")[2] for line in lines}
    assert told[pays.email] == "subscription none → active, plan free → pro"
    assert told[ended.email] == "subscription active → canceled, plan pro → free"
    assert same.email not in told
    assert any("had never arrived" in line for line in lines)
    assert [one.plan for one in (pays, ended, same)] == ["pro", "free", "pro"]
    listed = [line.split() for line in selling.call("billing", "list").splitlines() if same.email in line]
    assert [same.email, "dispute", "needs_response"] in [words[:3] for words in listed]
    assert email not in selling.call("billing", "reconcile")


def test_reconciling_goes_on_behind_one_that_fails_and_stops_where_all_do(new_metrion: NewMetrion, email: str) -> None:
    with StripeFake() as stripe:
        metrion = new_metrion(stripe.settings() | TRUST, plan="free")
        people = [new_customer(metrion, stripe, f"{number}-{email}") for number in range(4)]
        for one in people:
            one.subscribe()
        stripe.refuse = lambda asked: ApiError(503, "api_error") if people[1].id in asked.path else None
        told = metrion.call("billing", "reconcile").splitlines()
        assert f"{people[1].email}: Stripe answered 503: APIError" in told
        assert [one.plan for one in people] == ["pro", "free", "pro", "pro"]
        stripe.refuse = lambda asked: ApiError(503, "api_error")
        asked = len(stripe.asked)
        done = metrion.run("billing", "reconcile", check=False)
        assert done.returncode != 0
        assert "Stripe answered 503" in done.stderr
        asked_for = {one.path for one in stripe.asked[asked:] if one.path.startswith("/v1/customers/")}
        assert people[3].id not in str(asked_for)  # after three in a row
        stripe.refuse = lambda asked: None
        metrion.call("billing", "reconcile")
        assert people[1].plan == "pro"


def test_a_start_after_a_missed_night_reconciles(new_metrion: NewMetrion, email: str) -> None:
    with StripeFake() as stripe:
        metrion = new_metrion(stripe.settings() | TRUST, plan="free")
        ada = new_customer(metrion, stripe, email)  # Stripe was never asked about it
        ada.subscribe()
        metrion.stop()
        metrion.start()
        wait_until(lambda: ada.plan == "pro")


def test_commands_that_need_stripe_say_so_without_it(new_metrion: NewMetrion) -> None:
    metrion = new_metrion()
    for arguments in (["reconcile"], ["replay", "evt_1"]):
        done = metrion.run("billing", *arguments, check=False)
        assert done.returncode == 2
        assert "Stripe is not configured" in done.stderr
    assert "CUSTOMER" in metrion.call("billing", "list")
