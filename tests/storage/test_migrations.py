"""Databases of earlier versions: what a revision makes of the rows that are there."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, Table, insert, select

import metrion.storage.migrations
from metrion.config import Settings
from metrion.storage import tables
from metrion.storage.database import Database, migrate, open_writer
from metrion.storage.pricing import SPLIT
from metrion.storage.rows import COLUMNS, Row
from tests.storage.samples import call_row

NOON = 1_793_534_400_000  # 2026-11-01T12:00:00Z
DAY = NOON // 86_400_000 * 86_400_000


def database_at(revision: str, data_dir: Path) -> Database:
    database = open_writer(Settings(data_dir=data_dir))
    config = Config()
    config.set_main_option("script_location", str(Path(metrion.storage.migrations.__file__).parent))
    with database.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
    return database


def add_calls(connection: Connection, rows: list[Row]) -> None:
    """Rows as they were before the fifth revision; they had no split."""
    for row in rows:
        given = {name: value for name, value in zip(COLUMNS, row, strict=True) if name not in SPLIT}
        connection.execute(insert(tables.calls).values(given))


def add_totals(connection: Connection, table: Table, **keys: int | str) -> None:
    """A row of totals as it was before the second revision."""
    given = {"account_id": 1, "provider": "openai", "outcome": "ok", **keys}
    # Columns that are not there yet are not named: their server-side default is none of this statement's affair.
    connection.execute(insert(table).values(**given))


def test_money_of_each_source_is_summed_from_the_rows(tmp_path: Path) -> None:
    database = database_at("0001", tmp_path)
    rows = [
        call_row(NOON, 1, cost_source="provider", cost_nano=7),
        call_row(NOON + 1, 2, cost_source="provider", cost_nano=5),
        call_row(NOON, 3, cost_source="estimated", cost_nano=3),
        call_row(NOON, 4, cost_source="computed", cost_nano=11),
        call_row(NOON, 5, cost_source="unknown", cost_nano=None),
        call_row(NOON + 3_600_000, 6, cost_source="provider", cost_nano=100, requester="bot"),
    ]
    with database.begin() as connection:
        add_calls(connection, rows)
        for start in (NOON, NOON + 3_600_000):
            add_totals(connection, tables.model_hours, start_ms=start, model="gpt-4o-mini", status=200)
        add_totals(connection, tables.model_days, start_ms=DAY, model="gpt-4o-mini", status=200)
        for requester in ("", "bot"):
            add_totals(connection, tables.requester_days, start_ms=DAY, requester=requester)
    assert migrate(database)
    with database.begin() as connection:
        found = {}
        for table in (tables.model_hours, tables.model_days, tables.requester_days):
            sums = select(table.c.provider_nano, table.c.estimated_nano).order_by(*table.primary_key)
            found[table.name] = [tuple(row) for row in connection.execute(sums)]
    database.close()
    assert found == {
        "model_hours": [(12, 3), (100, 0)],
        "model_days": [(112, 3)],
        "requester_days": [(12, 3), (100, 0)],
    }


def test_the_rows_themselves_stay(tmp_path: Path) -> None:
    database = database_at("0001", tmp_path)
    row = call_row(NOON, 1, cost_nano=7)
    with database.begin() as connection:
        add_calls(connection, [row])
    migrate(database)
    with database.begin() as connection:
        [same] = connection.execute(select(*(tables.calls.c[name] for name in COLUMNS))).all()
    database.close()
    assert tuple(same) == row
