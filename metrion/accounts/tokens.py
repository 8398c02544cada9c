"""Metrion keys: `sk-metrion-` and 32 lower-case hex digits; `.label` after it names the requester."""

from __future__ import annotations

import secrets

PREFIX = b"sk-metrion-"
_LENGTH = len(PREFIX) + 32


def new_token() -> bytes:
    """A new Metrion key: 128 random bits."""
    return PREFIX + secrets.token_hex(16).encode()


def parse_token(credential: bytes) -> tuple[bytes, bytes] | None:
    """(token, label or b"") of what a client sent; None where it cannot be a Metrion key."""
    if not credential.startswith(PREFIX):
        return None
    token, dot, label = credential.partition(b".")
    if len(token) != _LENGTH or (dot and not label):
        return None
    return token, label
