"""Links: they work once, for as long as they are meant to, and for nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from metrion.accounts import people
from metrion.accounts.links import LinkResult, Purpose, issue_link, link_url, read_link, use_link
from metrion.accounts.vault import Vault
from metrion.kit.clock import DAY_MS
from metrion.storage.database import Database
from tests.accounts.conftest import Clock, add_account

MINUTE_MS = 60_000


def issue(database: Database, purpose: Purpose, account: int | None = None, email: str = "") -> str:
    with database.begin() as connection:
        return issue_link(connection, purpose, account_id=account, email=email)


def use(database: Database, purpose: Purpose, token: str) -> LinkResult:
    with database.begin() as connection:
        return use_link(connection, purpose, token)


def test_a_sign_in_link_works_once_and_looking_does_not_use_it(database: Database, clock: Clock, account: int) -> None:
    token = issue(database, "sign_in", account)
    with database.begin() as connection:
        assert read_link(connection, "sign_in", token) == LinkResult("ok", account)
        assert read_link(connection, "sign_in", token).ok
    assert use(database, "sign_in", token) == LinkResult("ok", account)
    assert use(database, "sign_in", token) == LinkResult("used")
    with database.begin() as connection:
        assert "used already" in read_link(connection, "sign_in", token).problem


@pytest.mark.parametrize(
    ("purpose", "lives_ms"), [("sign_in", 10 * MINUTE_MS), ("invite", 14 * DAY_MS), ("claim", None)]
)
def test_it_lives_as_long_as_it_is_meant_to(
    database: Database, clock: Clock, account: int, purpose: Purpose, lives_ms: int | None
) -> None:
    token = issue(database, purpose, account if purpose == "sign_in" else None)
    clock.ms += (lives_ms or 3650 * DAY_MS) - 1
    with database.begin() as connection:
        assert read_link(connection, purpose, token).ok
    clock.ms += 1
    assert use(database, purpose, token).verdict == ("ok" if lives_ms is None else "expired")


def test_it_is_good_for_its_purpose_alone(database: Database, clock: Clock, account: int) -> None:
    token = issue(database, "sign_in", account)
    purposes: tuple[Purpose, ...] = ("invite", "claim")
    assert [use(database, purpose, token).verdict for purpose in purposes] == ["unknown", "unknown"]
    assert use(database, "sign_in", token).ok


@pytest.mark.parametrize("token", ["", "x", "é", "\ud800", "0" * 32, "x" * 100_000])
def test_another_token_is_unknown(database: Database, account: int, token: str) -> None:
    issue(database, "sign_in", account)
    assert use(database, "sign_in", token) == LinkResult("unknown")


def test_a_new_sign_in_link_ends_the_one_before_of_this_account_alone(
    database: Database, vault: Vault, clock: Clock, account: int
) -> None:
    other = add_account(database, vault, "bob@example.com")
    before, others = issue(database, "sign_in", account), issue(database, "sign_in", other)
    after = issue(database, "sign_in", account)
    assert use(database, "sign_in", before).verdict == "unknown"
    assert use(database, "sign_in", after).account_id == account
    assert use(database, "sign_in", others).account_id == other


def test_many_may_be_invited_at_once(database: Database, clock: Clock) -> None:
    one, two = issue(database, "invite", email="a@example.com"), issue(database, "invite")
    claim = issue(database, "claim")
    assert use(database, "invite", one) == LinkResult("ok", None, "a@example.com")
    assert use(database, "invite", two) == LinkResult("ok", None, "")
    assert use(database, "claim", claim).ok


def test_a_start_makes_a_new_claim_link_until_there_is_an_operator(
    database: Database, clock: Clock, account: int
) -> None:
    with database.begin() as connection:
        first = people.claim_link(connection)
        second = people.claim_link(connection)
        assert first is not None
        assert second is not None
        assert read_link(connection, "claim", first).verdict == "unknown"
        assert read_link(connection, "claim", second).ok
        people.make_operator(connection, account)
        assert people.claim_link(connection) is None
        assert not read_link(connection, "claim", second).ok


def test_an_expired_one_is_told_for_a_month_and_then_forgotten(database: Database, clock: Clock) -> None:
    old = issue(database, "invite")
    clock.ms += 44 * DAY_MS
    issue(database, "invite")
    assert use(database, "invite", old).verdict == "expired"
    clock.ms += 1
    issue(database, "invite")
    assert use(database, "invite", old).verdict == "unknown"


def test_the_token_is_not_kept(database: Database, account: int, tmp_path: Path) -> None:
    token = issue(database, "sign_in", account)
    database.checkpoint()
    assert token.encode() not in (tmp_path / "metrion.db").read_bytes()


def test_addresses_of_links() -> None:
    at = "https://metrion.example.com"
    purposes: tuple[Purpose, ...] = ("sign_in", "invite", "claim")
    assert [link_url(at, purpose, "abc") for purpose in purposes] == [
        f"{at}/link/abc",
        f"{at}/invite/abc",
        f"{at}/claim/abc",
    ]
