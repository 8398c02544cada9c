"""The rates of days of the last years, for what is converted day by day; read again when others were fetched."""

from __future__ import annotations

from datetime import date
from fractions import Fraction
from pathlib import Path

from metrion.rates.table import FILE_NAME, RateTable, load

_DAYS = 600  # working days: more than two years


class DailyRates:
    """What a dollar was on each day, by the file in `data_dir` or the one that comes with the package."""

    def __init__(self, data_dir: Path) -> None:
        self._file = data_dir / FILE_NAME
        self._fetched_ns = -1
        self._table: RateTable

    def on(self, currency: str, day: date) -> Fraction:
        """Units of `currency` for a dollar on that day, or the last before; of no day before all: InputError."""
        if currency == "USD":
            return Fraction(1)
        fetched_ns = self._file.stat().st_mtime_ns if self._file.exists() else 0
        if fetched_ns != self._fetched_ns:
            self._table, self._fetched_ns = load(self._file, days=_DAYS), fetched_ns
        return self._table.rate(currency, day).per_usd
