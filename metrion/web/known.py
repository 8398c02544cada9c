"""Known names: what each account's models and requesters are, for filters, and which colour each model has.

They are read anew after a minute. A colour stays with its model as long as that is among the eight that cost most.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from typing import NamedTuple

from metrion.providers import PROVIDERS
from metrion.storage.database import Connection
from metrion.storage.pulse import Names, used_names
from metrion.web.charts import Palette

_SECONDS = 60.0
_ACCOUNTS = 1000


class Known(NamedTuple):
    """An account's names and their colours."""

    names: Names
    models: Palette
    at: float


class KnownNames:
    """Keeps them for the accounts that looked last. May be asked by several threads."""

    def __init__(self) -> None:
        self._kept: OrderedDict[int, Known] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, connection: Connection, account_id: int, now_ms: int) -> Known:
        """The names of an account."""
        with self._lock:
            kept = self._kept.get(account_id)
        if kept is not None and time.monotonic() - kept.at < _SECONDS:
            return kept
        names = used_names(connection, account_id, now_ms)
        known = Known(names, Palette(names.models, kept.models.colours if kept else None), time.monotonic())
        with self._lock:
            self._kept[account_id] = known
            self._kept.move_to_end(account_id)
            while len(self._kept) > _ACCOUNTS:
                self._kept.popitem(last=False)
        return known


PROVIDER_COLOURS = dict(zip(PROVIDERS, "12345", strict=False))
