"""Databases of earlier versions: what a revision makes of the rows that are there."""
# ruff: noqa: S608  the tables are ours

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, insert, select

import metrion.storage.migrations
from metrion.config import Settings
from metrion.kit.clock import HOUR_MS
from metrion.ledger.fold import fold_all
from metrion.storage import tables
from metrion.storage.database import Database, migrate, open_writer
from metrion.storage.pricing import SPLIT
from metrion.storage.rows import COLUMNS, Row
from tests.ledger.straight import check_totals, kept
from tests.storage.samples import call_row

NOON = 1_793_534_400_000  # 2026-11-01T12:00:00Z
DAY = NOON // 86_400_000 * 86_400_000


def database_at(revision: str, data_dir: Path) -> Database:
    database = open_writer(Settings(data_dir=data_dir))
    upgrade(database, revision)
    return database


def upgrade(database: Database, revision: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(metrion.storage.migrations.__file__).parent))
    with database.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)


def add_calls(connection: Connection, rows: list[Row]) -> None:
    """Rows as they were before the fifth revision; they had no split."""
    for row in rows:
        given = {name: value for name, value in zip(COLUMNS, row, strict=True) if name not in SPLIT}
        connection.execute(insert(tables.calls).values(given))


def add_totals(connection: Connection, table: str, rows: Iterable[dict[str, Any]]) -> None:
    """Rows of totals as they were, by the columns they had."""
    for row in rows:
        names, marks = ",".join(row), ",".join("?" * len(row))
        connection.exec_driver_sql(f"INSERT INTO {table} ({names}) VALUES ({marks})", tuple(row.values()))


def test_money_of_each_source_is_summed_from_the_rows(tmp_path: Path) -> None:
    database = database_at("0001", tmp_path)
    rows = [
        call_row(NOON, 1, cost_source="provider", cost_nano=7),
        call_row(NOON + 1, 2, cost_source="provider", cost_nano=5),
        call_row(NOON, 3, cost_source="estimated", cost_nano=3),
        call_row(NOON, 4, cost_source="computed", cost_nano=11),
        call_row(NOON, 5, cost_source="unknown", cost_nano=None),
        call_row(NOON + HOUR_MS, 6, cost_source="provider", cost_nano=100, requester="bot"),
    ]
    of = {"account_id": 1, "provider": "openai", "outcome": "ok"}
    model = of | {"model": "gpt-4o-mini", "status": 200}
    with database.begin() as connection:
        add_calls(connection, rows)
        add_totals(connection, "model_hours", [model | {"start_ms": start} for start in (NOON, NOON + HOUR_MS)])
        add_totals(connection, "model_days", [model | {"start_ms": DAY}])
        add_totals(connection, "requester_days", [of | {"start_ms": DAY, "requester": who} for who in ("", "bot")])
    upgrade(database, "0002")
    with database.begin() as connection:
        found = {
            table: connection.exec_driver_sql(f"SELECT provider_nano, estimated_nano FROM {table} ORDER BY 1").all()
            for table in ("model_hours", "model_days", "requester_days")
        }
    database.close()
    assert found == {
        "model_hours": [(12, 3), (100, 0)],
        "model_days": [(112, 3)],
        "requester_days": [(12, 3), (100, 0)],
    }


def test_totals_of_days_are_made_of_what_was_there(tmp_path: Path) -> None:
    database = database_at("0004", tmp_path)
    rows = [
        call_row(
            NOON + n * 7 * HOUR_MS // 2,
            n,
            account_id=1 + n % 2,
            model=f"m{n % 3}",
            requester=("", "bot")[n % 2],
            stream=n % 2,
            outcome=("ok", "ok", "timeout", "rejected")[n % 4],
            status=(200, 200, 0, 429)[n % 4],
            output_tokens=n,
            cost_nano=n,
            latency_us=1000 * n,
            ttft_us=600 * n,
            provider_us=900 * n if n % 5 else 0,
        )
        for n in range(40)
    ]
    with database.begin() as connection:
        add_calls(connection, rows)
        for kind, names in (("model", "model, status"), ("requester", "requester")):
            for size, ms in (("hours", HOUR_MS), ("days", 24 * HOUR_MS)):
                connection.exec_driver_sql(
                    f"INSERT INTO {kind}_{size} (account_id, start_ms, provider, {names}, outcome, requests,"
                    f" output_tokens, cost_nano, cost_computed, latency_us) SELECT account_id,"
                    f" started_ms - started_ms % {ms}, provider, {names}, outcome, COUNT(*), SUM(output_tokens),"
                    f" SUM(cost_nano), COUNT(*), SUM(latency_us) FROM calls GROUP BY 1, 2, 3, {names}, outcome"
                )
    assert migrate(database)
    check_totals(database)
    fold_all(database, NOON + 10 * 24 * HOUR_MS)
    assert kept(database, "pair_days")
    check_totals(database)
    with database.begin() as connection:
        named = {
            tuple(row) for row in connection.execute(select(*tables.names.c).where(tables.names.c.account_id == 2))
        }
    assert named == {(2, "model", 202611, f"m{n}", "openai") for n in range(3)} | {(2, "requester", 202611, "bot", "")}
    database.close()


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


def test_pairs_of_the_last_days_are_what_they_were(tmp_path: Path) -> None:
    database = database_at("0010", tmp_path)
    of = {"account_id": 1, "provider": "openai", "class": 2}
    rows = [
        of | {"requester": who, "model": f"m{n}", "start_ms": NOON + n * 900_000, "requests": n, "errors": n // 2}
        for n in range(5)
        for who in ("", "bot")
    ]
    with database.begin() as connection:
        add_totals(connection, "recent_pairs", rows)
    upgrade(database, "0011")
    with database.begin() as connection:
        found = connection.execute(select(*(tables.recent_pairs.c[name] for name in rows[0]))).all()
    database.close()
    assert sorted(map(tuple, found)) == sorted(tuple(row.values()) for row in rows)
