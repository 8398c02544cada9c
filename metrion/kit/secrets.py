"""Secrets: values that must not be shown, and text that may hold one."""

from __future__ import annotations

import hmac
import re
from typing import NoReturn

_MASK = "***"

# One alternative per documented form of a credential. Nothing follows the repeated part, so nothing is tried twice.
_CREDENTIAL = re.compile(
    r"(?<![A-Za-z0-9])"
    r"(sk-(?:ant-|proj-|metrion-)?|[rs]k_(?:live|test)_|whsec_|xai-"
    r"|AIza|AQ\.|ya29\.|eyJ|Bearer[ \t]{1,8}|(?<=[?&])key=)"
    r"[A-Za-z0-9_.~+/=-]{8,}",
    re.IGNORECASE,
)


class Secret:
    """A value that never shows itself: not in a repr, a message, a format or a pickle."""

    __slots__ = ("_value",)

    def __init__(self, value: bytes | str) -> None:
        self._value = value.encode() if isinstance(value, str) else value

    def reveal(self) -> bytes:
        """The value itself; call it where it is used and keep no copy."""
        return self._value

    def __repr__(self) -> str:
        return f"Secret({_MASK})"

    def __str__(self) -> str:
        return _MASK

    def __format__(self, spec: str) -> str:
        return _MASK

    def __bool__(self) -> bool:
        return bool(self._value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and hmac.compare_digest(self._value, other._value)

    __hash__ = None  # type: ignore[assignment]  # a hash would be a way to compare in non-constant time

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a Secret cannot be pickled or copied")


def mask_credentials(text: str, *known: Secret) -> str:
    """`text` with everything that looks like a credential masked, and each of `known` wherever it stands.

    Mistral's keys have no form to be known by, hence `known`.
    """
    for secret in known:
        if plain := secret.reveal().decode(errors="replace"):
            text = text.replace(plain, _MASK)
    return _CREDENTIAL.sub(rf"\1{_MASK}", text)
