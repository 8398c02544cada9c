"""How a row came to its cost, line by line, from the usage it keeps."""

from __future__ import annotations

from typing import Any, NamedTuple

from metrion.ledger.reread import call_of, is_guessed
from metrion.prices.calculate import Line
from metrion.prices.catalog import PriceBook
from metrion.wire.understand import understand


class Explained(NamedTuple):
    """The lines of a cost. `agrees`: they add up to what the row says; else prices were changed since."""

    lines: list[Line]
    agrees: bool


def explain_row(book: PriceBook, row: Any) -> Explained:
    """The lines by today's book at the call's time; none where the cost was reported, or is not known."""
    if row.cost_nano is None or row.cost_source == "provider" or is_guessed(row):
        return Explained([], True)
    call = call_of(row)
    assert call.reading is not None
    usage, _ = understand(call.provider, call.format, call.reading)
    lines = book.lines(call.provider, row.model, usage, call.started_ms)
    return Explained(lines, sum(line.nano for line in lines) == row.cost_nano)
