"""Pace: steps grow and shrink with what they took."""

from __future__ import annotations

from time import perf_counter

from metrion.ledger.pace import Pace


def test_a_step_that_took_too_long_is_followed_by_a_shorter_one() -> None:
    pace = Pace(0.01)
    first = pace.rows("pairs")
    pace.took("pairs", first, perf_counter() - 0.015)
    assert 0.5 * first < pace.rows("pairs") < 0.7 * first
    pace.took("pairs", 10, perf_counter() - 3)  # few rows, and a slow disk
    assert pace.rows("pairs") == max(int(0.66 * first) // 2, 200)
    assert pace.rows("hours") == first


def test_a_step_that_took_little_is_followed_by_one_twice_as_long_at_most() -> None:
    pace = Pace(0.01)
    first = pace.rows("pairs")
    pace.took("pairs", first, perf_counter() - 0.0001)
    assert pace.rows("pairs") == 2 * first
    pace.took("pairs", first // 2, perf_counter())  # there were few: that tells nothing
    assert pace.rows("pairs") == 2 * first


def test_steps_do_not_become_too_small_for_what_each_costs() -> None:
    pace = Pace(0)
    for _ in range(20):
        pace.took("pairs", pace.rows("pairs"), perf_counter() - 1)
    assert pace.rows("pairs") == 200
