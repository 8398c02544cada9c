"""What changes an account: plain functions that run inside one write transaction, in the server or in a command.

Each takes its arguments by name as they came over the control socket, answers with a dict that holds `account_id`, and
raises InputError for what cannot be done. After it, the server calls `Registry.reload_account` with that id.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from metrion.accounts.emails import check_email, find_account
from metrion.accounts.provider_keys import check_provider, check_provider_key
from metrion.accounts.tokens import new_token
from metrion.accounts.vault import Vault
from metrion.errors import InputError
from metrion.kit.clock import now_ms
from metrion.storage import accounts as stored
from metrion.storage.database import Connection

Operation = Callable[[Connection, Vault, dict[str, Any]], dict[str, Any]]

PLANS = ("free", "pro")
TOKEN_PURPOSE = "token"  # noqa: S105  # what a sealed Metrion key is bound to, not a secret


def create_account(connection: Connection, vault: Vault, args: dict[str, Any]) -> dict[str, Any]:
    """{email, plan} → {account_id, email, token}."""
    email, plan = check_email(_text(args, "email")), _text(args, "plan")
    if plan not in PLANS:
        raise InputError(f"unknown plan {plan!r}; use one of {', '.join(PLANS)}")
    if stored.find_account(connection, email):
        raise InputError(f"there is an account {email} already")
    account_id = stored.add_account(connection, email, plan, now_ms())
    return {"account_id": account_id, "email": email, "token": _give_token(connection, vault, account_id)}


def regenerate_token(connection: Connection, vault: Vault, args: dict[str, Any]) -> dict[str, Any]:
    """{email} → {account_id, email, token}; the Metrion key before it is refused from now on."""
    account_id, email = find_account(connection, _text(args, "email"))
    return {"account_id": account_id, "email": email, "token": _give_token(connection, vault, account_id)}


def set_provider_key(connection: Connection, vault: Vault, args: dict[str, Any]) -> dict[str, Any]:
    """{email, provider, key} → {account_id, provider, tail}."""
    account_id, _ = find_account(connection, _text(args, "email"))
    provider = check_provider(_text(args, "provider"))
    key = check_provider_key(provider, _text(args, "key"))
    tail = key[-4:] if len(key) >= 16 else ""  # of a short key, four characters would be too much
    stored.set_provider_key(
        connection, account_id, provider, vault.seal(account_id, provider, key.encode()), tail, now_ms()
    )
    return {"account_id": account_id, "provider": provider, "tail": tail}


def delete_provider_key(connection: Connection, vault: Vault, args: dict[str, Any]) -> dict[str, Any]:
    """{email, provider} → {account_id, provider}."""
    account_id, email = find_account(connection, _text(args, "email"))
    provider = check_provider(_text(args, "provider"))
    if not stored.delete_provider_key(connection, account_id, provider):
        raise InputError(f"{email} has no key for {provider}")
    return {"account_id": account_id, "provider": provider}


OPERATIONS: dict[str, Operation] = {
    "create_account": create_account,
    "regenerate_token": regenerate_token,
    "set_provider_key": set_provider_key,
    "delete_provider_key": delete_provider_key,
}


def _give_token(connection: Connection, vault: Vault, account_id: int) -> str:
    token = new_token()
    sealed = vault.seal(account_id, TOKEN_PURPOSE, token)
    stored.replace_token(connection, account_id, vault.token_digest(token), sealed, now_ms())
    return token.decode()


def _text(args: dict[str, Any], name: str) -> str:
    value = args.get(name)
    if not isinstance(value, str):
        raise InputError(f"{name} is missing")
    return value
