"""The minute and the month, against a count of every admission by hand. Spec §2.5."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from metrion.proxy.admit import ROWS_OF_REFUSALS_PER_MINUTE, WINDOW, Admission

ME = 1


def ms(*when: int) -> int:
    return int(datetime(*when, tzinfo=UTC).timestamp() * 1000)  # type: ignore[misc,arg-type]


@given(st.integers(1, 5), st.lists(st.sampled_from([0.0, 0.5, 7.0, 12.0, 20.0, 59.5, 60.0]), max_size=60))
def test_no_minute_ever_holds_more_than_its_limit_and_none_is_refused_early(limit: int, steps: list[float]) -> None:
    admission, now, admitted = Admission(limit, 0), 1000.0, list[float]()
    for step in steps:
        now += step
        refusal = admission.admit(ME, "pro", now, 0)
        recent = [at for at in admitted if at > now - WINDOW]
        assert (refusal is not None) == (len(recent) >= limit)
        if refusal is None:
            admitted.append(now)
        else:  # it says when to come back, to the moment
            assert refusal.retry_after == recent[-limit] + WINDOW - now
    assert admission.admit(ME + 1, "pro", now, 0) is None  # others have a minute of their own


def test_the_months_places_are_taken_settled_and_given_back() -> None:
    admission, then = Admission(0, 2), ms(2026, 11, 30, 23, 59, 59)
    assert admission.admit(ME, "free", 0, then) is None
    assert admission.admit(ME, "free", 0, then) is None
    full = admission.admit(ME, "free", 0, then)
    assert full is not None
    assert (full.code, full.retry_after, full.should_retry) == ("month", 1.0, False)
    admission.settle(ME, "free", then, counts=False)
    assert admission.admit(ME, "free", 0, then) is None
    admission.settle(ME, "free", then, counts=True)
    admission.settle(ME, "free", then, counts=True)
    assert admission.admit(ME, "free", 0, then) is not None
    assert admission.admit(ME, "pro", 0, then) is None


def test_on_the_first_the_month_begins_anew_also_for_what_is_still_under_way() -> None:
    admission, old, new = Admission(0, 2), ms(2026, 12, 31, 23, 59, 59), ms(2027, 1, 1)
    for _ in range(2):
        assert admission.admit(ME, "free", 0, old) is None
    assert admission.admit(ME, "free", 0, new - 1) is not None
    assert admission.admit(ME, "free", 0, new) is None
    admission.settle(ME, "free", old, counts=True)  # ends in January, counts for December
    admission.settle(ME, "free", old, counts=True)
    assert admission.admit(ME, "free", 0, new) is None
    assert admission.admit(ME, "free", 0, new) is not None


@given(st.lists(st.tuples(st.booleans(), st.booleans()), max_size=60))
def test_the_month_is_never_over_its_limit(steps: list[tuple[bool, bool]]) -> None:
    admission, at, used, under_way = Admission(0, 3), ms(2026, 11, 5), 0, 0
    for asks, counts in steps:
        if asks:
            refused = admission.admit(ME, "free", 0, at) is not None
            assert refused == (used + under_way >= 3)
            under_way += not refused
        elif under_way:
            admission.settle(ME, "free", at, counts=counts)
            under_way -= 1
            used += counts
    assert used <= 3


def test_sixty_refusals_a_minute_get_rows() -> None:
    admission = Admission(0, 0)
    for start in (0.0, 60.0):
        kept = [admission.refusal_gets_row(ME, start + n / 10) for n in range(100)]
        assert kept == [True] * ROWS_OF_REFUSALS_PER_MINUTE + [False] * 40
    assert admission.refusal_gets_row(ME + 1, 65.0)


def test_who_comes_from_pro_to_free_begins_with_nothing_used() -> None:
    admission, at = Admission(0, 2), ms(2026, 11, 5)
    for _ in range(2):
        assert admission.admit(ME, "free", 0, at) is None
        admission.settle(ME, "free", at, counts=True)
    assert (admission.admit(ME, "free", 0, at) is None, admission.month_used(ME, at)) == (False, 2)
    admission.count_from(ME, at + 10)
    assert admission.month_used(ME, at) == 0
    assert admission.admit(ME, "free", 0, at + 11) is None
    admission.settle(ME, "free", at + 9, counts=True)  # began on pro, or before
    admission.settle(ME, "free", at + 11, counts=True)
    admission.count_from(ME, at + 10)  # told again, as with every change of the account
    assert admission.month_used(ME, at) == 1
    assert admission.month_used(ME, ms(2026, 12, 1)) == 0


def test_a_restart_goes_on_with_what_counts() -> None:
    admission, at = Admission(0, 3), ms(2026, 11, 5)
    admission.restore(0, at, [], [(ME, 2, at - 50)])
    admission.count_from(ME, at - 50)
    assert admission.month_used(ME, at) == 2
    assert admission.admit(ME, "free", 0, at) is None
    assert admission.admit(ME, "free", 0, at) is not None
