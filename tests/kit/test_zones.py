"""Hours and days of clocks that people live by."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metrion.kit.zones import day_start, hour_end, hour_start, local_date, month_start, next_day

HOUR, DAY = 3_600_000, 86_400_000


def ms(text: str) -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


@pytest.mark.parametrize(
    ("zone", "at", "hour", "end"),
    [
        ("UTC", "2026-11-21T10:59:59.999", "2026-11-21T10:00", "2026-11-21T11:00"),
        ("Asia/Kolkata", "2026-11-21T10:29", "2026-11-21T09:30", "2026-11-21T10:30"),
        ("Pacific/Chatham", "2026-11-21T10:14", "2026-11-21T09:15", "2026-11-21T10:15"),
        # A plan's month begins within this hour of India's, which is two therefore.
        ("Asia/Kolkata", "2026-11-30T23:59", "2026-11-30T23:30", "2026-12-01T00:00"),
        ("Asia/Kolkata", "2026-12-01T00:29", "2026-12-01T00:00", "2026-12-01T00:30"),
        # Lord Howe's clocks go forward by half an hour, at 15:30 UTC.
        ("Australia/Lord_Howe", "2026-10-03T15:29", "2026-10-03T14:30", "2026-10-03T15:30"),
        ("Australia/Lord_Howe", "2026-10-03T15:31", "2026-10-03T15:30", "2026-10-03T16:00"),
        ("Not/AZone", "2026-11-21T10:30", "2026-11-21T10:00", "2026-11-21T11:00"),
    ],
)
def test_an_hour(zone: str, at: str, hour: str, end: str) -> None:
    assert hour_start(zone, ms(at)) == ms(hour)
    assert hour_end(zone, ms(hour)) == ms(end)


@pytest.mark.parametrize(
    ("zone", "at", "day", "following"),
    [
        ("UTC", "2026-11-21T23:59", "2026-11-21T00:00", "2026-11-22T00:00"),
        ("Europe/Zurich", "2026-10-25T12:00", "2026-10-24T22:00", "2026-10-25T23:00"),  # 25 hours
        ("America/New_York", "2026-03-08T12:00", "2026-03-08T05:00", "2026-03-09T04:00"),  # 23 hours
        ("Asia/Kolkata", "2026-11-21T18:29", "2026-11-20T18:30", "2026-11-21T18:30"),
        ("Africa/Cairo", "2026-04-24T12:00", "2026-04-23T22:00", "2026-04-24T21:00"),  # begins at 1 o'clock
    ],
)
def test_a_day(zone: str, at: str, day: str, following: str) -> None:
    assert day_start(zone, ms(at)) == ms(day)
    assert day_start(zone, ms(day)) == ms(day)
    assert day_start(zone, ms(day) - 1) < ms(day)
    assert next_day(zone, ms(at)) == ms(following)


def test_a_month_is_that_of_the_zone() -> None:
    assert month_start("Asia/Tokyo", ms("2026-11-30T15:00")) == ms("2026-11-30T15:00")
    assert month_start("Asia/Tokyo", ms("2026-11-30T14:59")) == ms("2026-10-31T15:00")


ZONES = ["UTC", "Europe/London", "America/St_Johns", "Asia/Kathmandu", "Australia/Lord_Howe", "Africa/Casablanca"]


@given(st.sampled_from(ZONES), st.integers(ms("2025-01-01"), ms("2030-01-01")))
def test_hours_lie_in_days_and_follow_one_another(zone: str, at: int) -> None:
    hour, day = hour_start(zone, at), day_start(zone, at)
    assert day <= hour <= at < hour_end(zone, hour) <= next_day(zone, at)
    assert at - hour < HOUR
    assert hour_start(zone, hour) == hour == hour_start(zone, hour_end(zone, hour) - 1)
    assert hour_start(zone, hour_end(zone, hour)) == hour_end(zone, hour)
    assert local_date(zone, hour) == local_date(zone, at) == local_date(zone, day)
    assert day_start(zone, next_day(zone, at)) == next_day(zone, at)
    assert 22 * HOUR <= next_day(zone, at) - day <= 26 * HOUR
