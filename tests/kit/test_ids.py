"""Ids sort by start, never repeat, and survive a clock that steps back."""

from __future__ import annotations

from itertools import islice

from hypothesis import given
from hypothesis import strategies as st

from metrion.kit.clock import iso, now_ms
from metrion.kit.ids import first_id, id_ms, new_ids


def test_an_id_tells_when_it_was_made() -> None:
    before = now_ms()
    made = next(new_ids())
    assert len(made) == 16
    assert before <= id_ms(made) <= now_ms()


@given(st.lists(st.integers(0, 2**47), min_size=1, max_size=50))
def test_ids_increase_whatever_the_clock_does(times: list[int]) -> None:
    ticks = iter(times)
    made = list(islice(new_ids(lambda: next(ticks)), len(times)))
    assert made == sorted(set(made))
    assert id_ms(made[-1]) >= max(times)


def test_two_processes_never_make_the_same() -> None:
    one, other = new_ids(lambda: 5), new_ids(lambda: 5)
    assert next(one) != next(other)


def test_a_range_of_time_is_a_range_of_ids() -> None:
    made = next(new_ids(lambda: 1000))
    assert first_id(1000) <= made < first_id(1001)
    assert first_id(-5) == bytes(16)


def test_a_time_reads_as_iso_8601_in_utc_to_the_millisecond() -> None:
    assert iso(0) == "1970-01-01T00:00:00.000Z"
    assert iso(1_793_491_200_125) == "2026-11-01T00:00:00.125Z"
