"""Rules for the tests of alerts."""

from __future__ import annotations

from typing import Any

from metrion.alerts.sums import refill
from metrion.storage import alerts as stored
from metrion.storage.alerts import Rule
from metrion.storage.database import Database
from tests.ledger.samples import NOON

PLAIN = Rule(0, 1, "volume", "", (), (), (), "day", 0, None, 100, "", 0, "UTC", NOON)


def add_rule(database: Database, now_ms: int = NOON, **columns: Any) -> Rule:
    """A rule of account 1, but for `columns`, with the sums of what is there."""
    rule = PLAIN._replace(**columns)
    with database.begin() as connection:
        rule = rule._replace(id=stored.add_rule(connection, rule))
        refill(connection, rule, now_ms)
    return rule
