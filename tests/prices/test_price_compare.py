from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from metrion.errors import InputError
from metrion.prices import rules
from metrion.prices.catalog import PriceBook
from metrion.prices.compare import SHIPPED, Listed, compare, read_table

NOW = 1_795_219_200_000  # 2026-11-21T00:00:00Z
HALF = Decimal("0.5")


def listed(nano: int, kind: str = "input", model: str = "gpt-4o") -> Listed:
    return Listed("openai", model, kind, nano, NOW, "a page")


def test_the_book_agrees_with_the_table_that_is_shipped(book: PriceBook) -> None:
    table = read_table(SHIPPED, NOW)
    found = compare(book, table, Decimal(0))
    assert (found.differences, found.missing) == ([], [])
    assert found.compared == len(table) > 150
    assert {one.provider for one in table} == {"anthropic", "openai", "gemini", "mistral", "grok"}


def test_each_page_of_it_is_named_with_its_day() -> None:
    for one in read_table(SHIPPED, NOW):
        assert one.source.startswith("https://")
        assert one.at_ms <= NOW


@pytest.mark.parametrize(
    ("nano", "differs"),
    [
        (2_500_000_000, False),
        (2_512_500_000, False),  # 0.4975 % of itself
        (2_512_562_814, False),
        (2_512_562_815, True),  # the book's 2.5 is more than 0.5 % below
        (2_487_500_000, False),
        (2_487_499_999, True),
        (0, True),
    ],
)
def test_both_sides_of_the_tolerance(book: PriceBook, nano: int, differs: bool) -> None:
    assert bool(compare(book, [listed(nano)], HALF).differences) is differs


def test_a_class_the_book_does_not_price_differs_and_a_model_it_does_not_know_is_missing(book: PriceBook) -> None:
    found = compare(
        book, [listed(1, "cache_write_1h"), listed(1, model="gpt-house"), listed(2, model="gpt-house")], HALF
    )
    assert [one.book_nano for one in found.differences] == [None]
    assert found.missing == [("openai", "gpt-house")]
    assert found.compared == 1


def test_a_price_is_compared_with_the_one_of_its_day() -> None:
    text = '[[price]]\nprovider = "openai"\nmodel = "x"\nvalid_from = {}\n'
    text += 'usd_per_million = {{ input = "{}", output = "1" }}\n'
    own = rules.parse(text.format("2026-01-01", 1) + text.format("2026-11-01", 2), Path("p"), rules.OPERATOR)
    book = PriceBook([*rules.load(None), *own])
    day = 86_400_000
    november = NOW - 20 * day
    table = [
        listed(10**9, model="x")._replace(at_ms=november - 1),
        listed(2 * 10**9, model="x")._replace(at_ms=november),
    ]
    assert compare(book, table, Decimal(0)).differences == []
    assert len(compare(book, [one._replace(at_ms=NOW) for one in table], Decimal(0)).differences) == 1


def litellm(tmp_path: Path, table: dict[str, Any]) -> list[Listed]:
    file = tmp_path / "model_prices_and_context_window.json"
    file.write_text(json.dumps(table))
    return read_table(file, NOW)


def test_litellms_table_is_read(tmp_path: Path, book: PriceBook) -> None:
    entry = {
        "litellm_provider": "openai",
        "input_cost_per_token": 2.5e-06,
        "output_cost_per_token": 1e-05,
        "mode": "chat",
    }
    table = litellm(
        tmp_path,
        {
            "sample_spec": {
                "litellm_provider": "one of https://docs.litellm.ai/docs/providers",
                "input_cost_per_token": 0.0,
            },
            "gpt-4o": entry | {"cache_read_input_token_cost": 1.25e-06, "input_cost_per_token_above_200k_tokens": 9},
            "azure/gpt-4o": entry | {"litellm_provider": "azure"},
            "xai/grok-4": {"litellm_provider": "xai", "input_cost_per_token": 3e-06, "output_cost_per_token": None},
            "fallback_generalizations": {"rules": []},
        },
    )
    assert {(one.provider, one.model, one.token_class, one.nano) for one in table} == {
        ("openai", "gpt-4o", "input", 2_500_000_000),
        ("openai", "gpt-4o", "output", 10_000_000_000),
        ("openai", "gpt-4o", "cached_input", 1_250_000_000),
        ("grok", "grok-4", "input", 3_000_000_000),
    }
    assert compare(book, table, Decimal(0)).differences == []


PAGE = '[[page]]\nprovider = "{}"\nsource = "s"\nread = 2026-01-01\n[page.models]\nx = {{ {} = "{}" }}\n'


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("t.json", "{"),
        ("t.toml", "[["),
        ("t.toml", '[[page]]\nprovider = "openai"\n'),
        ("t.toml", PAGE.format("acme", "input", "1")),
        ("t.toml", PAGE.format("openai", "smell", "1")),
        ("t.toml", PAGE.format("openai", "input", "much")),
        ("t.json", "[1]"),
    ],
)
def test_what_is_no_table_is_refused_by_name(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match=rf"{name}: this is no table of prices"):
        read_table(tmp_path / name, NOW)


def test_a_table_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.toml: cannot be read"):
        read_table(tmp_path / "none.toml", NOW)
