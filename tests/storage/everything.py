"""Something of an account in every table there is: what the end of an account must not leave behind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sqlalchemy import Column, LargeBinary, Table, Text, insert, select

from metrion.storage.database import Connection, Database
from metrion.storage.tables import accounts, deletions, metadata

OWNED = [table for table in metadata.sorted_tables if "account_id" in table.c and table is not deletions]


def fill_every_table(connection: Connection, account_id: int, mark: str) -> None:
    """A row of that account in each table; its texts and bytes begin with `mark`."""
    for number, table in enumerate(OWNED):
        row = {column.name: _value(column, account_id, mark, number) for column in table.c}
        connection.execute(insert(table).prefix_with("OR REPLACE").values(row))  # one of a kind may be there


def _value(column: Column[Any], account_id: int, mark: str, number: int) -> Any:
    if column.name in ("account_id", "id"):
        return account_id
    if column.name == "customer_id":
        return f"cus_{account_id}"  # stays until Stripe has ended what its account pays for
    if column.name == "filled":  # a request's id
        return f"{mark}-{number}".encode().hex()
    if isinstance(column.type, Text):
        return f"{mark}-{column.name}"
    return f"{mark}-{number}".encode() if isinstance(column.type, LargeBinary) else number


def rows_in(connection: Connection, account_id: int) -> dict[str, list[tuple[Any, ...]]]:
    """What an account has in each table, without the tables where it has nothing."""
    found = {table.name: _rows(connection, table, "account_id", account_id) for table in OWNED}
    found["accounts"] = _rows(connection, accounts, "id", account_id)
    return {name: rows for name, rows in found.items() if rows}


def _rows(connection: Connection, table: Table, name: str, account_id: int) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in connection.execute(select(table).where(table.c[name] == account_id))]


def held(database: Database, account_id: int) -> dict[str, list[tuple[Any, ...]]]:
    """`rows_in`, in a transaction of its own."""
    with database.begin() as connection:
        return rows_in(connection, account_id)


def found_in(folder: Path, *texts: str) -> list[tuple[str, str]]:
    """(file, text) of each of `texts` that stands in a file of a data directory, however deep."""
    return [
        (path.name, text)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
        for text in texts
        if text.encode() in path.read_bytes()
    ]
