"""Two processes that look at the same moment: each alert exists once, with its mail and its deliveries."""

from __future__ import annotations

import multiprocessing
from multiprocessing.synchronize import Barrier
from pathlib import Path

from metrion.accounts.vault import open_vault
from metrion.alerts import webhooks
from metrion.alerts.engine import Engine
from metrion.config import Settings
from metrion.ledger.writer import write_calls
from metrion.rates.daily import DailyRates
from metrion.storage import alerts as stored
from metrion.storage import outbox
from metrion.storage import webhooks as stored_webhooks
from metrion.storage.database import open_writer
from tests.alerts.rules import add_rule
from tests.alerts.test_values import house
from tests.ledger.samples import NOON, make_call
from tests.ledger.test_fold import LIST

ROUNDS = 20


def look(folder: Path, together: Barrier) -> None:
    """What a process does: it looks at the account again and again, at the same moments as the other."""
    settings = Settings(data_dir=folder)
    database = open_writer(settings)
    vault = open_vault(settings, database)
    engine = Engine(vault, DailyRates(folder), "https://m.example.com", mail=True, wake=lambda: None)
    for _ in range(ROUNDS):
        together.wait(30)
        with database.begin() as connection:
            engine.evaluate(connection, 1, NOON)
    database.close()


def test_each_alert_exists_once(tmp_path: Path) -> None:
    database = house(tmp_path)
    vault = open_vault(Settings(data_dir=tmp_path), database)
    rules = [add_rule(database, threshold=limit) for limit in range(1, ROUNDS + 1)]
    with database.begin() as connection:
        hook = webhooks.add(
            connection, vault, 1, kind="signed", name="", url="https://hooks.example.com/", allow_private=False
        )
    spawn = multiprocessing.get_context("spawn")
    together = spawn.Barrier(3)
    lookers = [spawn.Process(target=look, args=(tmp_path, together), daemon=True) for _ in range(2)]
    for one in lookers:
        one.start()
    for _ in range(ROUNDS):  # a call each round, which crosses the line of another rule while both look
        together.wait(60)
        write_calls(database, LIST, [make_call()], fresh=True)
    for one in lookers:
        one.join(60)
        assert one.exitcode == 0
    with database.begin() as connection:
        Engine(vault, DailyRates(tmp_path), "https://m.example.com", mail=True, wake=lambda: None).evaluate(
            connection, 1, NOON
        )
        fired = stored.alerts_of(connection, 1, 999)
        sent = stored_webhooks.deliveries_of(connection, 1, hook, 999)
        mailed = outbox.due_mail(connection, 1 << 60, 999)
    database.close()
    told = [(one.rule_id, one.level) for one in fired]
    assert len(told) == len(set(told)) == len(sent) == len(mailed)
    assert {rule for rule, level in told if level == "alert"} == {rule.id for rule in rules}
