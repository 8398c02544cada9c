"""Plans that an operator grants, on the page or by command; whoever loses pro by it is mailed."""

from __future__ import annotations

from typing import Any

from metrion.accounts import people
from metrion.accounts.emails import find_account
from metrion.accounts.operations import Operation
from metrion.accounts.vault import Vault
from metrion.billing.letters import downgraded
from metrion.config import Settings
from metrion.errors import InputError
from metrion.mail.letters import Letters
from metrion.mail.outbox import mail_on, post
from metrion.storage.database import Connection


def set_plan(
    connection: Connection, vault: Vault, settings: Settings, public_url: str, account_id: int, email: str, plan: str
) -> None:
    """Put an account on a plan; InputError as of `people.set_plan`. `public_url`: where its pages are."""
    move = people.set_plan(connection, account_id, plan)
    if move.is_down and mail_on(settings):
        letter = downgraded(Letters(public_url), email, f"{public_url}/settings/billing", settings)
        post(connection, vault, account_id, letter)


def operation(settings: Settings, public_url: str) -> Operation:
    """The operation `set_plan` of commands: {email, plan} → {account_id, email, plan}."""

    def perform(connection: Connection, vault: Vault, args: dict[str, Any]) -> dict[str, Any]:
        given, plan = args.get("email"), args.get("plan")
        if not isinstance(given, str) or not isinstance(plan, str):
            raise InputError("email or plan is missing")
        account_id, email = find_account(connection, given)
        set_plan(connection, vault, settings, public_url, account_id, email, plan)
        return {"account_id": account_id, "email": email, "plan": plan}

    return perform
