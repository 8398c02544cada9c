"""The colours of the tokens, computed: text can be read everywhere, and colour-blind eyes can tell series apart."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable
from pathlib import Path

import pytest

Rgb = tuple[float, float, float]  # linear light, 0 to 1
Matrix = tuple[Rgb, Rgb, Rgb]

TOKENS = (Path(__file__).parents[2] / "metrion/web/static/tokens.css").read_text()
THEMES = ("light", "dark")
SURFACES = ("page", "surface", "sunken")
SERIES = [f"data-{number}" for number in range(1, 9)]

# What the eye sees without one kind of cone: Machado, Oliveira and Fernandes 2009, severity 1.0, for linear sRGB.
EYES: dict[str, Matrix] = {
    "protan": ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998)),
    "deutan": ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.011820, 0.042940, 0.968881)),
    "tritan": ((1.255528, -0.076749, -0.178779), (-0.078411, 0.930809, 0.147602), (0.004733, 0.691367, 0.303900)),
    "any": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
}
# Linear sRGB to cone responses, and their cube roots to OKLab: Ottosson 2020.
CONES: Matrix = (
    (0.4122214708, 0.5363325363, 0.0514459929),
    (0.2119034982, 0.6806995451, 0.1073969566),
    (0.0883024619, 0.2817188376, 0.6299787005),
)
LAB: Matrix = (
    (0.2104542553, 0.7936177850, -0.0040720468),
    (1.9779984951, -2.4285922050, 0.4505937099),
    (0.0259040371, 0.7827717662, -0.8086757660),
)
TOLD_APART = 0.08  # in OKLab, where 0.02 is just noticed by looking closely


def times(matrix: Matrix, colour: Rgb) -> Rgb:
    first, second, third = (sum(a * b for a, b in zip(row, colour, strict=True)) for row in matrix)
    return first, second, third


def each(change: Callable[[float], float], colour: Rgb) -> Rgb:
    first, second, third = (change(part) for part in colour)
    return first, second, third


def linear(value: float) -> float:
    return value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4


def colour(name: str, theme: str) -> Rgb:
    """The token `name` in `theme`, through var() and light-dark()."""
    found = re.search(rf"^  --{name}: (.+);$", TOKENS, re.MULTILINE)
    assert found, name
    value = found[1]
    pair = re.fullmatch(r"light-dark\((.+), (.+)\)", value)
    if pair:
        value = pair[1 + THEMES.index(theme)]
    other = re.fullmatch(r"var\(--(.+)\)", value)
    if other:
        return colour(other[1], theme)
    digits = re.fullmatch(r"#([0-9a-f]{2})([0-9a-f]{2})([0-9a-f]{2})", value)
    assert digits, value
    return linear(int(digits[1], 16) / 255), linear(int(digits[2], 16) / 255), linear(int(digits[3], 16) / 255)


def contrast(one: Rgb, other: Rgb) -> float:
    """WCAG 2.2: from 1 to 21."""
    low, high = sorted(0.2126 * red + 0.7152 * green + 0.0722 * blue for red, green, blue in (one, other))
    return (high + 0.05) / (low + 0.05)


def oklab(seen: Rgb) -> Rgb:
    return times(LAB, each(lambda part: max(0.0, part) ** (1 / 3), times(CONES, seen)))


def needs() -> list[tuple[str, str, float]]:
    """Foreground, background and the least contrast between them."""
    tints = ["action-tint", "good-tint", "warn-tint", "bad-tint"]
    pairs: list[tuple[str, str, float]] = [("text", surface, 7) for surface in (*SURFACES, *tints)]
    pairs += [("text-quiet", surface, 4.5) for surface in SURFACES]
    pairs += [(name, surface, 4.5) for name in ("link", "good", "warn", "bad") for surface in SURFACES]
    pairs += [("link", "action-tint", 4.5), *((name, f"{name}-tint", 4.5) for name in ("good", "warn", "bad"))]
    pairs += [("on-action", name, 4.5) for name in ("action", "action-hover", "bad-solid")]
    pairs += [(name, surface, 3) for name in ("line-strong", "focus") for surface in ("page", "surface")]
    pairs += [(name, "surface", 3) for name in (*SERIES, "data-other")]
    return pairs


@pytest.mark.parametrize("theme", THEMES)
def test_everything_can_be_read(theme: str) -> None:
    measured = {(a, b): (contrast(colour(a, theme), colour(b, theme)), least) for a, b, least in needs()}
    assert {pair: seen for pair, (seen, least) in measured.items() if seen < least} == {}


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("eye", EYES)
def test_series_can_be_told_apart(theme: str, eye: str) -> None:
    seen = {name: oklab(times(EYES[eye], colour(name, theme))) for name in (*SERIES, "data-other")}
    close = {(a, b): math.dist(seen[a], seen[b]) for a, b in itertools.combinations(seen, 2)}
    assert {pair: far for pair, far in close.items() if far < TOLD_APART} == {}


@pytest.mark.parametrize("theme", THEMES)
def test_the_first_four_differ_most_in_lightness(theme: str) -> None:
    lightness = sorted(oklab(colour(name, theme))[0] for name in SERIES[:4])
    assert min(b - a for a, b in itertools.pairwise(lightness)) >= TOLD_APART


def test_a_series_has_one_colour_for_scripts_that_ask_early() -> None:
    for name in (*SERIES, "data-other"):
        initial = re.search(rf"@property --{name} .*initial-value: (#\w+)", TOKENS)
        assert initial and f"--{name}: light-dark({initial[1]}, " in TOKENS, name


def test_contrast_is_that_of_the_standard() -> None:
    assert contrast((1, 1, 1), (0, 0, 0)) == pytest.approx(21)
    grey = linear(0x76 / 255)
    assert contrast((grey, grey, grey), (1, 1, 1)) == pytest.approx(4.54, abs=0.01)  # the well-known #767676 on white
