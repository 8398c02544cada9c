"""Amounts in currencies with two decimals, none and three."""

from __future__ import annotations

import pytest

from metrion.billing.amounts import amount_text, price_text


@pytest.mark.parametrize(
    ("amount", "currency", "text"),
    [
        (2900, "eur", "€29.00"),
        (5, "usd", "$0.05"),
        (123_456_789, "gbp", "£1,234,567.89"),
        (-2900, "chf", "-CHF 29.00"),
        (500, "jpy", "JPY 500"),
        (1_234_567, "kwd", "KWD 1,234.567"),
        (0, "sek", "SEK 0.00"),
    ],
)
def test_an_amount(amount: int, currency: str, text: str) -> None:
    assert amount_text(amount, currency) == text


@pytest.mark.parametrize(
    ("interval", "every", "text"),
    [
        ("month", 1, "€29.00 a month"),
        ("month", 3, "€29.00 every 3 months"),
        ("year", 1, "€29.00 a year"),
        ("", 1, "€29.00"),
    ],
)
def test_a_price(interval: str, every: int, text: str) -> None:
    assert price_text(2900, "eur", interval, every) == text
