"""Hours into days, as SQL: each statement adds up an account's hours in one table, and adds that to one of its days."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import select

from metrion.call import NOT_ERRORS, Outcome
from metrion.storage.database import Connection
from metrion.storage.tables import OCTAVE, SUMS, requester_hours
from metrion.storage.totals import ALL

LATENCIES = ("latency", "ttft", "overhead", "model_latency", "model_ttft")  # kinds of latency_hours
_REFUSED = f"outcome = '{Outcome.REJECTED.value}'"
_NO_ERROR = f"outcome IN ({','.join(map(repr, sorted(NOT_ERRORS)))})"


def _add_sql(
    into: str, source: str, names: Sequence[str], sums: Sequence[str], where: str, told: Mapping[str, str]
) -> str:
    """Adds `sums` by `names`, columns of `into`; `told`: what they are of the source, where not the same column.

    Row by row: to group them first takes as long again.
    """
    keys = ("account_id", "start_ms", *names)
    parts = [told.get(name, name) for name in (*names, *sums)]
    adds = ",".join(f"{name} = {name} + excluded.{name}" for name in sums)
    return (
        f"INSERT INTO {into} ({','.join((*keys, *sums))}) SELECT account_id, ?, {','.join(parts)}"  # noqa: S608  our own names
        f" FROM {source} WHERE account_id = ? AND start_ms >= ? AND start_ms < ? AND {where}"
        f" ON CONFLICT ({','.join(keys)}) DO UPDATE SET {adds}"
    )


def _of_requesters(told: Mapping[str, str]) -> tuple[str, str]:
    """Of the calls that reached a provider; and of the others, which count as refused and as nothing else."""
    names, errors = ("provider", "requester"), {"errors": f"CASE WHEN {_NO_ERROR} THEN 0 ELSE requests END"}
    return (
        _add_sql("requester_days", "requester_hours", names, (*SUMS, "errors"), f"NOT {_REFUSED}", {**told, **errors}),
        _add_sql("requester_days", "requester_hours", names, ("refused",), _REFUSED, {**told, "refused": "requests"}),
    )


_STATUS = ("status", "outcome")
_REACHED, *_OTHERS = _of_requesters({})
_TO_DAYS = (
    _add_sql("model_days", "model_hours", ("provider", "model", *_STATUS), SUMS, "TRUE", {}),
    _add_sql("provider_days", "model_hours", ("provider", *_STATUS), SUMS, "TRUE", {}),
    _add_sql("error_days", "error_hours", ("provider", *_STATUS, "error_code", "message"), ("requests",), "TRUE", {}),
    *_OTHERS,
    *_of_requesters({"provider": f"'{ALL}'"}),
)
_LATENCIES = _add_sql("latency_days", "latency_hours", ("kind", "provider", "model", "octave"), OCTAVE, "kind = ?", {})


def add_hours(connection: Connection, account_id: int, from_ms: int, to_ms: int, day_ms: int) -> int:
    """Add the hours that begin between these times to the day that began then, in all tables of days.

    Returns how many rows of requesters that were: most of the work.
    """
    hours = (day_ms, account_id, from_ms, to_ms)
    for statement in _TO_DAYS:
        connection.exec_driver_sql(statement, hours)
    connection.exec_driver_sql(_LATENCIES, [(*hours, kind) for kind in LATENCIES])
    return connection.exec_driver_sql(_REACHED, hours).rowcount


def hour_with_row(connection: Connection, account_id: int, from_ms: int, to_ms: int, number: int) -> int | None:
    """The hour, of those that begin between these times, of the row of requesters with that number, from 0."""
    key = requester_hours.c
    mine = (key.account_id == account_id) & (key.start_ms >= from_ms) & (key.start_ms < to_ms)
    query = select(key.start_ms).where(mine).order_by(key.start_ms).offset(number).limit(1)
    return connection.execute(query).scalar()
