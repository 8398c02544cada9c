"""Loading the SDK where Stripe is configured: it takes a third of a second, which others should not wait for."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from metrion.config import Settings

if TYPE_CHECKING:
    from metrion.billing.stripe import Stripe


def connect(settings: Settings) -> Stripe | None:
    """The operator's Stripe account; None where none is configured. Asks it nothing yet."""
    if not settings.stripe_on:
        return None
    found: Stripe = importlib.import_module("metrion.billing.stripe").Stripe(settings)
    return found
