"""Amounts of money as Stripe writes them: whole numbers of a currency's smallest unit."""

from __future__ import annotations

# https://docs.stripe.com/currencies#zero-decimal, #special-cases and #three-decimal (November 2026).
_DIGITS = dict.fromkeys(("BHD", "JOD", "KWD", "OMR", "TND"), 3) | dict.fromkeys(
    ("BIF", "CLP", "DJF", "GNF", "JPY", "KMF", "KRW", "MGA", "PYG", "RWF", "VND", "VUV", "XAF", "XOF", "XPF"), 0
)
_SIGNS = {"USD": "$", "EUR": "€", "GBP": "£"}


def amount_text(amount: int, currency: str) -> str:
    """2900, "eur" as €29.00; 500, "jpy" as JPY 500."""
    code = currency.upper()
    digits = _DIGITS.get(code, 2)
    whole, rest = divmod(abs(amount), 10**digits)
    text = f"{whole:,}" + (f".{rest:0{digits}}" if digits else "")
    return ("-" if amount < 0 else "") + _SIGNS.get(code, f"{code} ") + text


def price_text(amount: int, currency: str, interval: str, every: int) -> str:
    """2900, "eur", "month", 1 as €29.00 a month."""
    span = f"a {interval}" if every == 1 else f"every {every} {interval}s"
    return f"{amount_text(amount, currency)} {span}" if interval else amount_text(amount, currency)
