"""What all tabs of the dashboard share: the range, the filters, the links between them, and live updates."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, quote

from metrion.accounts.plans import Plan
from metrion.kit.zones import local_date
from metrion.providers import PROVIDERS
from metrion.storage.database import Connection
from metrion.storage.view import Filters, Range
from metrion.web.currency import Money
from metrion.web.filters import RANGES, STATUS, Asked, Chip, Span
from metrion.web.known import Known

_STATUSES = (
    ("2xx", "2xx: answered"),
    ("3xx", "3xx"),
    ("4xx", "4xx: refused"),
    ("5xx", "5xx: failed"),
    ("none", "No answer"),
)
_LONGEST_OWN = 256


class Question(NamedTuple):
    """What a tab is asked. `own`: the tab's own choices, as its address has them; `source`: the requester it is of."""

    account_id: int
    asked: Asked
    span: Span
    range: Range
    money: Money
    known: Known
    kept_ms: int  # nothing that was recorded before is shown
    path: str
    own: Mapping[str, str]
    source: str = ""

    @property
    def filters(self) -> Filters:
        """What is counted."""
        asked = self.asked
        return Filters(asked.provider, asked.models, asked.requester, STATUS.get(asked.status))

    @property
    def zone(self) -> str:
        """The time zone its days are days of."""
        return self.range.zone

    def link(self, path: str, **changes: Any) -> str:
        """Another page with the same range and filters, or some of them changed."""
        return path + self.asked.but(**changes).query()

    def here(self, **changes: Any) -> str:
        """This tab with some of the range and filters changed, and its own choices."""
        asked = self.asked.but(**changes)
        return self.path + (asked.but(requester="") if self.source else asked).query(**self.own)

    def choose(self, **own: str) -> str:
        """This tab with other choices of its own."""
        return self._replace(own=dict(self.own) | own).here()

    def logs(self, **more: str) -> str:
        """The log with the same range and filters."""
        return "/logs" + self.asked.query(**more)

    def logs_of(self, status: str) -> str:
        """The log of one status class."""
        return "/logs" + self.asked.but(status=status).query()

    def source_link(self, requester: str) -> str:
        """A requester's own page with the same range and filters."""
        if requester in _STEPS:
            return self.link("/dashboard", requester=requester)
        return source_path(requester) + self.asked.but(requester="").query()


Read = Callable[[Connection, Question], dict[str, Any] | None]  # the template's context; None: no call matches


class Tab(NamedTuple):
    """A tab: its address, its words, its template, what reads it, and which choices of its own it takes."""

    path: str
    title: str
    template: str
    read: Read
    own: tuple[str, ...] = ()


class TabLink(NamedTuple):
    """A tab as the page shows it."""

    label: str
    href: str
    active: bool


class Board(NamedTuple):
    """What the templates of every tab use."""

    tab: Tab
    tabs: list[TabLink]
    question: Question
    started: bool
    template: str
    seen: str
    plan: str
    plans: Mapping[str, Plan]

    @property
    def title(self) -> str:
        return self.question.source or self.tab.title

    @property
    def asked(self) -> Asked:
        return self.question.asked

    @property
    def span(self) -> Span:
        return self.question.span

    @property
    def money(self) -> Money:
        return self.question.money

    @property
    def source(self) -> str:
        return self.question.source

    @property
    def path(self) -> str:
        return self.question.path

    def link(self, path: str, **changes: Any) -> str:
        """Another tab with the same range and filters, or some of them changed."""
        return self.question.link(path, **changes)

    def logs(self, **more: str) -> str:
        """The log with the same range and filters."""
        return self.question.logs(**more)

    @property
    def chips(self) -> list[Chip]:
        """The filters that hold; on a requester's own page, that is none."""
        question, asked = self.question, self.asked
        found = []
        for chip in asked.chips:
            if chip.name == "Model":
                changes: dict[str, Any] = {"models": tuple(one for one in asked.models if one != chip.value)}
            else:
                changes = {chip.name.lower(): ""}
            if not (self.source and chip.name == "Requester"):
                found.append(chip._replace(without=question.here(**changes)))
        return found

    @property
    def unfiltered(self) -> str:
        return self.question.here(provider="", models=(), requester="", status="")

    @property
    def ranges(self) -> list[tuple[str, str, str]]:
        """Name, label and address of each range."""
        return [(name, label, self.question.here(range=name)) for name, label in RANGES.items()]

    def fields(self, but: Collection[str]) -> list[tuple[str, str]]:
        """The address as hidden fields of a form, without those."""
        query = self.question.here().partition("?")[2]
        return [(name, value) for name, value in parse_qsl(query) if name not in but]

    @property
    def first_day(self) -> str:
        return local_date(self.question.zone, self.span.asked_ms).isoformat()

    @property
    def last_day(self) -> str:
        return local_date(self.question.zone, self.span.to_ms - 1).isoformat()

    @property
    def kept(self) -> str:
        """How long the plan keeps requests, in words."""
        return self.plans[self.plan].kept

    @property
    def kept_by_pro(self) -> str:
        """How long pro does; "" for who has it, or where that is no longer."""
        mine, pro = self.plans[self.plan].retention_days, self.plans["pro"].retention_days
        return self.plans["pro"].kept if mine and (not pro or pro > mine) else ""

    @property
    def providers(self) -> list[tuple[str, str]]:
        return [(one.name, one.label) for one in PROVIDERS.values()]

    @property
    def statuses(self) -> tuple[tuple[str, str], ...]:
        return _STATUSES

    @property
    def models(self) -> list[str]:
        """Those to choose from, and those that are chosen."""
        named = self.question.known.names.models
        return [*(one for one in self.asked.models if one not in named), *named]

    @property
    def requesters(self) -> list[str]:
        return self.question.known.names.requesters

    @property
    def live_url(self) -> str:
        """What is asked every two seconds."""
        own = {"tab": self.tab.title.lower(), "source": self.source, "seen": self.seen}
        asked = self.asked.but(requester="") if self.source else self.asked
        return "/dashboard/live" + asked.query(**(dict(self.question.own) | own))


_STEPS = (".", "..")  # browsers take these for steps in a path, however they are written


def source_path(requester: str) -> str:
    """A requester's own page."""
    return "/dashboard/sources/" + quote(requester, safe="")
