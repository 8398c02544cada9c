"""What calls would have cost otherwise: by other models, as batches, or without a prompt cache.

The calls' own counts are taken, and the prices of their own time. What that leaves out is said in `assumptions`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import msgspec

from metrion.errors import InputError
from metrion.ledger.reread import usage_of
from metrion.prices.catalog import PriceBook
from metrion.prices.library import PROVIDERS
from metrion.prices.match import stands_for
from metrion.wire.usage import Part, Usage


class Target(NamedTuple):
    """A model that takes another's place."""

    provider: str
    model: str


class Case(NamedTuple):
    """What is otherwise. `models` are (the model as recorded, what takes its place); the first that fits holds."""

    models: list[tuple[str, Target]]
    batch: bool = False
    no_cache: bool = False

    def target(self, *names: str) -> Target | None:
        """What takes the place of the model that goes by these names."""
        fits = (target for name, target in self.models if any(stands_for(one, name) for one in names))
        return next(fits, None)


class Outcome(msgspec.Struct):
    """Calls of one requester and model, in nano-dollars. `left_out` have no cost before or after, and are in no sum.

    `list_price` of those that count were priced at the list price, since their tier or batch has no price there.
    """

    requester: str
    model: str
    target: str
    calls: int = 0
    old_nano: int = 0
    new_nano: int = 0
    left_out: int = 0
    list_price: int = 0

    def add(self, other: Outcome) -> None:
        for name in ("calls", "old_nano", "new_nano", "left_out", "list_price"):
            setattr(self, name, getattr(self, name) + getattr(other, name))


def parse_map(book: PriceBook, text: str, at_ms: int) -> tuple[str, Target]:
    """Read "gpt-4o=gpt-4o-mini" or "gpt-4o=anthropic/claude-haiku-4-5"; raises InputError for an unknown target."""
    name, equals, wanted = text.partition("=")
    if not (name and equals and wanted):
        raise InputError(f"--map: {text!r} is not MODEL=MODEL, such as gpt-4o=gpt-4o-mini")
    provider, slash, model = wanted.partition("/")
    if not slash or provider not in PROVIDERS:
        provider, model = "", wanted
    providers = (
        [provider] if provider else sorted(PROVIDERS, key=lambda one: bool(book.sheet(one, name, at_ms).refusal))
    )
    for known in providers:  # the one that has the recorded model comes first
        if not book.sheet(known, model, at_ms).refusal:
            return name, Target(known, model)
    raise InputError(f"--map: there is no price for {wanted!r}; add one with: metrion price set")


def outcomes(book: PriceBook, rows: Iterable[Any], case: Case) -> list[Outcome]:
    """Price each row's call as if; the largest difference first. Calls that used nothing are skipped."""
    found: dict[tuple[str, str, str], Outcome] = {}
    for row in rows:
        one = _outcome(book, row, case)
        if one is not None:
            key = (one.requester, one.model, one.target)
            found.setdefault(key, Outcome(*key)).add(one)
    return sorted(found.values(), key=lambda one: (-abs(one.new_nano - one.old_nano), one.requester, one.model))


def _outcome(book: PriceBook, row: Any, case: Case) -> Outcome | None:
    usage = usage_of(row)
    if usage is None and row.cost_nano is not None:  # refused, or only counted: there is nothing to price
        return None
    target = case.target(row.model, row.requested_model)
    label = "" if target is None else target.model if target.provider == row.provider else "/".join(target)
    one = Outcome(row.requester, row.model, label)
    new, at_list = (None, False) if usage is None else _price(book, row, usage, case, target)
    if row.cost_nano is None or new is None:
        one.left_out = 1
        return one
    one.calls, one.old_nano, one.new_nano, one.list_price = 1, row.cost_nano, new, int(at_list)
    return one


def _price(book: PriceBook, row: Any, usage: Usage, case: Case, target: Target | None) -> tuple[int | None, bool]:
    """The cost as if, and whether a tier or batch had no price and gave way to the list price."""
    other = target is not None or (case.no_cache and _is_cached(usage))
    if usage.reported_cost_nano == 0 or not (other or case.batch):
        return row.cost_nano, False  # what was not billed would not be otherwise either
    provider, model = target or (row.provider, row.model)
    asked = _as_if(usage, row, case, keep_conditions=provider == row.provider)
    cost = book.cost(provider, model, asked, row.started_ms, batch=case.batch)
    if cost.nano is not None:
        return cost.nano, False
    if not other:
        return row.cost_nano, True
    plain = _as_if(usage, row, case, keep_conditions=False)
    return book.cost(provider, model, plain, row.started_ms).nano, True


def _is_cached(usage: Usage) -> bool:
    return bool(usage.cached_input_tokens or usage.cache_write_5m_tokens or usage.cache_write_1h_tokens)


def _as_if(usage: Usage, row: Any, case: Case, *, keep_conditions: bool) -> Usage:
    """The usage with what is otherwise; never what the provider reported, which was for the call as it was."""
    changed = msgspec.structs.replace(usage, reported_cost_nano=None)
    if case.no_cache:
        changed.cached_input_tokens = changed.cached_audio_tokens = changed.cached_image_tokens = 0
        changed.cache_write_5m_tokens = changed.cache_write_1h_tokens = 0
    if not keep_conditions:
        changed.service_tier, changed.facts = "", {}
    changed.parts = [
        Part(_model_of(part, row, case), _as_if(part.usage, row, case, keep_conditions=keep_conditions), part.id)
        for part in usage.parts
    ]
    return changed


def _model_of(part: Part, row: Any, case: Case) -> str:
    """The model of a part as if: the call's own follows the call, another's is looked up by itself."""
    target = case.target(row.model, row.requested_model) if part.model == row.model else case.target(part.model)
    return part.model if target is None else target.model


def assumptions(case: Case) -> list[str]:
    """What the figures take for granted, in sentences."""
    said = ["Each call has the tokens it had, at the prices of its own day."]
    if case.models:
        said.append(
            "Another model would count the same text as other tokens, answer at another length, cache otherwise."
        )
        said.append("Tool calls stay the same; a service tier holds within a provider, elsewhere the list price.")
    if case.batch:
        said.append(
            "Every call could wait for a batch's result; where a model has no batch price, its cost stays as it is."
        )
    if case.no_cache:
        said.append("Cached tokens and cache writes cost what other input does.")
    else:
        said.append("The share of cached input stays as it was.")
    return said
