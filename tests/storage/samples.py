"""Rows and databases for the tests of what reads them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from metrion.config import Settings
from metrion.kit.ids import first_id
from metrion.ledger.totals import count
from metrion.storage.database import Database, migrate, open_writer
from metrion.storage.rows import COLUMNS, Row, insert_calls

EMPTY: dict[str, Any] = {
    "account_id": 1,
    "provider": "openai",
    "endpoint": "chat.completions",
    "format": "openai_chat",
    "mode": "stored",
    "model": "gpt-4o-mini",
    "requested_model": "gpt-4o-mini",
    "requester": "",
    "stream": 0,
    "status": 200,
    "outcome": "ok",
    "cost_source": "computed",
    "cost_nano": 0,
}
NULLABLE = {"error_code", "error_message", "usage_raw", "rare", "cost_nano", "price_ref", "upstream_request_id"}


def call_row(started_ms: int, number: int = 0, **values: Any) -> Row:
    """A row that started then; `number` tells rows of one millisecond apart."""
    at = first_id(started_ms)
    ids = {"request_id": at[:6] + number.to_bytes(4, "big") + at[10:], "started_ms": started_ms}
    given = EMPTY | ids | values
    return tuple(given.get(name, None if name in NULLABLE else 0) for name in COLUMNS)


def new_database(data_dir: Path) -> Database:
    """The writing connection of a new, migrated database."""
    database = open_writer(Settings(data_dir=data_dir))
    migrate(database)
    return database


def write_rows(database: Database, rows: Iterable[Row]) -> None:
    """Rows with their totals, as the ledger writes them."""
    kept = list(rows)
    with database.begin() as connection:
        insert_calls(connection, kept)
        count(connection, kept)
