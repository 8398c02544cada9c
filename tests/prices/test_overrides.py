"""Metrion's own prices over the library's: the ones that a provider's page has and the library lacks."""

from __future__ import annotations

import pytest

from metrion.prices.catalog import PriceBook
from metrion.prices.library import NAME
from metrion.wire.usage import Part, Usage

NOW = 1_795_226_000_000  # 2026-11-21
MILLION = 1_000_000
TOKENS = Usage(input_tokens=1000, cached_input_tokens=400, output_tokens=100)


def usd(book: PriceBook, provider: str, model: str, usage: Usage, *, batch: bool = False) -> float | None:
    nano = book.cost(provider, model, usage, NOW, batch=batch).nano
    return None if nano is None else nano / 1e9


@pytest.mark.parametrize("model", ["mistral-large-2512", "mistral-small-latest", "codestral-2508", "house-of-cards"])
def test_mistrals_priority_costs_three_quarters_more(book: PriceBook, model: str) -> None:
    listed = usd(book, "mistral", model, TOKENS)
    hurried = Usage(input_tokens=1000, cached_input_tokens=400, output_tokens=100, service_tier="priority")

    assert usd(book, "mistral", model, hurried) == (pytest.approx(listed * 1.75) if listed else None)
    hurried.service_tier = "overnight"
    assert usd(book, "mistral", model, hurried) is None


@pytest.mark.parametrize("model", ["mistral-large-2512", "codestral-embed-2505", "zai-glm-5-3", "mistral-small-2506"])
def test_mistrals_batches_cost_half(book: PriceBook, model: str) -> None:
    usage = Usage(input_tokens=1000, cached_input_tokens=400)

    assert usd(book, "mistral", model, usage, batch=True) == pytest.approx(
        (usd(book, "mistral", model, usage) or 0) / 2
    )


@pytest.mark.parametrize(
    ("model", "quantity", "half"),
    [
        ("mistral-ocr-2503", "pages", True),
        ("mistral-ocr-2505", "pages", True),
        ("mistral-ocr-2505", "annotated_pages", True),
        ("mistral-ocr-2512", "annotated_pages", True),
        ("mistral-ocr-4-0", "pages", True),
        ("mistral-ocr-latest", "pages", True),
        ("voxtral-mini-latest", "audio_ms", True),
        ("voxtral-mini-transcribe-3-0", "audio_ms", True),
        ("voxtral-small-latest", "audio_ms", True),
        ("voxtral-mini-transcribe-realtime-3-0", "audio_ms", False),  # no batch of it is known: the factor is on tokens
    ],
)
def test_so_do_their_pages_and_their_sound_where_that_is_known(
    book: PriceBook, model: str, quantity: str, half: bool
) -> None:
    counted = {quantity: 3_600_000} if quantity != "annotated_pages" else {"pages": 3_600_000, quantity: 3_600_000}
    listed, halved = (usd(book, "mistral", model, Usage(quantities=counted), batch=batch) for batch in (False, True))

    assert listed
    assert halved == (pytest.approx(listed / 2) if half else None)


def test_tokens_beside_sound_cost_half_in_a_batch_too(book: PriceBook) -> None:
    heard = Usage(input_tokens=1000, output_tokens=100, quantities={"audio_ms": 3_600_000})

    listed, half = (usd(book, "mistral", "voxtral-small-2507", heard, batch=batch) for batch in (False, True))
    assert [listed, half] == pytest.approx([0.24014, 0.12007])


@pytest.mark.parametrize("model", ["voxtral-mini-2602", "voxtral-mini-latest", "voxtral-mini-transcribe-3-0"])
def test_mistrals_transcription_costs_by_the_minute_and_its_tokens_nothing(book: PriceBook, model: str) -> None:
    alone = Usage(quantities={"audio_ms": 203_000})
    counted = Usage(input_tokens=4, output_tokens=635, quantities={"audio_ms": 203_000})

    assert usd(book, "mistral", model, counted) == usd(book, "mistral", model, alone)
    assert usd(book, "mistral", "voxtral-mini-2602", counted) == pytest.approx(203 / 60 * 0.003)
    assert usd(book, "mistral", "voxtral-mini-2602", counted, batch=True) == pytest.approx(203 / 60 * 0.0015)
    counted.service_tier = "priority"  # 1.75 times what of a minute, no page says
    assert usd(book, "mistral", model, counted) is None


