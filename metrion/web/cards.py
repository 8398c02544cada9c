"""Cards: one figure each, with what it was in the period before; and names with their share of a sum."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from metrion.web.figures import percent
from metrion.web.sparkline import area, paths


class Change(NamedTuple):
    """A figure against the period before. `kind`: "", good, warn or bad; `before`: the figure then."""

    text: str  # "▲ 12 %"; "" where there is nothing to compare with
    spoken: str
    kind: str
    before: str
    period: str = ""  # the period before, with its days


class Line(NamedTuple):
    """A line of a sparkline: its SVG path, the surface below it, and what it is: main, filling (its end) or bad."""

    path: str
    area: str
    kind: str


class Stat(NamedTuple):
    """A figure: its exact value, what stands beside it, where it leads, and how it is computed."""

    id: str
    label: str
    text: str
    how: str
    exact: str = ""
    beside: str = ""
    href: str = ""
    change: Change | None = None
    lines: Sequence[Line] = ()
    kind: str = ""


class Bar(NamedTuple):
    """A name with its part (0…1) of the whole, in its colour (of charts.py)."""

    name: str
    colour: str
    part: float
    text: str
    exact: str = ""
    href: str = ""


def change(now: float | None, before: float | None, was: str, *, up: str = "", down: str = "") -> Change:
    """How `now` stands to `before`, which reads `was`. `up` and `down`: the kind of a rise and of a fall."""
    if now is None or before is None or (not now and not before):
        return Change("", "", "", was)
    if not before:
        return Change("▲ from 0", "up from 0", up, was)
    part = now / before - 1
    if abs(part) < 0.0005:
        return Change("= 0 %", "no change", "", was)
    size = f"{now / before:.0f}×" if part >= 9.995 else percent(abs(part))
    if part >= 9.995:
        return Change(f"▲ {size}", f"{size} as much", up, was)
    return Change(f"▲ {size}", f"up {size}", up, was) if part > 0 else Change(f"▼ {size}", f"down {size}", down, was)


def spark(main: Sequence[float | None], bad: Sequence[float | None] = (), *, filling: bool = False) -> list[Line]:
    """A line, and one of what went wrong on the same scale; nothing where there are fewer than two values.

    `filling`: the last value is not whole yet, so that the way to it is a line of its own.
    """
    if len(main) < 2:
        return []
    end = len(main) - 2
    sure = [*main[: end + 1], None] if filling else main
    drawn = paths(sure, [None] * end + list(main[end:]), bad)
    filled = area([value for value in main if value is not None]) if None not in main else ""
    lines = [Line(drawn[0], filled, "main")]
    if filling:
        lines.append(Line(drawn[1], "", "filling"))
    return [*lines, Line(drawn[2], "", "bad")] if any(bad) else lines
