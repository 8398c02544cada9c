"""What each plan allows, on both sides of its borders."""

from __future__ import annotations

import pytest

from metrion.accounts import people
from metrion.accounts.plans import FREE, PLANS, PRO, kept_since, plans_of, shown_since, visible_since
from metrion.config import Settings
from metrion.errors import InputError
from metrion.kit.clock import DAY_MS, now_ms
from metrion.storage.database import Database

NOON = 1_793_534_400_000


def test_the_plans_are_those_of_the_specification() -> None:
    assert list(PLANS) == ["free", "pro"]
    assert (FREE.retention_days, FREE.csv, FREE.alerts) == (7, False, False)
    assert (PRO.retention_days, PRO.csv, PRO.alerts, PRO.monthly_requests) == (90, True, True, 0)


def test_the_operator_sets_what_a_free_month_has() -> None:
    assert plans_of(Settings()) == PLANS
    for most in (5, 0):
        plans = plans_of(Settings(free_monthly_requests=most))
        assert [plan.monthly_requests for plan in plans.values()] == [most, 0]


@pytest.mark.parametrize(("plan", "days"), [("free", 7), ("pro", 90)])
def test_rows_are_shown_for_as_long_as_the_plan_keeps_them(plan: str, days: int) -> None:
    assert visible_since(Settings(), plan, NOON) == NOON - days * DAY_MS
    assert visible_since(Settings(), plan, 0) == 0


@pytest.mark.parametrize("days", [1, 8, 36_500])
def test_the_operator_sets_how_long_rows_are_kept(days: int) -> None:
    free, pro = Settings(retention_free_days=days), Settings(retention_pro_days=days)
    since = max(NOON - days * DAY_MS, 0)
    assert visible_since(free, "free", NOON) == visible_since(pro, "pro", NOON) == since
    assert visible_since(free, "pro", NOON) == NOON - 90 * DAY_MS
    assert visible_since(pro, "free", NOON) == NOON - 7 * DAY_MS


def test_none_keeps_them_for_ever() -> None:
    assert visible_since(Settings(retention_free_days=0), "free", NOON) == 0
    assert visible_since(Settings(retention_pro_days=0), "pro", NOON) == 0
    assert kept_since(Settings(retention_pro_days=0), "free", NOON, NOON) == 0


def test_how_long_is_told_in_words() -> None:
    plans = plans_of(Settings(retention_free_days=1, retention_pro_days=0))
    assert [plan.kept for plan in plans.values()] == ["for a day", "for ever"]
    assert FREE.kept == "for 7 days"


@pytest.mark.parametrize(("free", "pro"), [(7, 90), (90, 7), (0, 90), (30, 30)])
def test_the_way_down_deletes_nothing_that_either_plan_keeps(free: int, pro: int) -> None:
    settings = Settings(retention_free_days=free, retention_pro_days=pro)
    longer = min(visible_since(settings, plan, NOON) for plan in PLANS)
    assert kept_since(settings, "free", NOON - 1, NOON) == longer
    assert kept_since(settings, "free", None, NOON) == visible_since(settings, "free", NOON)


def test_another_plan_shows_more_at_once(database: Database, account: int) -> None:
    with database.begin() as connection:
        assert abs(shown_since(Settings(), connection, account) - (now_ms() - 90 * DAY_MS)) < 5000
        people.set_plan(connection, account, "free")
        assert abs(shown_since(Settings(), connection, account) - (now_ms() - 7 * DAY_MS)) < 5000
        with pytest.raises(InputError, match="no account"):
            shown_since(Settings(), connection, account + 1)
