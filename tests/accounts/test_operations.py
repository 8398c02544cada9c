"""Operations: what they accept, what they refuse, and that they leave no secret in the open."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from metrion.accounts.operations import OPERATIONS
from metrion.accounts.tokens import reveal_token
from metrion.accounts.vault import Vault
from metrion.errors import InputError
from metrion.storage import accounts as stored
from metrion.storage.database import Database


def perform(database: Database, vault: Vault, operation: str, **args: Any) -> dict[str, Any]:
    with database.begin() as connection:
        return OPERATIONS[operation](connection, vault, args)


def test_an_account_has_one_key_that_can_be_shown_again(database: Database, vault: Vault, tmp_path: Path) -> None:
    made = perform(database, vault, "create_account", email=" Ada@Example.COM ", plan="pro")
    assert made["email"] == "ada@example.com"
    with database.begin() as connection:
        (row,) = stored.list_tokens(connection, made["account_id"])
        revealed = reveal_token(connection, vault, made["account_id"])
    token = made["token"].encode()
    assert revealed.reveal() == token
    assert row.digest == vault.token_digest(token)
    database.checkpoint()
    assert token not in (tmp_path / "metrion.db").read_bytes()


def test_an_email_address_has_one_account(database: Database, vault: Vault) -> None:
    perform(database, vault, "create_account", email="a@example.com", plan="pro")
    with pytest.raises(InputError, match=r"there is an account a@example\.com already"):
        perform(database, vault, "create_account", email="A@example.com", plan="free")


@pytest.mark.parametrize(
    "email", ["a@b", "a.b+c@sub.example.com", "o'hara@example.ie", "a" * 64 + "@b.c", "root@localhost"]
)
def test_an_address_is_taken(database: Database, vault: Vault, email: str) -> None:
    assert perform(database, vault, "create_account", email=email, plan="pro")["email"] == email


@pytest.mark.parametrize(
    "email",
    [
        "",
        "a",
        "@b.c",
        "a@",
        "a@b@c",
        "a b@c.d",
        "a@-b.c",
        "a@b..c",
        "a@b.c\n.d",
        "ä@b.c",
        "a" * 65 + "@b.c",
        "a@" + "b" * 254,
    ],
)
def test_what_is_no_address_is_refused(database: Database, vault: Vault, email: str) -> None:
    with pytest.raises(InputError, match="not an e-mail address"):
        perform(database, vault, "create_account", email=email, plan="pro")


@pytest.mark.parametrize("args", [{"email": "a@b.c"}, {"email": 7, "plan": "pro"}, {"email": "a@b.c", "plan": "gold"}])
def test_malformed_arguments_are_refused(database: Database, vault: Vault, args: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        perform(database, vault, "create_account", **args)


@pytest.mark.parametrize(
    ("provider", "key"),
    [
        ("openai", "sk-proj-abcdefgh12345678"),
        ("openai", "sk-bench-upstream"),
        ("openai", "any-gateway-key"),
        ("anthropic", "sk-ant-api03-abcdefgh"),
        ("mistral", "AbCdEfGh12345678AbCdEfGh12345678"),
        ("mistral", "sk-of-a-private-gateway"),
        ("gemini", "AIzaSyAbcdefgh12345678"),
        ("grok", "xai-abcdefgh12345678"),
        (" OpenAI ", "x" * 512),
    ],
)
def test_a_provider_key_is_sealed(database: Database, vault: Vault, tmp_path: Path, provider: str, key: str) -> None:
    account = perform(database, vault, "create_account", email="a@b.c", plan="pro")["account_id"]
    done = perform(database, vault, "set_provider_key", email="A@b.c", provider=provider, key=f" {key}\n")
    assert done["tail"] == (key[-4:] if len(key) >= 16 else "")
    with database.begin() as connection:
        (row,) = stored.list_provider_keys(connection, account)
    assert vault.open(account, provider.strip().lower(), row.sealed).reveal() == key.encode()
    database.checkpoint()
    assert key.encode() not in (tmp_path / "metrion.db").read_bytes()


@pytest.mark.parametrize(
    ("provider", "key", "said"),
    [
        ("openai", "sk-ant-abcdefgh12345678", "This looks like an Anthropic key. You chose OpenAI."),
        ("anthropic", "sk-proj-abcdefgh12345678", "This looks like an OpenAI key. You chose Anthropic."),
        ("mistral", "AIzaSyAbcdefgh12345678", "This looks like a Gemini key. You chose Mistral."),
        ("gemini", "xai-abcdefgh12345678", "This looks like a Grok key. You chose Gemini."),
        ("openai", "sk-metrion-0123456789abcdef0123456789abcdef", "This is a Metrion key"),
        ("openai", " \n", "No key was given"),
        ("openai", "x" * 513, "not an API key"),
        ("openai", "two words-abcdefgh12345678", "not an API key"),
        ("openai", "clé-abcdefgh12345678", "not an API key"),
        ("openai", "a\x00b-abcdefgh12345678", "not an API key"),
        ("openia", "sk-abcdefgh12345678", "unknown provider 'openia'"),
    ],
)
def test_a_wrong_key_is_refused_and_not_quoted(
    database: Database, vault: Vault, provider: str, key: str, said: str
) -> None:
    perform(database, vault, "create_account", email="a@b.c", plan="pro")
    with pytest.raises(InputError, match=said) as caught:
        perform(database, vault, "set_provider_key", email="a@b.c", provider=provider, key=key)
    assert "abcdefgh" not in str(caught.value)


def test_what_is_not_there_cannot_be_changed(database: Database, vault: Vault) -> None:
    with pytest.raises(InputError, match=r"there is no account 'x@y\.z'"):
        perform(database, vault, "set_provider_key", email="x@y.z", provider="openai", key="k")
    perform(database, vault, "create_account", email="a@b.c", plan="pro")
    with pytest.raises(InputError, match="no OpenAI key"):
        perform(database, vault, "delete_provider_key", email="a@b.c", provider="openai")


def test_a_failed_operation_changes_nothing(database: Database, vault: Vault) -> None:
    with pytest.raises(InputError):
        perform(database, vault, "create_account", email="a@b.c", plan="gold")
    with database.begin() as connection:
        assert stored.list_accounts(connection) == []
