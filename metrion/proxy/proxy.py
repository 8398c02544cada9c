"""Proxy: what every call shares. Made once by `app`; lives on the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Protocol

from metrion.call import Call
from metrion.config import Settings
from metrion.kit.held import Shelf
from metrion.kit.ids import new_ids
from metrion.ledger.journal import Journal
from metrion.providers import PROVIDERS
from metrion.proxy.admit import Admission
from metrion.proxy.authenticate import Accounts
from metrion.proxy.budget import BodyBudget
from metrion.proxy.cors import Cors
from metrion.proxy.front import Front
from metrion.proxy.handler import Exchange
from metrion.proxy.headers import AnthropicVersions
from metrion.proxy.target import Router
from metrion.proxy.upstream import Origin, tls_context

_SWEEP_SECONDS = 0.5
_SWEEPS_PER_TIMEOUT = 8


class Ledger(Protocol):
    """Where ended calls go."""

    @property
    def ready(self) -> bool: ...
    def ended(self, call: Call, intent_segment: int, completion_segment: int) -> None: ...
    def refused(self, call: Call) -> None: ...


class Proxy:
    """The rooms a call passes, and the clock that ends silent ones."""

    def __init__(
        self,
        settings: Settings,
        loop: asyncio.AbstractEventLoop,
        accounts: Accounts,
        admission: Admission,
        journal: Journal,
        ledger: Ledger,
    ) -> None:
        self.settings = settings
        self.loop = loop
        self.accounts = accounts
        self.admission = admission
        self.journal = journal
        self.ids: Iterator[bytes] = new_ids()
        self.router = Router()
        self.cors = Cors(settings.cors_origins)
        self.versions = AnthropicVersions(settings.anthropic_version)
        self.budget = BodyBudget(settings.max_buffered_bytes)
        self.shelf = Shelf()
        self.stopping = False
        self.admits = (
            True  # whether calls can be recorded; looked at by the sweep, as a journal that fails says so at once
        )
        self.fronts: set[Front] = set()
        self.ended = ledger.ended
        self.count_refusal = ledger.refused
        self._ledger = ledger
        self._draining: set[Exchange] = set()
        tls = tls_context()
        self.origins = {
            name: Origin(settings.upstream(name) or one.origin, loop, tls, settings.upstream_connect_timeout)
            for name, one in PROVIDERS.items()
        }
        shortest = min(
            settings.upstream_timeout,
            settings.client_head_timeout,
            settings.client_body_timeout,
            settings.drain_timeout,
        )
        self._sweep_seconds = min(_SWEEP_SECONDS, shortest / _SWEEPS_PER_TIMEOUT)
        self._sweeper = loop.call_later(self._sweep_seconds, self._sweep)

    @property
    def ready(self) -> bool:
        """Whether a call can be recorded safely."""
        return self.journal.ready and self._ledger.ready

    def stop(self) -> None:
        """Admit no more."""
        self.stopping = True
        self.admits = False

    def drain(self, exchange: Exchange) -> None:
        """Watch over an exchange whose client is gone."""
        self._draining.add(exchange)

    def _sweep(self) -> None:
        """End what was silent for too long: one timer for all, since one a call costs more than parsing the call."""
        self._sweeper = self.loop.call_later(
            self._sweep_seconds, self._sweep
        )  # first: it goes on whatever happens here
        now = self.loop.time()
        for front in [one for one in self.fronts if one.deadline < now]:
            front.on_deadline()
        for exchange in [one.exchange for one in self.fronts if one.exchange] + list(self._draining):
            exchange.check_silence(now)
        self._draining = {one for one in self._draining if not one.ended}
        for origin in self.origins.values():
            origin.sweep()
        self.journal.probe()
        self.admits = self.ready and not self.stopping

    def cut_all(self) -> None:
        """End every open call, recorded as interrupted; close every connection."""
        for exchange in [one.exchange for one in self.fronts if one.exchange] + list(self._draining):
            exchange.cut()
        for front in list(self.fronts):
            front.cut()

    def close(self) -> None:
        """Stop the clock and the provider connections."""
        self._sweeper.cancel()
        for origin in self.origins.values():
            origin.close()
