"""Calendar months in UTC, by which plans count; each has a number, counting up."""

from __future__ import annotations

from datetime import UTC, datetime


def month_of(ms: int) -> int:
    """The number of the month that holds a moment."""
    at = datetime.fromtimestamp(ms / 1000, UTC)
    return at.year * 12 + at.month - 1


def month_start_ms(month: int) -> int:
    """When the month of that number begins."""
    return int(datetime(month // 12, month % 12 + 1, 1, tzinfo=UTC).timestamp() * 1000)
