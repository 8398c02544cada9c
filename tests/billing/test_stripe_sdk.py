"""What Metrion asks of Stripe, through the real SDK: every call, its repetition, and every way to fail."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator

import pytest

from metrion.billing.connect import connect
from metrion.billing.states import State
from metrion.billing.stripe import EVENT_TYPES, Offer, Stripe
from metrion.config import Settings
from metrion.errors import BillingError
from metrion.kit.secrets import Secret
from tests.billing.stripe_fake import API_VERSION, KEY, PRICE, WEBHOOK_SECRET, ApiError, StripeFake, sign

PAGE = "https://metrion.example/settings/billing"


@pytest.fixture
def fake() -> Iterator[StripeFake]:
    with StripeFake() as fake:
        yield fake


def settings_for(fake: StripeFake, *, key: str = KEY, tax: bool = False, secret: str = WEBHOOK_SECRET) -> Settings:
    return Settings(
        stripe_secret_key=Secret(key),
        stripe_webhook_secret=Secret(secret),
        stripe_price_id=PRICE,
        stripe_automatic_tax="on" if tax else "off",
        stripe_api_origin=fake.origin,
    )


@pytest.fixture
def stripe(fake: StripeFake) -> Stripe:
    return Stripe(settings_for(fake))


@pytest.fixture
def ada(stripe: Stripe) -> str:
    return stripe.create_customer(7, "ada@example.com")


def test_nothing_is_loaded_where_stripe_is_not_configured() -> None:
    """Its SDK takes a third of a second to load, which nobody else shall wait for."""
    assert connect(Settings()) is None
    say = "import sys, metrion.app; print(*sorted({'stripe', 'requests', 'urllib3'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", say], capture_output=True, text=True, check=True).stdout == "\n"


def test_name_and_price_are_stripes(fake: StripeFake, stripe: Stripe) -> None:
    assert stripe.offer() == Offer("Metrion Pro", 2900, "eur", "month", 1)
    fake.things[PRICE] |= {"nickname": "Pro, yearly", "unit_amount": None}
    assert stripe.offer() == Offer("Pro, yearly", None, "eur", "month", 1)


def test_every_call_says_who_asks_and_in_which_version_and_nothing_of_the_machine(
    fake: StripeFake, stripe: Stripe, ada: str
) -> None:
    stripe.offer()
    for asked in fake.asked:
        assert asked.headers["authorization"] == f"Bearer {KEY}"
        assert asked.headers["stripe-version"] == API_VERSION
        assert "x-stripe-client-telemetry" not in asked.headers
        assert "platform" not in json.loads(asked.headers["x-stripe-client-user-agent"])
    assert KEY not in repr(stripe) + repr(vars(stripe))


def test_a_customer_is_known_by_address_and_number(fake: StripeFake, ada: str) -> None:
    (asked,) = fake.asked
    assert asked.params == {"email": "ada@example.com", "metadata": {"metrion_account": "7"}}
    assert ada.startswith("cus_")


def test_checkout_is_a_subscription_to_the_price_and_leads_back(fake: StripeFake, stripe: Stripe, ada: str) -> None:
    url = stripe.checkout(7, ada, PAGE)
    assert fake.asked[-1].params == {
        "mode": "subscription",
        "customer": ada,
        "client_reference_id": "7",
        "line_items": [{"price": PRICE, "quantity": "1"}],
        "subscription_data": {"metadata": {"metrion_account": "7"}},
        "success_url": f"{PAGE}?from=checkout",
        "cancel_url": PAGE,
    }
    assert url.startswith(f"{fake.origin}/c/pay/")


def test_one_checkout_is_open_at_a_time(fake: StripeFake, stripe: Stripe, ada: str) -> None:
    for _ in range(3):
        stripe.checkout(7, ada, PAGE)
    assert [one["status"] for one in fake.all("checkout.session")] == ["expired", "expired", "open"]


def test_automatic_tax_asks_for_the_address_and_keeps_it(fake: StripeFake) -> None:
    stripe = Stripe(settings_for(fake, tax=True))
    stripe.checkout(7, stripe.create_customer(7, "ada@example.com"), PAGE)
    params = fake.asked[-1].params
    assert params["automatic_tax"] == {"enabled": "true"}
    assert params["billing_address_collection"] == "required"
    assert params["customer_update"] == {"address": "auto", "name": "auto"}
    assert params["tax_id_collection"] == {"enabled": "true"}


def test_the_portal_leads_back(fake: StripeFake, stripe: Stripe, ada: str) -> None:
    assert stripe.portal(ada, PAGE).startswith(f"{fake.origin}/p/session/")
    assert fake.asked[-1].params == {"customer": ada, "return_url": f"{PAGE}?from=portal"}


def test_the_state_holds_all_subscriptions_and_the_latest_invoices(fake: StripeFake, stripe: Stripe, ada: str) -> None:
    ended, late = fake.subscribe(ada, at=1_700_000_000), fake.subscribe(ada, at=1_700_000_100, ours=False)
    fake.cancel(ended)
    fake.cancel_at_period_end(late)
    fake.fail(late, at=1_702_592_200)
    fake.subscribe(stripe.create_customer(8, "bob@example.com"))
    state = stripe.state_of(ada)
    assert state.exists
    first, second = sorted(state.subscriptions, key=lambda one: one.created_ms)
    assert (first.id, first.status, first.ours, first.created_ms) == (ended, "canceled", True, 1_700_000_000_000)
    assert first.ends_ms is not None
    assert (second.id, second.status, second.ours) == (late, "past_due", False)
    assert second.ends_ms == second.renews_ms == fake.period_end(late) * 1000
    assert {one.subscription_id for one in state.invoices} == {ended, late}
    owed = [one for one in state.invoices if one.failed_ms is not None]
    assert [(one.status, one.failed_ms, one.amount, one.currency) for one in owed] == [
        ("open", 1_702_592_200_000, 2900, "eur")
    ]


def test_a_customer_with_more_subscriptions_than_a_page_holds(fake: StripeFake, stripe: Stripe, ada: str) -> None:
    for n in range(101):
        fake.subscribe(ada, at=1_700_000_000 + n)
    assert len(stripe.state_of(ada).subscriptions) == 101


def test_a_customer_that_was_deleted_or_never_was(fake: StripeFake, stripe: Stripe, ada: str) -> None:
    fake.subscribe(ada)
    fake.delete_customer(ada)
    assert stripe.state_of(ada) == stripe.state_of("cus_never") == State(exists=False)


def test_what_is_paid_twice_is_given_back_once_however_often_one_asks(
    fake: StripeFake, stripe: Stripe, ada: str
) -> None:
    subscription = fake.subscribe(ada)
    fake.fail(subscription)  # and one more that was not paid yet
    stripe.cancel_and_refund(subscription)
    (refund,) = fake.all("refund")
    assert (refund["amount"], refund["reason"], refund["customer"]) == (2900, "duplicate", ada)
    assert fake.all("subscription")[0]["status"] == "canceled"
    assert sorted(one["status"] for one in fake.all("invoice")) == ["paid", "void"]
    fake.things[subscription]["status"] = "active"  # as if we had died between the refund and the end
    fake._replies.clear()  # and a day had passed
    stripe.cancel_and_refund(subscription)
    stripe.cancel_and_refund(subscription)  # as another process may that saw it before it was over
    keys = {one.headers["idempotency-key"] for one in fake.asked if one.path == "/v1/refunds"}
    assert keys == {f"metrion-refund-{refund['payment_intent']}"}  # so that Stripe, too, does it once
    assert len(fake.all("refund")) == 1
    assert fake.all("subscription")[0]["status"] == "canceled"


def test_a_trial_is_ended_without_a_refund(fake: StripeFake, stripe: Stripe, ada: str) -> None:
    stripe.cancel_and_refund(fake.subscribe(ada, status="trialing"))
    assert fake.all("refund") == []


def test_closing_ends_everything_and_may_be_repeated(fake: StripeFake, stripe: Stripe, ada: str) -> None:
    first, second = fake.subscribe(ada), fake.subscribe(ada, status="incomplete_expired")
    stripe.checkout(7, ada, PAGE)
    for _ in range(2):
        stripe.close(ada)
    assert fake.things[ada]["deleted"]
    assert [fake.things[one]["status"] for one in (first, second)] == ["canceled", "incomplete_expired"]
    assert [one["status"] for one in fake.all("checkout.session")] == ["expired"]
    assert fake.count("DELETE", "/v1/customers/.*") == 1


@pytest.mark.parametrize("what", ["refund", "dispute"])
def test_a_refund_or_dispute_is_told_with_its_customer(fake: StripeFake, stripe: Stripe, ada: str, what: str) -> None:
    subscription = fake.subscribe(ada)
    id = fake.refund(subscription) if what == "refund" else fake.dispute(subscription)
    event = next(one for one in fake.events if one["data"]["object"]["id"] == id)
    found = stripe.reversal(event["type"], id)
    assert (found.id, found.kind, found.customer_id) == (id, what, ada)
    assert (found.amount, found.currency) == (2900, "eur")
    if what == "refund":  # older ones say their charge only
        fake.things[id]["customer"] = None
        assert stripe.reversal(event["type"], id).customer_id == ada


# ── events ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_events_are_listed_by_the_kinds_we_know_and_since_when(fake: StripeFake, stripe: Stripe, ada: str) -> None:
    fake.subscribe(ada)
    for n in range(120):
        fake._tell(
            "customer.subscription.updated" if n % 2 else "charge.captured", fake.things[ada] | {"customer": ada}
        )
    found = stripe.events_since(0)
    assert len(found) == 60 + 2  # of subscribing: the invoice and the subscription
    assert {one.type for one in found} <= set(EVENT_TYPES)
    assert {one.customer_id for one in found} == {ada}
    assert stripe.events_since(int(time.time() * 1000) + 5000) == []
    assert len(EVENT_TYPES) <= 20


def test_what_stripe_signed_is_read(fake: StripeFake, stripe: Stripe, ada: str) -> None:
    fake.subscribe(ada)
    told = fake.events[-1]
    event = stripe.read_event(*sign(told))
    assert event is not None
    assert (event.id, event.type, event.customer_id) == (told["id"], "customer.subscription.created", ada)
    assert event.created_ms == told["created"] * 1000


NOW = int(time.time())


@pytest.mark.parametrize(
    "forge",
    [
        lambda payload, signature: (payload, ""),
        lambda payload, signature: (payload, "t=1,v1="),
        lambda payload, signature: (payload, "nonsense"),
        lambda payload, signature: (payload, f"t={NOW},v1={'0' * 64}"),
        lambda payload, signature: (payload, signature.replace("v1=", "v0=")),
        lambda payload, signature: (payload + b" ", signature),
        lambda payload, signature: (payload.replace(b"active", b"paused"), signature),
        lambda payload, signature: sign(json.loads(payload), secret="whsec_other"),
        lambda payload, signature: sign(json.loads(payload), secret=""),
        lambda payload, signature: sign(json.loads(payload), at=NOW - 301),
        lambda payload, signature: (b"\xff\xfe", signature),
        lambda payload, signature: sign({}),
        lambda payload, signature: sign({"id": "evt_1", "type": "x", "created": 1, "data": {"object": []}}),
    ],
)
def test_anything_else_is_not(
    fake: StripeFake, stripe: Stripe, ada: str, forge: Callable[[bytes, str], tuple[bytes, str]]
) -> None:
    fake.subscribe(ada)
    assert stripe.read_event(*forge(*sign(fake.events[-1]))) is None


def test_both_sides_of_five_minutes(fake: StripeFake, stripe: Stripe, ada: str) -> None:
    fake.subscribe(ada)
    assert stripe.read_event(*sign(fake.events[-1], at=int(time.time()) - 298)) is not None
    assert stripe.read_event(*sign(fake.events[-1], at=int(time.time()) - 302)) is None


def test_without_a_secret_nothing_is_believed(fake: StripeFake, ada: str) -> None:
    fake.subscribe(ada)
    stripe = Stripe(settings_for(fake, secret=""))
    assert stripe.read_event(*sign(fake.events[-1], secret="")) is None
    assert stripe.read_event(*sign(fake.events[-1])) is None


# ── trouble ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def trouble(call: Callable[[], object]) -> str:
    with pytest.raises(BillingError) as caught, warnings.catch_warnings():
        call()
    return str(caught.value)


def test_a_wrong_key_is_told_without_the_key(fake: StripeFake) -> None:
    wrong = "sk_test_wrong0123456789"
    said = trouble(Stripe(settings_for(fake, key=wrong)).offer)
    assert said == "Stripe answered 401: AuthenticationError"


def test_a_price_that_is_not_there_is_named(fake: StripeFake, stripe: Stripe) -> None:
    del fake.things[PRICE]
    assert trouble(stripe.offer) == "Stripe answered 404: resource_missing (id)"


def test_what_fails_for_a_moment_is_asked_once_more(fake: StripeFake, stripe: Stripe, ada: str) -> None:
    for status in (500, 409):
        failures = [ApiError(status, "lock_timeout")]
        fake.refuse = lambda asked, left=failures: left.pop() if left else None  # type: ignore[misc]
        stripe.create_customer(8, "bob@example.com")
    keys = [one.headers["idempotency-key"] for one in fake.asked if one.method == "POST"]
    assert len(fake.all("customer")) == 3
    assert len(keys) == 5
    assert len(set(keys)) == 3  # both tries of one have the same key


def test_a_stripe_that_is_down_or_gone(fake: StripeFake, stripe: Stripe) -> None:
    fake.refuse = lambda asked: ApiError(503, "api_error")
    assert trouble(stripe.offer) == "Stripe answered 503: APIError"
    gone = Stripe(
        Settings(stripe_secret_key=Secret(KEY), stripe_price_id=PRICE, stripe_api_origin="http://127.0.0.1:9")
    )
    assert trouble(gone.offer) == "Stripe cannot be reached"


def test_proxies_and_passwords_of_the_environment_are_not_used(
    fake: StripeFake, stripe: Stripe, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert stripe.offer().name == "Metrion Pro"


def test_several_threads_ask_at_once(fake: StripeFake, stripe: Stripe, ada: str) -> None:
    found: list[State] = []
    threads = [threading.Thread(target=lambda: found.append(stripe.state_of(ada))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
