"""What calls would have cost otherwise, and what is left out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from metrion.call import Outcome as Ended
from metrion.errors import InputError
from metrion.ledger.price import price
from metrion.ledger.what_if import Case, Outcome, Target, assumptions, outcomes, parse_map
from metrion.prices import rules
from metrion.prices.catalog import PriceBook
from tests.ledger.samples import NOON, make_call
from tests.ledger.test_reprice import used
from tests.ledger.test_reread import stored

BOOK = PriceBook.load()
MINI = Target("openai", "gpt-4o-mini")
TO_MINI = Case([("gpt-4o", MINI)])
TOKENS = {"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100}
CACHED = TOKENS | {"prompt_tokens_details": {"cached_tokens": 400}}


def rows(*calls: Any, book: PriceBook = BOOK) -> list[Any]:
    return [stored(price(book, call)) for call in calls]


def only(case: Case, *calls: Any, book: PriceBook = BOOK) -> Outcome:
    [found] = outcomes(book, rows(*calls), case)
    return found


def test_another_model_at_its_own_price() -> None:
    found = only(TO_MINI, used("openai", "gpt-4o-2024-08-06", TOKENS, requester="bot"))
    assert (found.requester, found.model, found.target) == ("bot", "gpt-4o-2024-08-06", "gpt-4o-mini")
    assert (found.calls, found.old_nano, found.new_nano) == (
        1,
        3_500_000,
        210_000,
    )  # 2.5 and 10, 0.15 and 0.6 a million


@pytest.mark.parametrize("model", ["gpt-4o-mini", "gpt-4o-mini-2024-07-18", "gpt-4.1"])
def test_a_model_that_is_not_named_stays_as_it_was(model: str) -> None:
    found = only(TO_MINI, used("openai", model, TOKENS))
    assert (found.target, found.new_nano) == ("", found.old_nano)
    assert found.old_nano > 0


def test_the_model_asked_for_names_it_too() -> None:
    call = used("openai", "gpt-4o-mini-2024-07-18", TOKENS)
    call.requested_model = "our-alias"
    assert only(Case([("our-alias", Target("openai", "gpt-4o"))]), call).target == "gpt-4o"


def test_the_first_map_that_fits_holds() -> None:
    case = Case([("gpt-4o", MINI), ("gpt-4o", Target("openai", "gpt-4.1"))])
    assert only(case, used("openai", "gpt-4o", TOKENS)).target == "gpt-4o-mini"


def test_another_provider() -> None:
    found = only(Case([("gpt-4o", Target("anthropic", "claude-haiku-4-5"))]), used("openai", "gpt-4o", CACHED))
    assert found.target == "anthropic/claude-haiku-4-5"
    assert found.new_nano == 600 * 1000 + 400 * 100 + 100 * 5000  # $1, $0.10 and $5 a million


def test_a_batch_costs_half() -> None:
    found = only(Case([], batch=True), used("openai", "gpt-4o", TOKENS))
    assert (found.old_nano, found.new_nano, found.list_price) == (3_500_000, 1_750_000, 0)


def test_where_a_model_has_no_batch_price_its_cost_stays() -> None:
    found = only(Case([], batch=True), used("grok", "grok-4", TOKENS | {"cost_in_usd_ticks": 12_340}))
    assert (found.old_nano, found.new_nano, found.list_price) == (1234, 1234, 1)


def test_without_a_cache_everything_is_fresh() -> None:
    found = only(Case([], no_cache=True), used("openai", "gpt-4o", CACHED))
    assert (found.old_nano, found.new_nano) == (600 * 2500 + 400 * 1250 + 100 * 10_000, 3_500_000)


def test_without_a_cache_writes_cost_what_other_input_does() -> None:
    usage = {"input_tokens": 10, "cache_read_input_tokens": 20, "cache_creation_input_tokens": 70, "output_tokens": 1}
    found = only(Case([], no_cache=True), used("anthropic", "claude-haiku-4-5", usage, format="anthropic_messages"))
    assert found.new_nano == 100 * 1000 + 5000


def test_what_did_not_use_a_cache_stays_as_it_was() -> None:
    own = PriceBook(
        [*rules.load(None), *rules.parse('[[price]]\nprovider="openai"\nprefix=""\ndiscount="50"\n', Path("p"), 1)]
    )
    [found] = outcomes(own, rows(used("openai", "gpt-4o", TOKENS)), Case([], no_cache=True))
    assert found.new_nano == found.old_nano == 3_500_000


def test_all_at_once() -> None:
    found = only(Case([("gpt-4o", MINI)], batch=True, no_cache=True), used("openai", "gpt-4o", CACHED))
    assert found.new_nano == 105_000


def test_a_tier_holds_within_a_provider_where_it_is_priced() -> None:
    call = used("openai", "gpt-5", TOKENS | {"service_tier": "flex"})
    same = only(Case([("gpt-5", Target("openai", "gpt-5-mini"))]), call)
    assert (same.new_nano, same.list_price) == (1000 * 125 + 100 * 1000, 0)  # half of $0.25 and $2
    without = only(Case([("gpt-5", MINI)]), call)
    assert (without.new_nano, without.list_price) == (210_000, 1)


def test_what_the_provider_reported_is_not_taken_over() -> None:
    call = used("grok", "grok-4", TOKENS | {"cost_in_usd_ticks": 10})
    assert only(Case([("grok-4", MINI)]), call).new_nano == 210_000


def test_what_was_not_billed_stays_so() -> None:
    call = used("anthropic", "claude-haiku-4-5", {"input_tokens": 9, "output_tokens": 0}, format="anthropic_messages")
    call.reading.facts["stop_reason"] = "refusal"
    found = only(Case([("claude-haiku-4-5", MINI)]), call)
    assert (found.calls, found.old_nano, found.new_nano) == (1, 0, 0)


def test_calls_of_unknown_cost_are_left_out_of_both_sums() -> None:
    unknown = make_call(reading=None)
    unpriced = used("openai", "gpt-house", TOKENS)
    searched = used("openai", "gpt-4o", TOKENS)
    searched.reading.tools["web_search"] = 1
    found = outcomes(BOOK, rows(unknown, unpriced), TO_MINI)
    assert [(one.calls, one.left_out, one.old_nano, one.new_nano) for one in found] == [(0, 1, 0, 0)] * 2
    other = only(Case([("gpt-4o", Target("mistral", "mistral-large-2512"))]), searched)
    assert (other.calls, other.left_out) == (0, 1)  # Mistral's fee for a search is not in the book


def test_refusals_are_no_calls() -> None:
    assert outcomes(BOOK, rows(make_call(reading=None, outcome=Ended.REJECTED.value)), TO_MINI) == []


def test_an_advisors_part_keeps_its_model() -> None:
    usage = {
        "input_tokens": 10,
        "output_tokens": 10,
        "iterations": [
            {"type": "advisor_message", "model": "claude-opus-4-5", "input_tokens": 100, "output_tokens": 10},
        ],
    }
    call = used("anthropic", "claude-sonnet-4-5", usage, format="anthropic_messages")
    found = only(Case([("claude-sonnet-4-5", Target("anthropic", "claude-haiku-4-5"))]), call)
    assert found.old_nano == 10 * 3000 + 10 * 15_000 + 100 * 5000 + 10 * 25_000
    assert found.new_nano == 10 * 1000 + 10 * 5000 + 100 * 5000 + 10 * 25_000


def test_groups_are_by_requester_and_model_the_largest_difference_first() -> None:
    calls = [used("openai", "gpt-4o", TOKENS, requester=name) for name in ("a", "b", "b")]
    found = outcomes(BOOK, rows(*calls, used("openai", "gpt-4.1", TOKENS, requester="b")), TO_MINI)
    assert [(one.requester, one.model, one.calls) for one in found] == [
        ("b", "gpt-4o", 2),
        ("a", "gpt-4o", 1),
        ("b", "gpt-4.1", 1),
    ]


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("gpt-4o=gpt-4o-mini", ("gpt-4o", MINI)),
        ("gpt-4o=anthropic/claude-haiku-4-5", ("gpt-4o", Target("anthropic", "claude-haiku-4-5"))),
        ("our=claude-haiku-4-5", ("our", Target("anthropic", "claude-haiku-4-5"))),
    ],
)
def test_maps(text: str, parsed: tuple[str, Target]) -> None:
    assert parse_map(BOOK, text, NOON) == parsed


@pytest.mark.parametrize("text", ["gpt-4o", "=gpt-4o", "gpt-4o=", "gpt-4o=gpt-house", "gpt-4o=mistral/gpt-4o"])
def test_a_map_to_nowhere_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="--map"):
        parse_map(BOOK, text, NOON)


def test_each_case_says_what_it_takes_for_granted() -> None:
    plain = assumptions(Case([]))
    assert len(assumptions(TO_MINI)) > len(plain)
    assert any("batch" in said for said in assumptions(Case([], batch=True)))
    assert any("cost what other input does" in said for said in assumptions(Case([], no_cache=True)))
    assert not any("cost what other input does" in said for said in plain)
