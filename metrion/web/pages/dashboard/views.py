"""Figures as the tabs show them: charts over a question's buckets, parts of a whole, and what was before."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from metrion.kit.zones import local_date
from metrion.providers import PROVIDERS
from metrion.storage.dashboard import Layer, Named
from metrion.storage.totals import OTHER as OTHER_NAMES
from metrion.storage.view import Figures
from metrion.web.cards import Bar, Change, Line, change, spark
from metrion.web.charts import OTHER, Cell, Chart, Row, Series, leading
from metrion.web.figures import MISSING, count, duration, percent, zone
from metrion.web.filters import day_words
from metrion.web.pages.dashboard.board import Question

MOST_BARS = 6
UNNAMED = "(none)"


# ── units ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


class Unit(NamedTuple):
    """How values read: for people, exactly, and as what is drawn."""

    name: str  # money, count or duration
    text: Callable[[int], str]
    exact: Callable[[int], str]
    drawn: Callable[[int], int]


def money_unit(question: Question) -> Unit:
    """Nano-dollars in the account's currency."""
    return Unit("money", question.money.text, question.money.exact, question.money.convert)


COUNT = Unit("count", count, "{:,}".format, int)
DURATION = Unit("duration", duration, lambda us: "", int)


# ── names ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def provider_name(name: str) -> str:
    """A provider as people call it."""
    return PROVIDERS[name].label if name in PROVIDERS else name or UNNAMED


def model_href(question: Question, model: str) -> str:
    """This tab for one model alone; "" where no filter can name it."""
    return question.here(models=(model,)) if model not in ("", OTHER_NAMES) else ""


def model_colours(question: Question, layers: Iterable[Layer], models: Iterable[Named]) -> dict[str, str]:
    """The colours of a page's models; those of its chart come first."""
    return question.known.models.of([*(one.name for one in layers if one.name), *(one.name for one in models)])


def provider_href(question: Question, provider: str) -> str:
    """This tab for one provider alone."""
    return question.here(provider=provider) if provider in PROVIDERS else ""


def requester_href(question: Question, requester: str) -> str:
    """A requester's own page."""
    return question.source_link(requester) if requester not in ("", OTHER_NAMES) else ""


def requests_words(number: int) -> str:
    """A number of requests: 1 request, 12.8k requests."""
    return f"{count(number)} {'request' if number == 1 else 'requests'}"


def sums_by_name(found: Iterable[Any], figure: Callable[[Figures], int]) -> dict[str, int]:
    """A figure by name: one of storage's lists of named figures, where two providers may have a model of one name."""
    sums: dict[str, int] = {}
    for one in found:
        sums[one.name] = sums.get(one.name, 0) + figure(one.figures)
    return sums


# ── against the period before ─────────────────────────────────────────────────────────────────────────────────────────


def compared(question: Question) -> str:
    """The period before, in words."""
    return f"{question.asked.words} before" if question.asked.range else "the time before"


def against(
    question: Question,
    now: float | None,
    before: float | None,
    text: Callable[[Any], str],
    *,
    any_before: object = True,
    up: str = "",
    down: str = "",
) -> Change:
    """A figure against the period before, which the page tells with its days.

    `any_before`: whether there was any call then; else there is nothing to compare with.
    """
    earlier = question.range.before
    if not any_before:
        before = None
    return change(now, before, text(before) if before is not None else MISSING, up=up, down=down)._replace(
        period=_period(question, earlier.from_ms, earlier.to_ms)
    )


def _period(question: Question, from_ms: int, to_ms: int) -> str:
    """[from, to) as people write it: 8 Nov, 00:00 – 14 Nov 2026, 13:00."""
    first, last = (datetime.fromtimestamp(ms / 1000, UTC).astimezone(zone(question.zone)) for ms in (from_ms, to_ms))
    return f"{first.day} {first:%b}, {first:%H:%M} – {last.day} {last:%b %Y}, {last:%H:%M}"


# ── how sure a cost is ────────────────────────────────────────────────────────────────────────────────────────────────

COST_HOW = "The sum of what each request cost: as its provider reported it, or its tokens times the price of that day."


def sources_of(figures: Figures) -> list[tuple[str, str, int]]:
    """Requests by how their cost is known: what it is called, a colour, how many."""
    return [
        ("Computed from usage", "1", figures.cost_computed),
        ("Reported by the provider", "3", figures.cost_provider),
        ("Estimated", "2", figures.cost_estimated),
        ("Unpriced: no price is known", "4", figures.cost_unpriced),
        ("Unknown: no usage was told", OTHER, figures.cost_unknown),
    ]


