"""`/settings/billing`: the plan, what of it this month has used, and the way to Stripe and back. And its webhooks."""

from __future__ import annotations

from typing import Any, NamedTuple

from starlette.exceptions import HTTPException
from starlette.responses import Response

from metrion.accounts.plans import FREE, HIDDEN_MS, PRO, plans_of, visible_since
from metrion.billing.amounts import amount_text, price_text
from metrion.billing.clerk import GOES_ON
from metrion.billing.service import Billing
from metrion.config import Settings
from metrion.errors import BillingError
from metrion.kit.clock import now_ms
from metrion.kit.months import month_of, month_start_ms
from metrion.storage import billing as stored
from metrion.storage.accounts import list_accounts
from metrion.storage.database import Connection
from metrion.storage.rows import month_used
from metrion.web.visit import TooMany, Visit, refused

_WEBHOOK_BYTES = 1024 * 1024  # an event holds one object; Stripe's largest are far below
_INVOICES = 12
_NOTES = {
    "pro": "You are on Pro now. Thank you.",
    "live": "You have a subscription already: manage it here.",
    "late": "Stripe did not answer just now. This page is right again within minutes.",
}


class _Kept(NamedTuple):
    """What is stored: what Stripe said of the account, its invoices, and this month's requests."""

    customer: Any | None
    invoices: list[Any]
    used: int
    free_since_ms: int | None  # when it came from pro to free


async def show(visit: Visit) -> Response:
    """Plan, use and what changes it; for who comes back from Stripe, what is so there by now."""
    back_from = visit.request.query_params.get("from")
    if back_from is None:
        return await _page(visit)
    await _ask_stripe(visit, paid=back_from == "checkout")
    return visit.redirect("/settings/billing")


async def _ask_stripe(visit: Visit, *, paid: bool) -> None:
    """Be right before the webhook arrives; for who has `paid`, a note says what came of it."""
    billing, account = visit.site.billing, visit.account
    if billing is None:
        return
    try:
        visit.limit("billing_account", str(account.id))
        await billing.clerk.refresh(account.id)
    except (BillingError, TooMany):
        visit.note("late")
        return
    (stored_account,) = await visit.site.read(lambda connection: list_accounts(connection, account.id))
    if paid and stored_account.plan == PRO.name:  # by us, or by the webhook just before
        visit.note("pro")


async def _page(visit: Visit, status: int = 200, errors: dict[str, str] | None = None) -> Response:
    kept = await visit.site.read(lambda connection: _read(visit, connection))
    customer, settings, billing = kept.customer, visit.site.settings, visit.site.billing
    state = customer.status if customer is not None else ""
    return visit.render(
        "settings/billing.html",
        status,
        errors=errors,
        said=visit.take_note(_NOTES),
        plans=plans_of(settings),
        used=kept.used if visit.use is None else visit.use.used,
        reset_ms=month_start_ms(month_of(now_ms()) + 1),
        name=billing.offer.name if billing is not None and billing.offer else "Pro",
        price=_price(billing),
        customer=customer,
        state=state,
        goes_on=state in GOES_ON,
        invoices=kept.invoices,
        hidden_until_ms=_hidden_until(settings, kept.free_since_ms),
        amount_text=amount_text,
    )


def _read(visit: Visit, connection: Connection) -> _Kept:
    account_id = visit.account.id
    month_ms = month_start_ms(month_of(now_ms()))
    return _Kept(
        stored.find_billing(connection, account_id),
        list(stored.list_invoices(connection, account_id, _INVOICES)),
        month_used(connection, account_id, month_ms),
        list_accounts(connection, account_id)[0].free_since_ms,
    )


def _hidden_until(settings: Settings, free_since_ms: int | None) -> int | None:
    """When what only pro shows is deleted; None where nothing is hidden."""
    now = now_ms()
    if free_since_ms is None or free_since_ms + HIDDEN_MS <= now:
        return None
    hides = visible_since(settings, PRO.name, now) < visible_since(settings, FREE.name, now)
    return free_since_ms + HIDDEN_MS if hides else None


def _price(billing: Billing | None) -> str:
    """What pro costs, in Stripe's words; "" where that is not known, or by tiers."""
    offer = billing.offer if billing is not None else None
    if offer is None or offer.amount is None:
        return ""
    return price_text(offer.amount, offer.currency, offer.interval, offer.every)


async def upgrade(visit: Visit) -> Response:
    """To Stripe's Checkout."""
    await visit.form()
    account, billing = visit.account, _billing(visit)
    try:
        visit.limit("billing_account", str(account.id))
        url = await billing.clerk.checkout(account.id, account.email)
    except TooMany as problem:
        return await _page(visit, *refused(problem, "stripe"))
    except BillingError:
        return await _page(visit, 503, {"stripe": "Stripe does not answer just now. Try again in a moment."})
    if not url:
        visit.note("live")
        return visit.redirect("/settings/billing")
    return visit.leave(url)


async def manage(visit: Visit) -> Response:
    """To Stripe's portal: to change the card, pay what is owed, cancel, or see invoices."""
    await visit.form()
    account, billing = visit.account, _billing(visit)
    try:
        visit.limit("billing_account", str(account.id))
        url = await billing.clerk.portal(account.id)
    except TooMany as problem:
        return await _page(visit, *refused(problem, "stripe"))
    except BillingError:
        return await _page(visit, 503, {"stripe": "Stripe does not answer just now. Try again in a moment."})
    return visit.leave(url) if url else visit.redirect("/settings/billing")


def _billing(visit: Visit) -> Billing:
    if visit.site.billing is None:
        raise HTTPException(404)
    return visit.site.billing


async def receive(visit: Visit) -> Response:
    """What Stripe sends by webhook: stored, then handled by the server's task."""
    if not visit.site.settings.stripe_webhook_secret:
        raise HTTPException(404)
    payload = b""
    async for chunk in visit.request.stream():
        payload += chunk
        if len(payload) > _WEBHOOK_BYTES:
            raise HTTPException(413)
    if not await _billing(visit).receive(payload, visit.request.headers.get("stripe-signature", "")):
        raise HTTPException(400)
    return Response()
