"""What the commands share: options, times as people write them, tables."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from metrion.errors import InputError
from metrion.kit.clock import now_ms
from metrion.kit.money import usd_from_nano

DataDir = Annotated[Path | None, typer.Option("--data-dir", help="Where Metrion keeps its data.", show_default=False)]
AccountEmail = Annotated[str, typer.Option("--account", help="The account's e-mail address.", metavar="EMAIL")]

_AGO = re.compile(r"(\d{1,6})([smhdw])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_CENT = 10_000_000  # nano-dollars
_CELL = 40  # characters of a table's cell


def new_app() -> typer.Typer:
    """A command's typer application."""
    return typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


def parse_time(text: str | None, option: str, *, end: bool = False) -> int | None:
    """Unix ms of "2h" (ago), "2026-11-01" or ISO 8601, UTC unless it says otherwise; a date as an `end` is included."""
    if text is None:
        return None
    if ago := _AGO.fullmatch(text.strip()):
        return now_ms() - int(timedelta(**{_UNITS[ago[2]]: int(ago[1])}) / timedelta(milliseconds=1))
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        raise InputError(f"{option}: {text!r} is no time; write 2h, 2026-11-01 or 2026-11-01T09:30:00Z") from None
    if end and len(text.strip()) <= len("2026-11-01"):
        moment += timedelta(days=1)
    moment = moment.replace(tzinfo=moment.tzinfo or UTC)
    return max(int(moment.timestamp() * 1000), 0)


def parse_range(
    start: str | None, end: str | None, names: tuple[str, str] = ("--from", "--to")
) -> tuple[int | None, int | None]:
    """Two of them, given by options of these names; InputError where the end is not behind the start."""
    from_ms, to_ms = parse_time(start, names[0]), parse_time(end, names[1], end=True)
    if from_ms is not None and to_ms is not None and from_ms >= to_ms:
        raise InputError(f"{names[1]} must be later than {names[0]}")
    return from_ms, to_ms


def print_table(head: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[str] = ()) -> None:
    """Print aligned columns; those named in `right` to the right."""
    cells = [head, *([_cell(cell) for cell in row] for row in rows)]
    widths = [max(len(row[at]) for row in cells) for at in range(len(head))]
    for row in cells:
        line = (
            cell.rjust(width) if name in right else cell.ljust(width)
            for name, cell, width in zip(head, row, widths, strict=True)
        )
        print("  ".join(line).rstrip())
    sys.stdout.flush()  # here, so that a reader that left is noticed where it is handled


def _cell(text: str) -> str:
    """One line without control characters: names are the clients' to choose, and a terminal obeys what it is sent."""
    plain = "".join(char if char.isprintable() else "�" for char in text[: _CELL + 1])
    return plain if len(plain) <= _CELL else plain[: _CELL - 1] + "…"


def money(nano: int, sign: str = "$") -> str:
    """Nano-dollars for people: whole cents, and below a cent the first two digits: $12.34, $0.0012, $0.00000035.

    `sign` is what stands before billionths of another currency.
    """
    cents = (nano + _CENT // 2) // _CENT
    if nano == 0 or nano >= _CENT:
        return f"{sign}{cents // 100:,}.{cents % 100:02d}"
    unit = 10 ** max(len(str(nano)) - 2, 0)
    return f"{sign}{usd_from_nano((nano + unit // 2) // unit * unit)}"


def difference(nano: int) -> str:
    """A change of nano-dollars for people: +$1.20, -$0.05."""
    return f"{'-' if nano < 0 else '+'}{money(abs(nano))}"


def count(number: Any) -> str:
    """12,345."""
    return f"{number:,}"
