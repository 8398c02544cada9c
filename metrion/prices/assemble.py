"""Making one sheet: the library's prices of a model at a moment, with Metrion's rules and the operator's over them.

In this order, each laid over the one before: the library's standard prices; rules without a condition; the library's
prices for the call's conditions (tier, batch, speed, place); rules with prices for them; factors of rules for
conditions that nothing above has a price for; one factor without a condition; one discount. A condition that nobody
prices refuses: the list price would be a guess.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal

from genai_prices.types import ModelInfo

from metrion.prices import library, match
from metrion.prices.calculate import NO_LIMIT, Fee, Rates, Sheet
from metrion.prices.library import QUANTITIES, Prices, Steps
from metrion.prices.rules import Rule


@dataclass(slots=True)
class Draft:
    """A sheet in the making."""

    prices: Prices = field(default_factory=Prices)
    honoured: frozenset[tuple[str, str]] = frozenset()
    labels: list[str] = field(default_factory=list)
    sources: dict[tuple[str, str], None] = field(default_factory=dict)  # a set that keeps its order
    since: str = ""
    factor: Decimal = Decimal(1)  # on tokens
    left: Decimal = Decimal(1)  # what a discount leaves, of everything
    apart: set[str] = field(default_factory=set)  # fees with a price for the call's conditions

    def lay(self, prices: Prices, label: str, since: str) -> None:
        self.prices.update(prices)
        self._name(label, since)

    def lay_rule(self, rule: Rule) -> None:
        self._quote(rule)
        if _introduces(rule):
            self.lay(rule.prices, rule.label, rule.since)
        else:  # fees lie under every sheet of a provider; naming them in each row would say nothing
            self.prices.update(rule.prices)
        if rule.prices.tokens or rule.prices.fees:
            self.honoured |= rule.when

    def multiply(self, rule: Rule) -> None:
        """Multiply the tokens' prices; what a condition does to pages and hours is not known by that."""
        self._quote(rule)
        self.factor *= rule.factor or 1
        self.honoured |= rule.when
        for name in (QUANTITIES - self.apart) if rule.when else ():
            self.prices.fees.pop(name, None)
        self._name(rule.label, rule.since)

    def take_off(self, rule: Rule) -> None:
        self._quote(rule)
        self.left = 1 - (rule.discount or Decimal(0)) / 100
        self._name(f"{rule.label} -{rule.discount}%", rule.since)

    def _quote(self, rule: Rule) -> None:
        read = f", read {rule.read}" if rule.read else ""
        self.sources[rule.label, f"{rule.source or 'no source given'}{read}"] = None

    def _name(self, label: str, since: str) -> None:
        self.labels = [*(one for one in self.labels if one != label), label]
        self.since = max(self.since, since)


def sheet_for(provider: str, model: str, conditions: dict[str, str], rules: list[Rule], at_ms: int) -> Sheet:
    """Return the sheet of `model` (in normal form) at a moment; its `refusal` is set where there is no price."""
    name = next((rule.same_as for rule in reversed(_matching(rules, {model}, at_ms)) if rule.same_as), model)
    known = library.find(provider, name)
    matching = _matching(rules, {model, name, _family(provider, model, known)}, at_ms)
    plain = [rule for rule in matching if not rule.when]
    special = [rule for rule in matching if rule.when and rule.when <= conditions.items()]
    if known is None and not any(map(_introduces, plain)):
        return Sheet("", Rates(), refusal=f"no price for {provider} {model}")
    draft = Draft()
    found = None if known is None else library.prices_at(known, datetime.fromtimestamp(at_ms / 1000, UTC), conditions)
    if found is not None:
        draft.lay(found.standard, f"{library.NAME} {provider}/{found.name}", found.since)
        draft.sources[library.NAME, library.page(provider)] = None
    for rule in plain:
        draft.lay_rule(rule)
    if found is not None:
        draft.prices.update(found.special)
        draft.honoured |= found.honoured
        draft.apart |= found.special.fees.keys()
    for rule in special:
        draft.lay_rule(rule)
        draft.apart |= rule.prices.fees.keys()
    _scale(draft, plain, special)
    gaps = sorted(conditions.items() - draft.honoured)
    if gaps:
        wanted = ", ".join(f"{one}={value}" for one, value in gaps)
        return Sheet("", Rates(), refusal=f"no price for {provider} {model} with {wanted}")
    return _build(draft, conditions)


def _matching(rules: Iterable[Rule], names: set[str], at_ms: int) -> list[Rule]:
    """Return the rules that speak of one of `names` at that moment, the strongest last."""
    found = (rule for rule in rules if any(rule.matches(name, at_ms) for name in names))
    return sorted(found, key=lambda rule: rule.rank)


def _family(provider: str, model: str, known: ModelInfo | None) -> str:
    """Return the id less its date, whose rules hold for it too unless the library prices the two apart."""
    family = match.undated(model)
    return family if library.find(provider, family) is known else model


def _introduces(rule: Rule) -> bool:
    """Say whether a rule alone makes a model known; a fee for every id of a prefix does not."""
    return bool(rule.prices.tokens or (rule.names and rule.prices.fees))


def _scale(draft: Draft, plain: list[Rule], special: list[Rule]) -> None:
    for rule in special:
        if rule.factor is not None and not rule.when <= draft.honoured:
            draft.multiply(rule)
    for rule in [one for one in plain if one.factor is not None][-1:]:
        draft.multiply(rule)
    for rule in [one for one in (*plain, *special) if one.discount is not None][-1:]:
        draft.take_off(rule)


def _build(draft: Draft, conditions: dict[str, str]) -> Sheet:
    scale = draft.factor * draft.left
    tokens = {
        name: tuple((start, round(nano * scale)) for start, nano in steps)
        for name, steps in draft.prices.tokens.items()
    }
    fees = {name: Fee(round(fee.nano * draft.left), fee.per) for name, fee in draft.prices.fees.items()}
    starts = sorted({start for steps in tokens.values() for start, _ in steps} - {0})
    ref = "; ".join(draft.labels)
    ref += f" from {draft.since}" if draft.since else ""
    ref += "".join(f" {name}={value}" for name, value in sorted(conditions.items()))
    long = tuple((start, _rates(tokens, start)) for start in starts)
    base = _rates(tokens, 0)
    return Sheet(ref, base, starts[0] if long else NO_LIMIT, long, fees, sources=tuple(draft.sources))


def _rates(tokens: dict[str, Steps], start: int) -> Rates:
    """Return the rates of the tier that begins at `start`, each class from its parent where it is not priced apart."""
    own = {
        name: max((step for step in steps if step[0] <= start), default=(0, None))[1] for name, steps in tokens.items()
    }
    text, output = own.get("input"), own.get("output")
    cached = own.get("cached_input")
    audio, image = own.get("audio_input", text), own.get("image_input", text)
    return Rates(
        input=text,
        cached_input=text if cached is None else cached,
        cache_write_5m=own.get("cache_write_5m"),
        cache_write_1h=own.get("cache_write_1h"),
        output=output,
        audio_input=audio,
        cached_audio=own.get("cached_audio", audio if cached is None else cached),
        audio_output=own.get("audio_output", output),
        image_input=image,
        cached_image=own.get("cached_image", image if cached is None else cached),
        image_output=own.get("image_output", output),
        video_input=own.get("video_input", text),
        video_output=own.get("video_output", output),
    )
