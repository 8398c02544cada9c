"""`metrion logs`: what was recorded, call by call."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator
from typing import Annotated, Any, Literal

import orjson
import typer

from metrion.accounts.emails import find_account
from metrion.accounts.plans import shown_since
from metrion.commands.common import (
    AccountEmail,
    DataDir,
    count,
    money,
    new_app,
    parse_range,
    print_table,
)
from metrion.config import load_settings
from metrion.datadir import open_for_reading
from metrion.errors import InputError
from metrion.storage.reports import CALL_FIELDS, call_fields, cost_history, recent_calls, stream_calls

app = new_app()
_LATEST = 50
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_RIGHT = ("INPUT", "OUTPUT", "TOTAL", "COST", "LATENCY")

Since = Annotated[str | None, typer.Option(help="From: 2h, 2026-11-01 or ISO 8601 (UTC).", show_default=False)]
Until = Annotated[str | None, typer.Option(help="To, a whole day included.", show_default=False)]
Format = Annotated[
    Literal["table", "jsonl", "csv"], typer.Option("--format", help="table shows the latest 50, the others every row.")
]


History = Annotated[bool, typer.Option("--history", help="In jsonl: what each call cost before it was priced again.")]


@app.command()
def logs(
    account: AccountEmail,
    since: Since = None,
    until: Until = None,
    output: Format = "table",
    history: History = False,
    data_dir: DataDir = None,
) -> None:
    """Show an account's calls, one by one, as far back as its plan keeps them."""
    if history and output != "jsonl":
        raise InputError("--history goes with --format jsonl")
    settings = load_settings(data_dir=data_dir)
    since_ms, until_ms = parse_range(since, until, ("--since", "--until"))
    with open_for_reading(settings) as engine, engine.connect() as connection:
        account_id, _ = find_account(connection, account)
        since_ms = max(since_ms or 0, shown_since(settings, connection, account_id))
        if output == "table":
            found = recent_calls(connection, account_id, since_ms, until_ms, _LATEST)
            _print_table(found, "No calls in that time." if since or until else "No calls yet.")
            return
        rows = stream_calls(connection, account_id, since_ms, until_ms)
        if output == "csv":
            _print_csv(call_fields(row) for row in rows)
        elif history:
            _print_jsonl(call_fields(row) | {"cost_history": cost_history(connection, row)} for row in rows)
        else:
            _print_jsonl(call_fields(row) for row in rows)
        sys.stdout.flush()


def _print_jsonl(calls: Iterator[dict[str, Any]]) -> None:
    out = sys.stdout.buffer
    for call in calls:
        if call["usage_raw"]:
            # As the provider sent it; a line break in JSON stands between values only, and here a line is a row.
            call["usage_raw"] = orjson.Fragment(call["usage_raw"].replace("\r", " ").replace("\n", " "))
        out.write(orjson.dumps(call, option=orjson.OPT_APPEND_NEWLINE))


def _print_csv(calls: Iterator[dict[str, Any]]) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(CALL_FIELDS)
    for call in calls:
        for name in ("tool_calls", "quantities"):
            call[name] = orjson.dumps(call[name]).decode() if call[name] else ""
        writer.writerow([_csv_cell(value) for value in call.values()])


def _csv_cell(value: Any) -> Any:
    """A value for a spreadsheet, which would run a text that begins like a formula."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value


def _print_table(rows: Any, nothing: str) -> None:
    if not rows:
        print(nothing)
        return
    named = any(row.requester for row in rows)  # the column is there only when there is one
    head = ["STATUS", "TIME (UTC)", *(["REQUESTER"] if named else []), "MODEL", "PROVIDER", *_RIGHT]
    print_table(head, [_line(row, named) for row in rows], _RIGHT)


def _line(row: Any, named: bool) -> list[str]:
    started = call_fields(row)["started_at"]
    status = str(row.status or "–") + ("" if row.outcome in ("ok", "provider_error") else f" {row.outcome}")
    cost = row.cost_source if row.cost_nano is None else money(row.cost_nano)
    return [
        status,
        f"{started[:10]} {started[11:19]}",
        *([row.requester] if named else []),
        row.model or row.endpoint,
        row.provider,
        count(row.input_tokens),
        count(row.output_tokens),
        count(row.input_tokens + row.output_tokens),
        f"~{cost}" if row.cost_source == "estimated" else cost,
        f"{row.latency_us / 1e6:.2f} s" if row.latency_us >= 1_000_000 else f"{row.latency_us / 1e3:.0f} ms",
    ]
