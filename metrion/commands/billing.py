"""`metrion billing`: who pays, and bringing it in line with Stripe."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Annotated, Any, TypeVar

import typer

from metrion.accounts.vault import open_vault
from metrion.billing.amounts import amount_text
from metrion.billing.connect import connect
from metrion.billing.desk import Desk
from metrion.billing.service import Billing
from metrion.commands.common import DataDir, new_app, parse_time, print_table
from metrion.config import Settings, load_settings
from metrion.control import perform
from metrion.datadir import open_for_reading
from metrion.errors import ConfigError, InputError
from metrion.kit.clock import iso
from metrion.kit.logs import configure_logs
from metrion.storage.billing import list_customers, list_reversals, waiting_closures, waiting_events
from metrion.storage.database import Connection, Database, open_reader

app = new_app()
T = TypeVar("T")
_REVERSALS = 50


@app.callback()
def billing() -> None:
    """Subscriptions: who pays, and bringing it in line with Stripe."""


@app.command("list")
def list_all(data_dir: DataDir = None) -> None:
    """List accounts that Stripe knows, and the latest refunds and disputes."""
    with open_for_reading(load_settings(data_dir=data_dir)) as engine, engine.connect() as connection:
        customers, reversals = list_customers(connection, 0), list_reversals(connection, _REVERSALS)
        (events, problem), (closures, _) = waiting_events(connection), waiting_closures(connection)
    head = ("EMAIL", "PLAN", "SUBSCRIPTION", "RENEWS", "ENDS", "CUSTOMER")
    print_table(
        head,
        [
            (row.email, row.plan, row.status or "–", _day(row.renews_ms), _day(row.ends_ms), row.customer_id)
            for row in customers
        ],
    )
    if reversals:
        print()
        told = [
            (row.email, row.kind, row.status, row.reason, _day(row.created_ms), amount_text(row.amount, row.currency))
            for row in reversals
        ]
        print_table(("EMAIL", "WHAT", "STATE", "REASON", "DATE", "AMOUNT"), told, ("AMOUNT",))
    if events:
        print(f"\n{events} events wait to be handled{f' ({problem})' if problem else ''}.")
    if closures:
        print(f"\n{closures} customers of deleted accounts wait to be deleted at Stripe.")


@app.command()
def reconcile(data_dir: DataDir = None) -> None:
    """Ask Stripe about every customer and what never arrived; repair what differs, and say what that was."""
    settings = _settings(data_dir)
    after, changed = 0, 0
    while True:
        step = _perform(settings, "billing_reconcile", {"after": after})
        for line in step["lines"]:
            print(line)
        changed += len(step["lines"])
        if step["after"] is None:
            break
        after = step["after"]
    if not changed:
        print("Everything is as Stripe says.")


@app.command()
def replay(
    event: Annotated[str, typer.Argument(help="A stored event's id (evt_…).", show_default=False)] = "",
    since: Annotated[str | None, typer.Option(help="All since then: 2h, 2026-11-01.", show_default=False)] = None,
    data_dir: DataDir = None,
) -> None:
    """Handle stored events again. What was done is not done twice."""
    if bool(event) == bool(since):
        raise InputError("name an event, or say --since when")
    since_ms = parse_time(since, "--since") or 0
    done = _perform(_settings(data_dir), "billing_replay", {"event": event, "since_ms": since_ms})
    print(f"Events handled again: {done['events']}")


def _settings(data_dir: Any) -> Settings:
    settings = load_settings(data_dir=data_dir)
    if not settings.stripe_on:
        raise ConfigError("Stripe is not configured; set METRION_STRIPE_SECRET_KEY and METRION_STRIPE_PRICE_ID")
    return settings


def _perform(settings: Settings, operation: str, args: dict[str, Any]) -> dict[str, Any]:
    def here(database: Database) -> dict[str, Any]:
        return asyncio.run(_alone(settings, database, operation, args))

    return perform(settings, operation, args, here)


async def _alone(settings: Settings, database: Database, operation: str, args: dict[str, Any]) -> dict[str, Any]:
    """What a running server would do, without one."""
    configure_logs(settings.log_level)
    stripe = connect(settings)
    assert stripe is not None

    async def change(act: Callable[[Connection], T], of: int) -> T:
        with database.begin() as connection:
            return act(connection)

    vault, reader = open_vault(settings, database), open_reader(settings)
    alone = Billing(Desk(settings, vault, stripe, settings.origin, reader, change))
    try:
        return await alone.perform(operation, args)
    finally:
        await alone.stop()


def _day(ms: int | None) -> str:
    return "–" if ms is None else iso(ms)[:10]
