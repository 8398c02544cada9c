"""Stripe, through its official SDK: the only file that speaks to it. Calls block; each raises BillingError.

What is asked for is the current state, in the API version that the SDK is made for. What is sent twice is done once:
by the state that is there, or by an idempotency key of ours.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec
import requests
import stripe
from stripe.params.checkout import SessionCreateParams

from metrion.billing.states import Invoice, State, Subscription
from metrion.config import Settings
from metrion.errors import BillingError

# What Stripe's endpoint is to be set to send; at most 20 can be asked for at once (docs.stripe.com/api/events/list).
EVENT_TYPES = (
    "checkout.session.completed",
    "checkout.session.async_payment_succeeded",
    "checkout.session.async_payment_failed",
    "customer.deleted",
    "customer.subscription.created",
    "customer.subscription.updated",
    "customer.subscription.deleted",
    "customer.subscription.paused",
    "customer.subscription.resumed",
    "invoice.paid",
    "invoice.payment_failed",
    "invoice.voided",
    "invoice.marked_uncollectible",
    "refund.created",
    "refund.updated",
    "refund.failed",
    "charge.dispute.created",
    "charge.dispute.updated",
    "charge.dispute.closed",
)

_SECONDS = (5.0, 15.0)  # to connect, and of silence
_RETRIES = 1
_PAGE = 100  # Stripe's most
_OVER = ("canceled", "incomplete_expired")
_OURS = "metrion_account"  # a subscription's metadata say by it that it was made here

stripe.enable_telemetry = False  # it tells of the machine and of past requests


class Offer(msgspec.Struct, frozen=True):
    """What pro costs, as Stripe has it. `amount`: in the currency's smallest unit; None: it is by tiers."""

    name: str
    amount: int | None
    currency: str
    interval: str  # "month", "year", …
    every: int  # so many of them


class Event(msgspec.Struct, frozen=True):
    """That something happened: of which kind, to which customer ("": it does not say) and to which object."""

    id: str
    type: str
    created_ms: int
    customer_id: str
    object_id: str


class Reversal(msgspec.Struct, frozen=True):
    """A refund or a dispute."""

    id: str
    kind: str
    customer_id: str
    status: str
    reason: str
    created_ms: int
    amount: int
    currency: str


