"""The fake's objects have the fields that Stripe's own SDK declares for its API version, and none of its own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import stripe as sdk
from stripe.billing_portal import Session as PortalSession
from stripe.checkout import Session as CheckoutSession

from tests.billing import stripe_shapes as shapes
from tests.billing.stripe_fake import API_VERSION, StripeFake

KINDS: dict[str, Any] = {
    "customer": sdk.Customer,
    "product": sdk.Product,
    "price": sdk.Price,
    "subscription": sdk.Subscription,
    "subscription_item": sdk.SubscriptionItem,
    "invoice": sdk.Invoice,
    "invoice_payment": sdk.InvoicePayment,
    "charge": sdk.Charge,
    "refund": sdk.Refund,
    "dispute": sdk.Dispute,
    "event": sdk.Event,
    "checkout.session": CheckoutSession,
    "billing_portal.session": PortalSession,
}


@pytest.fixture(scope="module")
def objects() -> dict[str, shapes.Object]:
    """One of each kind."""
    with StripeFake() as fake:
        customer = fake._keep(shapes.customer("cus_1", 1, "ada@example.com", {}))
        subscription = fake.subscribe("cus_1")
        fake.refund(subscription)
        fake.dispute(subscription)
        every = [*fake.things.values(), *fake.payments.values(), *fake.events]
        every += fake.things[subscription]["items"]["data"]
        asked = {"customer": customer["id"], "mode": "subscription", "success_url": "http://a"}
        every += [shapes.checkout_session("cs_1", 1, asked, "http://b"), shapes.portal_session("bps_1", 1, asked, "x")]
    return {one["object"]: one for one in every}


def declared(kind: Any) -> Iterator[tuple[str, bool]]:
    """A field's name, and whether an object of that kind always has it."""
    for name, annotation in kind.__annotations__.items():
        text = str(annotation)
        if "ClassVar" not in text and not name.startswith("_"):
            yield name, not text.startswith(("typing.Optional", "Optional"))


@pytest.mark.parametrize("kind", KINDS)
def test_an_object_looks_as_the_sdk_declares_it(kind: str, objects: dict[str, shapes.Object]) -> None:
    fields = dict(declared(KINDS[kind]))
    assert objects[kind].keys() <= fields.keys()
    always = {name for name, is_always in fields.items() if is_always}
    # Only shown where they are asked for (expanded) or bought: docs.stripe.com/expand.
    assert always - objects[kind].keys() == set()


def test_the_fake_speaks_the_version_that_the_sdk_asks_for() -> None:
    assert sdk.api_version in (None, API_VERSION)
    assert sdk.StripeClient("sk_test_0")._requestor._options.stripe_version == API_VERSION
