"""What subscriptions amount to: each state, both sides of the grace, several at once, in any order."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metrion.billing.states import EFFECTS, GRACE_MS, Invoice, Standing, State, Subscription, judge

NOW = 1_795_000_000_000
DAY = 86_400_000


def one(status: str, *, created: int = 0, id: str = "", ours: bool = True) -> Subscription:
    return Subscription(id=id or f"sub_{status}_{created}", status=status, created_ms=NOW - DAY + created, ours=ours)


def of(*subscriptions: Subscription, invoices: tuple[Invoice, ...] = (), known: int | None = None) -> Standing:
    return judge(State(exists=True, subscriptions=subscriptions, invoices=invoices), known, NOW)


def owed(subscription: Subscription, failed_ms: int) -> Invoice:
    return Invoice(
        id=f"in_{failed_ms}",
        number="1",
        status="open",
        created_ms=failed_ms,
        amount=1,
        currency="eur",
        subscription_id=subscription.id,
        failed_ms=failed_ms,
    )


@pytest.mark.parametrize(
    ("status", "paid"),
    [
        ("trialing", True),
        ("active", True),
        ("past_due", True),
        ("incomplete", None),
        ("incomplete_expired", False),
        ("unpaid", False),
        ("paused", False),
        ("canceled", False),
        ("a state of next year", None),
    ],
)
def test_each_state(status: str, paid: bool | None) -> None:
    standing = of(one(status))
    assert standing.paid is paid
    assert standing.subscription is not None
    assert standing.subscription.status == status


def test_no_subscription_and_no_customer_pay_nothing() -> None:
    assert of() == Standing(paid=False)
    assert judge(State(exists=False, subscriptions=[one("active")]), None, NOW) == Standing(paid=False)


def test_the_table_is_complete() -> None:
    """By Stripe's own list of states, of November 2026."""
    states = "incomplete incomplete_expired trialing active past_due canceled unpaid paused"
    assert set(EFFECTS) == set(states.split())


@pytest.mark.parametrize(("ago", "paid"), [(0, True), (GRACE_MS - 1, True), (GRACE_MS, False), (GRACE_MS + 1, False)])
def test_both_sides_of_the_seventh_day(ago: int, paid: bool) -> None:
    late = one("past_due")
    by_invoice = of(late, invoices=(owed(late, NOW - ago),))
    as_known = of(late, known=NOW - ago)
    for standing in (by_invoice, as_known):
        assert (standing.paid, standing.grace_ends_ms) == (paid, NOW - ago + GRACE_MS)


def test_the_grace_begins_with_the_first_failure_and_the_invoice_knows_it_best() -> None:
    late = one("past_due")
    two = (owed(late, NOW - 3 * DAY), owed(late, NOW - 5 * DAY), owed(one("active", created=9), NOW - 6 * DAY))
    assert of(late, invoices=two, known=NOW).grace_ends_ms == NOW - 5 * DAY + GRACE_MS
    assert of(late).grace_ends_ms == NOW + GRACE_MS  # nobody knows: it is new to us


def test_of_two_that_pay_the_newer_is_too_many() -> None:
    older, newer = one("active", created=1), one("trialing", created=2)
    standing = of(newer, older)
    assert (standing.paid, standing.subscription, standing.surplus) == (True, older, (newer,))


def test_what_the_operator_made_in_stripe_counts_and_is_left_alone() -> None:
    theirs, ours = one("active", created=1, ours=False), one("active", created=2)
    assert of(theirs, ours).surplus == (ours,)
    later = one("active", created=3, ours=False)
    assert of(ours, later).surplus == ()


def test_an_old_one_that_is_not_paid_any_more_does_not_end_a_new_one() -> None:
    late = one("past_due", created=1)
    new = one("active", created=2)
    standing = of(late, new, invoices=(owed(late, NOW - GRACE_MS),))
    assert (standing.paid, standing.subscription, standing.surplus, standing.grace_ends_ms) == (True, new, (), None)


def test_a_first_payment_under_way_keeps_nothing_alive_that_has_ended() -> None:
    assert of(one("canceled", created=1), one("incomplete", created=2)).paid is False


def test_what_can_be_taken_up_again_is_shown_before_what_has_ended() -> None:
    assert of(one("unpaid", created=1), one("canceled", created=2)).subscription == one("unpaid", created=1)
    assert of(one("canceled", created=1), one("canceled", created=2)).subscription == one("canceled", created=2)


STATUSES = st.sampled_from([*EFFECTS, "unheard of"])


@given(st.lists(st.tuples(STATUSES, st.integers(0, 3), st.booleans()), max_size=6), st.integers(0, 2**16))
def test_the_order_in_which_they_are_told_says_nothing(found: list[tuple[str, int, bool]], seed: int) -> None:
    told = [one(status, created=created, id=f"sub_{n}", ours=ours) for n, (status, created, ours) in enumerate(found)]
    invoices = tuple(owed(sub, NOW - n * 2 * DAY) for n, sub in enumerate(told) if sub.status == "past_due")
    standing = of(*told, invoices=invoices)
    random.Random(seed).shuffle(told)
    assert of(*told, invoices=invoices[::-1]) == standing
    live = [sub for sub in told if sub.status in ("active", "trialing")]
    assert standing.paid is True or not live
    assert all(sub.ours for sub in standing.surplus)
