"""Which headers pass, which are ours to read, and which stay behind.

Lines pass as they came, byte for byte. A name is looked at once and remembered; of an answer the whole line, since a
provider sends nearly the same ones each time: they then cost one look-up each.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import structlog

from metrion.proxy.http1 import BadMessage, check_name, check_text

_REMEMBERED_NAMES = 4096
_REMEMBERED_LINES = 2048
_REMEMBERED_BYTES = 256  # of one line
_LINES_PER_NAME = 8  # a name that said more different things (dates, ids) is not worth remembering with its value
log = structlog.get_logger("metrion.proxy")

Named = dict[bytes, list[bytes]]  # values by lower-case name, in order, without white space around them; only read
_Sorted = tuple[bool, bytes, list[bytes]]  # whether a line passes; its key in Named, or ""; its value, alone


class Rules:
    """One direction's sorting of header lines.

    `noted` are read by us and do not pass; `kept_noted` are read and pass; `dropped` and `dropped_prefixes` stay
    behind unread. `remembers_lines`: also what they say, which a request's must not be, for its credentials' sake.
    """

    def __init__(
        self,
        *,
        noted: Iterable[bytes],
        kept_noted: Iterable[bytes],
        dropped: Iterable[bytes],
        dropped_prefixes: tuple[bytes, ...],
        remembers_lines: bool,
    ) -> None:
        self._noted, self._kept_noted, self._dropped = frozenset(noted), frozenset(kept_noted), frozenset(dropped)
        self._prefixes = dropped_prefixes
        self._names: dict[bytes, tuple[bool, bytes, bool]] = {}  # passes; key; whether its lines may be remembered
        self._lines: dict[bytes, _Sorted] = {}
        self._lines_of: Counter[bytes] = Counter()  # how many are remembered of each name
        self._remembers_lines = remembers_lines

    def sort(self, lines: list[bytes]) -> tuple[list[bytes], Named]:
        """(lines that pass, values of those we read). Raises BadMessage for a malformed line."""
        kept: list[bytes] = []
        named: Named = {}
        unchecked: list[bytes] = []
        new: list[tuple[bytes, bytes, _Sorted]] = []
        known, names = self._lines, self._names
        for line in lines:
            found = known.get(line)
            if found is None:
                name, colon, value = line.partition(b":")
                if not colon:
                    raise BadMessage("a header line without a colon")
                passes, key, steady = names.get(name) or self._learn(name)
                found = (passes, key, [value.strip()])
                unchecked.append(line)
                if steady:
                    new.append((name, line, found))
            passes, key, values = found
            if passes:
                kept.append(line)
            if key:
                named[key] = named[key] + values if key in named else values
        if unchecked:
            check_text(b"".join(unchecked))
            if new:
                self._remember(new)
        return kept, named

    def _learn(self, name: bytes) -> tuple[bool, bytes, bool]:
        check_name(name)
        lower = name.lower()
        reads = lower in self._noted or lower in self._kept_noted
        stays = lower in self._noted or lower in self._dropped or (not reads and lower.startswith(self._prefixes))
        found = (not stays, lower if reads else b"", self._remembers_lines and (reads or not stays))
        if len(self._names) < _REMEMBERED_NAMES:
            self._names[name] = found
        return found

    def _remember(self, new: list[tuple[bytes, bytes, _Sorted]]) -> None:
        """Remember lines that were found to be right."""
        for name, line, found in new:
            if len(line) <= _REMEMBERED_BYTES and len(self._lines) < _REMEMBERED_LINES:
                self._lines[line] = found
                self._lines_of[name] += 1
            if self._lines_of[name] >= _LINES_PER_NAME and name in self._names:
                self._names[name] = (*self._names[name][:2], False)


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
    remembers_lines=False,
)

ANSWER = Rules(
    noted=(b"connection", b"content-length", b"transfer-encoding"),
    kept_noted=(b"content-type", b"content-encoding", b"request-id", b"x-request-id", b"x-goog-request-id"),
    dropped=(*_HOP_BY_HOP, b"upgrade", b"set-cookie", b"set-cookie2", b"alt-svc", b"strict-transport-security"),
    dropped_prefixes=(b"x-metrion-", b"access-control-"),
    remembers_lines=True,
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
