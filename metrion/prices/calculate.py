"""From usage and one sheet of unit prices to money: pure, in integers.

A row is the sum of its parts (token classes, tools, other quantities), rounded half-even once at the end. Three things
are never done: a class without a price is not counted as free, a figure that contradicts the others does not become
negative money, and a missing usage does not become zero.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from metrion.kit.money import divide_half_even
from metrion.wire.usage import CACHED_BY_KIND, Usage

MILLION = 1_000_000
COMMON = 18_000_000  # divisible by every `Fee.per`: 1, 1000, a million, an hour's milliseconds
NO_LIMIT = 1 << 62
MOST_REFS = 3  # of the prices that made one cost; a batch may name many models


class Split(NamedTuple):
    """What of a cost is for which tokens, in nano-dollars; what is left of it is for tools and other quantities.

    `saved` is no part of it: how much more the same tokens would have cost without caching, negative where less.
    """

    input: int = 0  # neither read from a cache nor written to one
    cached: int = 0
    written: int = 0  # to a cache
    output: int = 0
    saved: int = 0


NO_SPLIT = Split()


class Cost(NamedTuple):
    """What one call cost, in nano-dollars; `nano` is None where that is not known.

    `source` is "provider", "computed", "unpriced" (the book lacks a price) or "unknown" (no usable usage); `ref` says
    which price it was, or why there is none. The split is that of computed costs: providers report one figure.
    """

    nano: int | None
    source: str
    ref: str | None
    split: Split = NO_SPLIT


class Line(NamedTuple):
    """One part of a cost: `quantity` units at `unit_nano` nano-dollars per `per` units, `nano` in all."""

    name: str
    quantity: int
    unit_nano: int
    per: int
    nano: int


class Fee(NamedTuple):
    """A unit price: nano-dollars per `per` units."""

    nano: int
    per: int


class Rates(msgspec.Struct, frozen=True, kw_only=True):
    """Nano-dollars per million tokens, by disjoint class; None where the book has no price.

    A modality the provider does not price apart carries its parent's price, and so does a cached token.
    """

    input: int | None = None
    cached_input: int | None = None
    cache_write_5m: int | None = None
    cache_write_1h: int | None = None
    output: int | None = None
    audio_input: int | None = None
    cached_audio: int | None = None
    audio_output: int | None = None
    image_input: int | None = None
    cached_image: int | None = None
    image_output: int | None = None
    video_input: int | None = None
    video_output: int | None = None


class Sheet(msgspec.Struct, frozen=True):
    """The unit prices of one provider × model × context at one time.

    `base` holds for prompts of up to `ceiling` tokens; above it the last of `long` (threshold, rates) whose threshold
    the prompt exceeds holds for every token. `fees` price tools and other quantities. `refusal`: why there are none.
    """

    ref: str
    base: Rates
    ceiling: int = NO_LIMIT
    long: tuple[tuple[int, Rates], ...] = ()
    fees: dict[str, Fee] = {}
    refusal: str = ""
    sources: tuple[tuple[str, str], ...] = ()  # (whose price, where it was read), the strongest last


class PerToken(NamedTuple):
    """What a plain usage costs, in whole nano-dollars a token, up to `ceiling` tokens of input."""

    ref: str
    ceiling: int
    input: int
    cached: int
    output: int | None  # None for models that put nothing out


class Charge(NamedTuple):
    """One priced part of a usage."""

    name: str
    quantity: int
    fee: Fee


class UnpriceableError(Exception):
    """A cost cannot be computed; `source` is "unpriced" or "unknown"."""

    def __init__(self, source: str, reason: str) -> None:
        super().__init__(reason)
        self.source = source


UNKNOWN = Cost(None, "unknown", None)


def price(sheet: Sheet, usage: Usage) -> Cost:
    """Return the cost of `usage` by `sheet`."""
    amounts = _common(sheet, usage)
    if amounts is None:
        return price_all([(sheet, usage)])
    split = _rounded(amounts, MILLION)
    return Cost(split[0] + split[1] + split[2] + split[3], "computed", sheet.ref, split)


def per_token(sheet: Sheet) -> PerToken | None:
    """Return what plain tokens cost by a sheet; None where it has no such price, or not in whole nano-dollars."""
    rates = sheet.base
    if rates.input is None or rates.cached_input is None:
        return None
    if rates.input % MILLION or rates.cached_input % MILLION or (rates.output or 0) % MILLION:
        return None
    output = None if rates.output is None else rates.output // MILLION
    return PerToken(sheet.ref, sheet.ceiling, rates.input // MILLION, rates.cached_input // MILLION, output)


def price_all(shares: list[tuple[Sheet, Usage]]) -> Cost:
    """Return the cost of several usages together, each by its own sheet; one without a price leaves all without."""
    total, refs, amounts = 0, dict[str, None](), (0,) * len(NO_SPLIT)
    for sheet, usage in shares:
        if usage.reported_cost_nano is not None:
            total += usage.reported_cost_nano * COMMON
            continue
        try:
            found = charges(sheet, usage)
        except UnpriceableError as gap:
            return Cost(None, gap.source, f"{sheet.ref}: {gap}" if sheet.ref else str(gap))
        total += sum(map(_amount, found))
        amounts = tuple(map(sum, zip(amounts, _by_class(found, _rates_for(sheet, usage.input_tokens)), strict=True)))
        refs[sheet.ref] = None
    ref = " + ".join(list(refs)[:MOST_REFS])
    return Cost(divide_half_even(total, COMMON), "computed", ref, _rounded(amounts, COMMON))


def explain(shares: list[tuple[str, Sheet, Usage]]) -> list[Line]:
    """Return how `price_all` came to its figure, or no lines where it came to none; charges alike become one line.

    Each share has a label that stands before its lines' names. Each line takes the rounded running sum's step, so that
    the lines add up to the cost to the last nano-dollar.
    """
    sums: dict[tuple[str, Fee], int] = {}
    for label, sheet, usage in shares:
        try:
            for charge in _billed(sheet, usage):
                key = (label + charge.name, charge.fee)
                sums[key] = sums.get(key, 0) + charge.quantity
        except UnpriceableError:
            return []
    lines, running, shown = [], 0, 0
    for (name, fee), quantity in sums.items():
        running += _amount(Charge(name, quantity, fee))
        nano = divide_half_even(running, COMMON) - shown
        shown += nano
        lines.append(Line(name, quantity, fee.nano, fee.per, nano))
    return lines


def _billed(sheet: Sheet, usage: Usage) -> list[Charge]:
    """Return the parts of `usage` with their prices, or the one figure that the provider gives for it."""
    reported = usage.reported_cost_nano
    if reported is None:
        return charges(sheet, usage)
    return [Charge("as reported", reported, Fee(1, 1))] if reported else []


def charges(sheet: Sheet, usage: Usage) -> list[Charge]:
    """Return the parts of `usage` that are used, with their prices; raises UnpriceableError."""
    if sheet.refusal:
        raise UnpriceableError("unpriced", sheet.refusal)
    found = []
    for name, quantity, nano in _tokens(_rates_for(sheet, usage.input_tokens), usage):
        if quantity:
            found.append(_charge(name, quantity, None if nano is None else Fee(nano, MILLION)))
    for name, quantity in (*usage.tool_calls.items(), *_quantities(usage).items()):
        if quantity:
            found.append(_charge(name, quantity, sheet.fees.get(name)))
    return found


def _charge(name: str, quantity: int, fee: Fee | None) -> Charge:
    if quantity < 0:
        raise UnpriceableError("unknown", f"the usage contradicts itself: {name} would be {quantity}")
    if fee is None:
        raise UnpriceableError("unpriced", f"no price for {name}")
    return Charge(name, quantity, fee)


def _common(sheet: Sheet, usage: Usage) -> tuple[int, ...] | None:
    """Return the common row's split in millionths of a nano-dollar, without building charges; None for other rows."""
    rates = sheet.base
    if (
        usage.input_tokens > sheet.ceiling
        or usage.audio_input_tokens
        or usage.audio_output_tokens
        or usage.image_input_tokens
        or usage.image_output_tokens
        or usage.video_input_tokens
        or usage.video_output_tokens
        or usage.tool_calls
        or usage.quantities
        or rates.input is None
        or rates.output is None
        or rates.cached_input is None
    ):
        return None
    cached, output = usage.cached_input_tokens if rates.cached_input != rates.input else 0, usage.output_tokens
    fresh, written, saved = usage.input_tokens - cached, 0, cached * (rates.input - rates.cached_input)
    short, long = usage.cache_write_5m_tokens, usage.cache_write_1h_tokens
    if short or long:
        if rates.cache_write_5m is None or rates.cache_write_1h is None or short < 0 or long < 0:
            return None
        fresh -= short + long
        written = short * rates.cache_write_5m + long * rates.cache_write_1h
        saved += (short + long) * rates.input - written
    if fresh < 0 or cached < 0 or output < 0:
        return None
    return fresh * rates.input, cached * rates.cached_input, written, output * rates.output, saved


