"""Memory: what was read of totals, kept for the next page, until something is written to what it is of.

moment    what a reading transaction sees: how many changes were told before it began
change    a committed transaction that wrote totals of an account, from some time on

A page reads totals in pieces, most of which are over. The writer tells from when on it wrote an account's totals; what
was read of any time after that is dropped, the rest stays. So what is remembered is what would be read, to the unit.
"""

from __future__ import annotations

import threading
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Hashable, Mapping
from typing import Any, NamedTuple

from sqlalchemy import Connection

Rows = list[Any]  # tuples, or rows of SQLAlchemy

_VALUES = 500_000  # that are kept: about 20 MB
_CHANGES = 1000  # that are known by themselves
_MOMENT, _CHANGED = "metrion.moment", "metrion.changed"  # in the information of a connection


class Moment(NamedTuple):
    """What a transaction that reads sees; with the memory that it may use."""

    memory: Memory
    number: int


class _Kept(NamedTuple):
    to_ms: int
    rows: Rows
    size: int


class Memory:
    """Rows by account and question. May be asked by several threads while another tells of changes."""

    def __init__(self, values: int = _VALUES) -> None:
        self._most = values
        self._size = 0
        self._kept: OrderedDict[tuple[int, Hashable], _Kept] = OrderedDict()
        self._of: defaultdict[int, set[tuple[int, Hashable]]] = defaultdict(set)
        self._number = 0
        self._changes: deque[tuple[int, int, int]] = deque(maxlen=_CHANGES)  # number, account, from when on
        self._lock = threading.Lock()

    @property
    def moment(self) -> Moment:
        """The moment of a transaction that begins now."""
        return Moment(self, self._number)

    def get(self, account_id: int, question: Hashable) -> Rows | None:
        """What is remembered; not to be changed."""
        with self._lock:
            kept = self._kept.get((account_id, question))
            if kept is None:
                return None
            self._kept.move_to_end((account_id, question))
            return kept.rows

    def put(self, account_id: int, question: Hashable, to_ms: int, rows: Rows, number: int) -> None:
        """Remember what a transaction of moment `number` read of an account before `to_ms`."""
        size = sum(map(len, rows)) + 1
        key = account_id, question
        with self._lock:
            if size > self._most // 4 or self._changed_since(number, account_id, to_ms):
                return
            self._drop(key)
            self._kept[key] = _Kept(to_ms, rows, size)
            self._of[account_id].add(key)
            self._size += size
            while self._size > self._most:
                self._drop(next(iter(self._kept)))

    def tell(self, changes: Mapping[int, int]) -> None:
        """Totals of these accounts were changed, each from when on (Unix ms). To be told after the commit."""
        with self._lock:
            for account_id, from_ms in changes.items():
                self._number += 1
                self._changes.append((self._number, account_id, from_ms))
                for key in [key for key in self._of.get(account_id, ()) if self._kept[key].to_ms > from_ms]:
                    self._drop(key)

    def _changed_since(self, number: int, account_id: int, to_ms: int) -> bool:
        """Whether that may be so: of a moment long ago nobody knows."""
        later = self._number - number
        if later > len(self._changes):
            return True
        latest = [self._changes[-at] for at in range(1, later + 1)]
        return any(changed == account_id and from_ms < to_ms for _, changed, from_ms in latest)

    def _drop(self, key: tuple[int, Hashable]) -> None:
        kept = self._kept.pop(key, None)
        if kept is not None:
            self._size -= kept.size
            mine = self._of[key[0]]
            mine.discard(key)
            if not mine:
                del self._of[key[0]]


# ── by connection ─────────────────────────────────────────────────────────────────────────────────────────────────────


def begin_reading(connection: Connection, memory: Memory) -> None:
    """A transaction begins: to be said before it reads anything."""
    connection.info[_MOMENT] = memory.moment


def remembered(
    connection: Connection, account_id: int, question: Hashable, to_ms: int, read: Callable[[], Rows]
) -> Rows:
    """What `read` answers, from memory where the connection has one; `question` tells all that the answer rests on.

    It must rest on the account's totals before `to_ms` alone.
    """
    moment: Moment | None = connection.info.get(_MOMENT)
    if moment is None:
        return read()
    rows = moment.memory.get(account_id, question)
    if rows is None:
        rows = read()
        moment.memory.put(account_id, question, to_ms, rows, moment.number)
    return rows


def changed(connection: Connection, account_id: int, from_ms: int) -> None:
    """This transaction changes totals of an account from then on."""
    pending = connection.info.setdefault(_CHANGED, {})
    pending[account_id] = min(from_ms, pending.get(account_id, from_ms))


def take_changed(connection: Connection) -> dict[int, int]:
    """What the transaction changed, once."""
    found: dict[int, int] = connection.info.pop(_CHANGED, {})
    return found
