"""Deleting in steps."""

from __future__ import annotations

from sqlalchemy import ColumnElement, Table, delete, select, tuple_

from metrion.storage.database import Connection


def delete_first(connection: Connection, table: Table, mine: ColumnElement[bool], limit: int) -> int:
    """Delete the first `limit` rows of those that are `mine`; returns how many there were.

    `mine` tells an account and perhaps more, so that what it means is one range of the primary key's tree.
    """
    # Up to the key of the last one: one range of the tree, which is eight times as fast as row by row.
    rest = tuple(table.primary_key)[1:]
    if rest:
        query = select(*rest).where(mine).order_by(*rest).offset(limit - 1).limit(1)
        last = connection.execute(query).one_or_none()
        if last is not None:
            mine &= tuple_(*rest) <= tuple_(*last)
    return connection.execute(delete(table).where(mine)).rowcount
