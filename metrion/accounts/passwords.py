"""Passwords: which are taken, and argon2id to keep and check them by, off the event loop.

Cost: 32 MiB, 2 passes, 1 lane: 48 ms of one core (Intel Xeon, November 2026). The least that OWASP's Password Storage
Cheat Sheet asks for, 19 MiB and 2 passes, takes 22 ms there.
"""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import os
import unicodedata
from base64 import b64encode
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from metrion.errors import BusyError, InputError, StorageError

T = TypeVar("T")

SHORTEST = 10  # characters
LONGEST = 1000
_MEMORY_KIB, _PASSES, _LANES = 32 * 1024, 2, 1
_WORKERS = 2  # so at most 64 MiB, and two cores
_WAITING = 16
_COMMON_FILE = Path(__file__).parent / "common_passwords" / "common-passwords.txt.gz"
_COMMON_SHA256 = "3c1baed62596de36860824eb3f436d5932d37ca8b06e59df78f5a44ec175afe4"


def check_password(text: str, email: str) -> None:
    """Raise InputError for a password that may not be set for that address; it never quotes it."""
    password = _normal(text)
    if len(password) < SHORTEST:
        raise InputError(f"Use at least {SHORTEST} characters.", "password")
    if len(password) > LONGEST:
        raise InputError(f"Use at most {LONGEST:,} characters.", "password")
    lower, address = password.lower(), email.strip().lower()
    if lower in (address, address.partition("@")[0]):
        raise InputError("Use something other than your e-mail address.", "password")
    if lower in _common() or _stem(lower) in _common():
        raise InputError("This password is among the most common ones, and the first to be guessed.", "password")


class Passwords:
    """Hashes and verifies in two threads; beyond a short queue it raises BusyError at once."""

    def __init__(self) -> None:
        self._hasher = PasswordHasher(_PASSES, _MEMORY_KIB, _LANES)
        self._threads = ThreadPoolExecutor(_WORKERS, "metrion-password")
        self._under_way = 0
        # Nobody's: what a password is checked against where there is none, so that it takes as long.
        salt, digest = (b64encode(os.urandom(length)).rstrip(b"=").decode() for length in (16, 32))
        self._nobodys = f"$argon2id$v=19$m={_MEMORY_KIB},t={_PASSES},p={_LANES}${salt}${digest}"

    async def hash(self, password: str) -> str:
        """What is stored of a password."""
        return await self._run(self._hash, password)

    async def verify(self, stored: str | None, password: str) -> bool:
        """Whether `password` is the one `stored` was made of; None, for an account without one, costs as much."""
        return await self._run(self._verify, stored, password)

    def needs_rehash(self, stored: str) -> bool:
        """Whether `stored` was made at another cost than is asked today."""
        return self._hasher.check_needs_rehash(stored)

    def close(self) -> None:
        """End the threads."""
        self._threads.shutdown(wait=True, cancel_futures=True)

    async def _run(self, work: Callable[..., T], *args: object) -> T:
        if self._under_way >= _WORKERS + _WAITING:
            raise BusyError("Metrion is checking many passwords right now. Try again in a moment.")
        self._under_way += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work, *args)
        finally:
            self._under_way -= 1

    def _hash(self, password: str) -> str:
        return self._hasher.hash(_normal(password))

    def _verify(self, stored: str | None, password: str) -> bool:
        try:
            self._hasher.verify(stored or self._nobodys, _normal(password[:LONGEST]))
        except (VerificationError, InvalidHashError):
            return False
        return stored is not None and len(password) <= LONGEST


def _normal(text: str) -> str:
    """The same for each way to type it: composed or not, full width or half."""
    return unicodedata.normalize("NFKC", text)


def _stem(password: str) -> str:
    """`password` without digits and signs at its end: "password2026!" is as good a guess as "password"."""
    return password.rstrip("0123456789 !?.,;:*+-_#$%&@/=")


@cache
def _common() -> frozenset[str]:
    data = _COMMON_FILE.read_bytes()
    if hashlib.sha256(data).hexdigest() != _COMMON_SHA256:
        raise StorageError("the list of common passwords is damaged; install Metrion again")
    return frozenset(gzip.decompress(data).decode().split())
