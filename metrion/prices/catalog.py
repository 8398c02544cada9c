"""The price book: a sheet of unit prices for each provider × model × context × validity interval, made once and kept."""

from __future__ import annotations

from bisect import bisect_right
from datetime import UTC, datetime
from pathlib import Path

from metrion.prices import library, match
from metrion.prices.calculate import UNKNOWN, Cost, Line, Rates, Sheet, explain, price
from metrion.prices.library import DAY_MS, Prices, Steps
from metrion.wire.usage import Usage

KEPT = 4096  # sheets; model names come from clients' traffic, so the book forgets rather than grows
CONTEXT_FACTS = ("speed", "inference_geo")  # the facts of a usage that change its price
# Values that mean the list price. Any other value needs a price of its own, or the call is unpriced.
LIST_PRICE = {
    "service_tier": {"", "default", "standard", "auto"},
    "speed": {"", "standard"},
    "inference_geo": {"", "global", "not_available"},
}

Key = tuple[str, str, str, bool, str, str, int]


class PriceBook:
    """Every dated price Metrion knows. Not thread-safe: one book belongs to one thread."""

    def __init__(self) -> None:
        self._sheets: dict[Key, Sheet] = {}
        self._calendars = {provider: Calendar(*library.borders(provider)) for provider in library.PROVIDERS}

    @classmethod
    def load(cls, overrides_file: Path | None = None) -> PriceBook:
        """Read the book."""
        return cls()

    def cost(self, provider: str, model: str, usage: Usage | None, at_ms: int, *, batch: bool = False) -> Cost:
        """Return what a call cost that started at `at_ms` (Unix milliseconds, UTC)."""
        if usage is None:
            return UNKNOWN
        if usage.reported_cost_nano is not None:
            return Cost(usage.reported_cost_nano, "provider", f"{provider} reported it")
        return price(self._sheet(provider, model, usage, at_ms, batch), usage)

    def lines(self, provider: str, model: str, usage: Usage | None, at_ms: int, *, batch: bool = False) -> list[Line]:
        """Return how `cost` came to its figure; the lines add up to it. None of them where it was not computed."""
        if usage is None or usage.reported_cost_nano is not None:
            return []
        return explain(self._sheet(provider, model, usage, at_ms, batch), usage)

    def _sheet(self, provider: str, model: str, usage: Usage, at_ms: int, batch: bool) -> Sheet:
        calendar = self._calendars.get(provider)
        if calendar is None:
            return _refusal(f"no prices for the provider {provider}")
        facts = usage.facts
        speed, geo = (facts.get("speed", ""), facts.get("inference_geo", "")) if facts else ("", "")
        key = (provider, model, usage.service_tier, batch, speed, geo, calendar.interval(at_ms))
        sheet = self._sheets.get(key)
        if sheet is None:
            if len(self._sheets) >= KEPT:
                self._sheets.clear()
            sheet = self._sheets[key] = self._make(key, calendar.moment(key[-1]))
        return sheet

    def _make(self, key: Key, at: datetime) -> Sheet:
        provider, model, tier, batch, speed, geo, _ = key
        conditions = {"service_tier": tier, "speed": speed, "inference_geo": geo}
        conditions = {name: value for name, value in conditions.items() if value not in LIST_PRICE[name]}
        if batch or conditions.get("service_tier") == "batch":
            conditions.pop("service_tier", None)
            conditions["processing"] = "batch"
        known = library.find(provider, match.normal(model))
        if known is None:
            return _refusal(f"no price for {provider} {model}")
        found = library.prices_at(known, at, conditions)
        gaps = [f"{name}={value}" for name, value in conditions.items() if (name, value) not in found.honoured]
        ref = f"{library.NAME} {provider}/{known.id}" + (f" from {found.since}" if found.since else "")
        if gaps:
            return _refusal(f"{ref}: no price for {', '.join(gaps)}")
        return _build(ref + "".join(f" {name}={value}" for name, value in conditions.items()), found.prices)


class Calendar:
    """The moments a provider's prices change, numbered as intervals that begin at them."""

    def __init__(self, dates: set[int], hours: set[int]) -> None:
        self._dates = sorted(dates)
        self._hours = sorted(hours | {0})

    def interval(self, at_ms: int) -> int:
        """Return the number of the interval `at_ms` lies in; an interval's first millisecond belongs to it."""
        day = bisect_right(self._dates, at_ms)
        if len(self._hours) == 1:
            return day
        return day * len(self._hours) + bisect_right(self._hours, at_ms % DAY_MS) - 1

    def moment(self, interval: int) -> datetime:
        """Return the first moment of an interval (within its first day), for looking its prices up."""
        day, hour = divmod(interval, len(self._hours))
        start = self._dates[day - 1] if day else min(self._dates, default=DAY_MS) - DAY_MS
        return datetime.fromtimestamp((start + self._hours[hour]) / 1000, UTC)


def _refusal(reason: str) -> Sheet:
    return Sheet("", Rates(), refusal=reason)


def _build(ref: str, prices: Prices) -> Sheet:
    if not prices.tokens and not prices.fees:  # listed without any price: free of charge
        return Sheet(ref, _rates(dict.fromkeys(("input", "output"), ((0, 0),)), 0))
    starts = sorted({start for steps in prices.tokens.values() for start, _ in steps} - {0})
    long = tuple((start, _rates(prices.tokens, start)) for start in starts)
    base = _rates(prices.tokens, 0)
    return Sheet(ref, base, starts[0], long, prices.fees) if long else Sheet(ref, base, fees=prices.fees)


def _rates(tokens: dict[str, Steps], start: int) -> Rates:
    """Return the rates of the tier that begins at `start`, each class from its parent where it is not priced apart."""

    def own(name: str) -> int | None:
        return next((nano for above, nano in reversed(tokens.get(name, ())) if above <= start), None)

    def either(name: str, parent: int | None) -> int | None:
        nano = own(name)
        return parent if nano is None else nano

    text = own("input")
    cached, audio, image = either("cached_input", text), either("audio_input", text), either("image_input", text)
    cached_parent = audio if own("cached_input") is None else cached
    cached_image_parent = image if own("cached_input") is None else cached
    output = own("output")
    return Rates(
        input=text,
        cached_input=cached,
        cache_write_5m=own("cache_write_5m"),
        cache_write_1h=own("cache_write_1h"),
        output=output,
        audio_input=audio,
        cached_audio=either("cached_audio", cached_parent),
        audio_output=either("audio_output", output),
        image_input=image,
        cached_image=either("cached_image", cached_image_parent),
        image_output=either("image_output", output),
    )
