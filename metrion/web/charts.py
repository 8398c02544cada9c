"""Charts: what is drawn over time, as series and rows; the page shows it as a table, and chart.js draws that table.

A chart has at most six series and "other". Names keep their colours: see `Palette`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

COLOURS = tuple(str(number) for number in range(1, 9))
OTHER = "other"  # the colour of all that has none of its own


class Series(NamedTuple):
    """One line or layer: its name, its colour's (a digit, "other", "good" or "bad"), its sum, where it leads."""

    name: str
    colour: str
    total: str = ""
    href: str = ""


class Cell(NamedTuple):
    """A value and how it reads; None where there is none."""

    value: int | None
    text: str
    exact: str = ""


class Row(NamedTuple):
    """A bucket: its name on the axis and in full, where it leads, whether it is still filling, and a cell a series."""

    label: str
    full: str
    href: str
    filling: bool
    cells: list[Cell]


class Chart(NamedTuple):
    """What is drawn. `unit`: money (billionths), count or duration (microseconds); `kind`: bars (stacked) or lines."""

    id: str
    title: str
    summary: str  # in words, for those who do not see it
    unit: str
    kind: str
    series: list[Series]
    rows: list[Row]
    hourly: bool

    @property
    def empty(self) -> bool:
        """Whether there is nothing to draw."""
        return not any(cell.value for row in self.rows for cell in row.cells)


def leading(totals: Mapping[str, int], most: int) -> list[str]:
    """The names with the greatest totals, greatest first; those of nothing are left out."""
    named = [name for name, total in totals.items() if total > 0]
    return sorted(named, key=lambda name: (-totals[name], name))[:most]


class Palette:
    """The colours of an account's names: the eight it uses most have one each, which stays while they are among them.

    A page that shows others gives them what is left; see `of`.
    """

    def __init__(self, ranked: Iterable[str], before: Mapping[str, str] | None = None) -> None:
        names = list(ranked)[: len(COLOURS)]
        kept = {name: colour for name, colour in (before or {}).items() if name in names}
        free = [colour for colour in COLOURS if colour not in kept.values()]
        self.colours = kept | dict(zip((name for name in names if name not in kept), free, strict=False))

    def of(self, names: Iterable[str]) -> dict[str, str]:
        """A colour for each of these names, the most important first: no two of eight alike, and "other" for the rest.

        A name that the account uses most has its own; others get what the first eight leave.
        """
        unique = list(dict.fromkeys(names))
        first, rest = unique[: len(COLOURS)], unique[len(COLOURS) :]
        found = {name: self.colours[name] for name in first if name in self.colours}
        free = [colour for colour in COLOURS if colour not in found.values()]
        found |= dict(zip((name for name in first if name not in found), free, strict=False))
        for name in rest:
            own = self.colours.get(name, OTHER)
            found[name] = OTHER if own in found.values() else own
        return found
