"""The price book: one sheet of unit prices per provider × model × context × interval of validity, made once."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from pathlib import Path

from metrion.prices import library, match
from metrion.prices.assemble import sheet_for
from metrion.prices.calculate import UNKNOWN, Cost, Line, PerToken, Rates, Sheet, explain, per_token, price, price_all
from metrion.prices.library import DAY_MS
from metrion.prices.rules import FOREVER, Rule, load
from metrion.wire.usage import Usage

KEPT = 4096  # sheets; model names come from clients' traffic, so the book forgets rather than grows
# Values of a condition that mean the list price. Any other value needs a price of its own, or the call is unpriced.
LIST_PRICE = {
    "service_tier": {"", "default", "standard", "auto", "unspecified"},
    "speed": {"", "standard"},
    "inference_geo": {"", "global", "not_available"},
}

Key = tuple[str, str, str, bool, str, str, int]


class PriceBook:
    """Every dated price Metrion knows. Not thread-safe: one book belongs to one thread."""

    def __init__(self, rules: list[Rule]) -> None:
        self.replace(rules)

    def replace(self, rules: list[Rule]) -> None:
        """Price by these rules from now on."""
        self._rules = {name: [rule for rule in rules if rule.provider == name] for name in library.PROVIDERS}
        self._calendars = {name: _calendar(name, self._rules[name]) for name in library.PROVIDERS}
        self._sheets: dict[Key, Sheet] = {}
        self._per_token: dict[tuple[str, str, str, int], PerToken | None] = {}

    @classmethod
    def load(cls, overrides_file: Path | None = None) -> PriceBook:
        """Read the book, with an operator's prices over it; raises ConfigError for a malformed file."""
        return cls(load(overrides_file))

    def cost(self, provider: str, model: str, usage: Usage | None, at_ms: int, *, batch: bool = False) -> Cost:
        """Return what a call cost that started at `at_ms` (Unix milliseconds, UTC)."""
        if usage is None:
            return UNKNOWN
        if usage.reported_cost_nano is not None:
            return Cost(usage.reported_cost_nano, "provider", f"as reported by {provider}")
        if usage.parts:
            return price_all([(sheet, own) for _, sheet, own in self._shares(provider, model, usage, at_ms, batch)])
        return price(self._sheet(provider, model, usage, at_ms, batch), usage)

    def sheet(self, provider: str, model: str, at_ms: int, when: Mapping[str, str] | None = None) -> Sheet:
        """Return the unit prices of a model at a moment, under conditions such as {"service_tier": "flex"}."""
        asked = dict(when or {})
        batch = asked.pop("processing", "") == "batch"
        usage = Usage(service_tier=asked.pop("service_tier", ""), facts=asked)
        return self._sheet(provider, model, usage, at_ms, batch)

    def per_token(self, provider: str, model: str, service_tier: str, at_ms: int) -> PerToken | None:
        """Return what a plain usage costs by the token, as `cost` says; None where that must be asked."""
        calendar = self._calendars.get(provider)
        if calendar is None:
            return None
        key = (provider, model, service_tier, calendar.interval(at_ms))
        try:
            return self._per_token[key]
        except KeyError:
            if len(self._per_token) >= KEPT:
                self._per_token.clear()
            own = self._per_token[key] = per_token(self.sheet(provider, model, at_ms, {"service_tier": service_tier}))
            return own

    def history(self, provider: str, model: str) -> list[tuple[int | None, Sheet]]:
        """Return a model's sheets with when each began (Unix milliseconds, None: ever), oldest first."""
        found: list[tuple[int | None, Sheet]] = []
        calendar = self._calendars[provider]
        for start in (None, *calendar.dates):
            sheet = self.sheet(provider, model, calendar.before if start is None else start)
            if not found or _figures(sheet) != _figures(found[-1][1]):
                found.append((start, sheet))
        return found

    def named(self, provider: str) -> list[str]:
        """Return the ids of a provider that are priced by name, in order; others may match by their form."""
        rules = (name for rule in self._rules[provider] if not rule.when for name in rule.names)
        return sorted({*(one.id for one in library.models(provider)), *rules})

    def lines(self, provider: str, model: str, usage: Usage | None, at_ms: int, *, batch: bool = False) -> list[Line]:
        """Return how `cost` came to its figure; the lines add up to it. None where it was not computed."""
        if usage is None or usage.reported_cost_nano is not None:
            return []
        return explain(self._shares(provider, model, usage, at_ms, batch))

    def _shares(
        self, provider: str, model: str, usage: Usage, at_ms: int, batch: bool
    ) -> list[tuple[str, Sheet, Usage]]:
        """Return what is billed apart, each with its own sheet: other models' parts, items of a batch; or the whole."""
        if not usage.parts:
            return [("", self._sheet(provider, model, usage, at_ms, batch), usage)]
        return [
            (
                part.model and f"{part.model} ",
                self._sheet(provider, part.model or model, part.usage, at_ms, batch),
                part.usage,
            )
            for part in usage.parts
        ]

    def _sheet(self, provider: str, model: str, usage: Usage, at_ms: int, batch: bool) -> Sheet:
        calendar = self._calendars.get(provider)
        if calendar is None:
            return Sheet("", Rates(), refusal=f"no prices for the provider {provider}")
        facts = usage.facts
        speed, geo = (facts.get("speed", ""), facts.get("inference_geo", "")) if facts else ("", "")
        key = (provider, model, usage.service_tier, batch, speed, geo, calendar.interval(at_ms))
        sheet = self._sheets.get(key)
        if sheet is None:
            if len(self._sheets) >= KEPT:
                self._sheets.clear()
            conditions = _conditions(usage.service_tier, batch, speed, geo)
            moment = calendar.moment(key[-1])
            sheet = sheet_for(provider, match.normal(model), conditions, self._rules[provider], moment)
            self._sheets[key] = sheet
        return sheet


