"""Fills a database with months of made-up calls, through the functions that write real ones, and asks it everything.

    .venv/bin/python -m bench.fill DIR [--millions 1] [--days 90] [--models 200] [--requesters 5000] [--accounts 50]
    .venv/bin/python -m bench.fill DIR --ask [--rounds 20]

One account, in the middle of the others, has nine calls of ten. Models and requesters are drawn by Zipf's law, each by
itself, so that nearly every requester calls nearly every model: the hardest case for totals.
"""

from __future__ import annotations

import argparse
import gc
import json
import resource
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import accumulate, cycle
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

from msgspec import Raw

from metrion.accounts.vault import open_vault
from metrion.call import Call, Outcome, Reading
from metrion.config import Settings
from metrion.kit.clock import DAY_MS, HOUR_MS, now_ms
from metrion.kit.zones import hour_start, next_day
from metrion.ledger.fold import fold_all, fold_some
from metrion.ledger.pace import Pace
from metrion.ledger.writer import write_calls
from metrion.prices.catalog import PriceBook
from metrion.storage import accounts, costs, dashboard, failures, latencies, search, sources
from metrion.storage.database import Connection, Database, migrate, open_reader, open_writer
from metrion.storage.folding import last_row, next_row
from metrion.storage.search import Wanted
from metrion.storage.view import Filters, Range

PROVIDERS = ("openai", "anthropic", "gemini", "mistral", "grok")
SHARE = 0.9  # of the account in the middle
_BATCH = 20_000  # four times as many as a server writes at once
_GC_THRESHOLDS = (50_000, 20, 100)  # a batch is many objects that all go at once
_STEP_SECONDS = 1.0  # of folding: nobody waits
_TOLD = 500_000  # calls between two lines about how far it is
_ERRORS = (
    (429, Outcome.PROVIDER_ERROR),
    (500, Outcome.PROVIDER_ERROR),
    (400, Outcome.PROVIDER_ERROR),
    (0, Outcome.TIMEOUT),
)
_ERROR_RATE = 0.03
_SEED = 2026


class Size(NamedTuple):
    """How much to make."""

    calls: int
    days: int
    models: int
    requesters: int
    accounts: int


def fill(data_dir: Path, size: Size) -> None:
    """Make a database of that size that ends with now, folded as a server has it; go on where one was begun."""
    gc.freeze()
    gc.set_threshold(*_GC_THRESHOLDS)
    settings = Settings(data_dir=data_dir)
    database = open_writer(settings)
    migrate(database)
    open_vault(settings, database)
    ids, first, there = _begin(database, size)
    book = PriceBook.load()
    spent, began, written = Spent(), time.monotonic(), 0
    traffic, hours = Traffic(size, ids, book), size.days * 24
    batch: list[Call] = []
    for number in range(there, hours):
        hour = first + number * HOUR_MS
        with spent.on("making"):
            batch += traffic.hour(hour, size.calls * (number + 1) // hours - size.calls * number // hours)
        if len(batch) < _BATCH and there < number < hours - 1:
            continue
        with spent.on("writing"):
            write_calls(database, book, batch, fresh=number > there)
        told, written = written // _TOLD, written + len(batch)
        batch.clear()
        if written // _TOLD > told:
            print(f"{written:,} calls, {written / (time.monotonic() - began):,.0f} a second; {spent}", flush=True)
    pace = Pace(_STEP_SECONDS)
    with spent.on("folding"):
        while fold_some(database, now_ms(), pace):
            pass
        fold_all(database, now_ms())
    database.close()
    print(
        f"{written:,} calls in {time.monotonic() - began:,.0f} s; {spent};"
        f" {settings.database_path.stat().st_size / 1e9:.2f} GB"
    )


def _begin(database: Database, size: Size) -> tuple[list[int], int, int]:
    """The accounts, when the first hour begins, and how many hours are there already (the last of them in part)."""
    with database.begin() as connection:
        ids = [row.id for row in accounts.list_accounts(connection)]
        if ids:
            began = [ms for one in ids if (ms := next_row(connection, one, 0)) is not None]
            ended = [ms for one in ids if (ms := last_row(connection, one, now_ms())) is not None]
            first = hour_start("UTC", min(began))
            return ids, first, (max(ended) - first) // HOUR_MS
        ids = [accounts.add_account(connection, f"{one}@example.com", "pro", 0) for one in range(size.accounts)]
    return ids, hour_start("UTC", now_ms()) - size.days * 24 * HOUR_MS, 0


def greatest_email(size: Size) -> str:
    """The address of the account that nine of ten calls are of."""
    return f"{size.accounts // 2}@example.com"


def greatest_account(connection: Connection, size: Size) -> int:
    """That account."""
    wanted = greatest_email(size)
    return next(int(row.id) for row in accounts.list_accounts(connection) if row.email == wanted)


def small_account(connection: Connection) -> int:
    """One of the others."""
    return int(accounts.list_accounts(connection)[0].id)


class Spent:
    """CPU time of this process by what it was spent on."""

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)

    @contextmanager
    def on(self, name: str) -> Iterator[None]:
        began = time.process_time()
        yield
        self.seconds[name] += time.process_time() - began

    def __str__(self) -> str:
        return "CPU: " + ", ".join(f"{name} {seconds:,.1f} s" for name, seconds in self.seconds.items())


