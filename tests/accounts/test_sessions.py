"""Sessions: who is signed in, until when, and what ends it."""

from __future__ import annotations

from pathlib import Path

import pytest

from metrion.accounts import people
from metrion.accounts.sessions import (
    ABSOLUTE_MS,
    IDLE_MS,
    end_session,
    end_sessions,
    find_session,
    list_sessions,
    start_session,
    touch_session,
)
from metrion.accounts.vault import Vault
from metrion.storage.database import Database
from tests.accounts.conftest import EMAIL, Clock, add_account

BROWSER = "Mozilla/5.0 (X11; Linux x86_64)"


def start(database: Database, account: int, agent: str = BROWSER) -> str:
    with database.begin() as connection:
        return start_session(connection, account, agent, "192.0.2.1")


def is_live(database: Database, cookie: str) -> bool:
    with database.begin() as connection:
        return find_session(connection, cookie) is not None


def test_a_session_knows_its_account(database: Database, clock: Clock, account: int) -> None:
    cookie = start(database, account)
    with database.begin() as connection:
        people.set_profile(connection, account, name="Ada", currency="CHF", time_zone="Europe/Zurich")
        session = find_session(connection, cookie)
    assert session is not None
    assert (session.id, session.email, session.name, session.plan) == (account, EMAIL, "Ada", "pro")
    assert (session.currency, session.time_zone, session.operator) == ("CHF", "Europe/Zurich", False)
    assert (session.confirmed, session.has_password, session.stale) == (True, False, False)
    assert (session.started_ms, session.seen_ms) == (clock.ms, clock.ms)


def test_the_cookie_is_256_random_bits_and_not_kept(database: Database, account: int, tmp_path: Path) -> None:
    cookies = {start(database, account) for _ in range(20)}
    assert len(cookies) == 20
    assert {len(cookie) for cookie in cookies} == {43}
    database.checkpoint()
    kept = (tmp_path / "metrion.db").read_bytes()
    assert BROWSER.encode() in kept
    assert not any(cookie.encode() in kept for cookie in cookies)


@pytest.mark.parametrize("cookie", ["", "x", "é", "\ud800", "0" * 43, "x" * 100_000])
def test_another_cookie_is_nobodys(database: Database, account: int, cookie: str) -> None:
    start(database, account)
    assert not is_live(database, cookie)


def test_it_ends_14_days_after_it_was_seen(database: Database, clock: Clock, account: int) -> None:
    cookie = start(database, account)
    clock.ms += IDLE_MS - 1
    assert is_live(database, cookie)
    clock.ms += 1
    assert not is_live(database, cookie)
    with database.begin() as connection:
        assert list_sessions(connection, account) == []


def test_it_ends_90_days_after_it_began_however_often_it_was_seen(
    database: Database, clock: Clock, account: int
) -> None:
    cookie, end = start(database, account), clock.ms + ABSOLUTE_MS
    while clock.ms + IDLE_MS < end:
        clock.ms += IDLE_MS - 1
        with database.begin() as connection:
            session = find_session(connection, cookie)
            assert session is not None
            assert session.stale
            touch_session(connection, session)
    clock.ms = end - 1
    assert is_live(database, cookie)
    clock.ms = end
    assert not is_live(database, cookie)


def test_it_is_to_be_touched_once_a_minute(database: Database, clock: Clock, account: int) -> None:
    cookie = start(database, account)
    clock.ms += 60_000
    with database.begin() as connection:
        session = find_session(connection, cookie)
        assert session is not None
        assert not session.stale
        clock.ms += 1
        session = find_session(connection, cookie)
        assert session is not None
        assert session.stale
        touch_session(connection, session)
        session = find_session(connection, cookie)
        assert session is not None
        assert (session.stale, session.seen_ms) == (False, clock.ms)


def test_one_is_ended_or_all_but_one(database: Database, clock: Clock, account: int) -> None:
    first, second, third = (start(database, account) for _ in range(3))
    with database.begin() as connection:
        here = find_session(connection, first)
        there = find_session(connection, second)
        assert here is not None
        assert there is not None
        assert end_session(connection, account, there.digest)
        assert not end_session(connection, account, there.digest)
    assert [is_live(database, one) for one in (first, second, third)] == [True, False, True]
    with database.begin() as connection:
        assert end_sessions(connection, account, but=here.digest) == 1
    assert [is_live(database, one) for one in (first, third)] == [True, False]
    with database.begin() as connection:
        assert end_sessions(connection, account) == 1
    assert not is_live(database, first)


def test_nobody_ends_or_sees_anothers(database: Database, vault: Vault, clock: Clock, account: int) -> None:
    other = add_account(database, vault, "bob@example.com")
    cookie = start(database, account)
    with database.begin() as connection:
        session = find_session(connection, cookie)
        assert session is not None
        assert not end_session(connection, other, session.digest)
        assert end_sessions(connection, other) == 0
        assert list_sessions(connection, other) == []
    assert is_live(database, cookie)


def test_the_list_tells_browsers_apart_the_last_seen_first(database: Database, clock: Clock, account: int) -> None:
    start(database, account, "Firefox\x1b[2J\r\n" + "x" * 400)
    clock.ms += 1000
    start(database, account, "Safari")
    with database.begin() as connection:
        newer, older = list_sessions(connection, account)
    assert (newer.agent, newer.address, newer.seen_ms - older.seen_ms) == ("Safari", "192.0.2.1", 1000)
    assert older.agent.startswith("Firefox[2Jxxx")
    assert len(older.agent) < 300


def test_a_disabled_account_has_no_session_also_where_one_was_left(
    database: Database, clock: Clock, account: int
) -> None:
    cookie = start(database, account)
    with database.begin() as connection:
        people.set_disabled(connection, account, disabled=True)
    assert not is_live(database, cookie)
    late = start(database, account)  # a log-in that was under way
    assert not is_live(database, late)


def test_ended_ones_go_when_the_next_one_starts(database: Database, clock: Clock, account: int) -> None:
    start(database, account)
    clock.ms += IDLE_MS
    start(database, account)
    with database.begin() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM sessions").scalar_one() == 1
