"""Which models Integrate offers: priced, talking, not about to end; by readable names; and the cheapest of them."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from metrion.prices.catalog import PriceBook
from metrion.prices.chat import ChatModel, ChatModels, chat_models, cheapest
from metrion.prices.library import PROVIDERS

OWN = """
[[price]]
provider = "openai"
model = "gpt-6-luna"
usd_per_million = { input = "9", output = "9" }
"""


def at(day: str) -> int:
    return int(datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp() * 1000)


NOW = at("2026-11-21")


@pytest.mark.parametrize("provider", PROVIDERS)
def test_every_provider_has_some_and_all_cost_something(provider: str, book: PriceBook) -> None:
    models = chat_models(book, provider, NOW)
    assert len(models) >= 5
    assert all(model.input_nano > 0 and model.output_nano > 0 and model.name for model in models)
    assert len({model.id for model in models}) == len(models)


@pytest.mark.parametrize(
    ("provider", "model", "name"),
    [
        ("openai", "gpt-5.4-mini", "GPT-5.4 mini"),
        ("openai", "gpt-5.2-pro", "GPT-5.2 pro"),
        ("anthropic", "claude-haiku-5-5", "Claude Haiku 5.5"),
        ("gemini", "gemini-2.5-flash-lite", "Gemini 2.5 Flash Lite"),
        ("mistral", "ministral-3b-latest", "Ministral 3B Latest"),
        ("mistral", "mistral-small-2603", "Mistral Small 4"),
        ("grok", "grok-4.3", "Grok 4.3"),
    ],
)
def test_names_can_be_read(provider: str, model: str, name: str, book: PriceBook) -> None:
    assert name in [one.name for one in chat_models(book, provider, NOW) if one.id == model]


@pytest.mark.parametrize(
    ("provider", "model"),
    [
        ("openai", "gpt-image-2"),
        ("openai", "gpt-realtime-mini"),
        ("openai", "text-embedding-3-small"),
        ("openai", "gpt-3.5-turbo"),
        ("openai", "babbage-002"),
        ("gemini", "gemini-2.0-flash"),
        ("gemini", "gemini-3.8-flash-tts"),
        ("gemini", "gemma-4-31b-it"),  # free of charge
        ("gemini", "claude-haiku-4-5"),  # priced, but spoken to in another way
        ("mistral", "mistral-embed"),
        ("mistral", "mistral-ocr-latest"),
        ("mistral", "mistral-small-24b-instruct-2501"),
        ("grok", "grok-4-fast-non-reasoning"),
        ("anthropic", "claude-3-haiku"),
    ],
)
def test_what_does_not_talk_or_is_gone_is_not_offered(provider: str, model: str, book: PriceBook) -> None:
    assert model in book.named(provider)
    assert model not in [one.id for one in chat_models(book, provider, NOW)]


@pytest.mark.parametrize(("day", "offered"), [("2027-01-30", True), ("2027-01-31", False)])
def test_a_model_that_ends_within_60_days_is_not_offered(day: str, offered: bool, book: PriceBook) -> None:
    assert ("gpt-5.1" in [one.id for one in chat_models(book, "openai", at(day))]) is offered  # it ends on 1 April


def test_the_newest_come_first(book: PriceBook) -> None:
    names = [one.id for one in chat_models(book, "openai", NOW)]
    assert names.index("gpt-6.1-sol") < names.index("gpt-6-luna") < names.index("gpt-5.4-mini")
    names = [one.id for one in chat_models(book, "mistral", NOW)]
    assert names.index("mistral-small-latest") < names.index("mistral-small-2603")


def test_the_cheapest_depends_on_what_is_asked() -> None:
    reader = ChatModel("a", "A", input_nano=100, output_nano=10_000)
    writer = ChatModel("b", "B", input_nano=2_000, output_nano=500)
    assert cheapest([reader, writer], 1_000_000, 1_000) is reader
    assert cheapest([reader, writer], 1_000, 1_000_000) is writer
    assert cheapest([reader, reader._replace(id="c")], 1, 1) is reader
    assert cheapest([], 1, 1) is None


def test_the_most_it_can_cost_is_rounded_up() -> None:
    model = ChatModel("a", "A", input_nano=100_000_000, output_nano=500_000_000)
    assert model.most_nano(256, 16) == 33_600
    assert model._replace(input_nano=1).most_nano(1, 0) == 1
    assert model.most_nano(0, 0) == 0


def test_the_operators_prices_are_read_again_when_they_change(tmp_path: Path) -> None:
    file = tmp_path / "prices.toml"
    models = ChatModels(lambda: file if file.exists() else None)

    def luna() -> int:
        return next(one.input_nano for one in models.of("openai", NOW) if one.id == "gpt-6-luna")

    assert luna() == 100_000_000
    file.write_text(OWN)
    assert luna() == 9_000_000_000
    file.write_text(OWN + "broken")
    assert luna() == 9_000_000_000
    file.unlink()
    assert luna() == 100_000_000


def test_a_broken_file_at_first_leaves_the_list_prices(tmp_path: Path) -> None:
    file = tmp_path / "prices.toml"
    file.write_text("broken")
    assert ChatModels(lambda: file).of("openai", NOW)
