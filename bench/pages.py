"""Fills a database with ten million calls, serves it, and times every page.

    bench/pages [--data DIR] [--millions 10] [--rounds 20] [--only pages|csv|proxy|waits] [--long]

`--data`: where the database is, or is to be; one that is there is used again, and one half made is made whole. Without
it, a folder is made and deleted.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import chain
from operator import attrgetter
from pathlib import Path
from statistics import median
from typing import NamedTuple
from urllib.parse import urlencode

from bench import proc, sides
from bench.beside import beside_pages
from bench.client import Visitor
from bench.fill import Size, fill, greatest_account, greatest_email, models, small_account
from bench.waits import longest_waits
from metrion.accounts.sessions import start_session
from metrion.config import Settings
from metrion.kit.clock import DAY_MS, now_ms
from metrion.kit.zones import local_date
from metrion.prices.catalog import PriceBook
from metrion.storage.database import open_writer

TAB_MS, LOG_MS = 100, 80  # what p95 is to stay below
CSV_ROWS = 1_000_000
MIB = 1 << 20
_NAMED = 10  # models
PARTS = ("pages", "csv", "proxy", "waits")


Named = list[tuple[str, str]]  # models with their providers, the most used first


class Asked(NamedTuple):
    """Addresses that are timed together: the same page of several ranges, or one alone."""

    name: str
    paths: list[str]
    target_ms: float


class Timed(NamedTuple):
    """How long the answers of an `Asked` took, and the server's CPU time for each, in milliseconds.

    `first`: the CPU time when each address was asked for the first time: a part of it may be in memory from others.
    """

    asked: Asked
    taken: list[float]
    cpu: list[float]
    first: list[float]
    slowest: str  # of its addresses, by the median

    @property
    def p50(self) -> float:
        return median(self.taken)

    @property
    def p95(self) -> float:
        return _p95(self.taken)


def _p95(taken: list[float]) -> float:
    return sorted(taken)[max(-(-len(taken) * 95 // 100) - 1, 0)]


# ── what is asked ─────────────────────────────────────────────────────────────────────────────────────────────────────


def _query(**fields: str | list[str]) -> str:
    text = urlencode({name: value for name, value in fields.items() if value}, doseq=True)
    return f"?{text}" if text else ""


def ranges(now: int) -> dict[str, dict[str, str]]:
    """Each range with its fields."""
    days = {"from": local_date("UTC", now - 45 * DAY_MS), "to": local_date("UTC", now - 10 * DAY_MS)}
    own = {name: day.isoformat() for name, day in days.items()}
    return {name: {"range": name} for name in ("24h", "7d", "30d", "90d")} | {"custom": own}


def filters(named: Named) -> dict[str, dict[str, str | list[str]]]:
    """Each combination of filters with its fields."""
    (_, second), _, (provider, model) = named[:3]
    requester = "requester-0007"
    return {
        "no filter": {},
        "provider": {"provider": provider},
        "model": {"model": model},
        "two models": {"model": [model, second]},
        "requester": {"requester": requester},
        "rare requester": {"requester": "requester-4711"},
        "status": {"status": "4xx"},
        "no answer": {"status": "none"},
        "provider, model": {"provider": provider, "model": model},
        "requester, model": {"requester": requester, "model": model},
        "requester, status": {"requester": requester, "status": "5xx"},
    }


TABS: dict[str, tuple[str, dict[str, str]]] = {
    "Overview": ("/dashboard", {}),
    "Costs": ("/dashboard/costs", {}),
    "Costs by provider": ("/dashboard/costs", {"by": "provider"}),
    "Costs by requester": ("/dashboard/costs", {"by": "requester"}),
    "Costs by class": ("/dashboard/costs", {"by": "class", "of": "tokens"}),
    "Latency": ("/dashboard/latency", {}),
    "Errors": ("/dashboard/errors", {}),
    "Sources": ("/dashboard/sources", {}),
    "Sources by errors": ("/dashboard/sources", {"sort": "errors"}),
}


def tabs(now: int, named: Named) -> Iterator[Asked]:
    """Every tab with every filter, in all ranges; and a requester's own page."""
    for tab, (path, own) in TABS.items():
        for name, some in filters(named).items():
            paths = [path + _query(**one, **some, **own) for one in ranges(now).values()]
            yield Asked(f"{tab}: {name}", paths, TAB_MS)
    for name in ("requester-0000", "requester-0007", "requester-4711"):
        paths = [f"/dashboard/sources/{name}" + _query(**one) for one in ranges(now).values()]
        yield Asked(f"Source: {name}", paths, TAB_MS)


