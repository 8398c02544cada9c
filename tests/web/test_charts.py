"""Charts, cards and sparklines: what is drawn says what the figures say, and names keep their colours."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metrion.web.cards import change, spark
from metrion.web.charts import COLOURS, OTHER, Palette, leading
from metrion.web.sparkline import HEIGHT, WIDTH, paths

names = st.sampled_from([f"model-{number}" for number in range(12)])


def test_the_greatest_come_first_and_nothing_is_no_name() -> None:
    assert leading({"b": 2, "a": 2, "c": 9, "none": 0}, 3) == ["c", "a", "b"]
    assert leading({"b": 2, "a": 3}, 1) == ["a"]


# ── Colours ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@given(st.lists(names, unique=True), st.lists(names, unique=True), st.lists(names, unique=True))
def test_a_colour_stays_and_no_two_are_alike(first: list[str], then: list[str], shown: list[str]) -> None:
    before = Palette(first)
    after = Palette(then, before.colours)
    for palette in (before, after):
        assert len(set(palette.colours.values())) == len(palette.colours) <= len(COLOURS)
    for name in set(first[:8]) & set(then[:8]):
        assert after.colours[name] == before.colours[name]
    found = after.of(shown)
    assert found.keys() == set(shown)
    coloured = [colour for colour in found.values() if colour != OTHER]
    assert len(set(coloured)) == len(coloured) >= min(len(shown), len(COLOURS))
    for name in shown[:8]:
        assert found[name] == after.colours.get(name, found[name]) != OTHER


# ── Against the period before ─────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("now", "before", "text", "kind"),
    [
        (112, 100, "▲ 12 %", "warn"),
        (88, 100, "▼ 12 %", "good"),
        (100, 100, "= 0 %", ""),
        (100.04, 100, "= 0 %", ""),
        (100.06, 100, "▲ 0.1 %", "warn"),
        (1000, 100, "▲ 900 %", "warn"),
        (1100, 100, "▲ 11×", "warn"),
        (5, 0, "▲ from 0", "warn"),
        (0, 5, "▼ 100 %", "good"),
        (0, 0, "", ""),
        (None, 5, "", ""),
        (5, None, "", ""),
    ],
)
def test_a_change(now: float | None, before: float | None, text: str, kind: str) -> None:
    found = change(now, before, "was", up="warn", down="good")
    assert (found.text, found.kind, found.before) == (text, kind, "was")


# ── Sparklines ────────────────────────────────────────────────────────────────────────────────────────────────────────


@given(
    st.lists(st.none() | st.floats(0, 1e15), max_size=100), st.lists(st.none() | st.integers(0, 10**6), max_size=100)
)
def test_a_sparkline_stays_in_its_box(first: list[float | None], second: list[int | None]) -> None:
    lines: tuple[Sequence[float | None], ...] = (first, second)
    for path, line in zip(paths(first, second), lines, strict=True):
        points = [tuple(map(float, point.split())) for point in re.findall(r"[ML](\S+ [\d.-]+)", path)]
        assert all(0 <= x <= WIDTH and 0 <= y <= HEIGHT for x, y in points)
        begun = sum(value is not None and (at == 0 or line[at - 1] is None) for at, value in enumerate(line))
        assert path.count("M") == begun


def test_a_sparkline_is_on_one_scale_and_has_gaps() -> None:
    assert paths([0, 10], [5, None])[0] == "M2.0 30.0L2.0 30.0L118.0 2.0"
    assert paths([0, 10], [5, None])[1] == "M2.0 16.0L2.0 16.0"
    assert spark([1]) == []
    assert [line.kind for line in spark([1, 2], [0, 0])] == ["main"]
    assert [line.kind for line in spark([1, 2], [0, 1])] == ["main", "bad"]
    assert spark([1, None, 2])[0].area == ""


def test_what_is_still_filling_is_a_line_of_its_own() -> None:
    whole, (sure, end) = spark([1, 3, 2])[0], spark([1, 3, 2], filling=True)
    assert (sure.kind, end.kind, sure.area) == ("main", "filling", whole.area)
    assert whole.path == sure.path + "L" + end.path.rpartition("L")[2]
    assert end.path.removeprefix("M").partition("L")[0] == sure.path.rpartition("L")[2]
