"""Figures for people: money, tokens, times and shares as text. Exact values stand in a title beside them."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Decimal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

MISSING = "–"
_NANO = Decimal(10**9)
_UNITS = (("B", 10**9), ("M", 10**6), ("k", 10**3))
_SPANS = ((3600, "h"), (60, "min"), (1, "s"))
_SIGNS = {"USD": "$", "EUR": "€", "CHF": "CHF "}


def money(nano: int | None, currency: str = "USD", rate: Decimal = Decimal(1)) -> str:
    """Nano-dollars in `currency`: below one cent four significant digits, below 100 two decimals, from 10,000 none."""
    if nano is None:
        return MISSING
    amount = nano * rate / _NANO
    sign, size = ("-" if amount < 0 else ""), abs(amount)
    small = Decimal(f"{size:.3e}")  # four digits
    if size == 0:
        text = "0"
    elif small < Decimal("0.01"):
        text = f"{small:.{3 - small.adjusted()}f}"
    else:
        text = f"{size.quantize(Decimal(1) if size >= 10_000 else Decimal('0.01'), ROUND_HALF_EVEN):,}"
    return sign + _SIGNS.get(currency, currency + " ") + text


def call_money(nano: int | None, currency: str = "USD") -> str:
    """What one call cost: six decimals below one, so that points align in a column, or as many as make three digits.

    From one on as `money`.
    """
    if not nano or abs(nano) >= 10**9:
        return money(nano, currency)
    sign, size = ("-" if nano < 0 else ""), abs(nano) / _NANO
    decimals = max(6, 2 - size.adjusted())
    return f"{sign}{_SIGNS.get(currency, currency + ' ')}{size:.{min(decimals, 9)}f}"


def exact_usd(nano: int | None) -> str:
    """Nano-dollars to the last digit: $0.004213 stays so."""
    if nano is None:
        return "not known"
    text = f"{nano / _NANO:,.9f}".rstrip("0")
    whole, _, rest = text.partition(".")
    return f"${whole}.{rest:0<2}"


def count(number: int | None) -> str:
    """1,284 below 10,000, then 12.8k, 3.41M, 1.20B."""
    if number is None:
        return MISSING
    if abs(number) < 10_000:
        return f"{number:,}"
    value = float(f"{number:.2e}")  # three digits, rounded before the unit is chosen: 999,950 is 1.00M
    for unit, size in _UNITS:
        if abs(value) >= size:
            value /= size
            return f"{value:.{_decimals(abs(value))}f}{unit}"
    raise AssertionError("10,000 and more has a unit")


def duration(us: int | None) -> str:
    """Microseconds: 412 ms, 1.24 s, 2 m 05 s."""
    if us is None:
        return MISSING
    if us < 9_950:
        return f"{us / 1000:.1f} ms"
    if us < 999_500:
        return f"{us / 1000:.0f} ms"
    if us < 59_950_000:
        seconds = float(f"{us / 1e6:.3g}")
        return f"{seconds:.{_decimals(seconds)}f} s"
    minutes, rest = divmod(round(us / 1e6), 60)
    return f"{minutes} m {rest:02d} s"


def _decimals(value: float) -> int:
    """How many make three digits."""
    return 2 if value < 10 else 1 if value < 100 else 0


def percent(share: float | None) -> str:
    """0.124 → 12 %; one decimal below 10 %, and never 0 for what is something."""
    if share is None:
        return MISSING
    value = share * 100
    if 0 < value < 0.05:
        return "<0.1 %"
    return f"{value:.{1 if abs(value) < 9.95 and value else 0}f} %"


def zone(name: str) -> ZoneInfo:
    """The zone of that name; UTC where this machine does not know it."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        return ZoneInfo("UTC")


def moment(ms: int | None, zone_name: str = "UTC") -> str:
    """Unix milliseconds as 21 Nov 2026, 10:30:05 in that zone."""
    if ms is None:
        return MISSING
    at = datetime.fromtimestamp(ms / 1000, UTC).astimezone(zone(zone_name))
    return f"{at.day} {at:%b %Y, %H:%M:%S}"


def day(ms: int | None, zone_name: str = "UTC") -> str:
    """Unix milliseconds as 21 Nov 2026 in that zone."""
    if ms is None:
        return MISSING
    at = datetime.fromtimestamp(ms / 1000, UTC).astimezone(zone(zone_name))
    return f"{at.day} {at:%b %Y}"


def ago(ms: int | None, now_ms: int, zone_name: str = "UTC") -> str:
    """How long ago within a day (3 min ago), else 20 Nov, 14:03; of another year only the day."""
    if ms is None:
        return MISSING
    seconds = (now_ms - ms) // 1000
    if 0 <= seconds < 86_400:
        if seconds < 10:
            return "just now"
        return next(f"{seconds // of} {unit} ago" for of, unit in _SPANS if seconds >= of)
    at, now = (datetime.fromtimestamp(one / 1000, UTC).astimezone(zone(zone_name)) for one in (ms, now_ms))
    return f"{at.day} {at:%b, %H:%M}" if at.year == now.year else f"{at.day} {at:%b %Y}"
