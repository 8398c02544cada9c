"""An account that ends: gone in one transaction for people and the proxy, and not to be mistaken for another."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import insert

from metrion.accounts import links, people, provider_keys, sessions
from metrion.accounts.codes import issue_code
from metrion.accounts.deletion import begin_deletion, who_is_gone
from metrion.accounts.registry import Registry
from metrion.accounts.tokens import reveal_token
from metrion.accounts.vault import Vault
from metrion.config import Settings
from metrion.errors import InputError, VaultError
from metrion.storage import tables
from metrion.storage.database import Connection, Database
from metrion.storage.deletions import IN_STEPS, unfinished
from tests.accounts.conftest import EMAIL, add_account
from tests.storage.everything import held
from tests.storage.samples import call_row, write_rows

BOB = "bob@example.com"
LATER = {table.name for table in IN_STEPS}


@pytest.fixture
def bob(database: Database, vault: Vault) -> int:
    return add_account(database, vault, BOB)


def live_in(connection: Connection, vault: Vault, account: int) -> str:
    """What a person leaves behind while they use an account; their session's cookie."""
    provider_keys.set_provider_key(connection, vault, account, "openai", "sk-proj-0123456789abcdef")
    issue_code(connection, vault, account, "reset")
    links.issue_link(connection, "sign_in", account_id=account)
    connection.execute(insert(tables.outbox).values(account_id=account, sealed=b"a letter"))
    return sessions.start_session(connection, account, "a browser", "127.0.0.1")


def test_all_of_it_is_gone_at_once_but_for_what_goes_in_steps(
    database: Database, vault: Vault, account: int, bob: int
) -> None:
    with database.begin() as connection:
        cookie, others = live_in(connection, vault, account), live_in(connection, vault, bob)
        people.set_profile(connection, account, name="Ada L.", currency="CHF", time_zone="Europe/Zurich")
        token = reveal_token(connection, vault, account).reveal()
        registry = Registry.load(connection, vault)
    write_rows(database, [call_row(1, number, account_id=of) for number in range(3) for of in (account, bob)])
    kept = held(database, bob)
    assert registry.find(token) is not None
    with database.begin() as connection:
        deleted = begin_deletion(connection, vault, account)
    with database.begin() as connection:
        registry.reload_account(connection, account)
        assert sessions.find_session(connection, cookie) is None
        assert sessions.find_session(connection, others) is not None
        assert people.find_person(connection, EMAIL) is None
        assert unfinished(connection) == [account]
    assert (deleted.account_id, deleted.email, deleted.name) == (account, EMAIL, "Ada L.")
    assert deleted.facts() == [("Requests", "3"), ("Metrion keys", "1"), ("Provider keys", "1"), ("Sessions", "1")]
    assert registry.find(token) is None
    assert held(database, account).keys() <= LATER
    assert held(database, bob) == kept


def test_it_happens_as_a_whole_or_not_at_all(database: Database, vault: Vault, account: int) -> None:
    before = held(database, account)
    with pytest.raises(RuntimeError), database.begin() as connection:
        begin_deletion(connection, vault, account)
        raise RuntimeError
    assert held(database, account) == before
    with database.begin() as connection:
        assert unfinished(connection) == []


def test_an_account_that_is_not_there_cannot_end(database: Database, vault: Vault, account: int) -> None:
    with database.begin() as connection:
        begin_deletion(connection, vault, account)
        with pytest.raises(InputError, match="there is no account"):
            begin_deletion(connection, vault, account)


def test_the_address_may_sign_up_again_and_gets_another_number(
    database: Database, vault: Vault, account: int, bob: int
) -> None:
    with database.begin() as connection:
        begin_deletion(connection, vault, account)
        begin_deletion(connection, vault, bob)  # the highest number there was
    assert add_account(database, vault, EMAIL) > bob > account


def test_invitations_to_the_address_go_too(database: Database, vault: Vault, account: int) -> None:
    with database.begin() as connection:
        own = links.issue_link(connection, "invite", email=EMAIL)
        other = links.issue_link(connection, "invite", email=BOB)
        begin_deletion(connection, vault, account)
        assert not links.read_link(connection, "invite", own).ok
        assert links.read_link(connection, "invite", other).ok


def test_a_tombstone_tells_the_account_and_no_other(
    database: Database, vault: Vault, account: int, bob: int, tmp_path: Path
) -> None:
    settings = Settings(data_dir=tmp_path)
    assert not who_is_gone(settings, database)(account)
    with database.begin() as connection:
        begin_deletion(connection, vault, account)
    is_gone = who_is_gone(settings, database)
    assert is_gone(account)
    assert not is_gone(bob)


def test_only_where_an_account_was_deleted_is_the_master_key_needed(
    database: Database, vault: Vault, account: int, tmp_path: Path
) -> None:
    settings = Settings(data_dir=tmp_path)
    (tmp_path / "master.key").rename(tmp_path / "elsewhere")
    assert not who_is_gone(settings, database)(account)
    with database.begin() as connection:
        begin_deletion(connection, vault, account)
    with pytest.raises(VaultError, match="the master key is missing"):
        who_is_gone(settings, database)
