from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metrion.wire.counts import Counts
from metrion.wire.usage import Part, Usage, total


@pytest.mark.parametrize(
    ("value", "count"), [(7, 7), (0, 0), (None, 0), ("12", 12), (3.0, 3), (0.0, 0), (2**53, 2**53)]
)
def test_a_count_is_read_in_any_dress(value: object, count: int) -> None:
    counts = Counts({"x": value, "deep": {"x": value}})
    assert (counts.take("x"), counts.take("deep", "x"), counts.problem) == (count, count, "")


@pytest.mark.parametrize("value", [-1, 1.5, True, "x", "", "-1", "²", [], {}, 2**53 + 1, float("nan"), float("inf")])
def test_what_is_no_count_reads_as_none_and_is_told(value: object) -> None:
    counts = Counts({"x": value})
    assert (counts.take("x"), bool(counts.problem)) == (0, True)


def test_a_path_into_what_is_no_object_is_no_count() -> None:
    counts = Counts({"x": 5, "y": None})
    assert (counts.take("x", "z"), counts.take("y", "z"), counts.take("no"), counts.problem) == (0, 0, 0, "")


@given(st.one_of(st.floats(), st.integers(), st.none(), st.text(max_size=3)))
def test_seconds_become_whole_milliseconds(value: object) -> None:
    assert Counts({}).milliseconds(value, "seconds") >= 0


def test_a_total_is_the_sum_of_its_parts() -> None:
    one = Usage(input_tokens=1, cached_audio_tokens=2, tool_calls={"web_search": 1}, service_tier="flex")
    other = Usage(
        input_tokens=10, output_tokens=5, tool_calls={"web_search": 2}, quantities={"pages": 3}, problem="odd"
    )
    whole = total([Part("a", one), Part("b", other)])
    assert (whole.input_tokens, whole.output_tokens, whole.cached_audio_tokens) == (11, 5, 2)
    assert (whole.tool_calls, whole.quantities) == ({"web_search": 3}, {"pages": 3})
    assert (whole.service_tier, whole.problem, whole.reported_cost_nano) == ("flex", "odd", None)
    assert (one.tool_calls, whole.parts[0].model) == ({"web_search": 1}, "a")


def test_reported_costs_add_up() -> None:
    assert (
        total([Part("a", Usage(reported_cost_nano=0)), Part("b", Usage(reported_cost_nano=5))]).reported_cost_nano == 5
    )
