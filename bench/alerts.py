"""The part about alert rules: the same work for an account with fifty of them, among others' idle ones, and without."""

from __future__ import annotations

import contextlib
from pathlib import Path
from statistics import median

from bench import proc, sides, wrk
from bench.measure import ANSWER, CONNECTIONS, WARM_SECONDS, Bench, Figure, Part, compare_rows
from bench.sides import EMAIL, Metrion, Side
from metrion.alerts.kinds import KINDS, SPANS
from metrion.config import Settings
from metrion.kit.clock import HOUR_MS, now_ms
from metrion.kit.zones import QUARTER_MS
from metrion.storage import accounts
from metrion.storage import alerts as stored
from metrion.storage.alerts import Rule
from metrion.storage.database import Connection, open_writer

OTHERS = 1000  # accounts
IDLE = 50  # rules of each
_FAR = 10**15  # a limit that nothing comes near
_BUCKETS = 96  # of an idle rule: a day's quarters of an hour


def rules(bench: Bench) -> Part:
    """`alerts`: `json`'s 32 connections, in turns without a rule and with all of them."""
    folder = bench.folder / "alerts"
    folder.mkdir()
    with contextlib.ExitStack() as stack:
        provider = stack.enter_context(sides.nginx_answer(folder / "provider", ANSWER))
        pair = [
            stack.enter_context(sides.metrion(folder / name, provider.port, name, prepare))
            for name, prepare in (("without", add_others), ("with", add_rules))
        ]
        loads = {side.name: [_warm(side, folder)] for side, _ in pair}
        costs: dict[str, list[float]] = {side.name: [] for side, _ in pair}
        for number in range(bench.rounds):
            for side, _ in pair[:: 1 if number % 2 else -1]:  # neither always has what the other left behind
                start = proc.cpu_seconds(side.pid)
                loads[side.name].append(wrk.load(side, folder, CONNECTIONS, bench.seconds))
                proc.settle(side.pid)
                used = proc.cpu_seconds(side.pid) - start
                costs[side.name].append(used / max(1, loads[side.name][-1].requests) * 1e6)
        cpu = Figure("alerts: CPU per request", "µs", {name: median(values) for name, values in costs.items()})
        # Loads that follow each other see the same machine, whatever else it does meanwhile.
        ratio = median(b / a for a, b in zip(costs["without"], costs["with"], strict=True))
        by_round = Figure("alerts: the same, by rounds", "", {"without": 1.0, "with": ratio})
        remarks = []
        for side, product in pair:
            failed = sum(load.refused + load.broken for load in loads[side.name])
            remarks += [f"alerts: {side.name} failed {failed} requests"] if failed else []
            remarks.append(compare_rows("alerts", product, 0, sum(load.requests for load in loads[side.name])))
        return Part([cpu, by_round], remarks)


def _warm(side: Side, folder: Path) -> wrk.Load:
    load = wrk.load(side, folder, CONNECTIONS, WARM_SECONDS)
    proc.settle(side.pid)
    return load


def add_others(product: Metrion) -> None:
    """The other accounts: they are there on both sides."""
    database = open_writer(Settings(data_dir=product.folder / "data"))
    with database.begin() as connection:
        for number in range(OTHERS):
            accounts.add_account(connection, f"other-{number}@example.com", "pro", 0)
    database.close()


def add_rules(product: Metrion) -> None:
    """The other accounts with IDLE rules each, and 50 for the account that is measured, which nothing pauses."""
    add_others(product)
    database = open_writer(Settings(data_dir=product.folder / "data"))
    with database.begin() as connection:
        for row in accounts.list_accounts(connection, None):
            (_add_active if row.email == EMAIL else _add_idle)(connection, row.id)
    database.close()


def _add_active(connection: Connection, account_id: int) -> None:
    """Each kind over each span, twice: over everything, and over what the measured requests are."""
    for kind in KINDS:
        for span in SPANS:
            stored.add_rule(connection, _rule(account_id, kind, span))
            stored.add_rule(connection, _rule(account_id, kind, span, ("openai",), ("gpt-4o", "gpt-4o-2024-08-06")))


def _add_idle(connection: Connection, account_id: int) -> None:
    """Rules that were busy once: with a day's sums, and nothing new."""
    last = now_ms() // HOUR_MS * HOUR_MS
    starts = [last - number * QUARTER_MS for number in range(_BUCKETS)]
    for number in range(IDLE):
        rule_id = stored.add_rule(connection, _rule(account_id, list(KINDS)[number % len(KINDS)], "day"))
        stored.add_sums(connection, [(account_id, rule_id, start, 9, 1, 9_000) for start in starts], [])


def _rule(account_id: int, kind: str, span: str, providers: tuple[str, ...] = (), models: tuple[str, ...] = ()) -> Rule:
    currency = "EUR" if kind == "budget" else ""
    return Rule(0, account_id, kind, "", providers, models, (), span, 0, None, _FAR, currency, 0, "UTC", now_ms())
