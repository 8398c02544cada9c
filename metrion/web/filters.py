"""Filters: what a query string asks a page to show. Read here, written back into links, and told as chips.

asked     the range of time and the filters of one address, alike on every page that has them
span      the range as moments, cut to what the account's plan keeps
chip      one filter that holds, with the address without it

    range=24h|7d|30d|90d, or from=2026-11-01&to=2026-11-21 (days of the account's time zone, both included)
    provider=openai  model=gpt-5&model=gpt-5-mini  requester=invoice-bot  status=2xx|3xx|4xx|5xx|none
"""

from __future__ import annotations

from datetime import date, timedelta
from typing import NamedTuple
from urllib.parse import urlencode

import msgspec
from starlette.datastructures import QueryParams

from metrion.kit.clock import HOUR_MS
from metrion.kit.zones import day_start, hour_end, hour_start, local_date, midnight, next_day
from metrion.providers import PROVIDERS

RANGES = {"24h": "24 hours", "7d": "7 days", "30d": "30 days", "90d": "90 days"}
STATUS = {"2xx": 2, "3xx": 3, "4xx": 4, "5xx": 5, "none": 0}  # the first digit; none: no answer came
_DEFAULT = "7d"
_LONGEST_DAYS = 366
LONGEST_NAME = 256
_MOST_MODELS = 50
_HOURS = 24


class Chip(NamedTuple):
    """A filter that holds: its name, its value, and the query without it."""

    name: str
    value: str
    without: str


class Span(NamedTuple):
    """A range in Unix ms: [from, to), where `to` is the end of its last bucket and may be yet to come."""

    from_ms: int
    to_ms: int
    hourly: bool  # buckets are hours, else days
    asked_ms: int  # where it would begin if everything were kept
    live: bool  # it ends with now

    @property
    def cut(self) -> bool:
        """Whether a part of it is no longer kept."""
        return self.asked_ms < self.from_ms

    @property
    def empty(self) -> bool:
        """Whether none of it is kept."""
        return self.from_ms >= self.to_ms


class Asked(msgspec.Struct, frozen=True):
    """What an address asks for. `problems`: what could not be understood, in sentences; the rest holds."""

    range: str = _DEFAULT  # of RANGES; "" for days of one's own
    first: date = date.min
    last: date = date.min
    provider: str = ""
    models: tuple[str, ...] = ()
    requester: str = ""
    status: str = ""  # of STATUS
    problems: tuple[str, ...] = ()

    @property
    def filtered(self) -> bool:
        """Whether anything but the range is asked for."""
        return bool(self.provider or self.models or self.requester or self.status)

    def but(self, **changed: object) -> Asked:
        """The same with something changed."""
        return msgspec.structs.replace(self, **({"problems": ()} | changed))

    def query(self, **more: str) -> str:
        """The query string with its "?"; "" where nothing differs from a page's default. `more`: the page's own."""
        pairs: list[tuple[str, str]] = []
        if not self.range:
            pairs += [("from", self.first.isoformat()), ("to", self.last.isoformat())]
        elif self.range != _DEFAULT:
            pairs.append(("range", self.range))
        pairs += [("provider", self.provider), *(("model", model) for model in self.models)]
        pairs += [("requester", self.requester), ("status", self.status), *more.items()]
        text = urlencode([(name, value) for name, value in pairs if value])
        return f"?{text}" if text else ""

    @property
    def chips(self) -> list[Chip]:
        """The filters that hold."""
        return self.chips_with()

    def chips_with(self, **more: str) -> list[Chip]:
        """The same; what they lead to keeps `more`, the page's own."""
        chips = []
        if self.provider:
            chips.append(Chip("Provider", PROVIDERS[self.provider].label, self.but(provider="").query(**more)))
        for model in self.models:
            rest = tuple(one for one in self.models if one != model)
            chips.append(Chip("Model", model, self.but(models=rest).query(**more)))
        if self.requester:
            chips.append(Chip("Requester", self.requester, self.but(requester="").query(**more)))
        if self.status:
            text = "no answer" if self.status == "none" else self.status
            chips.append(Chip("Status", text, self.but(status="").query(**more)))
        return chips

    def span(self, zone: str, now_ms: int, kept_ms: int) -> Span:
        """The range of time as of now, in days and hours of `zone`; nothing before `kept_ms` is shown."""
        if self.range == "24h":
            to_ms = hour_end(zone, hour_start(zone, now_ms))
            asked_ms, hourly, live = hour_start(zone, to_ms - _HOURS * HOUR_MS), True, True
        elif self.range:
            to_ms = next_day(zone, now_ms)
            days = int(self.range.removesuffix("d"))
            asked_ms, hourly, live = midnight(zone, local_date(zone, now_ms) - timedelta(days - 1)), False, True
        else:
            asked_ms, to_ms = midnight(zone, self.first), midnight(zone, self.last + timedelta(1))
            hourly, live = self.first == self.last, now_ms < to_ms
        return Span(max(asked_ms, _first_whole(zone, kept_ms, hourly)), to_ms, hourly, asked_ms, live)

    @property
    def words(self) -> str:
        """The range as people say it."""
        if self.range:
            return RANGES[self.range]
        return day_words(self.first) if self.first == self.last else f"{day_words(self.first)} – {day_words(self.last)}"