class Traffic:
    """Made-up calls."""

    def __init__(self, size: Size, ids: list[int], book: PriceBook) -> None:
        self._chance = Random()  # noqa: S311  no secret
        self._models = models(book, size.models)
        self._by_model = _zipf(size.models)
        self._requesters = [f"requester-{number:04d}" for number in range(size.requesters)]
        self._by_requester = _zipf(size.requesters)
        self._ids = ids
        others = (1 - SHARE) / max(len(ids) - 1, 1)
        self._by_account = list(accumulate(SHARE if at == len(ids) // 2 else others for at in range(len(ids))))
        self._number = 0

    def hour(self, hour_ms: int, calls: int) -> Iterator[Call]:
        """The calls of an hour, by time; the same each time."""
        chance = self._chance
        chance.seed(f"{_SEED} {hour_ms}")
        self._number = 0
        moments = sorted(chance.choices(range(HOUR_MS), k=calls))
        models = chance.choices(self._models, cum_weights=self._by_model, k=calls)
        names = chance.choices(self._requesters, cum_weights=self._by_requester, k=calls)
        owners = chance.choices(self._ids, cum_weights=self._by_account, k=calls)
        for moment, (provider, model), requester, account_id in zip(moments, models, names, owners, strict=True):
            yield self._call(hour_ms + moment, account_id, provider, model, requester)

    def _call(self, started_ms: int, account_id: int, provider: str, model: str, requester: str) -> Call:
        chance = self._chance
        self._number += 1
        failed = chance.random() < _ERROR_RATE
        status, outcome = chance.choice(_ERRORS) if failed else (200, Outcome.OK)
        latency = int(chance.lognormvariate(14, 0.6))  # µs; half of them above 1.2 s
        stream = chance.random() < 0.6
        return Call(
            id=started_ms.to_bytes(6, "big") + self._number.to_bytes(10, "big"),
            account_id=account_id,
            started_ms=started_ms,
            provider=provider,
            endpoint="messages" if provider == "anthropic" else "chat.completions",
            format="anthropic_messages" if provider == "anthropic" else "openai_chat",
            mode="stored",
            requester=requester,
            requested_model=model,
            stream=stream,
            request_bytes=4000,
            status=status,
            outcome=outcome.value,
            error_message=f"it failed after {latency} ms" if failed else "",
            latency_us=latency,
            ttft_us=latency // 4 if stream else latency - 300,
            provider_us=latency - 400,
            response_bytes=9000,
            upstream_request_id=f"req_{self._number:024d}",
            reading=Reading(model=model, usage=[] if failed else [self._usage(provider)], done=True),
        )

    def _usage(self, provider: str) -> Raw:
        chance = self._chance
        prompt, answer = int(chance.lognormvariate(7, 1)), int(chance.lognormvariate(5.5, 1))
        cached = prompt // 2 if chance.random() < 0.3 else 0
        if provider == "anthropic":
            text = f'{{"input_tokens":{prompt - cached},"cache_read_input_tokens":{cached},"output_tokens":{answer}}}'
        else:
            text = (
                f'{{"prompt_tokens":{prompt},"completion_tokens":{answer},"total_tokens":{prompt + answer},'
                f'"prompt_tokens_details":{{"cached_tokens":{cached}}}}}'
            )
        return Raw(text.encode())


def _zipf(number: int) -> list[float]:
    return list(accumulate(1 / (rank + 1) for rank in range(number)))


def models(book: PriceBook, number: int) -> list[tuple[str, str]]:
    """That many models, the providers by turns; beyond those with a price, made-up ones."""
    found: list[tuple[str, str]] = []
    named = {provider: iter(book.named(provider)) for provider in PROVIDERS}
    for provider in cycle(PROVIDERS):
        if len(found) == number:
            return found
        found.append((provider, next(named[provider], f"{provider}-house-{len(found)}")))
    raise AssertionError


# ── asking ────────────────────────────────────────────────────────────────────────────────────────────────────────────

Question = Callable[..., Any]


def questions(zone: str, now: int) -> dict[str, Question]:
    """What pages ask, by name."""
    to_ms = next_day(zone, now)
    month = Range(zone, to_ms - 30 * DAY_MS, to_ms, False, now)
    ranges = {
        "24h": Range(zone, hour_start(zone, now) - 23 * HOUR_MS, hour_start(zone, now) + HOUR_MS, True, now),
        "30d": month,
        "90d": Range(zone, to_ms - 90 * DAY_MS, to_ms, False, now),
    }
    every = Filters()
    asked: dict[str, Question] = {}
    for name, one in ranges.items():
        asked |= _of_range(name, one)
    asked["forecast"] = lambda c, a: costs.forecast(c, a, zone, now, every)
    whole = Wanted(ranges["90d"].from_ms, to_ms)
    deep = (now - 80 * DAY_MS).to_bytes(6, "big") + bytes(10)
    asked |= {
        "log": lambda c, a: (search.find(c, a, whole), search.count(c, a, whole)),
        "log, 80 days deep": lambda c, a: search.find(c, a, whole, before=deep),
        "log of a rare requester": lambda c, a: search.find(
            c, a, Wanted(whole.from_ms, to_ms, requester="requester-4711")
        ),
        "log by text": lambda c, a: search.find(c, a, Wanted(whole.from_ms, to_ms, text="requester-4711")),
        "log of errors": lambda c, a: search.find(c, a, Wanted(whole.from_ms, to_ms, status=5)),
        "log by cost": lambda c, a: search.find_greatest(c, a, whole, "cost", 0),
    }
    return asked


def _of_range(name: str, range: Range) -> dict[str, Question]:
    every, one = Filters(), Filters(requester="requester-0007")
    of_range: dict[str, tuple[Question, Filters]] = {
        "overview": (dashboard.overview, every),
        "why it changed": (costs.why_it_changed, every),
        "costs": (costs.costs, every),
        "dearest": (partial(costs.dearest, number=10), every),
        "latency": (latencies.latency, every),
        "errors": (failures.errors, every),
        "sources": (sources.sources, every),
        "one source": (sources.source, one),
        "overview of a provider": (dashboard.overview, Filters("grok")),
        "overview of a requester": (dashboard.overview, one),
        "latency of a requester": (latencies.latency, one),
    }
    return {
        f"{question} {name}": partial(_ask, asked, range, filters) for question, (asked, filters) in of_range.items()
    }


def _ask(question: Question, range: Range, filters: Filters, connection: Connection, account_id: int) -> Any:
    return question(connection, account_id, range, filters)


def ask(data_dir: Path, rounds: int) -> None:
    """Ask everything that many times, and print how long that took."""
    engine = open_reader(Settings(data_dir=data_dir))
    with engine.connect() as connection:
        ids = accounts.list_accounts(connection)
        account_id = ids[len(ids) // 2].id
        connection.rollback()
        print(f"{'':36}{'p50':>10}{'p95':>10}  ms")
        for name, question in questions("UTC", now_ms()).items():
            taken = []
            for _ in range(rounds):
                began = time.perf_counter()
                question(connection, account_id)
                taken.append((time.perf_counter() - began) * 1000)
                connection.rollback()
            median, most = statistics.median(taken), sorted(taken)[int(0.95 * (rounds - 1))]
            print(f"{name:36}{median:10.1f}{most:10.1f}", flush=True)
    engine.dispose()


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench.fill", description="Makes a large database, or asks one everything.")
    parser.add_argument("data_dir", type=Path)
    parser.add_argument("--ask", action="store_true", help="ask the database that is there")
    parser.add_argument("--rounds", type=int, default=20, help="how often each question is asked")
    parser.add_argument("--millions", type=float, default=1, help="of calls")
    parser.add_argument("--days", type=int, default=90)
    parser.add_argument("--models", type=int, default=200)
    parser.add_argument("--requesters", type=int, default=5000)
    parser.add_argument("--accounts", type=int, default=50)
    given = parser.parse_args()
    if given.ask:
        ask(given.data_dir, given.rounds)
    else:
        size = Size(int(given.millions * 1e6), given.days, given.models, given.requesters, given.accounts)
        fill(given.data_dir, size)
    print(json.dumps({"rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024}))


if __name__ == "__main__":
    main()
