"""Sparklines: lines without axes beside a figure, as SVG paths made on the server."""

from __future__ import annotations

from collections.abc import Sequence

WIDTH, HEIGHT = 120, 32  # of the viewBox; the page stretches it
_PAD = 2  # so that a line at the edge keeps its width


def paths(*lines: Sequence[float | None]) -> list[str]:
    """An SVG path for each line, all on one scale that begins at 0; a gap where there is no value, "" for none at all.

    A value without neighbours becomes a dot (a line of no length, which round ends make visible).
    """
    top = max((value for line in lines for value in line if value is not None), default=0) or 1
    return [_path(line, top) for line in lines]


def _path(line: Sequence[float | None], top: float) -> str:
    step = (WIDTH - 2 * _PAD) / max(len(line) - 1, 1)
    parts, drawing = [], False
    for number, value in enumerate(line):
        if value is not None:
            x, y = _PAD + number * step, HEIGHT - _PAD - max(value, 0) / top * (HEIGHT - 2 * _PAD)
            point = f"{x:.1f} {y:.1f}"
            parts.append(f"L{point}" if drawing else f"M{point}L{point}")
        drawing = value is not None
    return "".join(parts)


def area(line: Sequence[float]) -> str:
    """The surface below a line without gaps, on a scale of its own; "" for fewer than two values."""
    if len(line) < 2:
        return ""
    return f"{paths(line)[0]}L{WIDTH - _PAD} {HEIGHT}L{_PAD} {HEIGHT}Z"