def _first_whole(zone: str, ms: int, hourly: bool) -> int:
    """The first hour or day that begins at `ms` or after."""
    begun = hour_start(zone, ms) if hourly else day_start(zone, ms)
    if begun == ms:
        return ms
    return hour_end(zone, begun) if hourly else next_day(zone, ms)


def day_words(day: date) -> str:
    """21 Nov 2026."""
    return f"{day.day} {day:%b %Y}"


# ── reading ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def read(given: QueryParams) -> Asked:
    """What a query string asks for; what cannot be understood is left out and told in `problems`."""
    problems: list[str] = []
    name, first, last = _range(given, problems)
    provider = given.get("provider", "").strip()
    if provider and provider not in PROVIDERS:
        problems.append(f"There is no provider “{_short(provider)}”. Showing all providers.")
        provider = ""
    status = given.get("status", "").strip().lower()
    if status and status not in STATUS:
        problems.append(f"There is no status class “{_short(status)}”. Choose one of {', '.join(STATUS)}.")
        status = ""
    models = tuple(dict.fromkeys(model for model in given.getlist("model") if model.strip()))
    if len(models) > _MOST_MODELS:
        problems.append(f"At most {_MOST_MODELS} models can be chosen at once. Showing the first {_MOST_MODELS}.")
    requester = given.get("requester", "")
    return Asked(
        name,
        first,
        last,
        provider,
        tuple(model[:LONGEST_NAME] for model in models[:_MOST_MODELS]),
        requester[:LONGEST_NAME],
        status,
        tuple(problems),
    )


def _range(given: QueryParams, problems: list[str]) -> tuple[str, date, date]:
    name, texts = given.get("range", "").strip(), (given.get("from", "").strip(), given.get("to", "").strip())
    if name and name in RANGES:
        return name, date.min, date.min
    if any(texts):
        try:
            first, last = (date.fromisoformat(text) for text in (texts[0] or texts[1], texts[1] or texts[0]))
        except ValueError:
            problems.append("A day is written as 2026-11-21.")
        else:
            wrong = _wrong_days(first, last)
            if not wrong:
                return "", first, last
            problems.append(wrong)
    elif name:
        problems.append(f"There is no range “{_short(name)}”.")
    if problems:
        problems[-1] += f" Showing {RANGES[_DEFAULT]}."
    return _DEFAULT, date.min, date.min


def _wrong_days(first: date, last: date) -> str:
    if last < first:
        return "The range ends before it begins."
    if (last - first).days >= _LONGEST_DAYS:
        return f"A range has at most {_LONGEST_DAYS} days."
    if not 1971 <= first.year <= last.year <= 2200:
        return "This range is not in our time."
    return ""


def _short(text: str) -> str:
    return text if len(text) <= 40 else f"{text[:40]}…"
