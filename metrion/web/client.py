"""Who is at the other end: the client's address and the names Metrion itself answers to."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Any
from urllib.parse import urlsplit

from metrion.config import Settings, is_loopback

Scope = Any
_UNKNOWN = "0.0.0.0"  # noqa: S104 (a word for "no address", not bound)


@lru_cache(maxsize=8)
def _networks(names: tuple[str, ...]) -> tuple[IPv4Network | IPv6Network, ...]:
    return tuple(ip_network(name) for name in names)


def _trusted(address: str, networks: Iterable[IPv4Network | IPv6Network]) -> bool:
    known = ip_address(address)
    return any(known.version == network.version and known in network for network in networks)


def client_address(scope: Scope, trusted_proxies: tuple[str, ...]) -> str:
    """The client's IP address: the peer's, or behind TRUSTED_PROXIES the last one that no trusted proxy has.

    What a client itself writes into X-Forwarded-For stands further left and is never taken.
    """
    peer = (scope.get("client") or (_UNKNOWN, 0))[0]
    networks = _networks(trusted_proxies)
    hops = [
        hop.strip()
        for name, value in scope["headers"]
        if name == b"x-forwarded-for"
        for hop in value.decode("latin-1").split(",")
    ]
    address = peer
    try:
        while networks and hops and _trusted(address, networks):
            address = str(ip_address(hops.pop()))
    except ValueError:  # what a trusted proxy passed on is no address: nothing left of it can be believed
        return str(peer)
    return str(address)


def header(scope: Scope, name: bytes) -> str:
    """A request header's value, "" where it is absent."""
    for key, value in scope["headers"]:
        if key == name:
            return str(value.decode("latin-1"))
    return ""


def known_host(host: str, settings: Settings) -> bool:
    """Whether `host` (a Host header) is a name of this Metrion's.

    Somebody else's name that leads here (DNS rebinding) would let a foreign page read ours.
    """
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:  # nobody's name
        return False
    if is_loopback(name):
        return True
    if settings.public_url:
        return name == urlsplit(settings.public_url).hostname or name == settings.host
    return not is_loopback(settings.host)


def same_origin(scope: Scope, public_url: str) -> bool:
    """Whether a request that changes something comes from a page of ours.

    Browsers say so in Sec-Fetch-Site (secure contexts) and Origin; a client that says neither is no browser.
    """
    site, origin = header(scope, b"sec-fetch-site"), header(scope, b"origin")
    if site and site not in ("same-origin", "none"):
        return False
    if not origin or origin == "null":
        return bool(site)
    try:
        return origin == public_url or urlsplit(origin).netloc == header(scope, b"host")
    except ValueError:  # not what a browser sends
        return False
