"""`metrion account`."""

from __future__ import annotations

from typing import Annotated, Literal

import orjson
import typer

from metrion.commands.common import DataDir, new_app
from metrion.config import load_settings
from metrion.control import perform

app = new_app()


@app.callback()
def account() -> None:
    """Accounts and their Metrion keys."""


@app.command()
def create(
    email: Annotated[str, typer.Argument(help="The account's e-mail address.", show_default=False)],
    plan: Annotated[Literal["free", "pro"] | None, typer.Option(help="Its plan.", show_default=False)] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print account_id, email and token as JSON.")] = False,
    data_dir: DataDir = None,
) -> None:
    """Create an account and print its Metrion key."""
    settings = load_settings(data_dir=data_dir)
    made = perform(settings, "create_account", {"email": email, "plan": plan or settings.default_plan})
    if as_json:
        print(orjson.dumps({name: made[name] for name in ("account_id", "email", "token")}).decode())
        return
    print(f"Account {made['email']} is ready. Its Metrion key:\n\n    {made['token']}\n")
    print(f"Store a provider's key next: metrion key set openai --account {made['email']}")
