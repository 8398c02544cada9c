"""Plain: what a page of the dashboard should say, as the straight sum of rows. Shared by the tests of its figures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import groupby
from typing import Any
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from metrion.kit.clock import DAY_MS, HOUR_MS, now_ms
from metrion.web.figures import duration
from tests.web import told
from tests.web.browser import Browser
from tests.web.spent import Row
from tests.web.told import Node


@dataclass
class Spender:
    """Somebody with calls, and a browser that is signed in."""

    browser: Browser
    zone: str
    rows: list[Row]

    def ask(self, path: str, **query: Any) -> tuple[Node, int]:
        """A page as figures, and when it was made (Unix ms); anew where an hour ended meanwhile."""
        while True:
            before = now_ms()
            page = self.browser.get(path + ("?" + urlencode(query, doseq=True) if query else ""))
            if before // HOUR_MS == now_ms() // HOUR_MS:
                assert page.status == 200, page.text[:300]
                return told.parse(page.html), before


def hour_of(zone: str, ms: int) -> int:
    """When the hour of a zone's clocks that holds `ms` began."""
    at = datetime.fromtimestamp(ms / 1000, ZoneInfo(zone))
    return ms - ((at.minute * 60 + at.second) * 1000 + ms % 1000)


def midnight(zone: str, day: date) -> int:
    return round(datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(zone)).timestamp() * 1000)


@dataclass
class Asked:
    """What a page is asked: [from, to) in Unix ms and filters."""

    zone: str
    from_ms: int
    to_ms: int
    hourly: bool
    keeps: Callable[[Row], bool]
    now: int

    def of(self, rows: list[Row]) -> list[Row]:
        return [row for row in rows if self.from_ms <= row["started_ms"] < self.to_ms and self.keeps(row)]

    def before(self, rows: list[Row]) -> list[Row]:
        """Those of the period before, up to the same moment of it."""
        days = round((self.to_ms - self.from_ms) / DAY_MS)
        first = datetime.fromtimestamp(self.from_ms / 1000, ZoneInfo(self.zone)).date() - timedelta(days)
        from_ms = 2 * self.from_ms - self.to_ms if self.hourly else midnight(self.zone, first)
        to_ms = hour_of(self.zone, from_ms + self.now - self.from_ms + HOUR_MS // 2)
        to_ms = min(to_ms, self.from_ms)
        return [row for row in rows if from_ms <= row["started_ms"] < to_ms and self.keeps(row)]

    def bucket(self, row: Row) -> str:
        """The name of the bucket that holds a row."""
        at = datetime.fromtimestamp(hour_of(self.zone, row["started_ms"]) / 1000, ZoneInfo(self.zone))
        if self.hourly:
            twice = at.replace(fold=0).utcoffset() != at.replace(fold=1).utcoffset()
            return f"{at:%a} {at.day} {at:%b}, {at:%H:%M}" + (f" ({at:%z})" if twice else "")
        return f"{at:%a} {at.day} {at:%b %Y}"


def asked(spender: Spender, now: int, query: dict[str, Any]) -> Asked:
    zone, name = spender.zone, query.get("range", "7d")
    if name == "24h":
        to_ms = hour_of(zone, now) + HOUR_MS
        from_ms, hourly = to_ms - DAY_MS, True
    else:
        today = datetime.fromtimestamp(now / 1000, ZoneInfo(zone)).date()
        first = date.fromisoformat(query["from"]) if "from" in query else today - timedelta(int(name[:-1]) - 1)
        last = date.fromisoformat(query["to"]) if "to" in query else today
        from_ms, to_ms, hourly = midnight(zone, first), midnight(zone, last + timedelta(1)), first == last

    def keeps(row: Row) -> bool:
        status = {"2xx": 2, "4xx": 4, "5xx": 5}.get(query.get("status", ""), row["status"] // 100)
        return (
            row["provider"] == query.get("provider", row["provider"])
            and row["model"] in query.get("model", [row["model"]])
            and row["requester"] == query.get("requester", row["requester"])
            and row["status"] // 100 == status
        )

    return Asked(zone, from_ms, to_ms, hourly, keeps, now)


def reached(rows: list[Row]) -> list[Row]:
    return [row for row in rows if row["outcome"] != "rejected"]


def failed(rows: list[Row]) -> list[Row]:
    return [row for row in rows if row["outcome"] not in ("ok", "client_gone", "rejected", "cached")]


def cost(rows: list[Row]) -> int:
    return sum(row["cost_nano"] or 0 for row in rows)


def tokens(rows: list[Row]) -> int:
    return sum(row["input_tokens"] + row["output_tokens"] for row in rows)


def by(rows: list[Row], name: str) -> dict[str, list[Row]]:
    return {key: list(group) for key, group in groupby(sorted(rows, key=lambda row: row[name]), lambda row: row[name])}


def mean_latency(rows: list[Row]) -> str:
    rows = reached(rows)
    return duration(round(sum(row["latency_us"] for row in rows) / len(rows)) if rows else None)
