"""Webhooks at a real server: once, in any order, however often; and never from anybody else."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import threading

import pytest

from tests.billing.conftest import TRUST
from tests.billing.customers import Customer, new_customer, wait_until
from tests.billing.stripe_fake import ApiError, Asked, StripeFake, send, sign
from tests.conftest import NewMetrion
from tests.mail_server import MailServer
from tests.support import Metrion, exchange
from tests.web.people import by_link


def endpoint(metrion: Metrion) -> str:
    return f"{metrion.origin}/webhooks/stripe"


def events_about(customer: Customer) -> list[dict[str, object]]:
    with customer.stripe.lock:
        return [one for one in customer.stripe.events if customer.id in json.dumps(one)]


def test_a_subscription_makes_pro_and_its_end_makes_free(ada: Customer, mail: MailServer) -> None:
    subscription = ada.subscribe()
    assert ada.plan == "free"
    assert set(ada.stripe.deliver(endpoint(ada.metrion), events_about(ada))) == {200}
    wait_until(lambda: ada.plan == "pro")
    ada.stripe.cancel(subscription)
    assert ada.stripe.deliver(endpoint(ada.metrion), events_about(ada)[-1:]) == [200]
    wait_until(lambda: ada.plan == "free")
    letter = mail.wait_for(ada.email)
    assert letter["subject"] == "Your Metrion account is on the free plan now"


def test_it_is_stored_once_and_asked_about_once(ada: Customer) -> None:
    ada.subscribe()
    told = events_about(ada)[-1]
    asked = ada.stripe.count("GET", f"/v1/customers/{ada.id}")
    assert ada.stripe.deliver(endpoint(ada.metrion), [told]) == [200]
    wait_until(lambda: ada.plan == "pro" and not _waiting(ada.metrion))
    assert ada.stripe.deliver(endpoint(ada.metrion), [told] * 4) == [200] * 4
    assert "Events handled again: 1" in ada.metrion.call("billing", "replay", str(told["id"]))
    assert ada.stripe.count("GET", f"/v1/customers/{ada.id}") == asked + 2
    assert ada.plan == "pro"


def test_an_answer_that_is_overtaken_does_not_win(ada: Customer, stripe: StripeFake) -> None:
    """Two ask about one customer; the first gets an answer that is old by the time it arrives."""
    subscription = ada.subscribe()
    held = threading.Event()

    def late(asked: Asked) -> float:
        if asked.path != "/v1/invoices" or asked.params.get("customer") != ada.id or held.is_set():
            return 0.0
        held.set()
        return 1.5

    stripe.late = late
    first = threading.Thread(target=ada.back)
    first.start()
    assert held.wait(10)
    stripe.cancel(subscription)
    other = by_link(ada.metrion, ada.email)
    other.get("/settings/billing?from=portal")
    first.join()
    assert ada.plan == "free"


@pytest.mark.parametrize("seed", range(4))
def test_a_storm_ends_in_the_same_state_with_each_effect_once(
    selling: Metrion, stripe: StripeFake, mail: MailServer, email: str, seed: int
) -> None:
    """A life of a subscription, each event five times and shuffled, from two senders, while somebody reconciles."""
    ada, before = new_customer(selling, stripe, email), len(stripe.events)
    first = ada.subscribe(status="incomplete")
    stripe.set_status(first, "incomplete_expired")
    second = ada.subscribe()
    stripe.fail(second)
    stripe.recover(second)
    third = ada.subscribe()  # paid twice
    stripe.cancel_at_period_end(second)
    stripe.dispute(second)
    with stripe.lock:
        mine = stripe.events = stripe.events[before:]
    reconciling = subprocess.Popen(
        [sys.executable, "-m", "metrion", "billing", "reconcile"], env=selling.environment, stdout=subprocess.DEVNULL
    )
    told = len(mine)
    assert stripe.storm(endpoint(selling), seed=seed) == [200] * 5 * told
    assert reconciling.wait(60) == 0
    wait_until(lambda: ada.plan == "pro" and stripe.things[third]["status"] == "canceled")
    assert [one["status"] for one in stripe.all("refund", customer=ada.id)] == ["succeeded"]
    assert stripe.count("DELETE", f"/v1/subscriptions/{third}") == 1
    stripe.storm(endpoint(selling), seed=seed)  # with what happened meanwhile
    stripe.end_period(second)
    stripe.storm(endpoint(selling), seed=seed)
    wait_until(lambda: ada.plan == "free")
    stripe.storm(endpoint(selling), seed=seed)
    wait_until(lambda: "wait to be handled" not in selling.call("billing", "list"))
    lines = [line for line in selling.call("billing", "list").splitlines() if email in line]
    assert [line.split()[1:3] for line in lines if "cus_" in line] == [["free", "canceled"]]
    assert sorted(line.split()[1] for line in lines if "cus_" not in line) == ["dispute", "refund"]
    assert len(stripe.all("refund", customer=ada.id)) == 1
    mail.wait_for(email)
    assert len([letter for letter in mail.letters(email) if "free plan" in letter["subject"]]) == 1


def test_forged_old_and_unsigned_ones_change_nothing(ada: Customer) -> None:
    ada.subscribe()
    told = events_about(ada)[-1]
    to, (payload, signature) = endpoint(ada.metrion), sign(told)
    old = sign(told, at=1_700_000_000)
    other = sign(told, secret="whsec_other")
    empty = sign(told, secret="")
    for forged in ((payload, ""), (payload + b" ", signature), old, other, empty):
        assert send(to, *forged) == 400
    assert send(to, b"x" * (1024 * 1024 + 1), signature) == 413
    assert exchange(ada.metrion.port, "GET", "/webhooks/stripe").status in (405, 421)
    assert ada.browser.get("/webhooks/stripe").status == 405
    assert ada.plan == "free"
    assert ada.stripe.count("GET", f"/v1/customers/{ada.id}") == 0


def test_it_needs_no_cookie_and_no_page_but_other_forms_still_do(ada: Customer) -> None:
    answer = exchange(
        ada.metrion.port, "POST", "/settings/billing/upgrade", [("Host", f"127.0.0.1:{ada.metrion.port}")]
    )
    assert answer.status == 403


def test_without_a_secret_the_endpoint_is_off(new_metrion: NewMetrion, stripe: StripeFake) -> None:
    settings = stripe.settings() | {"METRION_STRIPE_WEBHOOK_SECRET": ""}
    metrion = new_metrion(settings, plan="free")
    event = {
        "id": "evt_1",
        "type": "customer.deleted",
        "created": 1,
        "data": {"object": {"id": "cus_1", "object": "customer"}},
    }
    assert send(endpoint(metrion), *sign(event, secret="")) == 404
    assert send(endpoint(metrion), *sign(event)) == 404


def test_without_stripe_there_is_no_endpoint(new_metrion: NewMetrion) -> None:
    assert send(endpoint(new_metrion()), *sign({})) == 404


def test_what_is_somebody_elses_is_not_kept(ada: Customer, stripe: StripeFake) -> None:
    """One Stripe account may serve several programs."""
    before = len(stripe.events)
    stranger = stripe._keep({**stripe.things[ada.id], "id": "cus_stranger"})
    stripe.dispute(stripe.subscribe(stranger["id"]))
    strange = stripe.events[before:]
    assert set(stripe.deliver(endpoint(ada.metrion), strange)) == {200}
    wait_until(lambda: "wait to be handled" not in ada.metrion.call("billing", "list"))
    assert "cus_stranger" not in ada.metrion.call("billing", "list")
    with pytest.raises(RuntimeError):
        ada.metrion.call("billing", "replay", str(strange[0]["id"]))


def test_while_stripe_does_not_answer_events_wait_and_are_handled_then(ada: Customer, stripe: StripeFake) -> None:
    ada.subscribe()
    stripe.refuse = lambda asked: ApiError(503, "api_error") if ada.id in asked.path else None
    try:
        assert set(stripe.deliver(endpoint(ada.metrion), events_about(ada))) == {200}
        wait_until(lambda: "Stripe answered 503" in _waiting(ada.metrion))
        assert ada.plan == "free"
    finally:
        stripe.refuse = lambda asked: None
    ada.metrion.call("billing", "reconcile")
    assert ada.plan == "pro"
    assert not _waiting(ada.metrion)


def _waiting(metrion: Metrion) -> str:
    return next((line for line in metrion.call("billing", "list").splitlines() if "wait to be handled" in line), "")


@pytest.mark.parametrize("seed", range(3))
def test_killed_in_a_storm_the_next_one_goes_on(
    new_metrion: NewMetrion, mail: MailServer, email: str, seed: int
) -> None:
    with StripeFake() as stripe:
        metrion = new_metrion(stripe.settings() | TRUST | {"METRION_SMTP_URL": mail.url}, plan="free")
        ada = new_customer(metrion, stripe, email)
        kept, surplus = ada.subscribe(), ada.subscribe()
        stripe.slow = 0.05
        rng = random.Random(seed)
        told = [one for one in stripe.events for _ in range(3)]
        rng.shuffle(told)
        for event in told[: rng.randrange(1, len(told))]:
            assert send(endpoint(metrion), *sign(event)) == 200
        metrion.kill()  # what was answered with 200 is stored
        metrion.start()
        for event in told:
            assert send(endpoint(metrion), *sign(event)) == 200
        wait_until(lambda: ada.plan == "pro" and stripe.things[surplus]["status"] == "canceled")
        assert stripe.things[kept]["status"] == "active"
        assert len(stripe.all("refund")) == 1
