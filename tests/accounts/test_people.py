"""What people do with their account: sign up, confirm, change what is theirs, and what each of it ends."""

from __future__ import annotations

import re
from typing import NamedTuple

import pytest

from metrion.accounts import people, sessions
from metrion.accounts.codes import check_code, issue_code, pending_codes
from metrion.accounts.emails import find_account
from metrion.accounts.links import issue_link, read_link
from metrion.accounts.operators import list_accounts
from metrion.accounts.provider_keys import delete_provider_key, set_provider_key
from metrion.accounts.tokens import mask_token, replace_token, reveal_token
from metrion.accounts.vault import Vault
from metrion.errors import InputError
from metrion.storage import accounts as stored
from metrion.storage.database import Database
from tests.accounts.conftest import EMAIL, Clock, add_account
from tests.storage.samples import call_row, write_rows

MARKUP = "<script>alert('x')</script>"


def person(database: Database, account: int) -> people.Person:
    with database.begin() as connection:
        found = people.get_person(connection, account)
    assert found is not None
    return found


class WaysIn(NamedTuple):
    """Two sessions, a code and a sign-in link; of what `left` says how much is still good."""

    here: bytes  # the digest of the first session
    link: str

    def left(self, database: Database, vault: Vault, account: int) -> tuple[int, int, bool]:
        with database.begin() as connection:
            live = len(sessions.list_sessions(connection, account))
            return live, len(pending_codes(connection, vault, account)), read_link(connection, "sign_in", self.link).ok


def open_ways_in(database: Database, vault: Vault, account: int) -> WaysIn:
    with database.begin() as connection:
        cookies = [sessions.start_session(connection, account, "Firefox", "192.0.2.1") for _ in range(2)]
        issue_code(connection, vault, account, "reset")
        link = issue_link(connection, "sign_in", account_id=account)
        here = sessions.find_session(connection, cookies[0])
    assert here is not None
    return WaysIn(here.digest, link)


# ── signing up ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_who_signs_up_has_an_account_and_a_key(database: Database, vault: Vault, clock: Clock) -> None:
    with database.begin() as connection:
        made = people.sign_up(
            connection, vault, " Ada@Example.com ", "$argon2id$x", plan="free", name=" Ada ", confirmed=False
        )
        assert reveal_token(connection, vault, made.account_id) == made.token
        found = people.find_person(connection, "ADA@example.com\n")
    assert found is not None
    assert found == person(database, made.account_id)
    assert (found.email, found.name, found.plan, found.password_hash) == (EMAIL, "Ada", "free", "$argon2id$x")
    assert (found.confirmed, found.operator, found.disabled) == (False, False, False)
    assert (found.currency, found.time_zone, found.used_ms) == ("USD", "UTC", None)
    assert "argon2id" not in repr(found)
    with database.begin() as connection:
        people.confirm(connection, made.account_id)
        assert people.find_person(connection, "bob@example.com") is None
        assert people.get_person(connection, 99) is None
    assert person(database, made.account_id).confirmed


def test_an_address_has_one_account(database: Database, vault: Vault, account: int) -> None:
    with pytest.raises(people.AddressTaken, match="already") as caught, database.begin() as connection:
        people.sign_up(connection, vault, EMAIL.upper(), None, plan="pro", confirmed=True)
    assert caught.value.field == "email"


@pytest.mark.parametrize(
    ("email", "name", "field"),
    [
        ("ada", "", "email"),
        ("<script>@example.com", "", "email"),
        (".ada@example.com", "", "email"),
        ("ada..b@example.com", "", "email"),  # of which mail's own rules know nothing either
        (f"{'a' * 65}@example.com", "", "email"),
        ("b@c.d", "x" * 81, "name"),
        ("b@c.d", "a\nb", "name"),
    ],
)
def test_the_field_at_fault_is_named_and_nothing_is_made(
    database: Database, vault: Vault, email: str, name: str, field: str
) -> None:
    with pytest.raises(InputError) as caught, database.begin() as connection:
        people.sign_up(connection, vault, email, None, plan="pro", name=name, confirmed=True)
    assert caught.value.field == field
    with database.begin() as connection:
        assert stored.list_accounts(connection) == []


def test_an_invitation_lets_one_person_in(database: Database, vault: Vault, clock: Clock) -> None:
    with database.begin() as connection:
        token = issue_link(connection, "invite")
        people.sign_up(connection, vault, EMAIL, None, plan="pro", confirmed=True, invite=token)
    with pytest.raises(InputError, match="used already") as caught, database.begin() as connection:
        people.sign_up(connection, vault, "bob@example.com", None, plan="pro", confirmed=True, invite=token)
    assert caught.value.field == "invite"
    with pytest.raises(InputError, match="not known here"), database.begin() as connection:
        people.sign_up(connection, vault, "bob@example.com", None, plan="pro", confirmed=True, invite="")