class Calendar:
    """The moments a provider's prices change, numbered as intervals that begin at them; milliseconds, UTC."""

    def __init__(self, dates: set[int], hours: set[int]) -> None:
        self.dates = sorted(dates)
        self._hours = sorted(hours | {0})

    def interval(self, at_ms: int) -> int:
        """Return the number of the interval `at_ms` lies in; an interval's first millisecond belongs to it."""
        day = bisect_right(self.dates, at_ms)
        if len(self._hours) == 1:
            return day
        return day * len(self._hours) + bisect_right(self._hours, at_ms % DAY_MS) - 1

    @property
    def before(self) -> int:
        """A moment before the first date."""
        return min(self.dates, default=DAY_MS) - DAY_MS

    def moment(self, interval: int) -> int:
        """Return a moment inside an interval, to look its prices up by: its first one, or that of its first day."""
        day, hour = divmod(interval, len(self._hours))
        start = self.dates[day - 1] if day else self.before
        return start + self._hours[hour]


def _figures(sheet: Sheet) -> tuple[object, ...]:
    return sheet.base, sheet.long, sheet.fees, bool(sheet.refusal)


def _calendar(provider: str, rules: list[Rule]) -> Calendar:
    dates, hours = library.borders(provider)
    ends = {moment for rule in rules for moment in (rule.start_ms, rule.end_ms) if abs(moment) != FOREVER}
    return Calendar(dates | ends, hours)


def _conditions(service_tier: str, batch: bool, speed: str, geo: str) -> dict[str, str]:
    """Return what departs from the list price; a batch has no other tier."""
    batch = batch or service_tier == "batch"
    asked = {"service_tier": "" if batch else service_tier, "speed": speed, "inference_geo": geo}
    conditions = {name: value for name, value in asked.items() if value not in LIST_PRICE[name]}
    return {**conditions, "processing": "batch"} if batch else conditions