class Stripe:
    """One Stripe account. May be used by several threads."""

    def __init__(self, settings: Settings) -> None:
        session = requests.Session()
        session.trust_env = False  # no proxy, and no password of a .netrc in the place of the key
        self._price_id = settings.stripe_price_id
        self._tax = settings.stripe_automatic_tax == "on"
        self._webhook_secret = settings.stripe_webhook_secret
        origin = settings.stripe_api_origin
        self._api = stripe.StripeClient(
            settings.stripe_secret_key.reveal().decode(),
            base_addresses={"api": origin} if origin else None,
            max_network_retries=_RETRIES,
            http_client=stripe.RequestsClient(timeout=_SECONDS, session=session),
        ).v1

    # ── what people see ───────────────────────────────────────────────────────────────────────────────────────────

    def offer(self) -> Offer:
        """Name and price of pro."""
        with _asking():
            price = self._api.prices.retrieve(self._price_id, {"expand": ["product"]}).to_dict()
        every = price["recurring"] or {"interval": "", "interval_count": 1}
        name = price["nickname"] or price["product"]["name"]
        return Offer(name, price["unit_amount"], price["currency"], every["interval"], every["interval_count"])

    def create_customer(self, account_id: int, email: str) -> str:
        """Make an account a customer; returns its id."""
        with _asking():
            return self._api.customers.create({"email": email, "metadata": {_OURS: str(account_id)}}).id

    def checkout(self, account_id: int, customer_id: str, back: str) -> str:
        """Where a customer goes to subscribe; `back`: from there. Another way there that is still open is closed."""
        asked: SessionCreateParams = {
            "mode": "subscription",
            "customer": customer_id,
            "client_reference_id": str(account_id),
            "line_items": [{"price": self._price_id, "quantity": 1}],
            "subscription_data": {"metadata": {_OURS: str(account_id)}},
            "success_url": f"{back}?from=checkout",
            "cancel_url": back,
        }
        if self._tax:
            asked["automatic_tax"] = {"enabled": True}
            asked["billing_address_collection"] = "required"
            asked["customer_update"] = {"address": "auto", "name": "auto"}
            asked["tax_id_collection"] = {"enabled": True}
        self._expire_checkouts(customer_id)
        with _asking():
            return self._api.checkout.sessions.create(asked).url or ""

    def portal(self, customer_id: str, back: str) -> str:
        """Where a customer goes to change, pay or cancel; `back`: from there."""
        with _asking():
            asked = self._api.billing_portal.sessions.create(
                {"customer": customer_id, "return_url": f"{back}?from=portal"}
            )
            return asked.url

    # ── what is so ────────────────────────────────────────────────────────────────────────────────────────────────

    def state_of(self, customer_id: str) -> State:
        """A customer's subscriptions of any status, and its latest invoices."""
        with _asking():
            try:
                customer = self._api.customers.retrieve(customer_id).to_dict()
            except stripe.InvalidRequestError as problem:
                if problem.code == "resource_missing":
                    return State(exists=False)
                raise
            if customer.get("deleted"):
                return State(exists=False)
            subscriptions = self._api.subscriptions.list({"customer": customer_id, "limit": _PAGE, "status": "all"})
            invoices = self._api.invoices.list({"customer": customer_id, "limit": _PAGE})
            return State(
                exists=True,
                subscriptions=[_subscription(one.to_dict()) for one in subscriptions.auto_paging_iter()],
                invoices=[_invoice(one.to_dict()) for one in invoices.data],
            )

    def reversal(self, event_type: str, object_id: str) -> Reversal:
        """The refund or dispute that an event was about."""
        with _asking():
            if event_type.startswith("refund."):
                kind, found = "refund", self._api.refunds.retrieve(object_id, {"expand": ["charge"]}).to_dict()
            else:
                kind, found = "dispute", self._api.disputes.retrieve(object_id, {"expand": ["charge"]}).to_dict()
        return Reversal(
            id=found["id"],
            kind=kind,
            customer_id=_id(found.get("customer") or (found["charge"] or {}).get("customer")),
            status=found["status"] or "",
            reason=found["reason"] or "",
            created_ms=found["created"] * 1000,
            amount=found["amount"],
            currency=found["currency"],
        )

    # ── what happened ─────────────────────────────────────────────────────────────────────────────────────────────

    def read_event(self, payload: bytes, signature: str) -> Event | None:
        """What was sent to our endpoint; None where Stripe did not sign it with our secret in the last five minutes."""
        secret = self._webhook_secret.reveal().decode()
        if not secret:
            return None
        try:
            stripe.WebhookSignature.verify_header(payload, signature, secret, stripe.Webhook.DEFAULT_TOLERANCE)
            return _event(msgspec.json.decode(payload))
        except (stripe.SignatureVerificationError, ValueError, KeyError, TypeError):
            return None

    def events_since(self, since_ms: int) -> list[Event]:
        """What happened since then, the latest first; Stripe knows 30 days."""
        with _asking():
            found = self._api.events.list(
                {"types": list(EVENT_TYPES), "created": {"gte": since_ms // 1000}, "limit": _PAGE}
            )
            return [_event(one.to_dict()) for one in found.auto_paging_iter()]

    # ── ends ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def cancel_and_refund(self, subscription_id: str) -> None:
        """End a subscription at once and give back all that was paid for it; as often as one likes.

        The money first: what is cancelled does not come up again.
        """
        with _asking():
            found = self._api.invoices.list(
                {"subscription": subscription_id, "limit": _PAGE, "expand": ["data.payments"]}
            )
            for invoice in found.auto_paging_iter():
                self._undo(invoice.to_dict())
            self._cancel(subscription_id)

    def _cancel(self, subscription_id: str) -> None:
        try:
            self._api.subscriptions.cancel(subscription_id, {"invoice_now": False, "prorate": False})
        except stripe.InvalidRequestError as problem:
            if problem.code != "resource_missing":  # as Stripe says of one that is cancelled already
                raise

    def _undo(self, invoice: Mapping[str, Any]) -> None:
        if invoice["status"] == "open":
            self._api.invoices.void_invoice(invoice["id"])
        for one in (invoice["payments"] or {"data": []})["data"]:
            intent = _id(one["payment"].get("payment_intent"))
            if one["status"] == "paid" and intent:
                self._refund(intent)

    def _refund(self, payment_intent: str) -> None:
        try:
            self._api.refunds.create(
                {"payment_intent": payment_intent, "reason": "duplicate"},
                {"idempotency_key": f"metrion-refund-{payment_intent}"},
            )
        except stripe.InvalidRequestError as problem:
            if problem.code != "charge_already_refunded":
                raise

    def close(self, customer_id: str) -> None:
        """End all that a customer pays for, and delete it; as often as one likes."""
        if not self.state_of(customer_id).exists:
            return
        self._expire_checkouts(customer_id)
        with _asking():
            for one in self._api.subscriptions.list({"customer": customer_id, "limit": _PAGE}).auto_paging_iter():
                if one.status not in _OVER:
                    self._cancel(one.id)
            self._api.customers.delete(customer_id)

    def _expire_checkouts(self, customer_id: str) -> None:
        with _asking():
            found = self._api.checkout.sessions.list({"customer": customer_id, "status": "open", "limit": _PAGE})
            for one in found.auto_paging_iter():
                self._api.checkout.sessions.expire(one.id)


@contextmanager
def _asking() -> Iterator[None]:
    """Turn what the SDK raises into BillingError: by Stripe's codes, for its messages may quote a key or an address."""
    try:
        yield
    except stripe.APIConnectionError:
        raise BillingError("Stripe cannot be reached") from None
    except stripe.StripeError as problem:
        what, param = problem.code or type(problem).__name__, getattr(problem, "param", None)
        about = f" ({param})" if param else ""
        raise BillingError(f"Stripe answered {problem.http_status or 'unexpectedly'}: {what}{about}") from None


def _subscription(found: Mapping[str, Any]) -> Subscription:
    items: Sequence[Mapping[str, Any]] = found["items"]["data"]
    ends, renews = found["ended_at"] or found["cancel_at"], items[0]["current_period_end"] if items else None
    return Subscription(
        id=found["id"],
        status=found["status"],
        created_ms=found["created"] * 1000,
        renews_ms=renews and renews * 1000,
        ends_ms=ends and ends * 1000,
        ours=_OURS in found["metadata"],
    )


def _invoice(found: Mapping[str, Any]) -> Invoice:
    parent = (found["parent"] or {}).get("subscription_details") or {}
    # A subscription's payment is first tried when its invoice is finalized (docs.stripe.com/billing/invoices/overview).
    failed = found["status_transitions"]["finalized_at"] if found["status"] == "open" and found["attempted"] else None
    return Invoice(
        id=found["id"],
        number=found["number"] or "",
        status=found["status"] or "",
        created_ms=found["created"] * 1000,
        amount=found["total"],
        currency=found["currency"],
        subscription_id=_id(parent.get("subscription")),
        failed_ms=failed and failed * 1000,
    )


def _event(found: Mapping[str, Any]) -> Event:
    about = found["data"]["object"]
    customer = about["id"] if about["object"] == "customer" else about.get("customer")
    return Event(found["id"], found["type"], found["created"] * 1000, _id(customer), about["id"])


def _id(found: Any) -> str:
    """The id of what is named or told in full; "" for nothing."""
    return str(found["id"]) if isinstance(found, Mapping) else str(found or "")
