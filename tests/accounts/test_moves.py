"""From plan to plan: what is granted and what is paid, the month counted from zero, and rows that are hidden first."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from metrion.accounts.moves import Move, grant, pay
from metrion.accounts.plans import HIDDEN_MS, Use, kept_since, visible_since
from metrion.config import Settings
from metrion.errors import InputError
from metrion.kit.clock import DAY_MS, now_ms
from metrion.kit.months import month_of, month_start_ms
from metrion.storage.accounts import add_account, list_accounts
from metrion.storage.database import Connection, Database
from tests.storage.samples import call_row, write_rows

FREE_TO_PRO, PRO_TO_FREE = Move("free", "pro"), Move("pro", "free")


@pytest.fixture
def connection(database: Database) -> Iterator[Connection]:
    with database.begin() as connection:
        assert add_account(connection, "ada@example.com", "free", 1) == 1
        yield connection


def test_who_pays_is_on_pro_and_comes_back_to_what_is_granted(connection: Connection) -> None:
    assert pay(connection, 1, paid=True) == FREE_TO_PRO
    assert pay(connection, 1, paid=True, grace_ends_ms=9) == Move("pro", "pro")
    assert list_accounts(connection, 1)[0].grace_ends_ms == 9
    assert pay(connection, 1, paid=False) == PRO_TO_FREE
    assert pay(connection, 1, paid=False) == Move("free", "free")


def test_a_plan_that_is_granted_stays_whatever_is_paid(connection: Connection) -> None:
    assert grant(connection, 1, "pro") == FREE_TO_PRO
    assert pay(connection, 1, paid=True) == Move("pro", "pro")
    assert pay(connection, 1, paid=False) == Move("pro", "pro")
    assert grant(connection, 1, "free") == PRO_TO_FREE


def test_a_grant_changes_nothing_of_what_is_paid(connection: Connection) -> None:
    pay(connection, 1, paid=True, grace_ends_ms=9)
    assert grant(connection, 1, "free") == Move("pro", "pro")
    assert list_accounts(connection, 1)[0].grace_ends_ms == 9


def test_only_from_pro_to_free_is_down() -> None:
    assert [move.is_down for move in (PRO_TO_FREE, FREE_TO_PRO, Move("free", "free"), Move("pro", "pro"))] == [
        True,
        False,
        False,
        False,
    ]


def test_there_must_be_an_account(connection: Connection) -> None:
    with pytest.raises(InputError):
        pay(connection, 2, paid=True)


def test_the_way_down_notes_when_and_what_the_month_had_counted_and_the_way_up_forgets(database: Database) -> None:
    month = month_start_ms(month_of(now_ms()))
    with database.begin() as connection:
        add_account(connection, "ada@example.com", "pro", 1)
    write_rows(
        database,
        [
            call_row(month, 1),
            call_row(month + 1, 2, status=204),
            call_row(month + 2, 3, status=429, outcome="provider_error"),
            call_row(month - 1, 4),
        ],
    )
    with database.begin() as connection:
        began = now_ms()
        grant(connection, 1, "free")
        row = list_accounts(connection, 1)[0]
        assert row.month_base == 2
        assert began <= row.free_since_ms <= now_ms()
        grant(connection, 1, "free")
        assert list_accounts(connection, 1)[0] == row
        grant(connection, 1, "pro")
        row = list_accounts(connection, 1)[0]
        assert (row.free_since_ms, row.month_base) == (None, 0)


def test_rows_that_only_pro_shows_are_kept_for_thirty_days() -> None:
    moment = 1_795_000_000_000
    own = Settings()
    assert kept_since(own, "free", None, moment) == visible_since(own, "free", moment) == moment - 7 * DAY_MS
    assert kept_since(own, "free", moment - HIDDEN_MS + 1, moment) == moment - 90 * DAY_MS
    assert kept_since(own, "free", moment - HIDDEN_MS, moment) == moment - 7 * DAY_MS
    assert kept_since(own, "pro", None, moment) == visible_since(own, "pro", moment)
    assert HIDDEN_MS == 30 * DAY_MS


@pytest.mark.parametrize(
    ("used", "level"), [(0, ""), (7_999, ""), (8_000, "near"), (9_999, "near"), (10_000, "full"), (10_001, "full")]
)
def test_people_are_told_at_eighty_and_at_a_hundred_percent(used: int, level: str) -> None:
    assert Use(used, 10_000, 0).level == level


@pytest.mark.parametrize(("used", "level"), [(3, ""), (4, "near"), (5, "full")])
def test_also_of_small_limits(used: int, level: str) -> None:
    assert Use(used, 5, 0).level == level
