"""What a customer's subscriptions amount to, of any states in any order. Pure.

The states are Stripe's own (https://docs.stripe.com/api/subscriptions/object#subscription_object-status).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

from metrion.kit.clock import DAY_MS

GRACE_MS = 7 * DAY_MS  # from the first failed payment on

Effect = Literal["pro", "grace", "unchanged", "free"]
EFFECTS: dict[str, Effect] = {
    "trialing": "pro",
    "active": "pro",  # to the end of its period also where it was cancelled for then: it is `canceled` only after it
    "past_due": "grace",
    "incomplete": "unchanged",  # its first payment is under way
    "incomplete_expired": "free",
    "unpaid": "free",
    "paused": "free",
    "canceled": "free",
}

OWED = ("past_due", "unpaid", "paused")  # not over: its owner takes it up again in Stripe's portal, not by another one


class Subscription(msgspec.Struct, frozen=True, kw_only=True):
    """A subscription as Stripe describes it now. Times are Unix ms."""

    id: str
    status: str
    created_ms: int
    renews_ms: int | None = None  # the end of its period or trial
    ends_ms: int | None = None  # when it will end or has ended; None where it goes on
    ours: bool = True  # made by our Checkout, not by the operator in Stripe


class Invoice(msgspec.Struct, frozen=True, kw_only=True):
    """An invoice's reference. `failed_ms`: when its payment was first tried, where it is still owed."""

    id: str
    number: str
    status: str
    created_ms: int
    amount: int  # in the currency's smallest unit
    currency: str
    subscription_id: str = ""
    failed_ms: int | None = None


class State(msgspec.Struct, frozen=True, kw_only=True):
    """A customer as Stripe describes it now; `exists`: it was not deleted there."""

    exists: bool
    subscriptions: Sequence[Subscription] = ()
    invoices: Sequence[Invoice] = ()


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """What that amounts to."""

    paid: bool | None  # None: as it was
    grace_ends_ms: int | None = None  # a payment failed: how long it counts as paid nonetheless
    subscription: Subscription | None = None  # the one that counts
    surplus: tuple[Subscription, ...] = ()  # those that pay for the same once more


def judge(state: State, failed_before_ms: int | None, now_ms: int) -> Standing:
    """The standing of a customer; `failed_before_ms`: since when a payment was known to have failed before."""
    if not state.exists:
        return Standing(paid=False)
    ordered = sorted(state.subscriptions, key=lambda one: (one.created_ms, one.id))
    graces = {
        one.id: _failed_ms(one, state.invoices, failed_before_ms, now_ms) + GRACE_MS
        for one in ordered
        if _effect(one) == "grace"
    }
    live = [one for one in ordered if _effect(one) == "pro" or graces.get(one.id, 0) > now_ms]
    if live:
        surplus = tuple(one for one in live[1:] if one.ours)
        return Standing(paid=True, grace_ends_ms=graces.get(live[0].id), subscription=live[0], surplus=surplus)
    undecided = bool(ordered) and all(_effect(one) == "unchanged" for one in ordered)
    shown = next((one for one in reversed(ordered) if one.status in OWED), ordered[-1] if ordered else None)
    grace_ends_ms = graces.get(shown.id) if shown else None
    return Standing(paid=None if undecided else False, grace_ends_ms=grace_ends_ms, subscription=shown)


def _effect(subscription: Subscription) -> Effect:
    # A state that is new at Stripe changes nothing until somebody has thought about it.
    return EFFECTS.get(subscription.status, "unchanged")


def _failed_ms(
    subscription: Subscription, invoices: Sequence[Invoice], failed_before_ms: int | None, now_ms: int
) -> int:
    """When the first payment failed that is still owed: by Stripe's invoices, else as it was known, else now."""
    owed = [one.failed_ms for one in invoices if one.subscription_id == subscription.id and one.failed_ms is not None]
    return min(owed) if owed else failed_before_ms if failed_before_ms is not None else now_ms
