"""People with an account that Stripe knows, and what Metrion thinks of them. Shared by the tests of billing."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from tests.billing.stripe_fake import StripeFake
from tests.support import Metrion
from tests.web.browser import Browser, Page
from tests.web.people import by_link

T = TypeVar("T")


@dataclass
class Customer:
    """An account with its browser, at a Metrion and its Stripe."""

    metrion: Metrion
    stripe: StripeFake
    email: str
    token: str
    browser: Browser
    id: str = ""  # Stripe's

    @property
    def plan(self) -> str:
        accounts = json.loads(self.metrion.call("account", "list", "--json"))
        return next(str(one["plan"]) for one in accounts if one["email"] == self.email)

    def has(self, plan: str) -> bool:
        return self.plan == plan

    def to_checkout(self) -> str:
        """Press Upgrade; where that leads."""
        self.browser.get("/settings/billing")
        return leads_to(self.browser.submit("/settings/billing/upgrade"))

    def subscribe(self, status: str = "active") -> str:
        """Pay, as Stripe's page has it done; the subscription. Nobody told Metrion yet."""
        return self.stripe.subscribe(self.id, status=status)

    def back(self) -> Page:
        """Come back from Stripe, which has Metrion ask."""
        return self.browser.get("/settings/billing?from=checkout")


def new_customer(metrion: Metrion, stripe: StripeFake, email: str, *, plan: str = "free") -> Customer:
    """An account on the free plan that went to Checkout and did nothing there."""
    made = json.loads(metrion.call("account", "create", email, "--plan", plan, "--json"))
    customer = Customer(metrion, stripe, email, made["token"], by_link(metrion, email))
    if plan == "free":
        customer.to_checkout()
        customer.id = stripe.all("customer", email=email)[-1]["id"]
    return customer


def leads_to(page: Page) -> str:
    """Where a page sends the browser on to, at Stripe."""
    assert page.status == 200, page.text
    url = str(page.headers["refresh"]).partition("url=")[2]
    assert page.links["Continue at Stripe"] == url  # for who follows no refresh
    return url


def wait_until(condition: Callable[[], T | None], seconds: float = 15.0) -> T:
    """What `condition` gives once it gives something; raises TimeoutError."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        if time.monotonic() > end:
            raise TimeoutError
        time.sleep(0.03)
    return found
