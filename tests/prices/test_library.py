"""What is read out of `genai-prices`, and that Metrion's integers agree with the library's own calculator."""

from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal

import pytest
from genai_prices import Usage as TheirUsage
from genai_prices import calc_price, types
from hypothesis import given, settings
from hypothesis import strategies as st

from metrion.prices import library
from metrion.prices.catalog import PriceBook
from metrion.prices.rules import load
from metrion.wire.usage import Usage

OURS = {name for rule in load(None) if rule.prices.tokens or rule.same_as for name in rule.names}
BOOK = PriceBook.load()
TOKENS = {"input_mtok", "output_mtok"}


def _ids(clause: types.MatchLogic) -> list[str]:
    """The ids a library's clause names in full."""
    if isinstance(clause, types.ClauseOr):
        return [name for one in clause.or_ for name in _ids(one)]
    return [clause.equals] if isinstance(clause, types.ClauseEquals) else []


def _listed(model: types.ModelInfo) -> list[types.ModelPrice]:
    return [one.prices for one in model.prices] if isinstance(model.prices, list) else [model.prices]


CASES = [
    (provider, name, model)
    for provider in library.PROVIDERS
    for model in library.models(provider)
    for name in _ids(model.match)
    if name not in OURS and all(set(vars(listed)) & TOKENS for listed in _listed(model))
]


def test_every_price_of_the_five_providers_is_read() -> None:
    for provider in library.PROVIDERS:
        for model in library.models(provider):
            variants = [variant.prices for variant in model.price_variants or []]
            for listed in (*_listed(model), *variants):
                keys = set(vars(listed))
                assert keys <= library.TOKENS.keys() | library.FEES.keys(), model.id


def test_what_is_listed_without_a_price_is_free_by_documentation() -> None:
    free = {
        model.id
        for provider in library.PROVIDERS
        for model in library.models(provider)
        if not any(vars(listed) for listed in _listed(model))
    }

    assert free == {
        "moderation",
        "gemma-3",
        "gemma-3n",
        "gemma-4-26b-a4b-it",
        "gemma-4-31b-it",
        "devstral-small:free",  # OpenRouter's ids
        "mistral-nemo:free",
        "mistral-small-24b-instruct-2501:free",
    }


def test_conditions_are_the_ones_the_price_book_asks_for() -> None:
    names = {
        name
        for provider in library.PROVIDERS
        for model in library.models(provider)
        for variant in model.price_variants or []
        for name in variant.when
    }

    assert names == {"service_tier", "processing", "speed"}


tokens = st.integers(0, 10**7)
moments = st.datetimes(datetime(2024, 1, 1), datetime(2027, 6, 1), timezones=st.just(UTC))


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(CASES), moments, st.lists(tokens, min_size=8, max_size=8), st.sampled_from([None, 0, 1, 2, 3]))
def test_integers_agree_with_the_librarys_decimals(
    case: tuple[str, str, types.ModelInfo], at: datetime, n: list[int], variant: int | None
) -> None:
    provider, name, model = case
    context = _context(model, at, variant)
    priced = vars(model.get_prices(at, context))
    fresh, cached, short, long, audio, heard, out, said = n
    short, long = (short, long if "cache_write_1h_mtok" in priced else 0) if "cache_write_mtok" in priced else (0, 0)
    audio, heard = (
        (audio, heard if "cache_audio_read_mtok" in priced else 0) if "input_audio_mtok" in priced else (0, 0)
    )
    out, said = (out, said if "output_audio_mtok" in priced else 0) if "output_mtok" in priced else (0, 0)
    usage = Usage(
        input_tokens=fresh + cached + short + long + audio + heard,
        cached_input_tokens=cached + heard,
        cached_audio_tokens=heard,
        cache_write_5m_tokens=short,
        cache_write_1h_tokens=long,
        audio_input_tokens=audio + heard,
        output_tokens=out + said,
        audio_output_tokens=said,
        service_tier=context.get("service_tier", ""),
        facts={"speed": context.get("speed", "")},
    )
    theirs = TheirUsage(
        input_tokens=usage.input_tokens,
        cache_read_tokens=cached + heard,
        cache_audio_read_tokens=heard,
        cache_write_tokens=short + long,
        cache_write_5m_tokens=short,
        cache_write_1h_tokens=long,
        input_audio_tokens=audio + heard,
        output_tokens=out + said,
        output_audio_tokens=said,
    )

    ours = BOOK.cost(provider, name, usage, round(at.timestamp() * 1000), batch="processing" in context)
    oracle = calc_price(
        theirs, name, provider_id=library.PROVIDERS[provider], genai_request_timestamp=at, price_context=context
    )

    assert ours.source == "computed", ours.ref
    assert ours.nano is not None
    assert abs(Decimal(ours.nano) - oracle.total_price * 10**9) <= 1


def _context(model: types.ModelInfo, at: datetime, variant: int | None) -> dict[str, str]:
    """A context that the library has a price for at that moment, if any: it ignores what it does not know."""
    active = [one for one in model.price_variants or [] if one.constraint is None or one.constraint.active(at)]
    return dict(active[variant].when) if variant is not None and variant < len(active) else {}


def test_a_price_that_depends_on_the_hour_changes_at_its_minute() -> None:
    night = types.ConditionalPrice(
        types.TimeOfDateConstraint(time(22, 30), time(6, 15)), prices=types.ModelPrice(input_mtok=Decimal(1))
    )
    day = types.ConditionalPrice(prices=types.ModelPrice(input_mtok=Decimal(2)))
    model = types.ModelInfo("owl", types.ClauseEquals("owl"), prices=[day, night])
    minute = timedelta(minutes=1)

    def dollars(at: datetime) -> int:
        return library.prices_at(model, at, {}).standard.tokens["input"][0][1] // 10**9

    start, end = datetime(2026, 3, 1, 22, 30, tzinfo=UTC), datetime(2026, 3, 2, 6, 15, tzinfo=UTC)
    assert [dollars(start - minute), dollars(start), dollars(end - minute), dollars(end)] == [2, 1, 1, 2]
    assert library.borders_of([model]) == (set(), {22 * 3_600_000 + 30 * 60_000, 6 * 3_600_000 + 15 * 60_000})


def test_a_price_that_has_a_date_names_it_and_begins_with_its_utc_day() -> None:
    model = library.find("openai", "o3")
    assert model is not None
    midnight = datetime(2025, 6, 10, tzinfo=UTC)

    before, after = (library.prices_at(model, at, {}) for at in (midnight - timedelta(milliseconds=1), midnight))

    assert (before.since, after.since) == ("", date(2025, 6, 10).isoformat())
    assert before.standard.tokens["input"] == ((0, 10 * 10**9),)
    assert after.standard.tokens["input"] == ((0, 2 * 10**9),)


def test_the_library_of_another_provider_is_not_asked() -> None:
    with pytest.raises(KeyError):
        library.models("acme")
