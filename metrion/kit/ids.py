"""Request ids: 48 bits of Unix milliseconds, a 32-bit counter, 48 bits drawn once per process.

They sort by start. As text: 32 hex digits (`id.hex()`).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

from metrion.kit.clock import now_ms


def new_ids(clock: Callable[[], int] = now_ms) -> Iterator[bytes]:
    """Endless ids of 16 bytes, each greater than the one before, also when the clock steps back. For one thread.

    No system call but the clock's: drawing random bytes for each id was 8 % of a request.
    """
    process = os.urandom(6)
    high = 0  # milliseconds and counter in one number, so that a full counter runs over into the next millisecond
    while True:
        now = clock() << 32
        high = now if now > high else high + 1
        yield high.to_bytes(10, "big") + process


def id_ms(request_id: bytes) -> int:
    """The Unix milliseconds an id was made at."""
    return int.from_bytes(request_id[:6], "big")


def first_id(ms: int) -> bytes:
    """The least id of a millisecond: a range of time is a range of ids."""
    return max(ms, 0).to_bytes(6, "big") + bytes(10)
