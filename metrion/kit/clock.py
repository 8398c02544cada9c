"""The time of day, in the unit of every row: Unix milliseconds, UTC."""

from __future__ import annotations

import time
from datetime import UTC, datetime

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS


def now_ms() -> int:
    """Unix milliseconds."""
    return time.time_ns() // 1_000_000


def iso(ms: int) -> str:
    """Unix milliseconds as ISO 8601 in UTC: 2026-11-21T09:30:00.125Z."""
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
