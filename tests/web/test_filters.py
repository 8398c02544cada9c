"""Filters: what an address asks for, as moments of an account's time zone, and back into addresses."""

from __future__ import annotations

from datetime import UTC, date, datetime
from urllib.parse import parse_qsl
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import QueryParams

from metrion.kit.clock import DAY_MS, HOUR_MS
from metrion.storage.view import Range
from metrion.web.filters import RANGES, STATUS, Asked, Span, read

NOW = datetime(2026, 11, 21, 13, 40, tzinfo=UTC)


def ms(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)


def starts_of(span: Span, zone: str) -> list[int]:
    return Range(zone, span.from_ms, span.to_ms, span.hourly, ms(NOW)).starts


def asked(query: str) -> Asked:
    return read(QueryParams(query))


# ── Reading ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_nothing_asked_is_seven_days_of_everything() -> None:
    found = asked("")
    assert (found.range, found.filtered, found.chips, found.query(), found.problems) == ("7d", False, [], "", ())


def test_everything_asked_is_read_and_written_back() -> None:
    query = (
        "from=2026-11-01&to=2026-11-21&provider=openai&model=gpt-5&model=a%26b%3D%2B+c&requester=%C3%BC%2F..&status=5xx"
    )
    found = asked(query)
    assert found == Asked("", date(2026, 11, 1), date(2026, 11, 21), "openai", ("gpt-5", "a&b=+ c"), "ü/..", "5xx")
    assert parse_qsl(found.query().removeprefix("?")) == parse_qsl(query)
    assert found.words == "1 Nov 2026 – 21 Nov 2026"


NAMES = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=50).filter(lambda name: name == name.strip())


@given(
    st.sampled_from(list(RANGES)),
    st.lists(NAMES.filter(bool), max_size=5, unique=True),
    NAMES,
    st.sampled_from(["", *STATUS]),
)
def test_what_is_written_is_read_again(name: str, models: list[str], requester: str, status: str) -> None:
    before = Asked(name, provider="mistral", models=tuple(models), requester=requester, status=status)
    assert asked(before.query().removeprefix("?")) == before


def test_chips_lead_to_the_rest() -> None:
    found = asked("range=30d&provider=openai&model=a&model=b&requester=bot&status=none")
    assert [(chip.name, chip.value) for chip in found.chips] == [
        ("Provider", "OpenAI"),
        ("Model", "a"),
        ("Model", "b"),
        ("Requester", "bot"),
        ("Status", "no answer"),
    ]
    assert found.chips[1].without == "?range=30d&provider=openai&model=b&requester=bot&status=none"


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("range=5y", "There is no range “5y”. Showing 7 days."),
        ("from=2026-11-31", "A day is written as 2026-11-21. Showing 7 days."),
        ("from=x&to=2026-11-21", "A day is written as 2026-11-21. Showing 7 days."),
        ("from=2026-11-21&to=2026-11-20", "The range ends before it begins. Showing 7 days."),
        ("from=2025-11-20&to=2026-11-21", "A range has at most 366 days. Showing 7 days."),
        ("from=0001-01-01&to=0001-01-02", "This range is not in our time. Showing 7 days."),
        ("from=9999-12-30&to=9999-12-31", "This range is not in our time. Showing 7 days."),
        ("provider=acme", "There is no provider “acme”. Showing all providers."),
        ("status=200", "There is no status class “200”. Choose one of 2xx, 3xx, 4xx, 5xx, none."),
    ],
)
def test_what_cannot_be_understood_is_told(query: str, said: str) -> None:
    found = asked(query)
    assert found.problems == (said,)
    assert found.but() == Asked()


def test_a_long_request_is_cut() -> None:
    found = asked("&".join(["requester=" + "x" * 999, *(f"model=m{number}" for number in range(60))]))
    assert (len(found.requester), len(found.models)) == (256, 50)
    assert found.problems == ("At most 50 models can be chosen at once. Showing the first 50.",)


def test_one_day_given_alone_is_that_day() -> None:
    found = asked("from=2026-11-20")
    assert (found.first, found.last, found.words) == (date(2026, 11, 20), date(2026, 11, 20), "20 Nov 2026")


# ── As moments ────────────────────────────────────────────────────────────────────────────────────────────────────────

ZONES = ["UTC", "Asia/Kolkata", "Pacific/Chatham", "Europe/Berlin", "America/St_Johns", "Australia/Lord_Howe"]


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize(("name", "days"), [("7d", 7), ("30d", 30), ("90d", 90)])
def test_days_begin_at_midnight_there_and_end_with_today(zone: str, name: str, days: int) -> None:
    span = asked(f"range={name}").span(zone, ms(NOW), 0)
    starts = starts_of(span, zone)
    local = [datetime.fromtimestamp(start / 1000, ZoneInfo(zone)) for start in starts]
    assert [moment.hour * 60 + moment.minute for moment in local] == [0] * days
    assert local[-1].date() == NOW.astimezone(ZoneInfo(zone)).date()
    assert (span.hourly, span.live, span.cut, starts[0]) == (False, True, False, span.from_ms)


@pytest.mark.parametrize("zone", ZONES)
def test_24_hours_are_those_of_the_zones_clocks(zone: str) -> None:
    span = asked("range=24h").span(zone, ms(NOW), 0)
    local = [datetime.fromtimestamp(start / 1000, ZoneInfo(zone)) for start in starts_of(span, zone)]
    assert [moment.minute for moment in local] == [0] * 24
    assert span.to_ms - HOUR_MS <= ms(NOW) < span.to_ms
    assert (span.hourly, span.live) == (True, True)


@pytest.mark.parametrize(("day", "hours"), [("2026-03-29", 23), ("2026-10-25", 25), ("2026-10-26", 24)])
def test_a_day_alone_has_the_hours_it_has(day: str, hours: int) -> None:
    span = asked(f"from={day}&to={day}").span("Europe/Berlin", ms(NOW), 0)
    assert span.to_ms - span.from_ms == hours * HOUR_MS
    assert (len(starts_of(span, "Europe/Berlin")), span.hourly, span.live) == (hours, True, False)


def test_nothing_is_shown_that_is_no_longer_kept() -> None:
    kept = ms(NOW) - 7 * DAY_MS
    span = asked("range=30d").span("UTC", ms(NOW), kept)
    assert (span.cut, span.from_ms) == (True, ms(datetime(2026, 11, 15, tzinfo=UTC)))
    assert not asked("range=7d").span("UTC", ms(NOW), kept).cut
    by_hour = asked("from=2026-11-14").span("UTC", ms(NOW), kept)
    assert (by_hour.from_ms, by_hour.cut) == (ms(datetime(2026, 11, 14, 14, tzinfo=UTC)), True)
    gone = asked("from=2026-10-01&to=2026-10-05").span("UTC", ms(NOW), kept)
    assert gone.empty
    assert starts_of(gone, "UTC") == []


def test_a_range_of_ones_own_lives_as_long_as_it_holds_now() -> None:
    assert asked("from=2026-11-20&to=2026-11-21").span("UTC", ms(NOW), 0).live
    assert not asked("from=2026-11-19&to=2026-11-20").span("UTC", ms(NOW), 0).live
