"""The price book as its callers see it: both sides of each border, and an honest mark where there is no price."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from metrion.prices import library, rules
from metrion.prices.catalog import KEPT, Calendar, PriceBook
from metrion.prices.library import NAME
from metrion.wire.usage import Part, Usage

NOW = 1_795_226_000_000  # 2026-11-21
DAY = 86_400_000
MILLION = 1_000_000


def ms(*when: int) -> int:
    return round(datetime(*when, tzinfo=UTC).timestamp()) * 1000  # type: ignore[misc,arg-type]


def usd(
    book: PriceBook, provider: str, model: str, usage: Usage, at: int = NOW, *, batch: bool = False
) -> float | None:
    cost = book.cost(provider, model, usage, at, batch=batch)
    assert sum(line.nano for line in book.lines(provider, model, usage, at, batch=batch)) == (cost.nano or 0)
    assert (cost.nano is None) == (cost.source != "computed"), cost
    return None if cost.nano is None else cost.nano / 1e9


def test_a_provider_that_reports_its_cost_is_believed(book: PriceBook) -> None:
    usage = Usage(input_tokens=5, reported_cost_nano=191_825)

    assert book.cost("grok", "grok-of-tomorrow", usage, NOW)[:3] == (191_825, "provider", "as reported by grok")
    assert book.lines("grok", "grok-of-tomorrow", usage, NOW) == []


def test_without_usage_a_cost_is_unknown_not_zero(book: PriceBook) -> None:
    assert book.cost("openai", "gpt-4o", None, NOW)[:3] == (None, "unknown", None)
    assert book.lines("openai", "gpt-4o", None, NOW) == []


@pytest.mark.parametrize(("provider", "model"), [("openai", "gpt-none"), ("openai", ""), ("acme", "gpt-4o")])
def test_an_unknown_model_is_unpriced_not_zero(book: PriceBook, provider: str, model: str) -> None:
    cost = book.cost(provider, model, Usage(), NOW)

    assert (cost.nano, cost.source) == (None, "unpriced")
    assert cost.ref is not None
    assert cost.ref.startswith("no price")


def test_a_cost_names_its_price_and_since_when_it_holds(book: PriceBook) -> None:
    assert book.cost("openai", "o3", Usage(input_tokens=1), NOW).ref == f"{NAME} openai/o3 from 2025-06-10"
    assert book.cost("openai", "gpt-4o-mini-2024-07-18", Usage(), NOW)[:3] == (
        0,
        "computed",
        f"{NAME} openai/gpt-4o-mini",
    )


@pytest.mark.parametrize(
    ("provider", "model", "threshold", "below", "above"),
    [
        ("gemini", "gemini-2.5-pro", 200_000, 1.25, 2.5),
        ("openai", "gpt-5.4", 272_000, 2.5, 5),
        ("anthropic", "claude-sonnet-4-5-20250929", 200_000, 3, 6),
        ("anthropic", "claude-haiku-5-5", 100_000, 0.1, 0.5),
        ("grok", "grok-4.3", 199_999, 1.25, 2.5),  # "at or above 200k"
    ],
)
def test_a_long_prompt_is_dearer_from_its_threshold_on(
    book: PriceBook, provider: str, model: str, threshold: int, below: float, above: float
) -> None:
    at, over = (usd(book, provider, model, Usage(input_tokens=n)) for n in (threshold, threshold + 1))

    assert at == pytest.approx(threshold * below / MILLION)
    assert over == pytest.approx((threshold + 1) * above / MILLION)


def test_cached_tokens_and_cache_writes_count_towards_the_threshold(book: PriceBook) -> None:
    long = Usage(input_tokens=200_001, cached_input_tokens=150_000, cache_write_5m_tokens=50_000, output_tokens=1)

    assert usd(book, "anthropic", "claude-sonnet-4-5", long) == pytest.approx(
        (1 * 6 + 150_000 * 0.6 + 50_000 * 7.5 + 22.5) / MILLION
    )


@pytest.mark.parametrize(
    ("provider", "model", "first_day", "before", "after"),
    [
        ("openai", "o3", ms(2025, 6, 10), 10, 2),
        ("openai", "gpt-5.6-luna", ms(2026, 7, 30), 1, 0.2),
        ("mistral", "mistral-large-4", ms(2026, 10, 20), 0.68, 1.36),
        ("mistral", "mistral-large-4", ms(2026, 10, 29), 1.36, 0.7),
        ("mistral", "mistral-large-latest", ms(2025, 12, 2), 2, 0.5),  # our own date: the alias moved
        ("gemini", "gemini-4-argon", ms(2026, 12, 1), 2, 4),
    ],
)
def test_a_price_changes_at_midnight_utc(
    book: PriceBook, provider: str, model: str, first_day: int, before: float, after: float
) -> None:
    usage = Usage(input_tokens=MILLION if provider == "mistral" else 100_000)
    each = MILLION / usage.input_tokens

    costs = [
        (usd(book, provider, model, usage, at) or 0) * each for at in (first_day - 1, first_day, first_day + DAY - 1)
    ]

    assert costs == pytest.approx([before, after, after])


def test_cache_writes_of_five_minutes_and_of_an_hour_have_their_own_prices(book: PriceBook) -> None:
    short = Usage(input_tokens=1000, cache_write_5m_tokens=1000)
    long = Usage(input_tokens=1000, cache_write_1h_tokens=1000)

    assert usd(book, "anthropic", "claude-sonnet-4-6", short) == pytest.approx(1000 * 3.75 / MILLION)
    assert usd(book, "anthropic", "claude-sonnet-4-6", long) == pytest.approx(1000 * 6 / MILLION)
    assert usd(book, "openai", "gpt-6-sol", short) == pytest.approx(1000 * 2.5 / MILLION)
    assert usd(book, "openai", "gpt-6-sol", long) is None  # OpenAI has no such price


@pytest.mark.parametrize(
    ("provider", "model", "tier", "factor"),
    [
        ("openai", "gpt-5", "", 1),
        ("openai", "gpt-5", "default", 1),
        ("openai", "gpt-5", "auto", 1),
        ("openai", "gpt-5", "flex", 0.5),
        ("openai", "gpt-5", "priority", 2),
        ("openai", "gpt-5", "scale", None),  # prepaid: no list price
        ("openai", "gpt-4.1", "flex", None),  # not offered
        ("anthropic", "claude-opus-4-6", "standard", 1),
        ("anthropic", "claude-opus-4-6", "batch", 0.5),
        ("anthropic", "claude-opus-4-6", "priority", None),  # committed capacity
        ("gemini", "gemini-2.5-flash", "standard", 1),
        ("gemini", "gemini-2.5-flash", "flex", 0.5),
        ("gemini", "gemini-2.5-flash", "priority", 1.8),
        ("gemini", "gemini-3-flash-preview", "flex", None),  # whether cached tokens are halved was not found
    ],
)
def test_a_service_tier_has_its_price_or_none(
    book: PriceBook, provider: str, model: str, tier: str, factor: float | None
) -> None:
    listed, tiered = (
        usd(book, provider, model, Usage(input_tokens=1000, output_tokens=100, service_tier=name))
        for name in ("", tier)
    )

    assert listed is not None
    assert tiered == (None if factor is None else pytest.approx(listed * factor))


def test_a_batch_is_half_price_and_its_searches_are_not(book: PriceBook) -> None:
    usage = Usage(input_tokens=1000, cached_input_tokens=100, output_tokens=100, tool_calls={"web_search": 3})
    listed, batch = (
        usd(book, "anthropic", "claude-3-opus-20240229", Usage(input_tokens=1000), batch=b) for b in (False, True)
    )

    assert usd(book, "anthropic", "claude-opus-5-5", usage, batch=True) == pytest.approx(
        (900 * 2 + 100 * 0.1 + 100 * 10) / MILLION + 0.03
    )
    assert listed == 2 * (batch or 0)  # the library has no batch price for this one: the factor is our own
    assert usd(book, "gemini", "gemini-2.5-pro", Usage(input_tokens=1000, cached_input_tokens=400), batch=True) == (
        pytest.approx((600 * 0.625 + 400 * 0.125) / MILLION)  # cached tokens stay at the standard price
    )
    assert usd(book, "openai", "chatgpt-4o-latest", usage, batch=True) is None


def test_inference_in_the_us_costs_a_tenth_more_on_tokens(book: PriceBook) -> None:
    usage = Usage(input_tokens=1000, cached_input_tokens=500, output_tokens=100, facts={"inference_geo": "us"})
    world = Usage(input_tokens=1000, cached_input_tokens=500, output_tokens=100, facts={"inference_geo": "global"})
    listed = usd(book, "anthropic", "claude-opus-4-6", world) or 0

    assert usd(book, "anthropic", "claude-opus-4-6", usage) == pytest.approx(listed * 1.1)
    assert usd(book, "anthropic", "claude-opus-4-6", usage, batch=True) == pytest.approx(listed * 1.1 / 2)
    usage.tool_calls["web_search"] = 1
    assert usd(book, "anthropic", "claude-opus-4-6", usage) == pytest.approx(listed * 1.1 + 0.01)
    usage.facts["inference_geo"] = "moon"
    assert usd(book, "anthropic", "claude-opus-4-6", usage) is None


def test_fast_mode_has_its_price_where_it_exists(book: PriceBook) -> None:
    fast = Usage(input_tokens=1000, output_tokens=100, facts={"speed": "fast"})

    assert usd(book, "anthropic", "claude-opus-5-5", fast) == pytest.approx((1000 * 8 + 100 * 40) / MILLION)
    assert usd(book, "anthropic", "claude-sonnet-4-6", fast) is None


@pytest.mark.parametrize(
    ("provider", "model", "tool", "each"),
    [
        ("anthropic", "claude-opus-4-1-20250805", "web_search", 0.01),
        ("anthropic", "claude-opus-4-1-20250805", "web_fetch", 0),
        ("openai", "gpt-4o-2024-08-06", "file_search", 0.0025),
        ("openai", "gpt-5", "web_search", 0.01),
        ("openai", "gpt-5", "code_interpreter", 0.03),
        ("openai", "gpt-5", "web_search_preview", 0.01),
        ("openai", "gpt-4.1", "web_search_preview", 0.025),
        ("gemini", "gemini-2.5-pro", "google_search", 0.035),
        ("gemini", "gemini-3.5-flash", "google_search", 0.014),
        ("gemini", "gemini-2.5-pro", "google_maps", 0.025),
        ("grok", "grok-4.6", "web_search", 0.005),
        ("grok", "grok-4.6", "document_search", None),
        ("mistral", "mistral-medium-latest", "web_search", None),
    ],
)
def test_a_tool_costs_its_fee(book: PriceBook, provider: str, model: str, tool: str, each: float | None) -> None:
    bare, used = (usd(book, provider, model, Usage(input_tokens=10, tool_calls=calls)) for calls in ({}, {tool: 2}))

    assert bare is not None
    assert used == (None if each is None else pytest.approx(bare + 2 * each))


def test_audio_of_the_preview_models_is_not_priced_as_text(book: PriceBook) -> None:
    said = Usage(input_tokens=22, output_tokens=18, audio_output_tokens=12)
    heard = Usage(input_tokens=28, audio_input_tokens=1, output_tokens=17)

    assert usd(book, "openai", "gpt-4o-mini-audio-preview-2024-12-17", said) == pytest.approx(0.0002469)
    assert usd(book, "openai", "gpt-4o-audio-preview-2025-06-03", heard) == pytest.approx(0.0002775)


@pytest.mark.parametrize(
    ("model", "usage", "each"),
    [
        ("gemini-embedding-2", Usage(input_tokens=1000, video_input_tokens=1000), 12),
        ("gemini-embedding-2", Usage(input_tokens=1000), 0.2),
        ("gemini-omni-1.1-flash", Usage(output_tokens=1000, video_output_tokens=1000), 17.5),
        ("gemini-omni-1.1-flash", Usage(output_tokens=1000), 9),
        ("gemini-2.5-flash", Usage(input_tokens=1000, video_input_tokens=1000), 0.3),  # as text
    ],
)
def test_video_has_its_price_where_google_lists_one(book: PriceBook, model: str, usage: Usage, each: float) -> None:
    assert usd(book, "gemini", model, usage) == pytest.approx(1000 * each / MILLION)


def test_cached_video_is_not_guessed_where_video_is_priced_apart(book: PriceBook) -> None:
    half = Usage(input_tokens=1000, video_input_tokens=900, cached_input_tokens=500)

    assert usd(book, "gemini", "gemini-embedding-2", half) == pytest.approx(
        (900 * 12 + 100 * 0.2) / MILLION  # it has no price for cached tokens: they are input
    )
    assert usd(book, "gemini", "gemini-2.5-flash", half) == pytest.approx((500 * 0.3 + 500 * 0.03) / MILLION)


def test_sound_and_pages_are_priced_by_length(book: PriceBook) -> None:
    assert usd(book, "openai", "whisper-1", Usage(quantities={"audio_ms": 60_000})) == pytest.approx(0.006)
    assert usd(book, "mistral", "mistral-ocr-2512", Usage(quantities={"pages": 5})) == pytest.approx(0.01)
    assert usd(book, "openai", "whisper-1", Usage(input_tokens=5)) is None


def test_moderation_is_free_by_documentation_and_anything_else_is_not(book: PriceBook) -> None:
    assert usd(book, "openai", "omni-moderation-latest", Usage(input_tokens=5)) == 0
    assert usd(book, "openai", "gpt-5-moderator", Usage(input_tokens=5)) is None


def test_parts_are_priced_each_by_its_own_model(book: PriceBook) -> None:
    own, advisor = Usage(input_tokens=1000, output_tokens=10), Usage(input_tokens=500, output_tokens=20)
    whole = Usage(input_tokens=1500, output_tokens=30, parts=[Part("", own), Part("claude-opus-4-6", advisor)])

    apart = (usd(book, "anthropic", "claude-haiku-4-5", own) or 0) + (
        usd(book, "anthropic", "claude-opus-4-6", advisor) or 0
    )

    assert usd(book, "anthropic", "claude-haiku-4-5", whole) == pytest.approx(apart)
    names = [line.name for line in book.lines("anthropic", "claude-haiku-4-5", whole, NOW)]
    assert names == ["input", "output", "claude-opus-4-6 input", "claude-opus-4-6 output"]
    whole.parts.append(Part("claude-of-tomorrow", own))
    assert usd(book, "anthropic", "claude-haiku-4-5", whole) is None


def test_items_of_a_batch_do_not_add_up_to_a_long_prompt(book: PriceBook) -> None:
    item = Usage(input_tokens=150_000, service_tier="batch")
    whole = Usage(
        input_tokens=300_000,
        service_tier="batch",
        parts=[Part("gemini-2.5-pro", item, "a"), Part("gemini-2.5-pro", item, "b")],
    )

    assert usd(book, "gemini", "gemini-2.5-pro", whole) == pytest.approx(300_000 * 0.625 / MILLION)
    assert [line.quantity for line in book.lines("gemini", "gemini-2.5-pro", whole, NOW)] == [300_000]


def test_the_book_forgets_rather_than_grows() -> None:
    book = PriceBook([])

    for n in range(KEPT + 10):
        book.cost("openai", f"gpt-4o-{n % 7}-{n}", Usage(input_tokens=1), NOW)

    assert len(book._sheets) <= KEPT
    assert book.cost("openai", "gpt-4o", Usage(input_tokens=1), NOW).nano == 2500


def test_a_calendar_knows_dates_and_hours() -> None:
    calendar = Calendar({10 * DAY, 20 * DAY}, {6 * 3_600_000, 22 * 3_600_000})
    moments = [
        0,
        10 * DAY - 1,
        10 * DAY,
        10 * DAY + 6 * 3_600_000 - 1,
        10 * DAY + 6 * 3_600_000,
        20 * DAY + 23 * 3_600_000,
    ]

    intervals = [calendar.interval(at) for at in moments]

    assert len(set(intervals)) == 5
    assert intervals[2] == intervals[3]  # 10 d 00:00 to 05:59
    for at, interval in zip(moments, intervals, strict=True):
        assert calendar.interval(calendar.moment(interval)) == interval, at


def test_before_the_first_date_and_without_any_a_moment_is_found() -> None:
    assert Calendar(set(), set()).interval(NOW) == 0
    assert Calendar(set(), set()).moment(0) >= 0
    assert Calendar({10 * DAY}, set()).moment(0) < 10 * DAY


STEPS = """
[[price]]
provider = "openai"
model = "stepwise"
valid_from = 2026-03-01
usd_per_million = { input = "3", output = "1" }
[[price]]
provider = "openai"
model = "stepwise"
valid_from = 2026-01-01
usd_per_million = { input = "1", output = "1" }
[[price]]
provider = "openai"
model = "stepwise"
when = { processing = "batch" }
factor = "0.5"
"""


def stepwise() -> PriceBook:
    return PriceBook([*rules.load(None), *rules.parse(STEPS, Path("prices.toml"), rules.OPERATOR)])


def test_of_entries_alike_the_one_that_began_last_holds_wherever_it_stands() -> None:
    march = ms(2026, 3, 1)
    book = stepwise()
    assert [book.sheet("openai", "stepwise", at).base.input for at in (march - 1, march)] == [10**9, 3 * 10**9]


def test_the_history_has_each_change_once() -> None:
    found = stepwise().history("openai", "stepwise")
    assert [(start, sheet.base.input, bool(sheet.refusal)) for start, sheet in found] == [
        (None, None, True),
        (ms(2026, 1, 1), 10**9, False),
        (ms(2026, 3, 1), 3 * 10**9, False),
    ]


def test_a_sheet_under_a_condition() -> None:
    book = stepwise()
    assert book.sheet("openai", "stepwise", NOW, {"processing": "batch"}).base.input == 15 * 10**8
    assert book.sheet("openai", "stepwise", NOW, {"service_tier": "flex"}).refusal


def test_a_sheet_names_its_sources() -> None:
    sheet = PriceBook.load().sheet("openai", "gpt-4o", NOW)
    assert sheet.sources[0] == (library.NAME, "https://developers.openai.com/api/docs/pricing")
    assert any(source.endswith(", read 2026-11-21") for _, source in sheet.sources)


def test_named_ids_are_the_librarys_and_the_operators() -> None:
    found = stepwise().named("openai")
    assert {"gpt-4o", "stepwise"} <= set(found)
    assert found == sorted(set(found))


def test_rules_that_are_replaced_hold_at_once() -> None:
    book = stepwise()
    assert not book.sheet("openai", "stepwise", NOW).refusal
    book.replace(rules.load(None))
    assert book.sheet("openai", "stepwise", NOW).refusal
