from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metrion.errors import ConfigError
from metrion.prices.edit import add_price, entry_text
from metrion.prices.rules import OPERATOR, Entry, parse

CONTRACT = Entry(
    provider="openai", model="gpt-4o", valid_from=date(2026, 12, 1), usd_per_million={"input": "2"}, source="contract 7"
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "prices.toml"


def test_the_first_price_makes_the_file(file: Path) -> None:
    [rule] = add_price(file, CONTRACT)
    assert (rule.names, rule.since, rule.source) == (("gpt-4o",), "2026-12-01", "contract 7")
    assert file.read_text().startswith("# Your own prices.")
    assert not list(file.parent.glob(".*"))


def test_what_was_written_by_hand_stays_as_it_is(file: Path) -> None:
    by_hand = '# we love comments\n[[price]]  # one of ours\nprovider = "mistral"\nprefix = ""\ndiscount = "5"'
    file.write_text(by_hand)
    file.chmod(0o640)
    rules = add_price(file, CONTRACT)
    assert [rule.provider for rule in rules] == ["mistral", "openai"]
    assert file.read_text().startswith(by_hand + "\n\n[[price]]\n")
    assert file.stat().st_mode & 0o777 == 0o640


def test_prices_add_up_in_their_order(file: Path) -> None:
    add_price(file, CONTRACT)
    assert [rule.provider for rule in add_price(file, Entry(provider="grok", prefix="", discount="1"))] == [
        "openai",
        "grok",
    ]


@pytest.mark.parametrize(
    ("content", "entry", "said"),
    [
        ("", Entry(provider="openai", model="gpt-4o"), "sets nothing"),
        ("", Entry(provider="acme", model="x", factor="2"), "unknown provider"),
        ("[[price", CONTRACT, "this is not TOML"),
        ("\xff", CONTRACT, "this is not TOML"),
    ],
)
def test_a_file_is_left_as_it_was_where_the_price_cannot_be_added(
    file: Path, content: str, entry: Entry, said: str
) -> None:
    file.write_bytes(content.encode("latin-1"))
    with pytest.raises(ConfigError, match=said):
        add_price(file, entry)
    assert file.read_bytes() == content.encode("latin-1")


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(ConfigError, match="cannot write the prices"):
        add_price(tmp_path / "taken" / "prices.toml", CONTRACT)


def test_a_link_stays_a_link(file: Path) -> None:
    real = file.with_name("real.toml")
    real.write_text("")
    file.symlink_to(real)
    add_price(file, CONTRACT)
    assert file.is_symlink()
    assert "contract 7" in real.read_text()


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
amounts = st.decimals(0, 1000, places=4).map(str)


@given(
    model=st.lists(texts.filter(bool), min_size=1, max_size=2),
    source=texts,
    tools=st.dictionaries(texts.filter(bool), amounts, max_size=3),
    tier=texts,
    day=st.none() | st.dates(date(2000, 1, 1), date(2090, 1, 1)),
    amount=amounts,
)
def test_an_entry_is_read_back_as_it_was_written(
    model: list[str], source: str, tools: dict[str, str], tier: str, day: date | None, amount: str
) -> None:
    entry = Entry(
        provider="openai",
        model=model,
        valid_from=day,
        when={"service_tier": tier},
        usd_per_million={"input": amount},
        usd_per_thousand=tools,
        source=source,
    )
    [rule] = parse(entry_text(entry), Path("x.toml"), OPERATOR)
    assert (rule.source, rule.when, set(rule.prices.fees)) == (source, frozenset({("service_tier", tier)}), set(tools))
    assert rule.since == ("" if day is None else day.isoformat())


def test_every_id_is_a_prefix_of_nothing() -> None:
    [rule] = parse(entry_text(Entry(provider="openai", prefix="", discount="1")), Path("x.toml"), OPERATOR)
    assert rule.matches("anything", 0)