def logs(now: int, named: Named) -> Iterator[Asked]:
    """Every kind of page of the log."""
    some: dict[str, dict[str, str | list[str]]] = dict(filters(named)) | {
        "streamed": {"stream": "yes"},
        "search: a model": {"q": named[0][1]},
        "search: a part of a requester": {"q": "ster-47"},
        "search: nothing": {"q": "there is no such name"},
        "search: beginning of an id": {"q": (now - 20 * DAY_MS).to_bytes(6, "big").hex()[:8]},
        "by cost": {"sort": "cost"},
        "by latency": {"sort": "latency"},
        "by tokens": {"sort": "tokens"},
        "by cost, requester": {"sort": "cost", "requester": "requester-0007"},
        "by cost, model": {"sort": "cost", "model": named[2][1]},
    }
    for name, fields in some.items():
        paths = ["/logs" + _query(**one, **fields) for one in ranges(now).values()]
        yield Asked(f"Logs: {name}", paths, LOG_MS)
    deep = [(now - days * DAY_MS).to_bytes(6, "big").hex() + "00" * 10 for days in (1, 40, 80, 89)]
    for name, fields in (some | {"no filter": {}}).items():
        if "sort" not in fields and not name.startswith("search: beg"):
            paths = ["/logs" + _query(range="90d", before=one, **fields) for one in deep]
            paths += ["/logs" + _query(range="90d", after=one, **fields) for one in deep]
            yield Asked(f"Logs, deep: {name}", paths, LOG_MS)
    jumps = [local_date("UTC", now - days * DAY_MS).isoformat() + "T09:30" for days in (2, 45, 88)]
    yield Asked("Logs, jump to a time", ["/logs" + _query(range="90d", at=one) for one in jumps], LOG_MS)
    yield Asked("Logs: is anything newer?", ["/logs/newer" + _query(after=one) for one in deep[:1]], LOG_MS)


def others(visitor: Visitor) -> Iterator[Asked]:
    """The live poll, without and with something new, one request, and the JSON API's figures."""
    polls = [visitor.get(path).poll for path, _ in TABS.values()]
    yield Asked("Live: nothing new", polls, TAB_MS)
    yield Asked("Live: something new", [one.partition("seen=")[0] + "seen=old" for one in polls], TAB_MS)
    first = visitor.get("/logs").body.partition('href="/logs/')[2].partition('"')[0]
    yield Asked("One request", [f"/logs/{first}"], LOG_MS)


# ── asking ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def time_pages(visitor: Visitor, pid: int, asked: Asked, rounds: int) -> Timed:
    """Ask for each address that many times; the first time counts as the others do."""
    taken: dict[str, list[float]] = {path: [] for path in asked.paths}
    cpu: dict[str, list[float]] = {path: [] for path in asked.paths}
    for path, times in taken.items():
        for _ in range(rounds):
            before = proc.cpu_clock(pid)
            times.append(visitor.get(path).seconds * 1000)
            cpu[path].append((proc.cpu_clock(pid) - before) * 1000)
    slowest = max(taken, key=lambda path: median(taken[path]))
    first = [some[0] for some in cpu.values()]
    return Timed(asked, list(chain(*taken.values())), list(chain(*cpu.values())), first, slowest)


def show(timed: Timed) -> None:
    """A line of the table."""
    late = "  over" if timed.p95 > timed.asked.target_ms else ""
    slowest = f"  slowest: {timed.slowest}" if late and timed.slowest else ""
    figures = (timed.p50, timed.p95, max(timed.taken), median(timed.cpu), _p95(timed.cpu), _p95(timed.first))
    print(f"{timed.asked.name:40}" + "".join(f"{one:9.1f}" for one in figures) + late + slowest, flush=True)


def all_pages(visitor: Visitor, pid: int, rounds: int) -> None:
    """The table, and what is over its target."""
    now, named = now_ms(), models(PriceBook.load(), _NAMED)
    print(f"{'server time in ms':40}" + "".join(f"{one:>9}" for one in _HEADS))
    for title, asked in (("tabs", tabs(now, named)), ("Logs", logs(now, named)), ("others", others(visitor))):
        timed = []
        for one in asked:
            timed.append(time_pages(visitor, pid, one, rounds))
            show(timed[-1])
        every, cpu, first = ([ms for one in timed for ms in some(one)] for some in (_TAKEN, _CPU, _FIRST))
        show(Timed(Asked(f"all {title}", [], timed[0].asked.target_ms), every, cpu, first, ""))
        late = sum(one.p95 > one.asked.target_ms for one in timed)
        print(f"{late} of {len(timed)} lines over {timed[0].asked.target_ms:.0f} ms\n")


