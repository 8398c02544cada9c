"""What commands do with accounts: plain functions that run inside one write transaction, here or in the server.

Each takes its arguments by name as they came over the control socket, answers with a dict that holds `account_id` (0:
nobody's), and raises InputError for what cannot be done. After it, the server calls `Registry.reload_account` with that
id. One more, `set_plan`, may mail and is in `metrion.billing.grants`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from metrion.accounts import people
from metrion.accounts import provider_keys as keys
from metrion.accounts.codes import pending_codes
from metrion.accounts.deletion import begin_deletion
from metrion.accounts.emails import check_email, find_account
from metrion.accounts.links import issue_link
from metrion.accounts.tokens import replace_token
from metrion.accounts.vault import Vault
from metrion.errors import InputError
from metrion.storage import accounts as stored
from metrion.storage.database import Connection

Operation = Callable[[Connection, Vault, dict[str, Any]], dict[str, Any]]


def create_account(connection: Connection, vault: Vault, args: dict[str, Any]) -> dict[str, Any]:
    """{email, plan, operator?} → {account_id, email, token}; without a password, and confirmed by who makes it."""
    email, plan = check_email(_text(args, "email")), people.check_plan(_text(args, "plan"))
    if stored.find_account(connection, email):
        raise InputError(f"there is an account {email} already")
    operator = args.get("operator") is True
    made = people.sign_up(connection, vault, email, None, plan=plan, confirmed=True, operator=operator)
    return {"account_id": made.account_id, "email": email, "token": made.token.reveal().decode()}


def regenerate_token(connection: Connection, vault: Vault, args: dict[str, Any]) -> dict[str, Any]:
    """{email} → {account_id, email, token}; the Metrion key before it is refused from now on."""
    account_id, email = find_account(connection, _text(args, "email"))
    token = replace_token(connection, vault, account_id)
    return {"account_id": account_id, "email": email, "token": token.reveal().decode()}


def set_provider_key(connection: Connection, vault: Vault, args: dict[str, Any]) -> dict[str, Any]:
    """{email, provider, key} → {account_id, provider, tail}."""
    account_id, _ = find_account(connection, _text(args, "email"))
    provider = keys.check_provider(_text(args, "provider"))
    tail = keys.set_provider_key(connection, vault, account_id, provider, _text(args, "key"))
    return {"account_id": account_id, "provider": provider, "tail": tail}


def delete_provider_key(connection: Connection, vault: Vault, args: dict[str, Any]) -> dict[str, Any]:
    """{email, provider} → {account_id, provider}."""
    account_id, _ = find_account(connection, _text(args, "email"))
    provider = keys.check_provider(_text(args, "provider"))
    keys.delete_provider_key(connection, account_id, provider)
    return {"account_id": account_id, "provider": provider}


def disable_account(connection: Connection, vault: Vault, args: dict[str, Any]) -> dict[str, Any]:
    """{email} → {account_id, email}; its sessions end, and its calls are refused from now on."""
    return _set_disabled(connection, args, disabled=True)


def enable_account(connection: Connection, vault: Vault, args: dict[str, Any]) -> dict[str, Any]:
    """{email} → {account_id, email}."""
    return _set_disabled(connection, args, disabled=False)


def delete_account(connection: Connection, vault: Vault, args: dict[str, Any]) -> dict[str, Any]:
    """{email} → {account_id, email, facts: [[kind, how many]]}; what it recorded is left to `ledger.erasure`."""
    account_id, _ = find_account(connection, _text(args, "email"))
    deleted = begin_deletion(connection, vault, account_id)
    return {"account_id": account_id, "email": deleted.email, "facts": deleted.facts()}


def invite(connection: Connection, vault: Vault, args: dict[str, Any]) -> dict[str, Any]:
    """{email} → {account_id: 0, email, token}: of a link to sign up by, for that address alone unless it is ""."""
    email = _text(args, "email")
    if email:
        email = check_email(email)
        if stored.find_account(connection, email):
            raise InputError(f"there is an account {email} already")
    return {"account_id": 0, "email": email, "token": issue_link(connection, "invite", email=email)}


def sign_in_link(connection: Connection, vault: Vault, args: dict[str, Any]) -> dict[str, Any]:
    """{email} → {account_id, email, token}: of a link that signs in once."""
    account_id, email = find_account(connection, _text(args, "email"))
    person = people.get_person(connection, account_id)
    if person is not None and person.disabled:
        raise InputError(f"{email} is disabled; enable it first with: metrion account enable {email}")
    token = issue_link(connection, "sign_in", account_id=account_id)
    return {"account_id": account_id, "email": email, "token": token}


def show_codes(connection: Connection, vault: Vault, args: dict[str, Any]) -> dict[str, Any]:
    """{email} → {account_id, email, codes: [{purpose, subject, code, expires_ms}]}."""
    account_id, email = find_account(connection, _text(args, "email"))
    codes = [
        {
            "purpose": one.purpose,
            "subject": one.subject,
            "code": one.code.reveal().decode(),
            "expires_ms": one.expires_ms,
        }
        for one in pending_codes(connection, vault, account_id)
    ]
    return {"account_id": account_id, "email": email, "codes": codes}


OPERATIONS: dict[str, Operation] = {
    "create_account": create_account,
    "regenerate_token": regenerate_token,
    "set_provider_key": set_provider_key,
    "delete_provider_key": delete_provider_key,
    "disable_account": disable_account,
    "enable_account": enable_account,
    "delete_account": delete_account,
    "invite": invite,
    "sign_in_link": sign_in_link,
    "show_codes": show_codes,
}


def _set_disabled(connection: Connection, args: dict[str, Any], *, disabled: bool) -> dict[str, Any]:
    account_id, email = find_account(connection, _text(args, "email"))
    people.set_disabled(connection, account_id, disabled=disabled)
    return {"account_id": account_id, "email": email}


def _text(args: dict[str, Any], name: str) -> str:
    value = args.get(name)
    if not isinstance(value, str):
        raise InputError(f"{name} is missing")
    return value
