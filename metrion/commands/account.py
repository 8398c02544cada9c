"""`metrion account`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import orjson
import typer

from metrion.accounts.links import Purpose, link_url
from metrion.accounts.operations import delete_account
from metrion.accounts.operators import Listed, list_accounts
from metrion.accounts.vault import open_vault
from metrion.billing.grants import operation as plan_setter
from metrion.commands.common import DataDir, count, new_app, print_table
from metrion.config import load_settings
from metrion.control import perform
from metrion.datadir import open_for_reading
from metrion.errors import InputError
from metrion.kit.clock import iso
from metrion.ledger.erasure import erase_alone
from metrion.storage.database import Database

app = new_app()

Plan = Literal["free", "pro"]
Email = Annotated[str, typer.Argument(help="The account's e-mail address.", show_default=False)]


@app.callback()
def account() -> None:
    """Accounts: make them, see who is there, let people in."""


@app.command()
def create(
    email: Email,
    plan: Annotated[Plan | None, typer.Option(help="Its plan.", show_default=False)] = None,
    operator: Annotated[bool, typer.Option("--operator", help="It may see the operator's pages.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print account_id, email and token as JSON.")] = False,
    data_dir: DataDir = None,
) -> None:
    """Create an account and print its Metrion key. It has no password yet: `metrion account link` signs it in."""
    settings = load_settings(data_dir=data_dir)
    asked = {"email": email, "plan": plan or settings.first_plan, "operator": operator}
    made = perform(settings, "create_account", asked)
    if as_json:
        print(orjson.dumps({name: made[name] for name in ("account_id", "email", "token")}).decode())
        return
    print(f"Account {made['email']} is ready. Its Metrion key:\n\n    {made['token']}\n")
    print(f"Store a provider's key next: metrion key set openai --account {made['email']}")
    print(f"Sign in to its pages:        metrion account link {made['email']}")


@app.command("list")
def list_all(
    as_json: Annotated[bool, typer.Option("--json", help="Print an array of objects.")] = False,
    data_dir: DataDir = None,
) -> None:
    """List accounts: address, plan, state, when made, last call, requests."""
    with open_for_reading(load_settings(data_dir=data_dir)) as engine, engine.connect() as connection:
        accounts = list_accounts(connection)
    if as_json:
        print(orjson.dumps([_document(one) for one in accounts]).decode())
        return
    if not accounts:
        print("No accounts yet. Make one with: metrion account create EMAIL")
        return
    head = ("EMAIL", "PLAN", "STATE", "OPERATOR", "CREATED", "LAST USED", "REQUESTS")
    print_table(head, [_line(one) for one in accounts], ("REQUESTS",))


@app.command("set-plan")
def set_plan(
    email: Email, plan: Annotated[Plan, typer.Argument(help="Its new plan.")], data_dir: DataDir = None
) -> None:
    """Put an account on another plan."""
    settings = load_settings(data_dir=data_dir)
    asked = {"email": email, "plan": plan}

    def here(database: Database) -> dict[str, Any]:
        vault = open_vault(settings, database)
        with database.begin() as connection:
            return plan_setter(settings, settings.origin)(connection, vault, asked)

    done = perform(settings, "set_plan", asked, here)
    print(f"{done['email']} is on the {done['plan']} plan.")


@app.command()
def disable(email: Email, data_dir: DataDir = None) -> None:
    """Disable an account: its sessions end and its calls are refused. Nothing is deleted."""
    done = perform(load_settings(data_dir=data_dir), "disable_account", {"email": email})
    print(f"{done['email']} is disabled: signed out everywhere, and its calls are refused.")


@app.command()
def enable(email: Email, data_dir: DataDir = None) -> None:
    """Enable a disabled account."""
    done = perform(load_settings(data_dir=data_dir), "enable_account", {"email": email})
    print(f"{done['email']} is enabled.")


@app.command()
def invite(
    email: Annotated[str, typer.Argument(help="For this address alone.", show_default=False)] = "",
    data_dir: DataDir = None,
) -> None:
    """Print a link to sign up by, valid for 14 days and used once."""
    print(_link("invite", "invite", email, data_dir))


@app.command()
def link(email: Email, data_dir: DataDir = None) -> None:
    """Print a link that signs the account in, valid for 10 minutes and used once."""
    print(_link("sign_in", "sign_in_link", email, data_dir))


@app.command()
def code(email: Email, data_dir: DataDir = None) -> None:
    """Show the six-digit codes an account waits for, where its mail does not arrive."""
    done = perform(load_settings(data_dir=data_dir), "show_codes", {"email": email})
    if not done["codes"]:
        print(f"{done['email']} has no code pending.")
        return
    lines = [(one["code"], one["purpose"], one["subject"], iso(one["expires_ms"])[:19]) for one in done["codes"]]
    print_table(("CODE", "FOR", "NEW ADDRESS", "EXPIRES (UTC)"), lines)


@app.command()
def delete(
    email: Email,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    data_dir: DataDir = None,
) -> None:
    """Delete an account for good, with everything that was recorded of it."""
    settings = load_settings(data_dir=data_dir)
    if not yes and typer.prompt(f"This cannot be undone. Type {email} to delete it").strip() != email:
        raise InputError("that is not the address; nothing is deleted")

    def here(database: Database) -> dict[str, Any]:
        vault = open_vault(settings, database)
        with database.begin() as connection:
            done = delete_account(connection, vault, {"email": email})
        erase_alone(settings, database)
        return done | {"erased": True}

    done = perform(settings, "delete_account", {"email": email}, here)
    print(f"{done['email']} is deleted: its keys are refused, and nobody can sign in to it.")
    for kind, number in done["facts"]:
        print(f"  {kind}: {number}")
    if not done.get("erased"):
        print("The running server now erases what it recorded, and says accounts_erased in its log when that is done.")


def _link(purpose: Purpose, operation: str, email: str, data_dir: DataDir) -> str:
    settings = load_settings(data_dir=data_dir)
    made = perform(settings, operation, {"email": email})
    return link_url(made.get("origin", settings.origin), purpose, made["token"])


def _document(one: Listed) -> dict[str, object]:
    return {
        "account_id": one.account_id,
        "email": one.email,
        "plan": one.plan,
        "state": one.state,
        "operator": one.operator,
        "created_at": iso(one.created_ms),
        "last_used_at": None if one.used_ms is None else iso(one.used_ms),
        "requests": one.requests,
    }


def _line(one: Listed) -> list[str]:
    used = "–" if one.used_ms is None else _minute(one.used_ms)
    return [
        one.email,
        one.plan,
        one.state,
        "yes" if one.operator else "",
        _minute(one.created_ms),
        used,
        count(one.requests),
    ]


def _minute(ms: int) -> str:
    return iso(ms)[:16].replace("T", " ")
