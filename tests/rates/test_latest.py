"""The latest rates, as pages ask for them."""

from __future__ import annotations

import os
from datetime import date
from fractions import Fraction
from pathlib import Path

from metrion.rates.latest import LatestRates
from metrion.rates.table import FILE_NAME, load
from tests.rates.test_table import HEAD, zipped


def test_they_are_the_packages_until_newer_ones_were_fetched(tmp_path: Path) -> None:
    rates = LatestRates(tmp_path)
    assert rates.of("EUR").day == load(tmp_path / FILE_NAME).latest
    assert rates.of("USD").per_usd == 1
    (tmp_path / FILE_NAME).write_bytes(zipped(HEAD + "2099-01-05,2,1,1,\n2099-01-02,4,1,1,\n"))
    assert rates.of("EUR") == ("EUR", date(2099, 1, 5), Fraction(1, 2))
    (tmp_path / FILE_NAME).write_bytes(zipped(HEAD + "2099-01-06,8,1,1,\n2099-01-05,2,1,1,\n"))
    os.utime(tmp_path / FILE_NAME, (1, 1))
    assert rates.of("EUR") == ("EUR", date(2099, 1, 6), Fraction(1, 8))
