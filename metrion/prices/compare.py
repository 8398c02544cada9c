"""The book beside a second table of public prices: what the two do not agree on.

A table is the one shipped (`public_prices.toml`), another of that form, or LiteLLM's, in JSON
(https://docs.litellm.ai/docs/proxy/model_cost_map), which has no dates and so is compared with today's prices.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator
from datetime import UTC, date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from metrion.errors import InputError
from metrion.kit.money import nano_from_usd
from metrion.prices.calculate import Sheet
from metrion.prices.catalog import PriceBook
from metrion.prices.library import PROVIDERS
from metrion.prices.rules import TOKEN_CLASSES

SHIPPED = Path(__file__).with_name("public_prices.toml")
LITELLM_PROVIDERS = {
    "anthropic": "anthropic",
    "openai": "openai",
    "text-completion-openai": "openai",
    "gemini": "gemini",
    "mistral": "mistral",
    "xai": "grok",
}
LITELLM_PRICES = {  # USD per token
    "input_cost_per_token": "input",
    "cache_read_input_token_cost": "cached_input",
    "cache_creation_input_token_cost": "cache_write_5m",
    "cache_creation_input_token_cost_above_1hr": "cache_write_1h",
    "output_cost_per_token": "output",
    "input_cost_per_audio_token": "audio_input",
    "output_cost_per_audio_token": "audio_output",
}


class Page(msgspec.Struct, forbid_unknown_fields=True):
    """What was read on one page on one day: prices by model and token class."""

    provider: str
    source: str
    read: date
    models: dict[str, dict[str, str]]


class Listed(NamedTuple):
    """One price of a table, in nano-dollars per million tokens, as of a moment."""

    provider: str
    model: str
    token_class: str
    nano: int
    at_ms: int
    source: str


class Difference(NamedTuple):
    """A price the two do not agree on; `book_nano` is None where the book knows the model, but has no such price."""

    listed: Listed
    book_nano: int | None


class Comparison(NamedTuple):
    """How many prices were compared, which differ, and which models the book has no price of at all."""

    compared: int
    differences: list[Difference]
    missing: list[tuple[str, str]]


def compare(book: PriceBook, table: list[Listed], tolerance: Decimal) -> Comparison:
    """Compare each price of `table` with the book's of its day; they may differ by `tolerance` percent."""
    compared = 0
    differences: list[Difference] = []
    missing: dict[tuple[str, str], None] = {}
    for listed in table:
        sheet = book.sheet(listed.provider, listed.model, listed.at_ms)
        if sheet.refusal:
            missing[listed.provider, listed.model] = None
            continue
        compared += 1
        own = _rate(sheet, listed.token_class)
        if own is None or abs(own - listed.nano) * 100 > tolerance * max(own, listed.nano):
            differences.append(Difference(listed, own))
    return Comparison(compared, differences, list(missing))


def _rate(sheet: Sheet, token_class: str) -> int | None:
    rate: int | None = getattr(sheet.base, token_class)
    return rate


def read_table(file: Path, today_ms: int) -> list[Listed]:
    """Return a table's prices; raises InputError for a file that is of neither form."""
    try:
        text = file.read_text("utf-8")
        if file.suffix == ".json":
            return list(_litellm(json.loads(text, parse_float=Decimal), file.name, today_ms))
        pages = msgspec.convert(tomllib.loads(text), dict[str, list[Page]]).get("page", [])
        return [listed for page in pages for listed in _page(page)]
    except OSError as error:
        raise InputError(f"{file}: cannot be read: {error.strerror}") from error
    except (
        ValueError,
        TypeError,
    ) as error:  # the errors of msgspec, tomllib, json, Unicode and Decimal are ValueErrors
        raise InputError(f"{file}: this is no table of prices: {error}") from error


def _page(page: Page) -> Iterator[Listed]:
    at_ms = round(datetime.combine(page.read, time(), UTC).timestamp()) * 1000
    if page.provider not in PROVIDERS:
        raise ValueError(f"unknown provider {page.provider!r}")
    for model, prices in page.models.items():
        for name, usd in prices.items():
            if name not in TOKEN_CLASSES:
                raise ValueError(f"unknown token class {name!r} of {model}")
            yield Listed(page.provider, model, name, nano_from_usd(usd), at_ms, page.source)


def _litellm(table: Any, source: str, today_ms: int) -> Iterator[Listed]:
    """Its ids may begin with the provider's name; entries of other providers, and what is not a price, are left out."""
    if not isinstance(table, dict):
        raise ValueError("it is not an object of models")
    for name, entry in table.items():
        provider = LITELLM_PROVIDERS.get(entry.get("litellm_provider", "")) if isinstance(entry, dict) else None
        if provider is None:
            continue
        for key, token_class in LITELLM_PRICES.items():
            price = entry.get(key)
            if isinstance(price, (Decimal, int)) and not isinstance(price, bool) and price >= 0:
                nano = nano_from_usd(Decimal(price) * 1_000_000)
                yield Listed(provider, name.rpartition("/")[2], token_class, nano, today_ms, source)
