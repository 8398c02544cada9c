"""The registry: finds accounts by their Metrion keys, and follows what operations change."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from metrion.accounts.deletion import begin_deletion
from metrion.accounts.operations import OPERATIONS
from metrion.accounts.registry import Registry
from metrion.accounts.tokens import new_token, parse_token
from metrion.accounts.vault import Vault, open_vault
from metrion.config import Settings
from metrion.kit.secrets import Secret
from metrion.storage.database import Database
from metrion.storage.tables import accounts, provider_keys
from tests.storage.samples import new_database


class Server:
    """A database, its vault and a registry that is told of each change, as the server tells it."""

    def __init__(self, data_dir: Path) -> None:
        self.database: Database = new_database(data_dir)
        self.vault: Vault = open_vault(Settings(data_dir=data_dir), self.database)
        self.registry = self.reread()

    def reread(self) -> Registry:
        with self.database.begin() as connection:
            return Registry.load(connection, self.vault)

    def perform(self, operation: str, **args: Any) -> dict[str, Any]:
        with self.database.begin() as connection:
            done = OPERATIONS[operation](connection, self.vault, args)
        with self.database.begin() as connection:
            self.registry.reload_account(connection, done["account_id"])
        return done

    def create(self, email: str = "a@example.com", plan: str = "pro") -> bytes:
        token: str = self.perform("create_account", email=email, plan=plan)["token"]
        return token.encode()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path)
    yield server
    server.database.close()


def test_an_account_is_found_by_its_key_and_by_no_other(server: Server) -> None:
    token = server.create()
    other = server.create("b@example.com", "free")
    found = server.registry.find(token)
    assert found is not None
    assert (found.email, found.plan, found.disabled, found.provider_keys) == ("a@example.com", "pro", False, {})
    assert server.registry.find(other).plan == "free"  # type: ignore[union-attr]
    for wrong in (b"", b"sk-metrion-", token[:-1], token + b"0", token.upper(), new_token()):
        assert server.registry.find(wrong) is None


def test_a_provider_key_works_at_once_and_is_gone_at_once(server: Server) -> None:
    token = server.create()
    server.perform("set_provider_key", email="a@example.com", provider="openai", key="sk-proj-1")
    assert server.registry.find(token).provider_keys == {"openai": Secret("sk-proj-1")}  # type: ignore[union-attr]
    server.perform("set_provider_key", email="a@example.com", provider="openai", key="sk-proj-2")
    assert server.registry.find(token).provider_keys == {"openai": Secret("sk-proj-2")}  # type: ignore[union-attr]
    server.perform("delete_provider_key", email="a@example.com", provider="openai")
    assert server.registry.find(token).provider_keys == {}  # type: ignore[union-attr]


def test_a_regenerated_key_is_refused_at_once_and_others_stay(server: Server) -> None:
    old, other = server.create(), server.create("b@example.com")
    new = server.perform("regenerate_token", email="a@example.com")["token"].encode()
    assert server.registry.find(old) is None
    assert server.registry.find(new).email == "a@example.com"  # type: ignore[union-attr]
    assert server.registry.find(other).email == "b@example.com"  # type: ignore[union-attr]


def test_a_deleted_account_is_gone_with_its_keys_at_once_and_others_stay(server: Server) -> None:
    token, other = server.create(), server.create("b@example.com")
    server.perform("set_provider_key", email="a@example.com", provider="openai", key="sk-proj-1")
    found, version = server.registry.find(token), server.registry.version
    assert found is not None
    with server.database.begin() as connection:
        begin_deletion(connection, server.vault, found.id)
    assert server.registry.find(token) is found  # until it is reloaded
    with server.database.begin() as connection:
        server.registry.reload_account(connection, found.id)
    assert server.registry.find(token) is None
    assert server.registry.version > version
    assert server.registry.find(other).email == "b@example.com"  # type: ignore[union-attr]
    assert server.reread().find(token) is None
    with server.database.begin() as connection:  # of nobody's, and of one that never was
        for nobody in (0, 99, found.id):
            server.registry.reload_account(connection, nobody)
    assert server.registry.find(other) is not None


def test_a_restart_finds_what_was_there(server: Server) -> None:
    token = server.create()
    server.perform("set_provider_key", email="a@example.com", provider="grok", key="xai-1")
    found = server.reread().find(token)
    assert found is not None
    assert found.provider_keys["grok"].reveal() == b"xai-1"
    assert "xai-1" not in repr(found)


def test_one_damaged_key_keeps_nobody_else_from_starting(server: Server) -> None:
    token, other = server.create(), server.create("b@example.com")
    server.perform("set_provider_key", email="a@example.com", provider="grok", key="xai-1")
    server.perform("set_provider_key", email="b@example.com", provider="grok", key="xai-2")
    with server.database.begin() as connection:
        connection.execute(update(provider_keys).where(provider_keys.c.account_id == 1).values(sealed=b"junk"))
    registry = server.reread()
    assert registry.find(token).provider_keys == {}  # type: ignore[union-attr]
    assert registry.find(other).provider_keys == {"grok": Secret("xai-2")}  # type: ignore[union-attr]


def test_a_disabled_account_says_so(server: Server) -> None:
    token = server.create()
    with server.database.begin() as connection:
        connection.execute(update(accounts).values(disabled_ms=1))
    found = server.reread().find(token)
    assert found is not None
    assert found.disabled


def test_a_token_has_a_form_and_may_carry_a_label() -> None:
    token = new_token()
    assert token != new_token()
    assert len(token) == 43
    assert parse_token(token) == (token, b"")
    assert parse_token(token + b".invoice-bot") == (token, b"invoice-bot")
    assert parse_token(token + b".a.b") == (token, b"a.b")
    for wrong in (b"", b"sk-proj-x", b"sk-metrion-", token + b".", token[:-1], token + b"0", b"." + token):
        assert parse_token(wrong) is None
