"""Whose request it is: addresses behind proxies, foreign host names, foreign pages."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from metrion.config import Settings
from metrion.web.client import client_address, known_host, same_origin

PROXY = ("10.0.0.0/8", "::1/128")


def scope(peer: str = "203.0.113.7", **headers: str | list[str]) -> dict[str, Any]:
    pairs = [
        (name.replace("_", "-").encode(), one.encode("latin-1"))
        for name, value in headers.items()
        for one in ([value] if isinstance(value, str) else value)
    ]
    return {"client": (peer, 4711), "headers": pairs}


@pytest.mark.parametrize(
    ("peer", "forwarded", "trusted", "address"),
    [
        ("203.0.113.7", [], PROXY, "203.0.113.7"),
        ("203.0.113.7", ["198.51.100.1"], PROXY, "203.0.113.7"),  # the peer is no proxy of ours
        ("10.0.0.1", ["198.51.100.1"], (), "10.0.0.1"),  # nobody is trusted
        ("10.0.0.1", ["198.51.100.1"], PROXY, "198.51.100.1"),
        ("10.0.0.1", ["1.2.3.4, 198.51.100.1"], PROXY, "198.51.100.1"),  # what the client wrote stands left
        ("10.0.0.1", ["1.2.3.4", "198.51.100.1, 10.9.9.9"], PROXY, "198.51.100.1"),  # two proxies, two headers
        ("10.0.0.1", ["10.2.2.2"], PROXY, "10.2.2.2"),
        ("10.0.0.1", ["rubbish"], PROXY, "10.0.0.1"),
        ("10.0.0.1", ["rubbish, 198.51.100.1"], PROXY, "198.51.100.1"),
        ("::1", ["2001:db8::5"], PROXY, "2001:db8::5"),
    ],
)
def test_the_clients_address(peer: str, forwarded: list[str], trusted: tuple[str, ...], address: str) -> None:
    assert client_address(scope(peer, x_forwarded_for=forwarded), trusted) == address


LOCAL = Settings()
PUBLIC = Settings(public_url="https://metrion.example.com")
ANY = "0.0.0.0"  # noqa: S104 (nothing is bound)
OPEN = Settings(host=ANY)


@pytest.mark.parametrize(
    ("settings", "host", "known"),
    [
        (LOCAL, "127.0.0.1:8000", True),
        (LOCAL, "localhost:8000", True),
        (LOCAL, "[::1]:8000", True),
        (LOCAL, "metrion.example.com", False),  # a foreign name that leads to this machine
        (LOCAL, "", False),
        (OPEN, "[", False),
        (PUBLIC, "metrion.example.com", True),
        (PUBLIC, "METRION.example.com:443", True),
        (PUBLIC, "evil.example.com", False),
        (PUBLIC, "127.0.0.1:8000", True),
        (OPEN, "192.168.1.5:8000", True),
        (msgspec.structs.replace(PUBLIC, host=ANY), "evil.example.com", False),
    ],
)
def test_only_our_own_names_are_answered(settings: Settings, host: str, known: bool) -> None:
    assert known_host(host, settings) is known


@pytest.mark.parametrize(
    ("headers", "ours"),
    [
        ({"sec_fetch_site": "same-origin", "origin": "https://m.example"}, True),
        ({"sec_fetch_site": "none"}, True),
        ({"sec_fetch_site": "same-site", "origin": "https://other.example"}, False),
        ({"sec_fetch_site": "cross-site", "origin": "https://m.example"}, False),
        ({"sec_fetch_site": "same-origin", "origin": "https://evil.example"}, False),
        ({"origin": "https://m.example"}, True),  # an older browser, or no secure context
        ({"origin": "http://127.0.0.1:8000", "host": "127.0.0.1:8000"}, True),
        ({"origin": "http://127.0.0.1:9000", "host": "127.0.0.1:8000"}, False),
        ({"origin": "null"}, False),
        ({"origin": "http://["}, False),
        ({"origin": "https://m.example.evil.example"}, False),
        ({}, False),
    ],
)
def test_only_our_own_pages_may_send_forms(headers: dict[str, str], ours: bool) -> None:
    assert same_origin(scope(**headers), "https://m.example") is ours
