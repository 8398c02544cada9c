"""What each plan allows, on both sides of its borders."""

from __future__ import annotations

import pytest

from metrion.accounts import people
from metrion.accounts.plans import FREE, PLANS, PRO, monthly_requests, shown_since, visible_since
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
    assert monthly_requests(FREE, Settings()) == FREE.monthly_requests == 10_000
    assert monthly_requests(FREE, Settings(free_monthly_requests=5)) == 5
    assert monthly_requests(FREE, Settings(free_monthly_requests=0)) == 0
    assert monthly_requests(PRO, Settings(free_monthly_requests=5)) == 0


@pytest.mark.parametrize(("plan", "days"), [("free", 7), ("pro", 90)])
def test_rows_are_shown_for_as_long_as_the_plan_keeps_them(plan: str, days: int) -> None:
    assert visible_since(plan, NOON) == NOON - days * DAY_MS
    assert visible_since(plan, 0) == 0


def test_another_plan_shows_more_at_once(database: Database, account: int) -> None:
    with database.begin() as connection:
        assert abs(shown_since(connection, account) - (now_ms() - 90 * DAY_MS)) < 5000
        people.set_plan(connection, account, "free")
        assert abs(shown_since(connection, account) - (now_ms() - 7 * DAY_MS)) < 5000
        with pytest.raises(InputError, match="no account"):
            shown_since(connection, account + 1)
