"""Figures as people read them, on both sides of each border."""

from __future__ import annotations

from decimal import Decimal

import pytest

from metrion.web.figures import ago, call_money, count, day, duration, exact_usd, moment, money, percent

NOVEMBER = 1_795_258_205_000  # 2026-11-21T10:50:05Z


@pytest.mark.parametrize(
    ("nano", "text"),
    [
        (None, "–"),
        (0, "$0"),
        (1, "$0.000000001000"),
        (4_213_000, "$0.004213"),
        (9_999_499, "$0.009999"),
        (9_999_500, "$0.01"),
        (10_000_000, "$0.01"),
        (99_990_000_000, "$99.99"),
        (1_234_560_000_000, "$1,234.56"),
        (9_999_990_000_000, "$9,999.99"),
        (10_000_400_000_000, "$10,000"),
        (-5_000_000, "-$0.005000"),
    ],
)
def test_money_shows_what_matters(nano: int | None, text: str) -> None:
    assert money(nano) == text


def test_money_in_another_currency() -> None:
    assert money(10**9, "EUR", Decimal("0.8612")) == "€0.86"
    assert money(10**9, "CHF", Decimal("0.8")) == "CHF 0.80"


@pytest.mark.parametrize(
    ("nano", "text"),
    [
        (None, "–"),
        (0, "$0"),
        (12_150_000, "$0.012150"),
        (999_999_999, "$1.000000"),
        (1_000_000_000, "$1.00"),
        (1_234_567_000, "$1.23"),
        (100_600, "$0.000101"),
        (29_700, "$0.0000297"),
        (260, "$0.000000260"),
        (1, "$0.000000001"),
        (-45_000, "-$0.0000450"),
    ],
)
def test_what_a_call_cost_stands_under_another(nano: int | None, text: str) -> None:
    assert call_money(nano) == text


def test_exact_money_keeps_every_digit() -> None:
    assert exact_usd(4_213_001) == "$0.004213001"
    assert exact_usd(1_500_000_000) == "$1.50"
    assert exact_usd(None) == "not known"


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (None, "–"),
        (0, "0"),
        (9_999, "9,999"),
        (10_000, "10.0k"),
        (12_834, "12.8k"),
        (999_499, "999k"),
        (999_500, "1.00M"),
        (3_414_000, "3.41M"),
        (12_000_000_000, "12.0B"),
    ],
)
def test_counts(number: int | None, text: str) -> None:
    assert count(number) == text


@pytest.mark.parametrize(
    ("us", "text"),
    [
        (None, "–"),
        (9_949, "9.9 ms"),
        (412_000, "412 ms"),
        (999_499, "999 ms"),
        (999_500, "1.00 s"),
        (1_240_000, "1.24 s"),
        (12_340_000, "12.3 s"),
        (59_949_999, "59.9 s"),
        (59_950_000, "1 m 00 s"),
        (125_000_000, "2 m 05 s"),
    ],
)
def test_durations(us: int | None, text: str) -> None:
    assert duration(us) == text


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (None, "–"),
        (0.0, "0 %"),
        (0.0004, "<0.1 %"),
        (0.0005, "0.1 %"),
        (0.0021, "0.2 %"),
        (0.0994, "9.9 %"),
        (0.0996, "10 %"),
        (1.0, "100 %"),
    ],
)
def test_shares(share: float | None, text: str) -> None:
    assert percent(share) == text


def test_times_stand_in_the_accounts_zone() -> None:
    assert moment(NOVEMBER) == "21 Nov 2026, 10:50:05"
    assert moment(NOVEMBER, "Pacific/Auckland") == "21 Nov 2026, 23:50:05"
    assert day(NOVEMBER, "Pacific/Kiritimati") == "22 Nov 2026"
    assert moment(NOVEMBER, "No/Such") == "21 Nov 2026, 10:50:05"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "just now"),
        (9, "just now"),
        (10, "10 s ago"),
        (59, "59 s ago"),
        (60, "1 min ago"),
        (3_599, "59 min ago"),
        (3_600, "1 h ago"),
    ],
)
def test_recent_times_are_relative(seconds: int, text: str) -> None:
    assert ago(NOVEMBER - seconds * 1000, NOVEMBER) == text


def test_older_times_and_later_ones_are_moments() -> None:
    assert ago(NOVEMBER - 86_399_000, NOVEMBER) == "23 h ago"
    assert ago(NOVEMBER - 86_400_000, NOVEMBER) == "20 Nov, 10:50"
    assert ago(NOVEMBER - 86_400_000, NOVEMBER, "Pacific/Auckland") == "20 Nov, 23:50"
    assert ago(NOVEMBER + 5_000, NOVEMBER) == "21 Nov, 10:50"
    assert ago(NOVEMBER - 365 * 86_400_000, NOVEMBER) == "21 Nov 2025"
