"""Values in words: as letters, pages and webhooks write them."""

from __future__ import annotations

import pytest

from metrion.alerts.words import amount, share


@pytest.mark.parametrize(
    ("kind", "value", "currency", "words"),
    [
        ("budget", 12_300_000_000, "USD", "$12.30"),
        ("budget", 1_234_567_890_000, "EUR", "€1,234.57"),
        ("budget", 0, "CHF", "CHF 0.00"),
        ("error_rate", 45_000, "", "45 %"),
        ("error_rate", 47_619, "", "47.62 %"),
        ("error_count", 1, "", "1 error"),
        ("error_count", 0, "", "0 errors"),
        ("volume", 1, "", "1 request"),
        ("volume", 12_840, "", "12,840 requests"),
        ("latency", 1_000, "", "1 ms"),
        ("latency", 850_400, "", "850 ms"),
        ("latency", None, "", "not known yet"),
    ],
)
def test_amounts(kind: str, value: int | None, currency: str, words: str) -> None:
    assert amount(kind, value, currency) == words


def test_a_share_is_100_only_where_the_limit_is_reached() -> None:
    assert [share(value, 1000) for value in (0, 899, 999, 1000, 1001, 2500)] == [0, 89, 99, 100, 100, 250]
    assert share(None, 5) is None
