"""Chat models to choose from: those that are priced by name, talk, and are not about to end."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import NamedTuple

from metrion.errors import ConfigError
from metrion.prices import library
from metrion.prices.calculate import MILLION
from metrion.prices.catalog import PriceBook
from metrion.prices.library import DAY_MS

# The generations that providers offered to new customers on 2026-11-21. Prices outlive models, so the book cannot tell.
_CURRENT = {
    "anthropic": r"claude-[a-z]+-(?:4-[5-9]|[5-9]|\d\d)(?:-\d)?",
    "openai": r"gpt-(?:4o|4\.1|[5-9]|\d\d)[\w.-]*",
    "gemini": r"gemini-(?:2\.5|[3-9]|\d\d)[\w.-]*",
    "mistral": r"(?:mistral-(?:large|medium|small)|ministral-\d+b|(?:co|dev|magi)stral(?:-[a-z]+)?)"
    r"-(?:latest|2[5-9]\d\d|\d(?:-\d)?)",
    "grok": r"grok-(?:4\.\d+|[5-9]|\d\d|build)[\w.-]*",
}
_OTHER_WORK = re.compile(
    r"audio|cyber|embed|image|live|moderation|multi-agent|realtime|robotics|rosalind|search|transcribe|tts|voice"
    r"|nano-banana|omni|\d{4}-\d\d-\d\d|\.ft|:"
)
# When models of these generations end. Read on 2026-11-21 at https://developers.openai.com/api/docs/deprecations and
# https://ai.google.dev/gemini-api/docs/deprecations.
_ENDS = {
    "gemini-2.5-flash": date(2026, 12, 1),
    "gemini-2.5-pro": date(2026, 12, 1),
    "gpt-5": date(2026, 12, 11),
    "gpt-5-mini": date(2026, 12, 11),
    "gpt-5-nano": date(2026, 12, 11),
    "gpt-5-pro": date(2026, 12, 11),
    "gpt-4.1": date(2027, 1, 14),
    "gpt-4.1-mini": date(2027, 1, 14),
    "gpt-4.1-nano": date(2026, 10, 23),
    "gpt-4o": date(2027, 1, 14),
    "gpt-4o-mini": date(2027, 1, 14),
    "gpt-5.1": date(2027, 4, 1),
}
_NOTICE_DAYS = 60  # nobody begins with a model that ends sooner
_LATEST = 1000.0  # such a name always means the newest


class ChatModel(NamedTuple):
    """A model by its id, a name to read, and what a million tokens cost (nano-dollars, list price)."""

    id: str
    name: str
    input_nano: int
    output_nano: int

    def most_nano(self, input_tokens: int, output_tokens: int) -> int:
        """What so many tokens cost, rounded up."""
        return -(-(input_tokens * self.input_nano + output_tokens * self.output_nano) // MILLION)


class ChatModels:
    """Each provider's models as of today, by the prices in `file()`, the operator's; read again when it changes."""

    def __init__(self, file: Callable[[], Path | None]) -> None:
        self._file = file
        self._read: tuple[int, int] | None = None
        self._book = PriceBook([])
        self._models: dict[str, list[ChatModel]] = {}

    def of(self, provider: str, at_ms: int) -> list[ChatModel]:
        """A provider's models, newest first."""
        self._refresh(at_ms)
        if provider not in self._models:
            self._models[provider] = chat_models(self._book, provider, at_ms)
        return self._models[provider]

    def book(self, at_ms: int) -> PriceBook:
        """The prices they are taken from."""
        self._refresh(at_ms)
        return self._book

    def _refresh(self, at_ms: int) -> None:
        file = self._file()
        read = (at_ms // DAY_MS, file.stat().st_mtime_ns if file else 0)
        if read == self._read:
            return
        try:
            self._book = PriceBook.load(file)
        except ConfigError:  # somebody is at it; the ledger goes on by the prices it has, too
            self._book = PriceBook.load(None) if self._read is None else self._book
        self._read, self._models = read, {}


def chat_models(book: PriceBook, provider: str, at_ms: int) -> list[ChatModel]:
    """The chat models of a provider that are offered and cost something at a moment, newest first."""
    found = (
        _priced(book, provider, model, at_ms) for model in book.named(provider) if _offered(provider, model, at_ms)
    )
    return sorted(filter(None, found), key=lambda model: (-_version(model.name), -model.output_nano, model.name))


def cheapest(models: Iterable[ChatModel], input_tokens: int, output_tokens: int) -> ChatModel | None:
    """The model for which so many tokens cost least, of equals the newest; None where there is none."""
    return min(models, key=lambda model: model.most_nano(input_tokens, output_tokens), default=None)


def _offered(provider: str, model: str, at_ms: int) -> bool:
    if not re.fullmatch(_CURRENT[provider], model) or _OTHER_WORK.search(model):
        return False
    known = library.find(provider, model)
    if known is not None and known.deprecated:
        return False
    end = _ENDS.get(model)
    return end is None or (end - datetime.fromtimestamp(at_ms / 1000, UTC).date()).days > _NOTICE_DAYS


def _priced(book: PriceBook, provider: str, model: str, at_ms: int) -> ChatModel | None:
    sheet = book.sheet(provider, model, at_ms)
    if sheet.refusal or not sheet.base.input or not sheet.base.output:
        return None
    return ChatModel(model, _name(provider, model), sheet.base.input, sheet.base.output)


def _name(provider: str, model: str) -> str:
    """The library's name where it is this model's own; else the id, made readable."""
    known = library.find(provider, model)
    if known is not None and known.id == model and known.name and known.name[0].isupper():
        return known.name
    family, *rest = model.split("-")
    return f"GPT-{' '.join(rest)}" if family == "gpt" else " ".join((family, *rest)).title()


def _version(name: str) -> float:
    if name.lower().endswith("latest"):
        return _LATEST
    numbers = (float(number) for number in re.findall(r"(?<![\w.])\d+(?:\.\d+)?(?![\w.])", name.replace("-", " ")))
    return next((number for number in numbers if number < 100), 0.0)
