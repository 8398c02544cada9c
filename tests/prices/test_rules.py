"""Prices in TOML: what they do, which one wins, and how a malformed one is refused."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from metrion.errors import ConfigError
from metrion.prices import library
from metrion.prices.catalog import PriceBook
from metrion.prices.rules import OURS, read
from metrion.wire.usage import Usage

NOW = 1_795_226_000_000  # 2026-11-21
MILLION = Usage(input_tokens=1_000_000)


def book_with(tmp_path: Path, text: str) -> PriceBook:
    file = tmp_path / "prices.toml"
    file.write_text(text)
    return PriceBook.load(file)


def dollars(book: PriceBook, model: str, usage: Usage = MILLION, at: int = NOW, *, batch: bool = False) -> float | None:
    nano = book.cost("openai", model, usage, at, batch=batch).nano
    return None if nano is None else nano / 1e9


def test_every_one_of_our_own_prices_says_where_it_was_read_and_when() -> None:
    rules = [rule for file in OURS.glob("*.toml") for rule in read(file, 0)]

    assert rules
    for rule in rules:
        assert rule.source.startswith(("https://", "genai-prices ")), rule.label
        assert rule.read is not None, rule.label
        assert all(name not in library.PROVIDERS for name in rule.names), rule.label


def test_our_rules_for_known_models_name_models_that_exist() -> None:
    for file in OURS.glob("*.toml"):
        for rule in read(file, 0):
            for name in {rule.same_as} - {""}:
                assert library.find(rule.provider, name) is not None, rule.label
            for name in rule.names if rule.when else ():
                assert library.find(rule.provider, name) is not None, rule.label


def test_an_operators_price_wins_and_is_named(tmp_path: Path) -> None:
    book = book_with(tmp_path, '[[price]]\nprovider = "openai"\nmodel = "gpt-4o"\nusd_per_million = { input = "2" }')

    assert dollars(book, "gpt-4o") == 2
    assert dollars(book, "gpt-4o-2024-08-06") == 2  # a dated form
    assert dollars(book, "gpt-4o-2024-05-13") == 5  # a dated form that the library prices apart
    assert dollars(book, "gpt-4o-mini") == 0.15
    assert book.cost("openai", "gpt-4o", MILLION, NOW).ref == f"{library.NAME} openai/gpt-4o; prices.toml gpt-4o"
    assert dollars(book, "gpt-4o", Usage(output_tokens=1_000_000)) == 10  # what it does not set stays
    assert dollars(book, "gpt-4o", batch=True) == 1.25  # a condition's price stays, too


def test_an_operators_tool_fee_wins_over_ours(tmp_path: Path) -> None:
    book = book_with(tmp_path, '[[price]]\nprovider = "openai"\nprefix = ""\nusd_per_thousand = { web_search = "1" }')

    assert dollars(book, "gpt-4o", Usage(tool_calls={"web_search": 1})) == 0.001


def test_a_model_the_library_does_not_know_can_be_added(tmp_path: Path) -> None:
    book = book_with(
        tmp_path,
        """
        [[price]]
        provider = "openai"
        model = "house-model"
        usd_per_million = { input = "1", output = "2" }
        above = [{ tokens = 1000, usd_per_million = { input = "3" } }]
        usd_per_hour = { audio = "3.6" }
        """,
    )

    assert dollars(book, "house-model", Usage(input_tokens=1000, output_tokens=1)) == 0.001002
    assert dollars(book, "house-model", Usage(input_tokens=1001, output_tokens=1)) == 0.003005
    assert dollars(book, "house-model-2026-01-01", Usage(input_tokens=1000)) == 0.001
    assert dollars(book, "house-model", Usage(quantities={"audio_ms": 1000})) == 0.001
    assert dollars(book, "house-model-large") is None


def test_a_fee_for_every_model_does_not_make_a_model_known(tmp_path: Path) -> None:
    book = book_with(tmp_path, '[[price]]\nprovider = "openai"\nprefix = ""\nusd_per_thousand = { web_search = "1" }')

    assert book.cost("openai", "gpt-of-tomorrow", Usage(), NOW).source == "unpriced"


def test_a_price_holds_from_its_first_day_and_before_its_last(tmp_path: Path) -> None:
    book = book_with(
        tmp_path,
        """
        [[price]]
        provider = "openai"
        model = "gpt-4o"
        valid_from = 2026-02-01
        valid_to = 2026-03-01
        usd_per_million = { input = "7" }
        """,
    )
    first, end = (round(datetime(2026, month, 1, tzinfo=UTC).timestamp()) * 1000 for month in (2, 3))

    assert [dollars(book, "gpt-4o", at=at) for at in (first - 1, first, end - 1, end)] == [2.5, 7, 7, 2.5]
    assert (book.cost("openai", "gpt-4o", MILLION, first).ref or "").endswith("prices.toml gpt-4o from 2026-02-01")


def test_a_discount_is_taken_off_everything_and_the_most_specific_one_holds(tmp_path: Path) -> None:
    book = book_with(
        tmp_path,
        """
        [[price]]
        provider = "openai"
        model = "gpt-4o"
        discount = "20"

        [[price]]
        provider = "openai"
        prefix = ""
        discount = "12.5"
        """,
    )

    assert dollars(book, "gpt-4o") == 2
    assert dollars(book, "gpt-4o", batch=True) == 1
    assert dollars(book, "gpt-4o", Usage(tool_calls={"web_search": 1})) == 0.008
    assert dollars(book, "gpt-4.1") == 1.75
    assert (book.cost("openai", "gpt-4.1", MILLION, NOW).ref or "").endswith("prices.toml * -12.5%")


def test_a_factor_is_for_tokens_and_with_a_condition_for_that_alone(tmp_path: Path) -> None:
    book = book_with(
        tmp_path,
        """
        [[price]]
        provider = "openai"
        prefix = "gpt-4.1"
        factor = "1.1"

        [[price]]
        provider = "openai"
        prefix = "gpt-4o"
        when = { service_tier = "scale" }
        factor = "3"
        """,
    )

    assert dollars(book, "gpt-4.1") == 2.2
    assert dollars(book, "gpt-4.1", Usage(tool_calls={"web_search": 1})) == 0.01
    assert dollars(book, "gpt-4o") == 2.5
    assert dollars(book, "gpt-4o", Usage(input_tokens=1_000_000, service_tier="scale")) == 7.5
    assert dollars(book, "gpt-4.1", Usage(input_tokens=1_000_000, service_tier="scale")) is None


def test_a_condition_has_its_own_prices(tmp_path: Path) -> None:
    book = book_with(
        tmp_path,
        """
        [[price]]
        provider = "openai"
        model = "gpt-4o"
        when = { service_tier = "flex" }
        usd_per_million = { input = "1" }
        """,
    )

    assert dollars(book, "gpt-4o", Usage(input_tokens=1_000_000, service_tier="flex")) == 1
    assert dollars(book, "gpt-4o") == 2.5


def test_an_id_can_be_priced_as_another(tmp_path: Path) -> None:
    book = book_with(tmp_path, '[[price]]\nprovider = "openai"\nmodel = ["house", "models/Home"]\nsame_as = "gpt-4o"')

    assert dollars(book, "house") == 2.5
    assert dollars(book, "home", batch=True) == 1.25
    assert book.cost("openai", "house", MILLION, NOW).ref == f"{library.NAME} openai/gpt-4o"


ENTRY = '[[price]]\nprovider = "openai"\nmodel = "gpt-4o"\n'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[price]\n", "this is not TOML"),
        ("price = 3", "'price' is not a list of prices"),
        ("[prices]\na = 1", "'prices' is not a list of prices"),
        ('[[price]]\nmodel = "x"', "price 1 (x): Object missing required field `provider`"),
        ('[[price]]\nprovider = "acme"\nmodel = "x"\nfactor = "1"', "unknown provider 'acme'; known are anthropic"),
        ('[[price]]\nprovider = "openai"\nfactor = "1"', "write either model or prefix"),
        (ENTRY + 'prefix = "gpt"\nfactor = "1"', "write either model or prefix"),
        (ENTRY, "it sets nothing"),
        (ENTRY + "usd_per_million = { input = 0.15 }", "Expected `str`, got `float`"),
        (ENTRY + 'usd_per_million = { input = "cheap" }', 'input = "cheap" is not a decimal number such as "0.15"'),
        (ENTRY + 'usd_per_million = { input = "-1" }', 'input = "-1" must be zero or more'),
        (ENTRY + 'usd_per_million = { input = "nan" }', "must be zero or more"),
        (ENTRY + 'usd_per_million = { inputs = "1" }', "unknown token class 'inputs'; known are input, cached_input"),
        (ENTRY + 'usd_per_milion = { input = "1" }', "unknown field `usd_per_milion`"),
        (ENTRY + 'discount = "120"', "must be at most 100"),
        (ENTRY + 'when = { weather = "sunny" }\nfactor = "1"', "unknown condition 'weather'"),
        (ENTRY + 'valid_from = 2026-02-01\nvalid_to = 2026-02-01\nfactor = "1"', "valid_to must come after valid_from"),
        (ENTRY + 'valid_from = "soon"\nfactor = "1"', "Invalid RFC3339"),
        (ENTRY + 'above = [{ tokens = 0, usd_per_million = { input = "1" } }]', "must be positive and ascend"),
        (ENTRY + 'same_as = "x"\nwhen = { speed = "fast" }', "same_as goes with model, and without when"),
        (ENTRY + 'factor = "1"\n' + ENTRY, "price 2 (openai gpt-4o): it sets nothing"),
    ],
)
def test_a_malformed_file_is_refused_with_its_name_its_entry_and_what_to_do(
    tmp_path: Path, text: str, said: str
) -> None:
    with pytest.raises(ConfigError) as error:
        book_with(tmp_path, text)

    message = str(error.value)
    assert message.startswith(str(tmp_path / "prices.toml"))
    assert said in message
    assert "\n" not in message


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.toml: cannot read the prices: No such file"):
        PriceBook.load(tmp_path / "none.toml")
    (tmp_path / "latin.toml").write_bytes(b"# \xe9")
    with pytest.raises(ConfigError, match="this is not TOML"):
        PriceBook.load(tmp_path / "latin.toml")