def test_an_invitation_for_an_address_is_for_no_other_and_not_used_up_by_one(
    database: Database, vault: Vault, clock: Clock
) -> None:
    with database.begin() as connection:
        token = issue_link(connection, "invite", email=EMAIL)
    with pytest.raises(InputError, match="is for ada@example") as caught, database.begin() as connection:
        people.sign_up(connection, vault, "eve@example.com", None, plan="pro", confirmed=True, invite=token)
    assert caught.value.field == "email"
    with database.begin() as connection:
        people.sign_up(connection, vault, EMAIL, None, plan="pro", confirmed=True, invite=token)


def test_an_operator_is_made_by_who_makes_it_and_ends_the_claim(database: Database, vault: Vault, account: int) -> None:
    assert not person(database, account).operator  # the first to sign up is nobody special
    with database.begin() as connection:
        claim = people.claim_link(connection)
        assert claim is not None
        made = people.sign_up(connection, vault, "op@example.com", None, plan="pro", confirmed=True, operator=True)
        assert read_link(connection, "claim", claim).verdict == "unknown"
    assert person(database, made.account_id).operator


# ── what is theirs ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_new_password_ends_every_other_way_in(database: Database, vault: Vault, clock: Clock, account: int) -> None:
    other = add_account(database, vault, "bob@example.com")
    with database.begin() as connection:
        bobs = sessions.start_session(connection, other, "Firefox", "192.0.2.2")
    ways = open_ways_in(database, vault, account)
    assert ways.left(database, vault, account) == (2, 1, True)
    with database.begin() as connection:
        people.set_password(connection, account, "new", but=ways.here)
    assert ways.left(database, vault, account) == (1, 0, False)
    with database.begin() as connection:
        people.set_password(connection, account, "newer")
        assert sessions.find_session(connection, bobs) is not None
    assert ways.left(database, vault, account) == (0, 0, False)
    assert person(database, account).password_hash == "newer"
    assert person(database, other).password_hash is None


def test_nobody_comes_in_after_the_password_or_the_account_ended(database: Database, account: int) -> None:
    def let_in(account_id: int, by: str | None) -> bool:
        with database.begin() as connection:
            cookie = people.let_in(connection, account_id, "Firefox", "192.0.2.1", by=by)
            return sessions.find_session(connection, cookie) is not None

    with database.begin() as connection:
        people.set_password(connection, account, "old")
    assert let_in(account, "old")
    assert let_in(account, None)  # by a link
    with database.begin() as connection:
        people.set_password(connection, account, "new")
    with pytest.raises(InputError, match="Log in again"):
        let_in(account, "old")
    with database.begin() as connection:
        people.set_disabled(connection, account, disabled=True)
    for account_id in (account, 99):
        with pytest.raises(InputError, match="Log in again"):
            let_in(account_id, None)
    with database.begin() as connection:
        people.set_disabled(connection, account, disabled=False)
        assert sessions.list_sessions(connection, account) == []  # none waited for that


def test_a_hash_is_renewed_unless_the_password_was_changed_meanwhile(database: Database, account: int) -> None:
    with database.begin() as connection:
        people.set_password(connection, account, "old")
        people.renew_hash(connection, account, "old", "dearer")
    assert person(database, account).password_hash == "dearer"
    with database.begin() as connection:
        people.renew_hash(connection, account, "old", "dearest")
        people.renew_hash(connection, 99, "old", "dearest")
    assert person(database, account).password_hash == "dearer"


def test_a_new_address_is_the_account_s_and_ends_codes_that_went_to_the_old_one(
    database: Database, vault: Vault, clock: Clock, account: int
) -> None:
    ways = open_ways_in(database, vault, account)
    with database.begin() as connection:
        people.change_email(connection, account, " New@Example.com ")
        assert find_account(connection, "new@example.com") == (account, "new@example.com")
        assert people.find_person(connection, EMAIL) is None
        assert check_code(connection, vault, account, "reset", "123456").verdict == "none"
    assert ways.left(database, vault, account)[0] == 2


@pytest.mark.parametrize("email", ["bob@example.com", "BOB@example.com", "no address", MARKUP])
def test_an_address_that_cannot_be_theirs_is_refused(
    database: Database, vault: Vault, account: int, email: str
) -> None:
    add_account(database, vault, "bob@example.com")
    with pytest.raises(InputError) as caught, database.begin() as connection:
        people.change_email(connection, account, email)
    assert caught.value.field == "email"
    assert person(database, account).email == EMAIL


def test_their_own_address_in_other_letters_is_no_problem(database: Database, account: int) -> None:
    with database.begin() as connection:
        people.change_email(connection, account, EMAIL.upper())
    assert person(database, account).email == EMAIL


