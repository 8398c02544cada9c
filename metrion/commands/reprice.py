"""`metrion reprice`: what was recorded, priced again."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Annotated, Any

import msgspec
import typer

from metrion.accounts.emails import find_account
from metrion.commands.common import DataDir, count, difference, money, new_app, parse_range, print_table
from metrion.commands.ledger import Ledger
from metrion.config import Settings, load_settings
from metrion.datadir import open_for_reading
from metrion.kit.clock import now_ms
from metrion.kit.ids import first_id
from metrion.ledger.operations import Asked
from metrion.ledger.reprice import Repriced, Scope, Step, rehearse
from metrion.prices.catalog import PriceBook
from metrion.storage.accounts import list_accounts

app = new_app()
_STEPS_HERE = 100  # at once where no server waits
_RIGHT = ("ROWS", "OLD", "NEW", "DIFFERENCE")

From = Annotated[str, typer.Option("--from", help="2h, 2026-11-01 or ISO 8601 (UTC).", show_default=False)]
To = Annotated[str | None, typer.Option("--to", help="The end, a whole day included; now.", show_default=False)]
Account = Annotated[str, typer.Option("--account", help="One account only.", metavar="EMAIL", show_default=False)]
Reason = Annotated[str, typer.Option(help="Why; kept with each figure that is replaced.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what would change, and change nothing.")]


@app.command()
def reprice(
    start: From,
    end: To = None,
    account: Account = "",
    provider: Annotated[str, typer.Option(help="One provider only.", show_default=False)] = "",
    model: Annotated[str, typer.Option(help="One model, with its dated forms.", show_default=False)] = "",
    reason: Reason = "priced again",
    dry_run: DryRun = False,
    data_dir: DataDir = None,
) -> None:
    """Price calls again, by their recorded usage."""
    settings = load_settings(data_dir=data_dir)
    from_ms, to_ms = parse_range(start, end)
    first, after = first_id(from_ms or 0), first_id(now_ms() if to_ms is None else to_ms)
    scopes = [Scope(one, first, after, provider, model) for one in _accounts(settings, account)]
    steps = _rehearse(settings, scopes) if dry_run else _reprice(settings, scopes, reason)
    _print(_by_model(steps), dry_run)


def _accounts(settings: Settings, email: str) -> list[int]:
    with open_for_reading(settings) as engine, engine.connect() as connection:
        if email:
            return [find_account(connection, email)[0]]
        return [row.id for row in list_accounts(connection)]


def _rehearse(settings: Settings, scopes: list[Scope]) -> Iterator[Step]:
    book = PriceBook.load(settings.own_prices)
    with open_for_reading(settings) as engine, engine.connect() as connection:
        for scope in scopes:
            yield from _steps(scope, lambda rest: rehearse(connection, book, rest))


def _reprice(settings: Settings, scopes: list[Scope], reason: str) -> Iterator[Step]:
    ledger = Ledger(settings)
    ledger.perform("reload_prices", {})
    run_id = 0

    def step(scope: Scope) -> Step:
        nonlocal run_id
        began = time.monotonic()
        asked: dict[str, Any] = msgspec.to_builtins(Asked(scope, reason, run_id))
        done = msgspec.convert(ledger.perform("reprice", asked, asked | {"steps": _STEPS_HERE}), Step)
        run_id = done.run_id
        if not ledger.is_here:  # the server's writer and processor are for new calls first
            time.sleep(time.monotonic() - began)
        return done

    for scope in scopes:
        yield from _steps(scope, step)


def _steps(scope: Scope, step: Callable[[Scope], Step]) -> Iterator[Step]:
    """Step through a scope to its end."""
    rest: bytes | None = scope.first
    while rest is not None:
        done = step(msgspec.structs.replace(scope, first=rest))
        yield done
        rest = done.next


def _by_model(steps: Iterable[Step]) -> list[Repriced]:
    found: dict[tuple[str, str], Repriced] = {}
    for one in (one for step in steps for one in step.changed):
        found.setdefault((one.provider, one.model), Repriced(one.provider, one.model)).add(one)
    return sorted(found.values(), key=lambda one: (-abs(one.new_nano - one.old_nano), one.provider, one.model))


def _print(changed: list[Repriced], dry_run: bool) -> None:
    if not changed:
        print("Every cost is as the prices say; nothing to change.")
        return
    total = Repriced("", "total")
    for one in changed:
        total.add(one)
    print_table(("PROVIDER", "MODEL", *_RIGHT), [_line(one) for one in (*changed, total)], _RIGHT)
    print(f"\n{count(total.rows)} rows {'would change; nothing was changed' if dry_run else 'were priced again'}.")
    if total.old_without or total.new_without:
        print(f"Without a cost: {count(total.old_without)} of them before, {count(total.new_without)} now.")


def _line(one: Repriced) -> list[str]:
    return [
        one.provider,
        one.model,
        count(one.rows),
        money(one.old_nano),
        money(one.new_nano),
        difference(one.new_nano - one.old_nano),
    ]
