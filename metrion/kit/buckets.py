"""Buckets for durations, whose counts add up: percentiles of any sum of them are within 2 % of the exact ones.

Each octave (a doubling) has COLUMNS buckets whose borders grow by the same factor, 2^(1/18) = 1.039, as in DDSketch
(https://arxiv.org/abs/1908.10693): whatever lies in a bucket is within 1.93 % of the value that stands for it.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping
from functools import partial
from math import ceil

COLUMNS = 18
OCTAVES = 37  # 2^37 microseconds are 38 hours
_GROWTH = 2 ** (1 / COLUMNS)
# Bucket n holds whole microseconds from _GROWTH^(n-1) up to below _GROWTH^n; bucket 0 would hold what took no time.
_BORDERS = [ceil(_GROWTH**n) for n in range(OCTAVES * COLUMNS - 1)]
_MIDDLE = 2 / (1 + _GROWTH)  # of the upper border: as far, in proportion, from both


# The number of the bucket of a duration in whole microseconds, at least 1; 0 for none. Not a function of ours, because
# it is called three times a call.
bucket: Callable[[int], int] = partial(bisect_right, _BORDERS)


def quantile(counts: Mapping[int, int], part: float) -> float | None:
    """The duration, in microseconds, that `part` of all are not longer than; None where there are none.

    As the exact one is defined: of n durations in order, the one with the number ceil(part × n).
    """
    total = sum(counts.values())
    if total <= 0:
        return None
    rank, seen = max(ceil(part * total), 1), 0
    for number in sorted(counts):
        seen += counts[number]
        if seen >= rank:
            return _value(number)
    raise AssertionError("counts are not negative")


def _value(number: int) -> float:
    return _GROWTH**number * _MIDDLE
