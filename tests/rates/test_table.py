from __future__ import annotations

import io
import zipfile
from datetime import date
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest

from metrion.errors import InputError
from metrion.rates.table import RateTable, load, read

HEAD = "Date,USD,JPY,CHF,\n"


def zipped(text: str) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("eurofxref-hist.csv", text)
    return out.getvalue()


@pytest.fixture
def table() -> RateTable:
    return read(zipped(HEAD + "2026-11-20,1.25,170,0.95,\n2026-11-18,1.2,N/A,0.96,\n2026-11-17,N/A,170,0.9,\n"))


@pytest.mark.parametrize(
    ("day", "found"),
    [
        (date(2026, 11, 17), None),  # that day has no dollar
        (date(2026, 11, 18), date(2026, 11, 18)),
        (date(2026, 11, 19), date(2026, 11, 18)),
        (date(2026, 11, 20), date(2026, 11, 20)),
        (date(2027, 1, 1), date(2026, 11, 20)),
    ],
)
def test_the_days_rate_or_the_last_before(table: RateTable, day: date, found: date | None) -> None:
    if found is None:
        with pytest.raises(InputError, match="no EUR rate of 2026-11-17 or before"):
            table.rate("EUR", day)
    else:
        assert table.rate("EUR", day).day == found


def test_rates_are_of_the_dollar(table: RateTable) -> None:
    day = date(2026, 11, 20)
    assert table.rate("EUR", day).per_usd == Fraction(4, 5)
    assert table.rate("CHF", day).per_usd == Fraction(Decimal("0.95")) / Fraction(Decimal("1.25"))
    assert table.rate("USD", day).per_usd == 1


@pytest.mark.parametrize(("nano", "converted"), [(10**9, 8 * 10**8), (0, 0), (3, 2), (1, 1), (-(10**9), -8 * 10**8)])
def test_money_is_converted_to_the_nearest_billionth(table: RateTable, nano: int, converted: int) -> None:
    assert table.rate("EUR", date(2026, 11, 20)).convert(nano) == converted


BROKEN = [b"", b"no zip", zipped(""), zipped(HEAD), zipped("a,b\n1,2\n"), zipped(HEAD + "2026-11-20,x,1,1,\n")]
BROKEN += [zipped(HEAD + "2026-11-20,0,1,1,\n"), zipped(HEAD + "today,1,1,1,\n"), zipped(HEAD)[:40]]


@pytest.mark.parametrize("content", BROKEN)
def test_another_file_is_refused(content: bytes) -> None:
    with pytest.raises(ValueError, match="these are not the ECB's rates"):
        read(content)


def test_the_package_brings_rates_along(tmp_path: Path) -> None:
    shipped = load(tmp_path / "none.zip")
    assert shipped.latest >= date(2026, 10, 30)
    # https://www.ecb.europa.eu/stats/eurofxref/eurofxref-hist.zip of that day: 1 EUR is 1.1789 USD and 1.6168 CHF.
    first = shipped.rate("CHF", date(1999, 1, 4))
    assert (first.day, first.per_usd) == (date(1999, 1, 4), Fraction("1.6168") / Fraction("1.1789"))


@pytest.mark.parametrize(("day", "taken"), [("2099-01-05", True), ("1999-01-05", False)])
def test_fetched_rates_are_taken_where_they_are_newer(tmp_path: Path, day: str, taken: bool) -> None:
    file = tmp_path / "fetched.zip"
    file.write_bytes(zipped(HEAD + f"{day},2,1,1,\n"))
    assert (load(file).latest == date.fromisoformat(day)) is taken


@pytest.mark.parametrize("content", BROKEN)
def test_a_broken_fetched_file_is_passed_over(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "fetched.zip"
    file.write_bytes(content)
    assert load(file).latest == load(tmp_path / "none.zip").latest
