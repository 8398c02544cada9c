"""`metrion key`: the provider keys of an account."""

from __future__ import annotations

import getpass
import sys
from typing import Annotated

import typer

from metrion.accounts.emails import find_account
from metrion.accounts.provider_keys import check_provider
from metrion.commands.common import AccountEmail, DataDir, new_app, print_table
from metrion.config import load_settings
from metrion.control import perform
from metrion.datadir import open_for_reading
from metrion.kit.clock import iso
from metrion.providers import PROVIDERS
from metrion.storage.accounts import list_provider_keys

app = new_app()
_LONGEST_INPUT = 64 * 1024

Provider = Annotated[str, typer.Argument(help=f"One of {', '.join(PROVIDERS)}.", show_default=False)]


@app.callback()
def key() -> None:
    """Provider keys of an account, stored encrypted."""


@app.command("set")
def set_key(provider: Provider, account: AccountEmail, data_dir: DataDir = None) -> None:
    """Store a provider's key, read from standard input, in the place of the one before."""
    settings = load_settings(data_dir=data_dir)
    name = check_provider(provider)
    # Never an argument: other users of the machine can read those.
    text = getpass.getpass(f"{name} key: ") if sys.stdin.isatty() else sys.stdin.read(_LONGEST_INPUT)
    done = perform(settings, "set_provider_key", {"email": account, "provider": name, "key": text})
    ending = f" ending in {done['tail']}" if done["tail"] else ""
    print(f"The {name} key{ending} is stored for {account}.")


@app.command("list")
def list_keys(account: AccountEmail, data_dir: DataDir = None) -> None:
    """List the providers an account has a key for."""
    with open_for_reading(load_settings(data_dir=data_dir)) as engine, engine.connect() as connection:
        rows = list_provider_keys(connection, find_account(connection, account)[0])
    print_table(
        ("PROVIDER", "ENDS IN", "ADDED"), [(row.provider, row.tail or "–", iso(row.created_ms)[:10]) for row in rows]
    )


@app.command("delete")
def delete_key(provider: Provider, account: AccountEmail, data_dir: DataDir = None) -> None:
    """Delete a provider's key. It stays valid at the provider: revoke it there."""
    name = check_provider(provider)
    perform(load_settings(data_dir=data_dir), "delete_provider_key", {"email": account, "provider": name})
    print(f"The {name} key of {account} is deleted here; revoke it at the provider too.")
