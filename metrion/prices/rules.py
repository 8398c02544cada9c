"""Prices written by hand, in TOML: Metrion's own (`overrides/*.toml`) and an operator's file, in one form.

An entry is for one provider and for `model` ids (each with its dated forms) or every id that begins with `prefix`. It
may set unit prices, multiply the token prices (`factor`), take a percentage off (`discount`), or say that an id is
priced as another (`same_as`); from `valid_from` on and before `valid_to` (UTC midnights), and, with `when`, under those
conditions only. Prices are strings, so that nobody's float rounds them. docs/costs.md describes the form for operators.
"""

from __future__ import annotations

import tomllib
from datetime import UTC, date, datetime, time
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec

from metrion.errors import ConfigError
from metrion.kit.money import nano_from_usd
from metrion.prices import match
from metrion.prices.calculate import MILLION, Fee, Rates
from metrion.prices.library import HOUR_MS, PROVIDERS, Prices, Steps

OURS = Path(__file__).with_name("overrides")
CONDITIONS = ("service_tier", "processing", "speed", "inference_geo")
TOKEN_CLASSES = Rates.__struct_fields__
FOREVER = 1 << 62
OPERATOR = 1  # the owner of rules that win over Metrion's own, 0


class Above(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Prices of prompts of more than `tokens` tokens, for every token of the call."""

    tokens: int
    usd_per_million: dict[str, str]


class Entry(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """One `[[price]]` as written."""

    provider: str
    model: str | list[str] = ""
    prefix: str | None = None
    valid_from: date | None = None
    valid_to: date | None = None
    when: dict[str, str] = {}
    usd_per_million: dict[str, str] = {}  # by token class, or "characters"
    above: list[Above] = []
    usd_per_thousand: dict[str, str] = {}  # by tool or "pages"
    usd_per_hour: dict[str, str] = {}  # "audio"
    factor: str = ""
    discount: str = ""  # percent
    same_as: str = ""
    source: str = ""
    read: date | None = None


class Rule(msgspec.Struct, frozen=True):
    """One entry, checked and in integers."""

    label: str
    provider: str
    names: tuple[str, ...]
    prefix: str | None
    start_ms: int
    end_ms: int
    when: frozenset[tuple[str, str]]
    prices: Prices
    factor: Decimal | None
    discount: Decimal | None
    same_as: str
    since: str
    source: str
    read: date | None
    rank: tuple[int, int, int, int]  # whose file, how specific, when it began, place in the file: the highest wins

    def matches(self, model: str, at_ms: int) -> bool:
        """Say whether the rule speaks of `model` (in normal form) at that moment."""
        if not self.start_ms <= at_ms < self.end_ms:
            return False
        if self.prefix is not None:
            return model.startswith(self.prefix)
        return model in self.names


def load(operators_file: Path | None) -> list[Rule]:
    """Return Metrion's rules, then the operator's; raises ConfigError naming the file, the entry and what to do."""
    rules = [rule for file in sorted(OURS.glob("*.toml")) for rule in read(file, 0)]
    return rules if operators_file is None else rules + read(operators_file, OPERATOR)


def read(file: Path, owner: int) -> list[Rule]:
    """Return the rules of one file; a higher `owner` wins over a lower one."""
    try:
        return parse(file.read_text("utf-8"), file, owner)
    except OSError as error:
        raise ConfigError(f"{file}: cannot read the prices: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file}: this is not TOML: {error}") from error


def parse(text: str, file: Path, owner: int) -> list[Rule]:
    """Return the rules of a file's text."""
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{file}: this is not TOML: {error}") from error
    entries = content.pop("price", [])
    if content or not isinstance(entries, list):
        wrong = next(iter(content), "price")
        raise ConfigError(f"{file}: {wrong!r} is not a list of prices; write each price under its own [[price]]")
    rules = []
    for place, entry in enumerate(entries, 1):
        try:
            rules.append(_rule(msgspec.convert(entry, Entry), file.name, owner, place))
        except (msgspec.ValidationError, ValueError) as error:
            raise ConfigError(f"{file}: price {place}{_described(entry)}: {error}; see docs/costs.md") from error
    return rules


def _described(entry: Any) -> str:
    names = (
        [str(entry[key]) for key in ("provider", "model", "prefix") if key in entry] if isinstance(entry, dict) else []
    )
    return f" ({' '.join(names)})" if names else ""


def _rule(entry: Entry, file: str, owner: int, place: int) -> Rule:
    names = (entry.model,) if isinstance(entry.model, str) else tuple(entry.model)
    names = tuple(match.normal(name) for name in names if name)
    _check(entry, names)
    prefix = None if entry.prefix is None else match.normal(entry.prefix)
    start_ms = -FOREVER if entry.valid_from is None else _midnight(entry.valid_from)
    return Rule(
        label=f"{file} {names[0] if names else f'{prefix}*'}",
        provider=entry.provider,
        names=names,
        prefix=prefix,
        start_ms=start_ms,
        end_ms=FOREVER if entry.valid_to is None else _midnight(entry.valid_to),
        when=frozenset(entry.when.items()),
        prices=_prices(entry),
        factor=_number(entry.factor, "factor") if entry.factor else None,
        discount=_percent(entry.discount) if entry.discount else None,
        same_as=match.normal(entry.same_as),
        since=entry.valid_from.isoformat() if entry.valid_from else "",
        source=entry.source,
        read=entry.read,
        rank=(owner, 1000 if prefix is None else len(prefix), start_ms, place),
    )


def _check(entry: Entry, names: tuple[str, ...]) -> None:
    if entry.provider not in PROVIDERS:
        raise ValueError(f"unknown provider {entry.provider!r}; known are {', '.join(PROVIDERS)}")
    if bool(names) == (entry.prefix is not None):
        raise ValueError("write either model or prefix")
    if entry.valid_from and entry.valid_to and entry.valid_to <= entry.valid_from:
        raise ValueError("valid_to must come after valid_from (it is the first day the price no longer holds)")
    unknown = set(entry.when) - set(CONDITIONS)
    if unknown:
        raise ValueError(f"unknown condition {min(unknown)!r}; known are {', '.join(CONDITIONS)}")
    prices = entry.usd_per_million or entry.usd_per_thousand or entry.usd_per_hour or entry.above
    if not (prices or entry.factor or entry.discount or entry.same_as):
        raise ValueError("it sets nothing: write prices, factor, discount or same_as")
    if entry.same_as and (entry.when or not names):
        raise ValueError("same_as goes with model, and without when")


def _prices(entry: Entry) -> Prices:
    tiers = [(0, entry.usd_per_million), *((tier.tokens, tier.usd_per_million) for tier in entry.above)]
    if any(later <= earlier for (earlier, _), (later, _) in pairwise(tiers)):
        raise ValueError("the tokens of above must be positive and ascend")
    prices = Prices(_tokens(tiers))
    if "characters" in entry.usd_per_million:
        prices.fees["characters"] = Fee(_nano(entry.usd_per_million["characters"], "characters"), MILLION)
    for name, usd in entry.usd_per_thousand.items():
        prices.fees[name] = Fee(_nano(usd, name), 1000)
    for name, usd in entry.usd_per_hour.items():
        prices.fees[f"{name}_ms"] = Fee(_nano(usd, name), HOUR_MS)
    return prices


def _tokens(tiers: list[tuple[int, dict[str, str]]]) -> dict[str, Steps]:
    tokens: dict[str, Steps] = {}
    for start, by_class in tiers:
        for name, usd in by_class.items():
            if name in TOKEN_CLASSES:
                tokens[name] = (*tokens.get(name, ()), (start, _nano(usd, name)))
            elif name != "characters" or start:
                raise ValueError(f"unknown token class {name!r}; known are {', '.join(TOKEN_CLASSES)}")
    return tokens


def _nano(usd: str, name: str) -> int:
    return nano_from_usd(_number(usd, name))


def _number(text: str, name: str) -> Decimal:
    try:
        number = Decimal(text)
    except ArithmeticError as error:
        raise ValueError(f'{name} = "{text}" is not a decimal number such as "0.15"') from error
    if not number.is_finite() or number < 0:
        raise ValueError(f'{name} = "{text}" must be zero or more')
    return number


def _percent(text: str) -> Decimal:
    percent = _number(text, "discount")
    if percent > 100:
        raise ValueError(f'discount = "{text}" must be at most 100 (percent)')
    return percent


def _midnight(day: date) -> int:
    return round(datetime.combine(day, time(), UTC).timestamp()) * 1000