def sources_text(question: Question, figures: Figures) -> str:
    """How sure a cost is, in a sentence, with the currency's rate."""
    whole = figures.requests
    if not whole:
        return question.money.note
    shares = [
        f"{percent(number / whole)} {words}"
        for number, words in (
            (figures.cost_computed, "computed"),
            (figures.cost_provider, "reported by the provider"),
            (figures.cost_estimated, "estimated"),
            (figures.cost_unpriced, "unpriced"),
            (figures.cost_unknown, "unknown"),
        )
        if number
    ]
    left_out = " What is unpriced or unknown is not in the sum." if figures.without_cost else ""
    told = f"Of the requests, {', '.join(shares)}.".replace(" %", "\N{NO-BREAK SPACE}%")
    return f"{told}{left_out} {question.money.note}".strip()


def cost_text(question: Question, figures: Figures) -> str:
    """What requests cost; "unpriced" where that is known of none."""
    if figures.requests and figures.without_cost == figures.requests:
        return "unpriced" if figures.cost_unpriced else "unknown"
    return question.money.text(figures.cost_nano)


# ── charts and bars ───────────────────────────────────────────────────────────────────────────────────────────────────


def chart(
    question: Question,
    id: str,
    title: str,
    unit: Unit,
    series: Sequence[Series],
    columns: Sequence[Sequence[float | None]],
    *,
    kind: str = "bars",
) -> Chart:
    """A chart with a column of values, one a bucket, for each series; None leaves a gap."""
    starts = question.range.starts
    rows = [
        Row(
            *_names_of(question, start),
            _filling(question, starts, number),
            [_cell(unit, one[number]) for one in columns],
        )
        for number, start in enumerate(starts)
    ]
    return Chart(
        id, title, _summary(title, question, series), unit.name, kind, list(series), rows, question.span.hourly
    )


def stacked(
    question: Question,
    id: str,
    title: str,
    unit: Unit,
    layers: Sequence[Layer],
    colours: Mapping[str, str],
    *,
    name: Callable[[str], str] = lambda name: name or UNNAMED,
    others: str = "other",
) -> Chart:
    """A stack of storage's layers; `others` names the one of all that have none of their own."""
    series = [
        Series(name(one.name), colours.get(one.name, OTHER), unit.text(sum(one.values)))
        if one.name or not others
        else Series(others, OTHER, unit.text(sum(one.values)))
        for one in layers
    ]
    return chart(question, id, title, unit, series, [one.values for one in layers])


def bars(
    values: Mapping[str, int],
    unit: Unit,
    colours: Mapping[str, str],
    *,
    name: Callable[[str], str] = lambda name: name or UNNAMED,
    href: Callable[[str], str] = lambda name: "",
    most: int = MOST_BARS,
    whole: int = 0,
) -> list[Bar]:
    """The names with the greatest values, with their part of all; the rest together.

    `whole`: what all have, where `values` are not all; then the rest is left out.
    """
    rest_known = not whole
    whole = whole or sum(values.values())
    if whole <= 0:
        return []
    names = leading(values, most)
    found = [
        Bar(
            name(one),
            colours.get(one, OTHER),
            values[one] / whole,
            unit.text(values[one]),
            unit.exact(values[one]),
            href(one),
        )
        for one in names
    ]
    rest = whole - sum(values[one] for one in names)
    others = sum(1 for value in values.values() if value > 0) - len(names)
    if others > 0 and rest_known:
        label = f"{others:,} other" + ("s" if others > 1 else "")
        found.append(Bar(label, OTHER, rest / whole, unit.text(rest), unit.exact(rest)))
    return found


def trend(question: Question, main: Sequence[float | None], bad: Sequence[float | None] = ()) -> list[Line]:
    """A sparkline over a question's buckets, the last of which may still be filling."""
    return spark(main, bad, filling=question.span.live)


def _cell(unit: Unit, value: float | None) -> Cell:
    if value is None:
        return Cell(None, MISSING)
    whole = round(value)
    return Cell(unit.drawn(whole), unit.text(whole), unit.exact(whole))


def _names_of(question: Question, start_ms: int) -> tuple[str, str, str]:
    """A bucket's name on the axis and in full, and where it leads: a day to its hours."""
    at = datetime.fromtimestamp(start_ms / 1000, UTC).astimezone(zone(question.zone))
    if question.span.hourly:
        twice = at.replace(fold=0).utcoffset() != at.replace(fold=1).utcoffset()  # where clocks are put back
        return f"{at:%H:%M}", f"{at:%a} {at.day} {at:%b}, {at:%H:%M}" + (f" ({at:%z})" if twice else ""), ""
    day = local_date(question.zone, start_ms)
    return f"{at.day} {at:%b}", f"{at:%a} {day_words(day)}", question.here(range="", first=day, last=day)


def _filling(question: Question, starts: Sequence[int], number: int) -> bool:
    end = starts[number + 1] if number + 1 < len(starts) else question.span.to_ms
    return starts[number] <= question.range.now_ms < end


def _summary(title: str, question: Question, series: Sequence[Series]) -> str:
    """The chart in words."""
    by = "hour" if question.span.hourly else "day"
    parts = ", ".join(f"{one.name} {one.total}".strip() for one in series)
    return (
        f"{title} by {by}, {question.asked.words}: {parts}. The arrow keys go through it; the table below holds it all."
    )
