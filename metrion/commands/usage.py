"""`metrion usage`: what was used, summed."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import orjson
import typer

from metrion.accounts.emails import find_account
from metrion.commands.common import (
    AccountEmail,
    DataDir,
    count,
    money,
    new_app,
    parse_range,
    print_table,
)
from metrion.config import Settings, load_settings
from metrion.datadir import open_for_reading
from metrion.kit.clock import iso, now_ms
from metrion.kit.money import usd_from_nano
from metrion.rates.table import FILE_NAME, Rate, load
from metrion.storage import reports

app = new_app()
_RIGHT = ("REQUESTS", "REFUSED", "ERRORS", "INPUT", "OUTPUT", "TOTAL", "COST")

By = Annotated[Literal["day", "model", "provider", "requester"], typer.Option("--by", help="What to sum by.")]
From = Annotated[str | None, typer.Option("--from", help="2h, 2026-11-01 or ISO 8601 (UTC).", show_default=False)]
To = Annotated[str | None, typer.Option("--to", help="The end, a whole day included.", show_default=False)]


Currency = Annotated[
    Literal["USD", "EUR", "CHF"],
    typer.Option(help="Show the cost in this one too, at the European Central Bank's rate of the last day."),
]


@app.command()
def usage(
    account: AccountEmail,
    by: By = "day",
    start: From = None,
    end: To = None,
    output: Annotated[Literal["table", "json"], typer.Option("--format")] = "table",
    currency: Currency = "USD",
    data_dir: DataDir = None,
) -> None:
    """Sum requests, errors, tokens and cost, in whole hours."""
    settings = load_settings(data_dir=data_dir)
    from_ms, to_ms = parse_range(start, end)
    with open_for_reading(settings) as engine, engine.connect() as connection:
        found = reports.usage(connection, find_account(connection, account)[0], by, from_ms, to_ms)
    rate = None if currency == "USD" else _rate(settings, currency, found)
    if output == "json":
        print(orjson.dumps(_document(found, rate)).decode())
    else:
        _print(found, by, rate)


def _rate(settings: Settings, currency: str, found: reports.Usage) -> Rate:
    """The rate of the range's last day, or of today where that is yet to come; one for all, so that sums add up."""
    day = datetime.fromtimestamp(min(found.to_ms - 1, now_ms()) / 1000, UTC).date()
    return load(settings.data_dir / FILE_NAME).rate(currency, day)


def _document(found: reports.Usage, rate: Rate | None) -> dict[str, Any]:
    total = _figures(found.total, rate)
    del total["key"]
    document = {
        "from": iso(found.from_ms),
        "to": iso(found.to_ms),
        "currency": rate.currency if rate else "USD",
        "groups": [_figures(group, rate) for group in found.groups],
        "total": total,
    }
    if rate:
        document["rate"] = {"per_usd": _per_usd(rate), "date": rate.day.isoformat(), "source": "European Central Bank"}
    return document


def _figures(sums: reports.Sums, rate: Rate | None) -> dict[str, Any]:
    figures = {
        "key": sums.key,
        "requests": sums.requests,
        "refused": sums.refused,
        "errors": sums.errors,
        "input_tokens": sums.input_tokens,
        "output_tokens": sums.output_tokens,
        "total_tokens": sums.input_tokens + sums.output_tokens,
        "cost_usd": sums.cost_usd,
        "confidence": {
            "provider": usd_from_nano(sums.provider_nano),
            "computed": usd_from_nano(sums.computed_nano),
            "estimated": usd_from_nano(sums.estimated_nano),
            "unpriced_rows": sums.unpriced,
            "unknown_rows": sums.unknown,
        },
    }
    if rate:
        figures["cost"] = None if sums.cost_usd is None else usd_from_nano(rate.convert(sums.cost_nano))
    return figures


def _print(found: reports.Usage, by: str, rate: Rate | None) -> None:
    print(f"{_minute(found.from_ms)} to {_minute(found.to_ms)} UTC\n")
    head = (by.upper(), *_RIGHT, *((f"IN {rate.currency}", "RATE") if rate else ()))
    print_table(head, [_line(sums, rate) for sums in (*found.groups, found.total)], head[1:])
    if rate:
        day = f"{rate.day}, as the European Central Bank gives it"
        print(f"\n1 USD is {_per_usd(rate)} {rate.currency} on {day}. The ledger is in USD.")
    print(f"\n{_confidence(found.total)}")


def _confidence(total: reports.Sums) -> str:
    """How far the cost can be trusted."""
    reported, computed, estimated = (
        money(nano) for nano in (total.provider_nano, total.computed_nano, total.estimated_nano)
    )
    text = f"Of the cost, {reported} is as providers reported it, {computed} computed, {estimated} estimated."
    if total.without_cost:
        unpriced, unknown = count(total.unpriced), count(total.unknown)
        text += f"\n* Not in the cost: {unpriced} without a known price, {unknown} without known usage."
    return text


def _per_usd(rate: Rate) -> str:
    """The rate in six digits after the point; what is converted is converted exactly."""
    return f"{float(rate.per_usd):.6f}"


def _minute(ms: int) -> str:
    return iso(ms)[:16].replace("T", " ")


def _line(sums: reports.Sums, rate: Rate | None) -> list[str]:
    figures = (sums.requests, sums.refused, sums.errors, sums.input_tokens, sums.output_tokens)
    cost = "–" if sums.cost_usd is None else money(sums.cost_nano)
    line = [
        sums.key or "(none)",
        *(count(figure) for figure in figures),
        count(sums.input_tokens + sums.output_tokens),
        f"{cost} *" if sums.without_cost else cost,
    ]
    if rate:
        converted = "–" if sums.cost_usd is None else money(rate.convert(sums.cost_nano), "")
        line += [converted, f"{_per_usd(rate)} of {rate.day}"]
    return line
