"""Money: integer nano-dollars inside, decimal text outside, never a float."""

from __future__ import annotations

from decimal import Decimal

NANO = 1_000_000_000  # nano-dollars in a dollar


def nano_from_usd(usd: str | Decimal) -> int:
    """Return nano-dollars, rounded half-even; raises ValueError for what is not a finite decimal number."""
    try:
        amount = Decimal(usd)
    except ArithmeticError as error:
        raise ValueError(f"{usd!r} is not a decimal number") from error
    if not amount.is_finite():
        raise ValueError(f"{usd!r} is not a finite number")
    return round(amount * NANO)


def usd_from_nano(nano: int) -> str:
    """Return dollars as plain decimal text without trailing zeros: 37_500_000 is "0.0375"."""
    whole, part = divmod(abs(nano), NANO)
    fraction = f".{part:09d}".rstrip("0") if part else ""
    return f"{'-' if nano < 0 else ''}{whole}{fraction}"


def divide_half_even(amount: int, by: int) -> int:
    """Return amount / by, rounded to the nearest integer, ties to the even one; `by` is positive."""
    whole, rest = divmod(amount, by)
    twice = rest + rest
    return whole + 1 if twice > by or (twice == by and whole & 1) else whole
