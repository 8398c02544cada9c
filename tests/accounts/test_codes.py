"""Codes: bound to account, purpose and subject; few tries, once, for ten minutes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metrion.accounts import codes as module
from metrion.accounts.codes import (
    LIFETIME_MS,
    CodeResult,
    Purpose,
    check_code,
    check_codes,
    issue_code,
    pending_codes,
    pending_subject,
    would_accept,
)
from metrion.accounts.vault import Vault, open_vault
from metrion.config import Settings
from metrion.storage.database import Database
from tests.accounts.conftest import Clock, add_account
from tests.storage.samples import new_database

PURPOSES: tuple[Purpose, ...] = get_args(Purpose)


class Codes:
    """Issues and checks codes, each in a transaction of its own, as pages do."""

    def __init__(self, database: Database, vault: Vault, account: int) -> None:
        self.database, self.vault, self.account = database, vault, account

    def issue(self, purpose: Purpose = "login", subject: str = "") -> str:
        with self.database.begin() as connection:
            return issue_code(connection, self.vault, self.account, purpose, subject)

    def check(self, code: str, purpose: Purpose = "login", account: int | None = None) -> CodeResult:
        """What came of it, which a look before foretold."""
        which = account or self.account
        with self.database.begin() as connection:
            foretold = would_accept(connection, self.vault, which, purpose, code)
            result = check_code(connection, self.vault, which, purpose, code)
        assert result.ok == foretold
        return result

    def check_all(self, **typed: str) -> dict[Purpose, CodeResult]:
        wanted = {purpose: typed[purpose] for purpose in PURPOSES if purpose in typed}
        with self.database.begin() as connection:
            return check_codes(connection, self.vault, self.account, wanted)

    def subject(self, purpose: Purpose) -> str | None:
        with self.database.begin() as connection:
            return pending_subject(connection, self.account, purpose)

    def pending(self) -> list[tuple[str, str, str, int]]:
        with self.database.begin() as connection:
            found = pending_codes(connection, self.vault, self.account)
        return [(one.purpose, one.subject, one.code.reveal().decode(), one.expires_ms) for one in found]


@pytest.fixture
def codes(database: Database, vault: Vault, clock: Clock, account: int) -> Codes:
    return Codes(database, vault, account)


def another(code: str) -> str:
    return f"{(int(code) + 1) % 1_000_000:06}"


def test_a_code_is_six_digits_and_accepted_once_with_its_subject(codes: Codes) -> None:
    code = codes.issue("email_new", "new@example.com")
    assert len(code) == 6 and code.isdigit()
    done = codes.check(code, "email_new")
    assert (done.ok, done.subject, done.problem) == (True, "new@example.com", "")
    assert codes.check(code, "email_new").verdict == "none"


def test_codes_are_spread_over_all_numbers(codes: Codes) -> None:
    drawn = [codes.issue() for _ in range(300)]
    assert len(set(drawn)) > 290
    assert {code[0] for code in drawn} == set("0123456789")  # also those that begin with 0


@pytest.mark.parametrize("typed", ["{0}{1}", " {0} {1}\n", "{0}-{1}", "{0}\u00a0{1}"])
def test_it_may_be_typed_as_people_write_it(codes: Codes, typed: str) -> None:
    code = codes.issue()
    assert codes.check(typed.format(code[:3], code[3:])).ok


@pytest.mark.parametrize(
    "junk", ["", "12345", "1234567", "abcdef", "١٢٣٤٥٦", "１２３４５６", "12345\x00", "9" * 100_000]
)
def test_what_is_no_code_takes_no_try(codes: Codes, junk: str) -> None:
    code = codes.issue()
    for _ in range(20):
        assert codes.check(junk) == CodeResult("wrong", tries_left=5)
    assert codes.check(code).ok


def test_five_wrong_ones_void_it_and_tries_are_kept(codes: Codes) -> None:
    code = codes.issue()
    results = [codes.check(another(code)) for _ in range(7)]
    assert [(one.verdict, one.tries_left) for one in results] == [
        ("wrong", 4),
        ("wrong", 3),
        ("wrong", 2),
        ("wrong", 1),
        ("spent", 0),
        ("spent", 0),
        ("spent", 0),
    ]
    assert results[3].problem == "This code is wrong. 1 try left."
    assert codes.check(code).verdict == "spent"
    assert codes.pending() == []
    assert codes.check(codes.issue()).ok


def test_10000_guesses_never_pass(codes: Codes) -> None:
    code = codes.issue()
    with codes.database.begin() as connection:
        for guess in (f"{number:06}" for number in range(1_000_000) if f"{number:06}" != code):
            verdict = check_code(connection, codes.vault, codes.account, "login", guess).verdict
            assert verdict in ("wrong", "spent")
            if int(guess) >= 10_000:
                break
    assert codes.check(code).verdict == "spent"


def test_it_lives_ten_minutes(codes: Codes, clock: Clock) -> None:
    first = codes.issue()
    clock.ms += LIFETIME_MS - 1
    assert [pending[2] for pending in codes.pending()] == [first]
    assert codes.check(first).ok
    second = codes.issue()
    clock.ms += LIFETIME_MS
    assert codes.pending() == []
    assert codes.check(second).verdict == "expired"
    assert codes.check(another(second)).verdict == "expired"


def test_a_new_one_takes_its_place_with_tries_of_its_own(codes: Codes) -> None:
    first = codes.issue("login")
    for _ in range(4):
        codes.check(another(first))
    second = codes.issue("login")
    if first != second:
        assert codes.check(first) == CodeResult("wrong", tries_left=4)
    assert codes.check(second).ok


@pytest.mark.parametrize("purpose", PURPOSES)
def test_it_is_good_for_nothing_else_and_nobody_else(codes: Codes, purpose: Purpose) -> None:
    code = codes.issue(purpose)
    other = add_account(codes.database, codes.vault, "bob@example.com")
    for foreign in PURPOSES:
        if foreign != purpose:
            assert codes.check(code, foreign).verdict == "none"
        assert codes.check(code, foreign, other).verdict == "none"
    with codes.database.begin() as connection:  # a row that was copied opens nothing either
        connection.exec_driver_sql("UPDATE codes SET account_id = ?", (other,))
    assert codes.check(code, purpose, other).verdict == "wrong"


def test_a_changed_subject_makes_it_wrong(codes: Codes) -> None:
    code = codes.issue("email_new", "new@example.com")
    with codes.database.begin() as connection:
        connection.exec_driver_sql("UPDATE codes SET subject = 'eve@example.com'")
    assert codes.check(code, "email_new").verdict == "wrong"


def test_codes_that_count_together_are_used_together(codes: Codes) -> None:
    old, new = codes.issue("email_old", "new@example.com"), codes.issue("email_new", "new@example.com")
    first = codes.check_all(email_old=old, email_new=another(new))
    assert (first["email_old"].verdict, first["email_new"]) == ("ok", CodeResult("wrong", tries_left=4))
    second = codes.check_all(email_old=another(old), email_new=new)
    assert (second["email_old"], second["email_new"].verdict) == (CodeResult("wrong", tries_left=4), "ok")
    assert all(result.ok for result in codes.check_all(email_old=old, email_new=new).values())
    assert {result.verdict for result in codes.check_all(email_old=old, email_new=new).values()} == {"none"}


def test_what_is_pending_names_what_it_confirms(codes: Codes, clock: Clock) -> None:
    assert codes.subject("email_new") is None
    codes.issue("email_new", "new@example.com")
    assert codes.subject("email_new") == "new@example.com"
    assert codes.subject("email_old") is None
    clock.ms += LIFETIME_MS
    assert codes.subject("email_new") is None


def test_the_operator_sees_what_is_pending_the_youngest_first(codes: Codes, clock: Clock) -> None:
    login = codes.issue("login")
    clock.ms += 1000
    email = codes.issue("email_new", "new@example.com")
    assert codes.pending() == [
        ("email_new", "new@example.com", email, clock.ms + LIFETIME_MS),
        ("login", "", login, clock.ms - 1000 + LIFETIME_MS),
    ]


def test_no_code_stands_in_the_database(codes: Codes, tmp_path: Path) -> None:
    drawn = [codes.issue(purpose) for purpose in PURPOSES]
    with codes.database.begin() as connection:
        rows = connection.exec_driver_sql("SELECT digest, sealed, subject FROM codes").all()
    assert len(rows) == len(PURPOSES)
    kept = b"".join(row.digest + row.sealed + row.subject.encode() for row in rows)
    assert not any(code.encode() in kept for code in drawn)


@contextmanager
def new_codes(data_dir: Path) -> Iterator[tuple[Codes, Clock]]:
    """Codes of a database of their own, for tests that run many times."""
    database, clock = new_database(data_dir), Clock(1_793_534_400_000)
    vault = open_vault(Settings(data_dir=data_dir), database)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "now_ms", clock)
        yield Codes(database, vault, add_account(database, vault, "ada@example.com")), clock
    database.close()


@settings(max_examples=30)  # each makes a database
@given(st.lists(st.sampled_from(["right", "wrong", "junk", "issue", "wait"]), max_size=30))
def test_whatever_is_done_a_code_is_accepted_only_fresh_unused_and_before_the_sixth_try(
    tmp_path_factory: pytest.TempPathFactory, steps: list[str]
) -> None:
    with new_codes(tmp_path_factory.mktemp("codes")) as (codes, clock):
        code, tries, until = codes.issue(), 0, clock.ms + LIFETIME_MS
        for step in steps:
            if step == "issue":
                code, tries, until = codes.issue(), 0, clock.ms + LIFETIME_MS
            elif step == "wait":
                clock.ms += LIFETIME_MS // 2
            else:
                typed = {"right": code, "wrong": another(code), "junk": "1"}[step]
                expected = step == "right" and tries < 5 and clock.ms < until
                assert codes.check(typed).ok == expected
                tries += step == "wrong" and clock.ms < until
                tries = 5 if expected else tries  # used up
