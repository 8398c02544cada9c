"""Hours and days of time zones, as Unix milliseconds: where they begin.

Offsets from UTC are multiples of a quarter of an hour wherever people live (since 1972, by the time zone database), so
whatever holds for one moment of a quarter holds for all of it, and answers are kept by quarter.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta, tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo

from metrion.kit.clock import HOUR_MS

QUARTER_MS = 900_000
_KEPT = 65_536


def hour_start(zone: str, ms: int) -> int:
    """When the hour of the zone's clocks that holds `ms` began.

    An hour also begins where clocks are changed and where a UTC month does: plans count by those.
    """
    return _hour_start(zone, ms // QUARTER_MS)


def hour_end(zone: str, start_ms: int) -> int:
    """When the hour that began then ends."""
    quarter = start_ms // QUARTER_MS + 1
    while _hour_start(zone, quarter) == start_ms:
        quarter += 1
    return quarter * QUARTER_MS


def day_start(zone: str, ms: int) -> int:
    """When the day of the zone's calendar that holds `ms` began."""
    return _day_start(zone, ms // QUARTER_MS)


def next_day(zone: str, ms: int) -> int:
    """When the day after began."""
    return midnight(zone, local_date(zone, ms) + timedelta(days=1))


def month_start(zone: str, ms: int) -> int:
    """When the month of the zone's calendar that holds `ms` began."""
    return midnight(zone, local_date(zone, ms).replace(day=1))


def midnight(zone: str, day: date) -> int:
    """The first moment of a day; where clocks skip midnight, the moment they do."""
    # Of a time that is skipped, Python takes the offset before: that is the moment of the change.
    return round(datetime.combine(day, time(), _zone(zone)).timestamp() * 1000)


def local_date(zone: str, ms: int) -> date:
    return datetime.fromtimestamp(ms // 1000, _zone(zone)).date()


@lru_cache(maxsize=_KEPT)
def utc_month(quarter: int) -> int:
    """The month of a quarter of an hour (Unix milliseconds // QUARTER_MS) in UTC, as 202611."""
    day = datetime.fromtimestamp(quarter * 900, UTC)
    return day.year * 100 + day.month


@lru_cache(maxsize=_KEPT)
def _hour_start(zone: str, quarter: int) -> int:
    offset, month = _offset(zone, quarter), utc_month(quarter)
    first = quarter - (quarter + offset) % (HOUR_MS // QUARTER_MS)
    while _offset(zone, first) != offset or utc_month(first) != month:
        first += 1
    return first * QUARTER_MS


@lru_cache(maxsize=_KEPT)
def _day_start(zone: str, quarter: int) -> int:
    return midnight(zone, local_date(zone, quarter * QUARTER_MS))


@lru_cache(maxsize=_KEPT)
def _offset(zone: str, quarter: int) -> int:
    """How far a zone's clocks are ahead of UTC, in quarters of an hour."""
    ahead = datetime.fromtimestamp(quarter * 900, _zone(zone)).utcoffset() or timedelta()
    return int(ahead.total_seconds()) // 900


@lru_cache(maxsize=1024)
def _zone(name: str) -> tzinfo:
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # no longer a zone, or never one: days must begin somewhere
        return UTC