@pytest.mark.parametrize(
    "name", ["", "Ada", MARKUP, "Élodie & Søn", "阿达", "x" * 80, "  spaces around  ", '" onload="x']
)
def test_a_name_is_kept_as_it_is(database: Database, account: int, name: str) -> None:
    with database.begin() as connection:
        people.set_profile(connection, account, name=name, currency="EUR", time_zone="America/St_Johns")
    found = person(database, account)
    assert (found.name, found.currency, found.time_zone) == (name.strip(), "EUR", "America/St_Johns")


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"name": "x" * 81}, "name"),
        ({"name": "a\x00b"}, "name"),
        ({"name": "a\u202eb"}, "name"),  # turns the text after it around
        ({"name": "line\nbreak"}, "name"),
        ({"currency": "GBP"}, "currency"),
        ({"currency": MARKUP}, "currency"),
        ({"time_zone": "Mars/Olympus"}, "time_zone"),
        ({"time_zone": "../../etc/passwd"}, "time_zone"),
        ({"time_zone": ""}, "time_zone"),
    ],
)
def test_what_cannot_be_set_names_its_field_and_changes_nothing(
    database: Database, account: int, changed: dict[str, str], field: str
) -> None:
    good = {"name": "Ada", "currency": "EUR", "time_zone": "Europe/Zurich"}
    before = person(database, account)
    with pytest.raises(InputError) as caught, database.begin() as connection:
        people.set_profile(connection, account, **(good | changed))
    assert caught.value.field == field
    assert person(database, account) == before


def test_time_zones_are_in_order_and_usable() -> None:
    zones = people.time_zones()
    assert list(zones) == sorted(zones)
    assert {"UTC", "Europe/Zurich", "Asia/Kathmandu"} <= set(zones)
    assert not any(zone.startswith(("posix/", "right/", "/")) for zone in zones)


# ── keys ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_metrion_key_is_shown_masked_and_whole_and_replaced(database: Database, vault: Vault, account: int) -> None:
    with database.begin() as connection:
        before = reveal_token(connection, vault, account)
        after = replace_token(connection, vault, account)
        assert reveal_token(connection, vault, account) == after != before
        assert len(stored.list_tokens(connection, account)) == 1
    masked = mask_token(after)
    assert re.fullmatch(r"sk-metrion-…[0-9a-f]{4}", masked)
    assert after.reveal().decode().endswith(masked[-4:])
    with pytest.raises(InputError, match="no Metrion key"), database.begin() as connection:
        reveal_token(connection, vault, 99)


def test_a_provider_key_is_set_replaced_and_deleted_by_its_own_account(
    database: Database, vault: Vault, account: int
) -> None:
    other = add_account(database, vault, "bob@example.com")
    with database.begin() as connection:
        assert set_provider_key(connection, vault, account, "openai", " sk-proj-abcdefgh12345678\n") == "5678"
        assert set_provider_key(connection, vault, account, "OpenAI", "sk-short") == ""
        (row,) = stored.list_provider_keys(connection, account)
        assert (row.provider, row.tail, row.used_ms) == ("openai", "", None)
        with pytest.raises(InputError, match="no OpenAI key to delete"):
            delete_provider_key(connection, other, "openai")
        delete_provider_key(connection, account, "openai")
        assert stored.list_provider_keys(connection, account) == []


# ── operators ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_disabled_account_has_no_way_in_and_is_as_before_when_enabled(
    database: Database, vault: Vault, clock: Clock, account: int
) -> None:
    ways = open_ways_in(database, vault, account)
    before = person(database, account)
    with database.begin() as connection:
        people.set_disabled(connection, account, disabled=True)
    assert ways.left(database, vault, account) == (0, 0, False)
    assert person(database, account).disabled
    with database.begin() as connection:
        people.set_disabled(connection, account, disabled=False)
    assert person(database, account) == before


def test_a_plan_is_one_of_the_plans(database: Database, account: int) -> None:
    with database.begin() as connection:
        people.set_plan(connection, account, "free")
    with pytest.raises(InputError, match="unknown plan 'gold'"), database.begin() as connection:
        people.set_plan(connection, account, "gold")
    assert person(database, account).plan == "free"


def test_operators_see_who_is_there_and_nothing_of_what_they_recorded(
    database: Database, vault: Vault, clock: Clock, account: int
) -> None:
    other = add_account(database, vault, "bob@example.com")
    calls = [call_row(clock.ms, number, requester="secret-bot", model="secret-model") for number in range(3)]
    write_rows(database, [*calls, call_row(clock.ms, 9, outcome="rejected", status=429)])
    with database.begin() as connection:
        people.make_operator(connection, other)
        people.set_disabled(connection, account, disabled=True)
        stored.update_account(connection, account, used_ms=clock.ms)
        ada, bob = list_accounts(connection)
    assert ada[:5] == (account, EMAIL, "pro", "disabled", False)
    assert ada[5:] == (clock.ms, clock.ms, 3)
    assert bob[1:5] == ("bob@example.com", "pro", "active", True)
    assert (bob.used_ms, bob.requests) == (None, 0)
    assert "secret" not in repr((ada, bob))