def test_mistrals_speech_costs_by_the_character_and_not_by_tokens(book: PriceBook) -> None:
    spoken = Usage(quantities={"characters": 1000})

    assert usd(book, "mistral", "voxtral-mini-tts-2603", spoken) == pytest.approx(0.016)
    assert usd(book, "mistral", "voxtral-mini-tts-2603", Usage(input_tokens=1000)) is None
    assert usd(book, "openai", "tts-1", spoken) == pytest.approx(0.015)
    assert usd(book, "openai", "tts-1-hd", spoken) == pytest.approx(0.03)
    assert usd(book, "openai", "gpt-4o-mini-tts", spoken) is None  # by tokens, which its answer does not tell


@pytest.mark.parametrize(("model", "each"), [("mistral-moderation-2411", 0.1), ("mistral-moderation-2603", 0)])
def test_of_mistrals_moderations_one_is_free(book: PriceBook, model: str, each: float) -> None:
    assert usd(book, "mistral", model, Usage(input_tokens=MILLION)) == each


@pytest.mark.parametrize(
    ("tool", "each"),
    [
        ("code_interpreter", 0.03),
        ("code_interpreter_4g", 0.12),
        ("code_interpreter_16g", 0.48),
        ("code_interpreter_64g", 1.92),
        ("code_interpreter_256g", None),
        ("shell", 0.03),
        ("shell_4g", 0.12),
        ("shell_16g", 0.48),
        ("shell_64g", 1.92),
        ("image_generation", None),
        ("holodeck", None),
        ("unreadable", None),
    ],
)
def test_openais_containers_cost_by_their_size(book: PriceBook, tool: str, each: float | None) -> None:
    assert usd(book, "openai", "gpt-5", Usage(tool_calls={tool: 1})) == each


@pytest.mark.parametrize("model", ["gemma-3-1b-it", "gemma-3-27b-it", "gemma-3n-e4b-it", "gemma-4-31b-it"])
def test_gemma_is_free_at_google(book: PriceBook, model: str) -> None:
    assert usd(book, "gemini", model, TOKENS) == 0
    assert usd(book, "gemini", "gemma-3-270b-it", TOKENS) is None


def test_traffic_of_no_tier_is_not_priced_by_the_list(book: PriceBook) -> None:
    for tier, known in (("", True), ("unspecified", True), ("provisioned_throughput", False)):
        usage = Usage(input_tokens=1000, service_tier=tier)
        assert (usd(book, "gemini", "gemini-2.5-flash", usage) is not None) == known


def test_what_is_billed_by_the_page_alone_names_its_price(book: PriceBook) -> None:
    cost = book.cost("mistral", "mistral-ocr-2512", Usage(quantities={"pages": 1}), NOW)

    assert cost.ref == f"{NAME} mistral/mistral-ocr-2512"
    assert book.cost("openai", "gpt-4o", Usage(tool_calls={"file_search": 1}), NOW).ref == f"{NAME} openai/gpt-4o"


def test_a_compaction_is_billed_by_its_own_length(book: PriceBook) -> None:
    """Haiku 5.5 is dearer above 100,000 tokens: https://platform.claude.com/docs/en/about-claude/pricing"""
    long, short = Usage(input_tokens=180_000, output_tokens=3_500), Usage(input_tokens=23_000, output_tokens=1_000)
    parts = [Part("claude-haiku-5-5", one) for one in (short, long)]
    whole = Usage(input_tokens=203_000, output_tokens=4_500, parts=parts)

    apart = sum(usd(book, "anthropic", "claude-haiku-5-5", one) or 0 for one in (short, long))
    assert usd(book, "anthropic", "claude-haiku-5-5", whole) == pytest.approx(apart)
    together = Usage(input_tokens=203_000, output_tokens=4_500)
    assert (usd(book, "anthropic", "claude-haiku-5-5", together) or 0) > apart


def test_items_that_a_provider_priced_stand_beside_others(book: PriceBook) -> None:
    told, plain = Usage(input_tokens=10, reported_cost_nano=77), Usage(input_tokens=1000)
    whole = Usage(input_tokens=1010, parts=[Part("grok-4.6", told, "a"), Part("grok-4.6", plain, "b")])

    cost = book.cost("grok", "grok-4.6", whole, NOW)
    assert cost.nano == 77 + (book.cost("grok", "grok-4.6", plain, NOW).nano or 0)
    assert cost.source == "computed"
    assert sum(line.nano for line in book.lines("grok", "grok-4.6", whole, NOW)) == cost.nano