def _by_class(found: list[Charge], rates: Rates) -> tuple[int, ...]:
    """Return the split of charges in the unit of `_amount`."""
    amounts = [0] * len(NO_SPLIT)
    for charge in found:
        if charge.name not in _CLASSES:
            continue
        at, uncached = _CLASSES[charge.name]
        amounts[at] += _amount(charge)
        plain = getattr(rates, uncached) if uncached else None
        if plain is not None:
            amounts[-1] += charge.quantity * (plain - charge.fee.nano) * (COMMON // MILLION)
    return tuple(amounts)


# What a charge belongs to in a Split, and what the same tokens would have been without caching.
_CLASSES = {
    "input": (0, ""),
    "audio_input": (0, ""),
    "image_input": (0, ""),
    "video_input": (0, ""),
    "cached_input": (1, "input"),
    "cached_audio": (1, "audio_input"),
    "cached_image": (1, "image_input"),
    "cache_write_5m": (2, "input"),
    "cache_write_1h": (2, "input"),
    "output": (3, ""),
    "audio_output": (3, ""),
    "image_output": (3, ""),
    "video_output": (3, ""),
}


def _rounded(amounts: tuple[int, ...], by: int) -> Split:
    """Return a split in nano-dollars whose parts add up to their rounded sum: each is the step of the running one."""
    fresh, cached, written, output, saved = amounts
    one = divide_half_even(fresh, by)
    if not (cached or written or saved):
        return Split(one, 0, 0, divide_half_even(fresh + output, by) - one)
    two = divide_half_even(fresh + cached, by)
    three = divide_half_even(fresh + cached + written, by)
    four = divide_half_even(fresh + cached + written + output, by)
    return Split(one, two - one, three - two, four - three, divide_half_even(saved, by))


def _quantities(usage: Usage) -> dict[str, int]:
    """Return what is billed by other units; a page that is annotated is billed as such instead of as a page."""
    if "annotated_pages" not in usage.quantities:
        return usage.quantities
    pages = usage.quantities.get("pages", 0) - usage.quantities["annotated_pages"]
    return {**usage.quantities, "pages": max(pages, 0)}


def _amount(charge: Charge) -> int:
    return charge.quantity * charge.fee.nano * (COMMON // charge.fee.per)


def _rates_for(sheet: Sheet, input_tokens: int) -> Rates:
    rates = sheet.base
    for threshold, dearer in sheet.long:
        if input_tokens > threshold:
            rates = dearer
    return rates


def _tokens(rates: Rates, usage: Usage) -> list[tuple[str, int, int | None]]:
    """Return disjoint token counts and their unit prices; a class that is not priced apart stays inside its parent.

    Leaving it there keeps a contradiction between figures that cost the same (say, cached tokens above the prompt where
    caching has no price of its own) from making a call unknowable.
    """
    cached_apart = rates.cached_input != rates.input
    audio_apart = rates.audio_input != rates.input or rates.cached_audio != rates.cached_input
    image_apart = rates.image_input != rates.input or rates.cached_image != rates.cached_input
    cached = usage.cached_input_tokens if cached_apart else 0
    audio = usage.audio_input_tokens if audio_apart else 0
    cached_audio = usage.cached_audio_tokens if audio_apart and cached_apart else 0
    image = usage.image_input_tokens if image_apart else 0
    cached_image = usage.cached_image_tokens if image_apart and cached_apart else 0
    if image and cached and CACHED_BY_KIND not in usage.facts:
        raise UnpriceableError("unpriced", "the provider does not say how many image tokens were cached")
    audio_output = usage.audio_output_tokens if rates.audio_output != rates.output else 0
    image_output = usage.image_output_tokens if rates.image_output != rates.output else 0
    video = usage.video_input_tokens if rates.video_input != rates.input else 0
    if video and cached:
        raise UnpriceableError("unpriced", "the provider has no price for cached video")
    video_output = usage.video_output_tokens if rates.video_output != rates.output else 0
    writes = usage.cache_write_5m_tokens + usage.cache_write_1h_tokens
    return [
        (
            "input",
            usage.input_tokens - cached - writes - (audio - cached_audio) - (image - cached_image) - video,
            rates.input,
        ),
        ("cached_input", cached - cached_audio - cached_image, rates.cached_input),
        ("cache_write_5m", usage.cache_write_5m_tokens, rates.cache_write_5m),
        ("cache_write_1h", usage.cache_write_1h_tokens, rates.cache_write_1h),
        ("audio_input", audio - cached_audio, rates.audio_input),
        ("cached_audio", cached_audio, rates.cached_audio),
        ("image_input", image - cached_image, rates.image_input),
        ("cached_image", cached_image, rates.cached_image),
        ("output", usage.output_tokens - audio_output - image_output - video_output, rates.output),
        ("audio_output", audio_output, rates.audio_output),
        ("image_output", image_output, rates.image_output),
        ("video_input", video, rates.video_input),
        ("video_output", video_output, rates.video_output),
    ]
