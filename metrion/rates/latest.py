"""The latest rates, for pages: kept, and read again when others were fetched."""

from __future__ import annotations

from pathlib import Path

from metrion.rates.table import FILE_NAME, Rate, RateTable, load


class LatestRates:
    """What a dollar is today, by the file in `data_dir` or the one that comes with the package."""

    def __init__(self, data_dir: Path) -> None:
        self._file = data_dir / FILE_NAME
        self._fetched_ns = -1
        self._table: RateTable

    def of(self, currency: str) -> Rate:
        """The latest rate of a currency of CURRENCIES. Reads a file now and then: not on the event loop."""
        fetched_ns = self._file.stat().st_mtime_ns if self._file.exists() else 0
        if fetched_ns != self._fetched_ns:
            self._table, self._fetched_ns = load(self._file, days=1), fetched_ns
        return self._table.rate(currency, self._table.latest)
