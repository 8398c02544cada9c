"""`metrion what-if`: what a period would have cost otherwise."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import orjson
import typer

from metrion.accounts.emails import find_account
from metrion.commands.common import AccountEmail, DataDir, count, difference, money, new_app, parse_range, print_table
from metrion.config import load_settings
from metrion.datadir import open_for_reading
from metrion.errors import InputError
from metrion.kit.clock import iso, now_ms
from metrion.kit.money import usd_from_nano
from metrion.ledger.what_if import Case, Outcome, assumptions, outcomes, parse_map
from metrion.prices.catalog import PriceBook
from metrion.storage.reports import stream_calls

app = new_app()
_RIGHT = ("CALLS", "LEFT OUT", "COST", "WOULD BE", "DIFFERENCE")

Map = Annotated[
    list[str], typer.Option("--map", help="gpt-4o=gpt-4o-mini, or …=anthropic/claude-haiku-4-5.", show_default=False)
]
From = Annotated[str | None, typer.Option("--from", help="2h, 2026-11-01 or ISO 8601 (UTC).", show_default=False)]
To = Annotated[str | None, typer.Option("--to", help="The end, a whole day included.", show_default=False)]


@app.command()
def what_if(
    account: AccountEmail,
    models: Map = [],  # noqa: B006  typer copies it
    batch: Annotated[bool, typer.Option("--batch", help="As if every call had been part of a batch.")] = False,
    no_cache: Annotated[bool, typer.Option("--no-cache", help="As if nothing had come from a prompt cache.")] = False,
    start: From = None,
    end: To = None,
    output: Annotated[Literal["table", "json"], typer.Option("--format")] = "table",
    data_dir: DataDir = None,
) -> None:
    """Price calls as if by other models or in batches."""
    if not (models or batch or no_cache):
        raise InputError("say what would be otherwise: --map, --batch or --no-cache")
    settings = load_settings(data_dir=data_dir)
    from_ms, to_ms = parse_range(start, end)
    book = PriceBook.load(settings.own_prices)
    case = Case([parse_map(book, one, now_ms()) for one in models], batch, no_cache)
    with open_for_reading(settings) as engine, engine.connect() as connection:
        account_id, _ = find_account(connection, account)
        found = outcomes(book, stream_calls(connection, account_id, from_ms, to_ms), case)
    total = Outcome("", "total", "")
    for one in found:
        total.add(one)
    if output == "json":
        print(orjson.dumps(_document(found, total, case, from_ms, to_ms)).decode())
    else:
        _print(found, total, case)


def _document(
    found: list[Outcome], total: Outcome, case: Case, from_ms: int | None, to_ms: int | None
) -> dict[str, Any]:
    return {
        "from": None if from_ms is None else iso(from_ms),
        "to": None if to_ms is None else iso(to_ms),
        "currency": "USD",
        "assumptions": assumptions(case),
        "groups": [
            {"requester": one.requester, "model": one.model, "as": one.target or None, **_figures(one)} for one in found
        ],
        "total": _figures(total),
    }


def _figures(one: Outcome) -> dict[str, Any]:
    return {
        "calls": one.calls,
        "cost_usd": usd_from_nano(one.old_nano),
        "would_be_usd": usd_from_nano(one.new_nano),
        "difference_usd": usd_from_nano(one.new_nano - one.old_nano),
        "left_out": one.left_out,
        "at_list_price": one.list_price,
    }


def _print(found: list[Outcome], total: Outcome, case: Case) -> None:
    if not found:
        print("No calls yet.")
        return
    rows = [_line(one) for one in (*found, total)]
    print_table(("REQUESTER", "MODEL", "AS", *_RIGHT), rows, _RIGHT)
    print()
    if total.left_out:
        print(f"Left out, on both sides: {count(total.left_out)} calls whose cost is not known, or would not be.")
    if total.list_price:
        print(f"{count(total.list_price)} calls have a tier or batch that is not priced there: taken without it.")
    print("\n".join(f"- {said}" for said in assumptions(case)))


def _line(one: Outcome) -> list[str]:
    return [
        one.requester or ("" if one.model == "total" else "(none)"),
        one.model,
        one.target or "",
        count(one.calls),
        count(one.left_out),
        money(one.old_nano),
        money(one.new_nano),
        difference(one.new_nano - one.old_nano),
    ]
