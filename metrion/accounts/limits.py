"""Limits: how often guessable forms may be sent. In memory, one process, the event loop only.

An attempt counts when it is made and is allowed; a refused one does not, so that refusing ends by itself. What succeeds
takes back its account's count (`reset`).

Whoever guesses at an account must not lock its owner out: an address the account has a live session from is counted
apart (`account_key`), and an operator's sign-in link passes no limit of an account.
"""

from __future__ import annotations

import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable
from ipaddress import IPv6Address, ip_address
from typing import Literal, NamedTuple

Kind = Literal[
    "login_address",
    "login_account",
    "code_address",
    "code_account",
    "signup_address",
    "send_address",
    "send_account",
    "password_account",
    "key_account",
    "billing_account",
    "api_address",
    "api_account",
    "statement_address",
    "webhook_account",
]


class Limit(NamedTuple):
    """At most `attempts` in any `seconds`."""

    attempts: int
    seconds: float


_MINUTE, _HOUR = 60.0, 3600.0
LIMITS: dict[Kind, Limit] = {
    "login_address": Limit(20, 10 * _MINUTE),
    "login_account": Limit(10, 10 * _MINUTE),
    "code_address": Limit(30, 10 * _MINUTE),
    "code_account": Limit(10, _HOUR),
    "signup_address": Limit(10, _HOUR),
    "send_address": Limit(20, _HOUR),  # codes and links that are mailed
    "send_account": Limit(5, _HOUR),
    "password_account": Limit(10, 10 * _MINUTE),  # asked again of somebody who is signed in
    "key_account": Limit(20, 10 * _MINUTE),  # a provider key tried at its provider
    "billing_account": Limit(20, 10 * _MINUTE),  # questions to Stripe
    "api_address": Limit(30, 10 * _MINUTE),  # keys that are not known
    "api_account": Limit(120, _MINUTE),
    "statement_address": Limit(60, _MINUTE),
    "webhook_account": Limit(30, _HOUR),  # tests, and what is sent again
}
_KEYS = 50_000  # over all kinds; beyond, the longest unused of its kind is forgotten


class Limits:
    """Attempts by kind and key, each in a sliding window. `clock`: monotonic seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, keys: int = _KEYS) -> None:
        self._clock = clock
        # A table for each kind: who makes up addresses shall not have accounts forgotten.
        self._attempts: dict[Kind, OrderedDict[str, deque[float]]] = {kind: OrderedDict() for kind in LIMITS}
        self._room = max(keys // len(LIMITS), 1)

    def take(self, kind: Kind, key: str) -> float:
        """Count an attempt and return 0; or, where there were too many, the seconds until one is allowed again."""
        limit, attempts, now = LIMITS[kind], self._attempts[kind], self._clock()
        times = attempts.setdefault(key, deque())
        attempts.move_to_end(key)
        while times and times[0] <= now - limit.seconds:
            times.popleft()
        if len(times) >= limit.attempts:
            return times[0] + limit.seconds - now
        times.append(now)
        if len(attempts) > self._room:
            attempts.popitem(last=False)
        return 0.0

    def reset(self, kind: Kind, key: str) -> None:
        """Forget the attempts of a key: its last one succeeded."""
        self._attempts[kind].pop(key, None)


def address_key(address: str) -> str:
    """The key of a client's address; of IPv6 its /64, of which one client has every address."""
    try:
        known = ip_address(address)
    except ValueError:
        return address
    if isinstance(known, IPv6Address):
        return str(known.ipv4_mapped or IPv6Address(int(known) >> 64 << 64))
    return address


def account_key(account_id: int, address: str, known: Iterable[str]) -> str:
    """The key of an account for a client at `address`; counted apart where it is among the `known`, its sessions'."""
    key = address_key(address)
    return f"{account_id}@{key}" if key in map(address_key, known) else str(account_id)
