from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metrion.kit.money import divide_half_even, nano_from_usd, usd_from_nano


@pytest.mark.parametrize(
    ("usd", "nano"),
    [
        ("0.0375", 37_500_000),
        ("1", 1_000_000_000),
        ("0", 0),
        ("0.0000000005", 0),
        ("0.0000000015", 2),
        ("-2.5", -2_500_000_000),
    ],
)
def test_dollars_become_nano_dollars_rounded_half_even(usd: str, nano: int) -> None:
    assert nano_from_usd(usd) == nano


@pytest.mark.parametrize("usd", ["", "a dollar", "nan", "inf", "1,5"])
def test_what_is_no_number_is_refused(usd: str) -> None:
    with pytest.raises(ValueError, match="is not a"):
        nano_from_usd(usd)


@pytest.mark.parametrize(
    ("nano", "usd"),
    [(37_500_000, "0.0375"), (0, "0"), (1, "0.000000001"), (-1_500_000_000, "-1.5"), (2_000_000_000, "2")],
)
def test_nano_dollars_read_as_plain_dollars(nano: int, usd: str) -> None:
    assert usd_from_nano(nano) == usd


@given(st.integers(-(10**20), 10**20))
def test_dollars_and_back_lose_nothing(nano: int) -> None:
    assert nano_from_usd(usd_from_nano(nano)) == nano


@given(st.integers(-(10**15), 10**15), st.integers(1, 10**8))
def test_division_rounds_as_decimals_do(amount: int, by: int) -> None:
    assert divide_half_even(amount, by) == round(Decimal(amount) / by)


def test_a_tie_goes_to_the_even_neighbour() -> None:
    assert [divide_half_even(half, 2) for half in (1, 3, 5, -1, -3)] == [0, 2, 2, 0, -2]
