"""Which headers pass, which are ours to read, and which stay behind.

Lines pass as they came, byte for byte. A name is looked at once and remembered: a request's headers then cost one
look-up each.
"""

from __future__ import annotations

from collections.abc import Iterable

import structlog

from metrion.proxy.http1 import BadMessage, check_name

_REMEMBERED_NAMES = 4096
log = structlog.get_logger("metrion.proxy")

Named = dict[bytes, list[bytes]]  # values by lower-case name, in order, without surrounding white space


class Rules:
    """One direction's sorting of header lines.

    `noted` are read by us and do not pass; `kept_noted` are read and pass; `dropped` and `dropped_prefixes` stay
    behind unread.
    """

    def __init__(
        self,
        *,
        noted: Iterable[bytes],
        kept_noted: Iterable[bytes],
        dropped: Iterable[bytes],
        dropped_prefixes: tuple[bytes, ...],
    ) -> None:
        self._noted, self._kept_noted, self._dropped = frozenset(noted), frozenset(kept_noted), frozenset(dropped)
        self._prefixes = dropped_prefixes
        self._known: dict[bytes, tuple[bool, bytes]] = {}  # by name: whether its line passes; its key in Named, or ""

    def sort(self, lines: list[bytes]) -> tuple[list[bytes], Named]:
        """(lines that pass, values of those we read). Raises BadMessage for a malformed line."""
        kept: list[bytes] = []
        named: Named = {}
        known = self._known
        for line in lines:
            name, colon, value = line.partition(b":")
            if not colon:
                raise BadMessage("a header line without a colon")
            passes, key = known.get(name) or self._learn(name)
            if passes:
                kept.append(line)
            if key:
                if key in named:
                    named[key].append(value.strip())
                else:
                    named[key] = [value.strip()]
        return kept, named

    def _learn(self, name: bytes) -> tuple[bool, bytes]:
        check_name(name)
        lower = name.lower()
        reads = lower in self._noted or lower in self._kept_noted
        stays = lower in self._noted or lower in self._dropped or (not reads and lower.startswith(self._prefixes))
        found = (not stays, lower if reads else b"")
        if len(self._known) < _REMEMBERED_NAMES:
            self._known[name] = found
        return found


_HOP_BY_HOP = (b"keep-alive", b"te", b"trailer", b"proxy-authenticate", b"proxy-authorization", b"proxy-connection")

REQUEST = Rules(
    noted=(
        b"host",
        b"connection",
        b"content-length",
        b"transfer-encoding",
        b"upgrade",
        b"expect",
        b"authorization",
        b"x-api-key",
        b"x-goog-api-key",
        b"x-metrion-token",
        b"x-metrion-user",
        b"access-control-request-method",
        b"access-control-request-headers",
    ),
    kept_noted=(b"content-type", b"content-encoding", b"origin", b"x-goog-api-client", b"anthropic-version"),
    dropped=(*_HOP_BY_HOP, b"cookie", b"forwarded", b"x-real-ip"),
    dropped_prefixes=(b"x-metrion-", b"x-forwarded-"),
)

ANSWER = Rules(
    noted=(b"connection", b"content-length", b"transfer-encoding"),
    kept_noted=(b"content-type", b"content-encoding", b"request-id", b"x-request-id", b"x-goog-request-id"),
    dropped=(*_HOP_BY_HOP, b"upgrade", b"set-cookie", b"set-cookie2", b"alt-svc", b"strict-transport-security"),
    dropped_prefixes=(b"x-metrion-", b"access-control-"),
)


_NO_OPTIONS: frozenset[bytes] = frozenset()
_USUAL = {b"keep-alive": frozenset({b"keep-alive"}), b"close": frozenset({b"close"})}
_FOR_THE_CONNECTION = {b"", b"keep-alive", b"close", b"upgrade"}


def connection_options(named: Named) -> frozenset[bytes]:
    """The lower-case tokens of `Connection`."""
    values = named.get(b"connection")
    if values is None:
        return _NO_OPTIONS
    usual = _USUAL.get(values[0]) if len(values) == 1 else None
    return usual or frozenset(option.strip().lower() for value in values for option in value.split(b","))


def without_nominated(lines: list[bytes], options: frozenset[bytes]) -> list[bytes]:
    """`lines` less those that `Connection` names as meant for this hop alone."""
    if options <= _FOR_THE_CONNECTION:
        return lines
    return [line for line in lines if line.partition(b":")[0].lower() not in options - _FOR_THE_CONNECTION]


def without_upgrade(head: bytes) -> bytes:
    """A page's head without the upgrade it offers: uvicorn's parser would take its body for another protocol."""
    return b"\r\n".join(line for line in head.split(b"\r\n") if not line.lower().startswith(b"upgrade:"))


class AnthropicVersions:
    """Which `anthropic-version` Anthropic gets. Spec §2.3: a tested one passes; `pinned`: that one always; "client":
    the client's.
    """

    TESTED = (b"2023-06-01", b"2026-10-21")
    DEFAULT = TESTED[0]

    def __init__(self, pinned: str) -> None:
        self._pinned = b"" if pinned == "client" else pinned.encode("ascii")
        self._lets_through = pinned == "client"
        self._told = False

    def apply(self, lines: list[bytes], sent: list[bytes] | None) -> list[bytes]:
        """`lines` with exactly one version; untouched where the client's may pass."""
        if sent is not None and len(sent) == 1:
            if self._lets_through or (sent[0] in self.TESTED and not self._pinned) or sent[0] == self._pinned:
                return lines
            if not self._told:
                self._told = True
                used = (self._pinned or self.DEFAULT).decode()
                log.warning("anthropic_version_replaced", sent=sent[0].decode("latin-1")[:32], used=used)
        others = [line for line in lines if line[:18].lower() != b"anthropic-version:"]
        return [*others, b"anthropic-version: " + (self._pinned or self.DEFAULT)]
