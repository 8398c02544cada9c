"""Unit prices out of `genai-prices`: its bundled data, without its calculator and without its updates from the net.

Source of every figure here: the package `genai-prices` (MIT), which keeps the providers' price pages with dates.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, time
from decimal import Decimal
from importlib.metadata import version
from itertools import chain

from genai_prices import types
from genai_prices.data import providers

from metrion.kit.money import nano_from_usd
from metrion.prices import match
from metrion.prices.calculate import MILLION, Fee

NAME = f"genai-prices {version('genai-prices')}"
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS

PROVIDERS = {"anthropic": "anthropic", "openai": "openai", "gemini": "google", "mistral": "mistral", "grok": "x-ai"}
TOKENS = {  # the library's price keys, as `Rates` names them
    "input_mtok": "input",
    "cache_read_mtok": "cached_input",
    "cache_write_mtok": "cache_write_5m",
    "cache_write_5m_mtok": "cache_write_5m",
    "cache_write_1h_mtok": "cache_write_1h",
    "output_mtok": "output",
    "input_audio_mtok": "audio_input",
    "cache_audio_read_mtok": "cached_audio",
    "output_audio_mtok": "audio_output",
    "input_image_mtok": "image_input",
    "cache_image_read_mtok": "cached_image",
    "output_image_mtok": "image_output",
    "input_video_mtok": "video_input",
    "output_video_mtok": "video_output",
}
FEES = {  # the library's price keys → the name in `tool_calls` or `quantities`, and the units a price is for
    "web_searches_kcount": ("web_search", 1000),
    "storage_searches_kcount": ("file_search", 1000),
    "social_searches_kcount": ("x_search", 1000),
    "code_executions_kcount": ("code_execution", 1000),
    "input_document_kpages": ("pages", 1000),
    "input_annotated_document_kpages": ("annotated_pages", 1000),
    "input_mchars": ("characters", MILLION),
    "audio_hours": ("audio_ms", HOUR_MS),
    "input_audio_hours": ("audio_ms", HOUR_MS),
    "input_text_messages_kcount": ("text_messages", 1000),
}

QUANTITIES = {"pages", "annotated_pages", "characters", "audio_ms", "text_messages"}  # the other fees are for tools

Steps = tuple[tuple[int, int], ...]  # (prompts above so many tokens, nano-dollars per million tokens), ascending from 0


@dataclass(slots=True)
class Prices:
    """Unit prices on their way to a sheet: token classes by context tier, and fees by name."""

    tokens: dict[str, Steps] = field(default_factory=dict)
    fees: dict[str, Fee] = field(default_factory=dict)

    def update(self, other: Prices) -> None:
        self.tokens.update(other.tokens)
        self.fees.update(other.fees)


@dataclass(frozen=True, slots=True)
class Found:
    """What the library charges for a model at one moment.

    `special` are the prices that conditions put in the place of the `standard` ones, `honoured` those conditions.
    """

    name: str
    standard: Prices
    special: Prices
    honoured: frozenset[tuple[str, str]]
    since: str  # ISO date of the youngest price used; "" where it always held


def models(provider: str) -> list[types.ModelInfo]:
    """Return the library's models of one of Metrion's providers; raises KeyError for another."""
    wanted = PROVIDERS[provider]
    return next(one.models for one in providers if one.id == wanted)


def page(provider: str) -> str:
    """Return the provider's price page that the library follows."""
    wanted = PROVIDERS[provider]
    return next((urls[0] for one in providers if one.id == wanted and (urls := one.pricing_urls)), "")


def find(provider: str, model: str) -> types.ModelInfo | None:
    """Return the model an id stands for: the closest match of the id, else of the id less its date."""
    known, name = models(provider), model
    while name:
        rests = [(rest, at) for at, one in enumerate(known) if (rest := match.rest_after(one.match, name)) is not None]
        if rests:
            return known[min(rests)[1]]
        name = match.undated(name)
    return None


def prices_at(model: types.ModelInfo, at: datetime, conditions: dict[str, str]) -> Found:
    """Return a model's unit prices at a moment under conditions such as {"service_tier": "flex"}."""
    variants = [
        variant
        for variant in model.price_variants or []
        if (variant.constraint is None or variant.constraint.active(at)) and variant.when.items() <= conditions.items()
    ]
    special = Prices()
    for variant in reversed(variants):  # the first in the list wins, by price
        special.update(_read(variant.prices))
    active = [one.constraint for one in _conditional(model) if one.constraint is None or one.constraint.active(at)]
    used = active[-1:] + [variant.constraint for variant in variants]
    standard = _read(model.get_prices(at))
    if not standard.tokens and not standard.fees:  # listed without any price: free of charge
        standard.tokens.update(input=((0, 0),), output=((0, 0),))
    return Found(
        model.id,
        standard,
        special,
        frozenset(pair for variant in variants for pair in variant.when.items()),
        max((one.start_date.isoformat() for one in used if isinstance(one, types.StartDateConstraint)), default=""),
    )


def borders(provider: str) -> tuple[set[int], set[int]]:
    """Return when this provider's prices change: Unix milliseconds of dates, and milliseconds of the day (UTC)."""
    return borders_of(models(provider))


def borders_of(some: Iterable[types.ModelInfo]) -> tuple[set[int], set[int]]:
    """Return when the prices of `some` models change, as `borders` does."""
    dates: set[int] = set()
    hours: set[int] = set()
    for constraint in chain.from_iterable(map(_constraints, some)):
        if isinstance(constraint, types.StartDateConstraint):
            dates.add(round(datetime.combine(constraint.start_date, time(), UTC).timestamp()) * 1000)
        else:
            hours |= {_day_ms(constraint.start_time), _day_ms(constraint.end_time)}
    return dates, hours


def _conditional(model: types.ModelInfo) -> list[types.ConditionalPrice]:
    return model.prices if isinstance(model.prices, list) else []


def _constraints(model: types.ModelInfo) -> list[types.StartDateConstraint | types.TimeOfDateConstraint]:
    all_of = [one.constraint for one in _conditional(model)] + [one.constraint for one in model.price_variants or []]
    return [constraint for constraint in all_of if constraint is not None]


def _day_ms(moment: time) -> int:
    when = datetime.combine(datetime(2000, 1, 1), moment)
    utc = when if when.tzinfo is None else when.astimezone(UTC)
    return (utc.hour * 3600 + utc.minute * 60 + utc.second) * 1000 + utc.microsecond // 1000


def _read(listed: types.ModelPrice) -> Prices:
    """Turn decimal dollars into integer nano-dollars; raises KeyError for a price key this file does not know."""
    prices = Prices()
    for key, price in _listed(listed):
        if key in TOKENS:
            prices.tokens[TOKENS[key]] = _steps(price)
        else:
            name, per = FEES[key]
            prices.fees[name] = Fee(nano_from_usd(price if isinstance(price, Decimal) else price.base), per)
    return prices


def _listed(listed: types.ModelPrice) -> Iterator[tuple[str, Decimal | types.TieredPrices]]:
    return ((key, price) for key, price in vars(listed).items() if price is not None)


def _steps(price: Decimal | types.TieredPrices) -> Steps:
    if isinstance(price, Decimal):
        return ((0, nano_from_usd(price)),)
    return (0, nano_from_usd(price.base)), *((tier.start, nano_from_usd(tier.price)) for tier in price.tiers)