_TAKEN, _CPU, _FIRST = attrgetter("taken"), attrgetter("cpu"), attrgetter("first")
_HEADS = ("p50", "p95", "most", "CPU p50", "CPU p95", "1st p95")


def download(visitor: Visitor, pid: int, size: Size) -> None:
    """A million rows as CSV, and how much memory the server took for it."""
    now = now_ms()
    a_day = size.calls / size.days * 0.9
    days = min(int(-(-CSV_ROWS // a_day)), size.days - 2)
    first, last = (local_date("UTC", now - back * DAY_MS).isoformat() for back in (days, 1))
    visitor.download("/logs.csv" + _query(**{"from": last, "to": last}))  # what the first one loads stays
    before = proc.resident_bytes(pid)
    with most_memory(pid) as most:
        lines, length, seconds = visitor.download("/logs.csv" + _query(**{"from": first, "to": last}))
    print(
        f"CSV: {lines - 1:,} rows, {length / 1e6:,.0f} MB in {seconds:.1f} s,"
        f" {max(most) / MIB - before / MIB:.1f} MiB more memory than the {before / MIB:.0f} MiB before"
    )


@contextmanager
def most_memory(pid: int) -> Iterator[list[int]]:
    """Resident bytes of a process, looked at all the while."""
    seen, over = [proc.resident_bytes(pid)], threading.Event()

    def look() -> None:
        while not over.wait(0.05):
            seen.append(proc.resident_bytes(pid))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()


# ── the server ────────────────────────────────────────────────────────────────────────────────────────────────────────


def sign_in(data: Path, size: Size) -> tuple[int, tuple[str, str]]:
    """The account with most calls, and cookies of sessions of it and of a small one; while no server runs."""
    database = open_writer(Settings(data_dir=data))
    try:
        with database.begin() as connection:
            account_ids = (greatest_account(connection, size), small_account(connection))
            great, small = (start_session(connection, one, "bench", "127.0.0.1") for one in account_ids)
            return account_ids[0], (great, small)
    finally:
        database.close()


@contextmanager
def serving(product: sides.Metrion) -> Iterator[int]:
    """A server on its data directory; its process id."""
    process = product.start()
    try:
        yield process.pid
    finally:
        sides.stop(process)


def run(data: Path, folder: Path, wanted: list[str], size: Size, rounds: int, seconds: float) -> None:
    """Make the database where it is not there yet, and measure the parts that are wanted."""
    fill(data, size)
    account_id, cookies = sign_in(data, size)
    if "pages" in wanted or "csv" in wanted:
        product = sides.Metrion(folder, "http://127.0.0.1:9", data=data)
        with serving(product) as pid:
            visitor = Visitor(product.port, cookies[0])
            if "pages" in wanted:
                all_pages(visitor, pid, rounds)
            if "csv" in wanted:
                download(visitor, pid, size)
            visitor.close()
    if "proxy" in wanted:
        beside_pages(folder, data, cookies[0], seconds)
    if "waits" in wanted:
        longest_waits(folder, data, account_id, greatest_email(size), cookies, seconds)


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench/pages", description="Times every page on ten million calls.")
    parser.add_argument("--data", type=Path, help="the data directory; without it, one is made and deleted")
    parser.add_argument("--millions", type=float, default=10, help="of calls")
    parser.add_argument("--days", type=int, default=90)
    parser.add_argument("--rounds", type=int, default=20, help="how often each address is asked for")
    parser.add_argument("--seconds", type=float, default=6, help="of each load, and of each wait's watch")
    parser.add_argument("--only", choices=PARTS, help="one part instead of all")
    given = parser.parse_args()
    if sys.platform != "linux":
        raise SystemExit("bench: reads CPU and memory from /proc, so it needs Linux")
    size = Size(int(given.millions * 1e6), given.days, models=200, requesters=5000, accounts=50)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="metrion-pages-")))
        began = time.monotonic()
        wanted = [given.only] if given.only else list(PARTS)
        run(given.data or folder / "data", folder, wanted, size, given.rounds, given.seconds)
        print(f"all in {time.monotonic() - began:,.0f} s", file=sys.stderr)


if __name__ == "__main__":
    main()
