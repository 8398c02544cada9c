"""One sheet and one usage: what is priced, what is refused, and that the lines explain the figure."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from metrion.prices.calculate import NO_SPLIT, Fee, Rates, Sheet, explain, price, price_all
from metrion.wire.usage import Usage

DOLLAR = 1_000_000_000
DEAR = Rates(input=7 * DOLLAR, cached_input=7 * DOLLAR, output=9 * DOLLAR, audio_input=7 * DOLLAR)
RICH = Rates(
    input=2 * DOLLAR,
    cached_input=DOLLAR // 2,
    cache_write_5m=3 * DOLLAR,
    cache_write_1h=4 * DOLLAR,
    output=8 * DOLLAR,
    audio_input=30 * DOLLAR,
    cached_audio=DOLLAR,
    audio_output=60 * DOLLAR,
    image_input=5 * DOLLAR,
    cached_image=DOLLAR,
    image_output=40 * DOLLAR,
)
FEES = {
    "web_search": Fee(10 * DOLLAR, 1000),
    "audio_ms": Fee(DOLLAR // 10 * 7, 3_600_000),
    "pages": Fee(4 * DOLLAR, 1000),
}
FEES["annotated_pages"] = Fee(5 * DOLLAR, 1000)
SHEET = Sheet("the price", RICH, 1000, ((1000, DEAR), (2000, RICH)), FEES)


def test_a_common_row_is_the_sum_of_its_classes() -> None:
    cost = price(SHEET, Usage(input_tokens=100, cached_input_tokens=40, output_tokens=10))

    assert cost[:3] == (60 * 2000 + 40 * 500 + 10 * 8000, "computed", "the price")


def test_each_class_has_its_own_price() -> None:
    usage = Usage(
        input_tokens=100,
        cached_input_tokens=40,
        cached_audio_tokens=5,
        cache_write_5m_tokens=3,
        cache_write_1h_tokens=2,
        audio_input_tokens=15,
        output_tokens=30,
        audio_output_tokens=6,
        image_output_tokens=4,
        tool_calls={"web_search": 2},
    )

    lines = {line.name: (line.quantity, line.nano) for line in explain([("", SHEET, usage)])}

    assert lines == {
        "input": (45, 45 * 2000),
        "cached_input": (35, 35 * 500),
        "cached_audio": (5, 5 * 1000),
        "cache_write_5m": (3, 3 * 3000),
        "cache_write_1h": (2, 2 * 4000),
        "audio_input": (10, 10 * 30_000),
        "output": (20, 20 * 8000),
        "audio_output": (6, 6 * 60_000),
        "image_output": (4, 4 * 40_000),
        "web_search": (2, 20_000_000),
    }


def test_the_dearer_tier_begins_above_the_threshold_for_every_token() -> None:
    costs = [price(SHEET, Usage(input_tokens=n, output_tokens=1)).nano for n in (1000, 1001, 2000, 2001)]

    assert costs == [1000 * 2000 + 8000, 1001 * 7000 + 9000, 2000 * 7000 + 9000, 2001 * 2000 + 8000]


def test_nothing_used_of_a_known_model_costs_nothing() -> None:
    assert price(SHEET, Usage())[:3] == (0, "computed", "the price")


def test_a_used_class_without_a_price_leaves_the_call_unpriced() -> None:
    bare = Sheet("bare", Rates(input=DOLLAR, cached_input=DOLLAR))

    assert price(bare, Usage(input_tokens=5)).nano == 5000  # an embedding: no output, no price needed for it
    assert price(bare, Usage(input_tokens=5, output_tokens=1))[:3] == (None, "unpriced", "bare: no price for output")
    assert price(bare, Usage(input_tokens=5, cache_write_1h_tokens=1)).source == "unpriced"
    assert price(bare, Usage(tool_calls={"web_search": 1}))[:3] == (None, "unpriced", "bare: no price for web_search")
    assert price(bare, Usage(tool_calls={"web_search": 0})).nano == 0
    assert price(bare, Usage(quantities={"images": 1})).source == "unpriced"


def test_figures_that_contradict_each_other_are_unknown_never_negative() -> None:
    for usage in (
        Usage(input_tokens=10, cached_input_tokens=11),
        Usage(input_tokens=10, cache_write_5m_tokens=11),
        Usage(input_tokens=-1),
        Usage(output_tokens=-1),
        Usage(output_tokens=1, audio_output_tokens=2),
        Usage(input_tokens=10, cached_audio_tokens=1, audio_input_tokens=1),
        Usage(tool_calls={"web_search": -1}),
    ):
        cost = price(SHEET, usage)
        assert cost.nano is None, usage
        assert cost.source == "unknown", usage
        assert explain([("", SHEET, usage)]) == []


def test_a_contradiction_between_figures_of_one_price_does_not_matter() -> None:
    flat = Sheet(
        "flat",
        Rates(
            input=DOLLAR,
            cached_input=DOLLAR,
            audio_input=DOLLAR,
            cached_audio=DOLLAR,
            image_input=DOLLAR,
            cached_image=DOLLAR,
            output=DOLLAR,
        ),
    )

    assert price(flat, Usage(input_tokens=10, cached_input_tokens=11)).nano == 10_000


def test_cached_image_tokens_that_cannot_be_told_apart_are_not_guessed() -> None:
    assert price(SHEET, Usage(input_tokens=10, image_input_tokens=4)).nano == 6 * 2000 + 4 * 5000
    assert price(SHEET, Usage(input_tokens=10, image_input_tokens=4, cached_input_tokens=1)).source == "unpriced"


def test_cached_image_tokens_that_are_told_have_their_own_price() -> None:
    told = {"cached_by_kind": "true"}
    usage = Usage(input_tokens=10, image_input_tokens=4, cached_input_tokens=3, cached_image_tokens=2, facts=told)
    expected = 5 * 2000 + 1 * 500 + 2 * 5000 + 2 * 1000  # text, cached text, images, cached images
    assert price(SHEET, usage).nano == expected
    assert sum(line.nano for line in explain([("", SHEET, usage)])) == expected
    none = Usage(input_tokens=10, image_input_tokens=4, cached_input_tokens=3, facts=told)
    assert price(SHEET, none).source == "computed"


def test_video_of_which_some_was_cached_is_not_guessed() -> None:
    apart = msgspec.structs.replace(SHEET, base=msgspec.structs.replace(SHEET.base, video_input=9 * DOLLAR))
    assert price(apart, Usage(input_tokens=10, video_input_tokens=4)).nano == 6 * 2000 + 4 * 9000
    assert price(apart, Usage(input_tokens=10, video_input_tokens=4, cached_input_tokens=1)).source == "unpriced"


def test_seconds_and_pages_are_priced_by_their_own_units() -> None:
    assert price(SHEET, Usage(quantities={"audio_ms": 3_600_000})).nano == 700_000_000
    assert price(SHEET, Usage(quantities={"pages": 3})).nano == 12_000_000
    assert price(SHEET, Usage(quantities={"pages": 3, "annotated_pages": 3})).nano == 15_000_000
    assert price(SHEET, Usage(quantities={"pages": 3, "annotated_pages": 1})).nano == 13_000_000


def test_rounding_happens_once_and_half_goes_to_even() -> None:
    tiny = Sheet("tiny", Rates(input=500_000, cached_input=500_000, output=500_000))  # half a nano-dollar a token

    assert [price(tiny, Usage(input_tokens=n)).nano for n in (1, 2, 3, 5)] == [0, 1, 2, 2]
    assert price(tiny, Usage(input_tokens=1, output_tokens=1)).nano == 1


def test_shares_are_added_before_rounding_and_one_without_a_price_leaves_all_without() -> None:
    tiny = Sheet("tiny", Rates(input=500_000, cached_input=500_000, output=500_000))
    one = Usage(input_tokens=1)

    assert price_all([(tiny, one), (SHEET, one)])[:3] == (2000, "computed", "tiny + the price")  # 2000.5 to the even
    assert price_all([(tiny, one), (tiny, one)])[:3] == (1, "computed", "tiny")
    assert price_all([(tiny, one), (Sheet("", Rates(), refusal="no price for x"), one)])[:3] == (
        None,
        "unpriced",
        "no price for x",
    )


counts = st.integers(0, 10**9)
usages = st.builds(
    lambda fresh, cached, short, long, audio, heard, out, said, drawn, filmed, tools, ms: Usage(
        input_tokens=fresh + cached + short + long + audio + heard,
        cached_input_tokens=cached + heard,
        cached_audio_tokens=heard,
        cache_write_5m_tokens=short,
        cache_write_1h_tokens=long,
        audio_input_tokens=audio + heard,
        output_tokens=out + said + drawn + filmed,
        audio_output_tokens=said,
        image_output_tokens=drawn,
        video_output_tokens=filmed,
        tool_calls={"web_search": tools},
        quantities={"audio_ms": ms},
    ),
    *[counts] * 12,
)
prices = st.integers(0, 10**12)
flat_sheets = st.builds(
    lambda nanos, fee: Sheet(
        "random",
        Rates(**dict(zip(Rates.__struct_fields__, nanos, strict=True))),
        fees={"web_search": Fee(fee, 1000), "audio_ms": Fee(fee, 3_600_000)},
    ),
    st.lists(prices, min_size=len(Rates.__struct_fields__), max_size=len(Rates.__struct_fields__)),
    prices,
)


@given(flat_sheets, usages)
def test_lines_add_up_to_the_cost_and_none_is_negative(sheet: Sheet, usage: Usage) -> None:
    cost, lines = price(sheet, usage), explain([("", sheet, usage)])

    assert cost.nano == sum(line.nano for line in lines)
    assert all(line.nano >= 0 for line in lines)


@given(flat_sheets, usages, st.lists(usages, max_size=3))
def test_shares_add_up_within_their_rounding(sheet: Sheet, first: Usage, others: list[Usage]) -> None:
    every = [first, *others]
    whole = price_all([(sheet, usage) for usage in every])

    assert whole.nano is not None
    assert whole.nano == sum(line.nano for line in explain([("", sheet, usage) for usage in every]))
    assert abs(whole.nano - sum(price(sheet, usage).nano or 0 for usage in every)) <= len(every)


@given(flat_sheets, usages, counts)
def test_more_tokens_never_cost_less(sheet: Sheet, usage: Usage, more: int) -> None:
    before = price(sheet, usage).nano
    usage.input_tokens += more
    usage.output_tokens += more
    after = price(sheet, usage).nano

    assert before is not None
    assert after is not None
    assert 0 <= before <= after


def test_a_cost_is_split_by_what_it_was_for() -> None:
    usage = Usage(
        input_tokens=100,
        cached_input_tokens=40,
        cached_audio_tokens=5,
        cache_write_5m_tokens=3,
        cache_write_1h_tokens=2,
        audio_input_tokens=15,
        output_tokens=30,
        audio_output_tokens=6,
        tool_calls={"web_search": 2},
    )
    cost = price(SHEET, usage)
    assert cost.split == (
        45 * 2000 + 10 * 30_000,
        35 * 500 + 5 * 1000,
        3 * 3000 + 2 * 4000,
        24 * 8000 + 6 * 60_000,
        35 * (2000 - 500) + 5 * (30_000 - 1000) + 3 * (2000 - 3000) + 2 * (2000 - 4000),
    )
    assert cost.nano == sum(cost.split[:4]) + 2 * 10_000_000  # two searches


def test_what_is_not_computed_is_not_split() -> None:
    assert price(Sheet("", Rates(), refusal="no price"), Usage(input_tokens=1)).split == NO_SPLIT
    assert price_all([(SHEET, Usage(input_tokens=7, reported_cost_nano=5))]) == (5, "computed", "", NO_SPLIT)


unit_prices = st.integers(0, 10**12)


@given(unit_prices, unit_prices, unit_prices, unit_prices, *[st.integers(0, 10**6)] * 4)
def test_the_parts_add_up_to_the_cost_both_ways_of_pricing(
    input: int, cached: int, write: int, output: int, fresh: int, read: int, written: int, answer: int
) -> None:
    rates = Rates(input=input, cached_input=cached, cache_write_5m=write, cache_write_1h=write, output=output)
    usage = Usage(
        input_tokens=fresh + read + written,
        cached_input_tokens=read,
        cache_write_5m_tokens=written,
        output_tokens=answer,
    )
    sheet = Sheet("x", rates)
    cost = price(sheet, usage)
    assert cost == price_all([(sheet, usage)])
    assert cost.nano == sum(cost.split[:4])
    plain = price(sheet, Usage(input_tokens=usage.input_tokens, output_tokens=answer)).nano
    assert plain is not None
    assert abs(cost.split.saved - (plain - cost.nano)) <= 2  # each is rounded by itself
