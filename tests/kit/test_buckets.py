"""Buckets of durations: percentiles of their sums are near the exact ones."""

from __future__ import annotations

from collections import Counter
from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metrion.kit.buckets import COLUMNS, OCTAVES, bucket, quantile

durations = st.integers(1, 2**36) | st.integers(1, 2000)


@given(st.lists(durations, min_size=1), st.lists(durations), st.sampled_from([0.5, 0.95, 0.99, 1.0]))
def test_a_percentile_of_sums_is_within_two_percent_of_the_exact_one(
    some: list[int], more: list[int], part: float
) -> None:
    counts = Counter(map(bucket, some)) + Counter(map(bucket, more))
    exact = sorted(some + more)[ceil(part * len(some + more)) - 1]
    assert quantile(counts, part) == pytest.approx(exact, rel=0.02)


def test_no_time_is_in_no_bucket_and_nothing_has_no_percentile() -> None:
    assert [bucket(us) for us in (-5, 0, 1)] == [0, 0, 1]
    assert quantile({}, 0.5) is None


def test_a_day_and_a_half_still_has_a_bucket() -> None:
    assert bucket(36 * 3600 * 10**6) // COLUMNS < OCTAVES
