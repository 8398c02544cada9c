"""A Metrion whose people can pay at a Stripe of our own, for tests that only need an account of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from uuid import uuid4

import pytest

from tests.billing.customers import Customer, new_customer
from tests.billing.stripe_fake import StripeFake
from tests.fake_provider import FakeProvider
from tests.mail_server import MailServer
from tests.support import PROVIDERS, Metrion

NewCustomer = Callable[..., Customer]
TRUST = {"METRION_TRUSTED_PROXIES": "127.0.0.1"}


@pytest.fixture(scope="session")
def mail() -> Iterator[MailServer]:
    with MailServer() as server:
        yield server


@pytest.fixture(scope="module")
def stripe() -> Iterator[StripeFake]:
    with StripeFake() as fake:
        yield fake


@pytest.fixture(scope="module")
def selling(
    stripe: StripeFake, mail: MailServer, fake: FakeProvider, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Metrion]:
    """Stripe sends nothing to it by itself: tests deliver what they want to arrive."""
    settings = stripe.settings() | TRUST | {"METRION_SMTP_URL": mail.url, "METRION_FREE_MONTHLY_REQUESTS": "5"}
    data = tmp_path_factory.mktemp("selling") / "data"
    server = Metrion(data, dict.fromkeys(PROVIDERS, fake.origin), settings)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def email() -> str:
    return f"ada-{uuid4().hex[:10]}@example.com"


@pytest.fixture
def ada(selling: Metrion, stripe: StripeFake, email: str) -> Customer:
    """Somebody who went to Checkout once and did not pay."""
    return new_customer(selling, stripe, email)
