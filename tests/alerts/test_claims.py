"""Several processes that look at one rule at once tell once: each has a database connection of its own here."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from threading import Barrier

import pytest

from metrion.accounts.vault import open_vault
from metrion.alerts.engine import Engine
from metrion.config import Settings
from metrion.ledger.writer import write_calls
from metrion.rates.daily import DailyRates
from metrion.storage import alerts as stored
from metrion.storage import outbox
from metrion.storage.database import open_writer
from tests.alerts.rules import add_rule
from tests.ledger.samples import NOON, make_call
from tests.ledger.test_fold import LIST, house

TOGETHER = 4


@pytest.mark.parametrize(("calls", "level"), [(9, "warning"), (10, "alert")])
def test_each_line_is_told_once(tmp_path: Path, calls: int, level: str) -> None:
    settings = Settings(data_dir=tmp_path)
    with ExitStack() as held:
        first = house(tmp_path)
        held.callback(first.close)
        vault = open_vault(settings, first)
        for number in range(5):
            add_rule(first, name=f"Rule {number}", threshold=10)
        write_calls(first, LIST, [make_call(NOON) for _ in range(calls)], fresh=True)
        others = [open_writer(settings) for _ in range(TOGETHER)]
        for database in others:
            held.callback(database.close)
        ready = Barrier(TOGETHER)

        def look(number: int) -> bool:
            engine = Engine(vault, DailyRates(tmp_path), "https://m.example.com", mail=True, wake=lambda: None)
            ready.wait(10)
            with others[number].begin() as connection:
                return engine.evaluate(connection, 1, NOON)

        with ThreadPoolExecutor(TOGETHER) as pool:
            fired = list(pool.map(look, range(TOGETHER)))
        assert sorted(fired) == [False, False, False, True]
        with first.begin() as connection:
            told = [(row.name, row.level) for row in stored.alerts_of(connection, 1, 99)]
            assert sorted(told) == [(f"Rule {number}", level) for number in range(5)]
            assert len(outbox.due_mail(connection, 1 << 60, 99)) == 5
