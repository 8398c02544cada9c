"""Currency: money as an account sees it. The ledger is in dollars; what is shown is converted at one dated rate."""

from __future__ import annotations

from fractions import Fraction
from typing import NamedTuple

from metrion.rates.latest import LatestRates
from metrion.rates.table import Rate
from metrion.web.figures import call_money, exact_usd, money
from metrion.web.filters import day_words

SIGNS = {"USD": "$", "EUR": "€", "CHF": "CHF "}


class Money(NamedTuple):
    """Nano-dollars as text in one currency; `rate` is None for dollars."""

    rate: Rate | None = None

    @property
    def currency(self) -> str:
        """Its code."""
        return self.rate.currency if self.rate else "USD"

    @property
    def sign(self) -> str:
        """What stands before an amount."""
        return SIGNS[self.currency]

    def convert(self, nano: int) -> int:
        """Billionths of the currency."""
        return self.rate.convert(nano) if self.rate else nano

    def text(self, nano: int | None) -> str:
        """For people: four digits below a cent, else two decimals, none from 10,000."""
        return money(None if nano is None else self.convert(nano), self.currency)

    def of_call(self, nano: int | None) -> str:
        """What one call cost, for people: six decimals below one."""
        return call_money(None if nano is None else self.convert(nano), self.currency)

    def exact(self, nano: int | None) -> str:
        """To the last digit, and always in dollars, as the ledger has it."""
        return exact_usd(nano)

    @property
    def note(self) -> str:
        """How it was converted; "" for dollars."""
        if self.rate is None:
            return ""
        per_usd = float(Fraction(self.rate.per_usd))
        return (
            f"Shown in {self.currency} at {per_usd:.4f} for one US dollar, the European Central Bank's rate of"
            f" {day_words(self.rate.day)}. Exact figures are in dollars."
        )


def money_in(currency: str, rates: LatestRates) -> Money:
    """Money in a currency, at the latest rate."""
    return Money(None if currency == "USD" else rates.of(currency))
