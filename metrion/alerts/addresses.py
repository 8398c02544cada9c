"""Addresses: which ones a webhook may be sent to. Whoever chooses a webhook's address must not reach, through Metrion,
what only Metrion's own network can reach.

The networks are those of the registries that are not for everybody:
https://www.iana.org/assignments/iana-ipv4-special-registry and
https://www.iana.org/assignments/iana-ipv6-special-registry, besides multicast. Of IPv6 only global unicast is allowed
at all, which leaves out IPv4-mapped addresses and NAT64 (64:ff9b::/96, 64:ff9b:1::/48), behind which private ones hide.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import NamedTuple

_NOT_V4 = tuple(
    map(
        ip_network,
        (
            "0.0.0.0/8",
            "10.0.0.0/8",
            "100.64.0.0/10",  # carrier-grade NAT
            "127.0.0.0/8",
            "169.254.0.0/16",  # link-local, where clouds keep their metadata
            "172.16.0.0/12",
            "192.0.0.0/24",
            "192.0.2.0/24",
            "192.88.99.0/24",
            "192.168.0.0/16",
            "198.18.0.0/15",
            "198.51.100.0/24",
            "203.0.113.0/24",
            "224.0.0.0/4",  # multicast
            "240.0.0.0/4",
        ),
    )
)
_V6 = ip_network("2000::/3")
_NOT_V6 = tuple(
    map(
        ip_network,
        (
            "2001::/23",  # Teredo and other protocols
            "2001:db8::/32",
            "2002::/16",  # 6to4
            "3fff::/20",
        ),
    )
)


class Refused(Exception):
    """A webhook's address is inside a network that is not for everybody."""


class Place(NamedTuple):
    """Where a webhook goes: what it is called, and where that is."""

    host: str
    addresses: Sequence[str]


def is_public(address: str) -> bool:
    """Whether anybody on the internet could reach that address."""
    found = ip_address(address)
    if isinstance(found, IPv4Address):
        return not any(found in network for network in _NOT_V4)
    return _is_public_v6(found)


def _is_public_v6(address: IPv6Address) -> bool:
    return address in _V6 and not any(address in network for network in _NOT_V6)


def resolve(host: str, port: int) -> list[str]:
    """The addresses of a host, in the system's order; blocks. Raises OSError (or UnicodeError) where it has none."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def check(place: Place) -> None:
    """Raise Refused unless all addresses are public: which of them answers must not be for its owner to choose."""
    if not all(map(is_public, place.addresses)):
        raise Refused(f"{place.host} is an address inside a private network, where Metrion sends nothing")
