"""Alerts as stored: rules, their running sums, whom to look at, what fired. `account_id` comes first everywhere."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import date
from fractions import Fraction
from typing import Any, NamedTuple

import orjson
from sqlalchemy import Row as Fired
from sqlalchemy import delete, insert, or_, select, update
from sqlalchemy.dialects.sqlite import insert as upsert

from metrion.kit.ids import first_id
from metrion.storage.database import Connection
from metrion.storage.rows import COLUMNS, Row
from metrion.storage.tables import (
    accounts,
    alert_due,
    alert_latencies,
    alert_rates,
    alert_rules,
    alert_sums,
    alerts,
    calls,
)

_READ_ROWS = 1000


class Rule(NamedTuple):
    """A rule; see `tables.alert_rules`."""

    id: int
    account_id: int
    kind: str
    name: str
    providers: tuple[str, ...]
    models: tuple[str, ...]
    requesters: tuple[str, ...]
    span: str
    from_ms: int
    to_ms: int | None
    threshold: int
    currency: str
    least: int
    zone: str
    created_ms: int
    paused_ms: int | None = None
    warned_ms: int | None = None
    alerted_ms: int | None = None
    tested_ms: int | None = None


_LISTS = ("providers", "models", "requesters")
_RULE = f"SELECT {','.join(Rule._fields)} FROM alert_rules WHERE account_id"  # noqa: S608  our own names
_RULES = _RULE + " IN (SELECT value FROM json_each(?)) ORDER BY id"  # noqa: S608


def _rule(row: Any) -> Rule:
    columns = dict(zip(Rule._fields, row, strict=True))
    return Rule(**(columns | {name: _lines(columns[name]) for name in _LISTS}))


def _lines(text: str) -> tuple[str, ...]:
    return tuple(text.split("\n")) if text else ()


def _stored(columns: Mapping[str, Any]) -> dict[str, Any]:
    return {name: "\n".join(value) if name in _LISTS else value for name, value in columns.items()}


# ── rules ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def rules_of(connection: Connection, account_ids: Collection[int]) -> list[Rule]:
    """The rules of these accounts, paused ones too, the oldest first."""
    wanted = orjson.dumps(sorted(account_ids)).decode()
    found = connection.exec_driver_sql(_RULES, (wanted,))
    return [_rule(row) for row in found]


def find_rule(connection: Connection, account_id: int, rule_id: int) -> Rule | None:
    """A rule of this account."""
    row = connection.exec_driver_sql(_RULE + " = ? AND id = ?", (account_id, rule_id)).one_or_none()
    return None if row is None else _rule(row)


def add_rule(connection: Connection, rule: Rule) -> int:
    """Add a rule under a new id, which is returned."""
    columns = _stored({name: value for name, value in rule._asdict().items() if name != "id"})
    return int(connection.execute(insert(alert_rules).values(columns).returning(alert_rules.c.id)).scalar_one())


def update_rule(connection: Connection, account_id: int, rule_id: int, **columns: Any) -> bool:
    """Set columns of a rule; False where this account has none of that id."""
    which = (alert_rules.c.account_id == account_id) & (alert_rules.c.id == rule_id)
    return connection.execute(update(alert_rules).where(which).values(_stored(columns))).rowcount > 0


def delete_rule(connection: Connection, account_id: int, rule_id: int) -> bool:
    """Delete a rule and its sums; what it fired stays. False where there is none."""
    clear_sums(connection, account_id, rule_id)
    which = (alert_rules.c.account_id == account_id) & (alert_rules.c.id == rule_id)
    return connection.execute(delete(alert_rules).where(which)).rowcount > 0


def claim(connection: Connection, account_id: int, rule_id: int, moment: str, now_ms: int, pause_ms: int) -> bool:
    """Take a rule's next warning, alert or test for us, where the last one was `pause_ms` ago or longer.

    `moment`: the column that says when that was. True for one of those who ask, in whichever process.
    """
    column = alert_rules.c[moment]
    which = (alert_rules.c.account_id == account_id) & (alert_rules.c.id == rule_id)
    free = or_(column.is_(None), column <= now_ms - pause_ms)
    return connection.execute(update(alert_rules).where(which, free).values({moment: now_ms})).rowcount == 1


# ── sums ──────────────────────────────────────────────────────────────────────────────────────────────────────────────

_SUM = (
    "INSERT INTO alert_sums (account_id,rule_id,start_ms,requests,errors,cost_nano) VALUES (?,?,?,?,?,?)"
    " ON CONFLICT (account_id,rule_id,start_ms) DO UPDATE SET requests=requests+excluded.requests,"
    " errors=errors+excluded.errors, cost_nano=cost_nano+excluded.cost_nano"
)
_LATENCY = (
    "INSERT INTO alert_latencies (account_id,rule_id,start_ms,bucket,requests) VALUES (?,?,?,?,?)"
    " ON CONFLICT (account_id,rule_id,start_ms,bucket) DO UPDATE SET requests=requests+excluded.requests"
)


def add_sums(connection: Connection, sums: Sequence[Row], latencies: Sequence[Row]) -> None:
    """Add to the sums of rules; each row has the columns of its table in their order."""
    if sums:
        connection.exec_driver_sql(_SUM, list(sums))
    if latencies:
        connection.exec_driver_sql(_LATENCY, list(latencies))


def sums_since(connection: Connection, account_id: int, rule_id: int, from_ms: int) -> list[tuple[int, int, int, int]]:
    """(start, requests, errors, nano-dollars) of a rule's buckets from then on."""
    found = connection.exec_driver_sql(
        "SELECT start_ms,requests,errors,cost_nano FROM alert_sums WHERE account_id=? AND rule_id=? AND start_ms>=?",
        (account_id, rule_id, from_ms),
    )
    return [(start, requests, errors, cost) for start, requests, errors, cost in found]


def latencies_since(connection: Connection, account_id: int, rule_id: int, from_ms: int) -> dict[int, int]:
    """How many durations are in each bucket of `kit.buckets`, from then on."""
    found = connection.exec_driver_sql(
        "SELECT bucket,sum(requests) FROM alert_latencies WHERE account_id=? AND rule_id=? AND start_ms>=?"
        " GROUP BY bucket HAVING sum(requests)>0",
        (account_id, rule_id, from_ms),
    )
    return {row[0]: row[1] for row in found}


def clear_sums(connection: Connection, account_id: int, rule_id: int, before_ms: int | None = None) -> None:
    """Delete a rule's sums: all of them, or the buckets that begin before."""
    for table in (alert_sums, alert_latencies):
        which = (table.c.account_id == account_id) & (table.c.rule_id == rule_id)
        if before_ms is not None:
            which &= table.c.start_ms < before_ms
        connection.execute(delete(table).where(which))


def calls_since(connection: Connection, account_id: int, from_ms: int) -> Iterator[list[Row]]:
    """Rows of an account that started then or later, some at a time, in the order of `rows.COLUMNS`."""
    query = select(*(calls.c[name] for name in COLUMNS)).where(
        calls.c.account_id == account_id, calls.c.request_id >= first_id(from_ms)
    )
    for some in connection.execute(query).partitions(_READ_ROWS):
        yield [tuple(row) for row in some]


# ── whom to look at ───────────────────────────────────────────────────────────────────────────────────────────────────


def set_due(connection: Connection, account_ids: Collection[int]) -> None:
    """Remember that sums of these accounts changed."""
    rows = [(account_id,) for account_id in sorted(account_ids)]
    if rows:
        connection.exec_driver_sql("INSERT INTO alert_due (account_id) VALUES (?) ON CONFLICT DO NOTHING", rows)


def due_accounts(connection: Connection) -> list[int]:
    """Accounts whose sums changed since they were looked at."""
    return list(connection.exec_driver_sql("SELECT account_id FROM alert_due").scalars())


def clear_due(connection: Connection, account_id: int) -> None:
    """They are looked at."""
    connection.execute(delete(alert_due).where(alert_due.c.account_id == account_id))


class Owner(NamedTuple):
    """Whose rules they are: an address to mail to, the name of a plan, and a time zone."""

    email: str
    plan: str
    time_zone: str


def owner(connection: Connection, account_id: int) -> Owner | None:
    """Of an account; None where it is gone."""
    query = select(accounts.c.email, accounts.c.plan, accounts.c.time_zone).where(accounts.c.id == account_id)
    row = connection.execute(query).one_or_none()
    return None if row is None else Owner(*row)


# ── rates ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def fixed_rates(connection: Connection, currency: str, first: date) -> dict[date, Fraction]:
    """What a dollar is in `currency` for the days from `first` on whose dollars were converted."""
    table = alert_rates.c
    query = select(table.day, table.per_usd).where(table.currency == currency, table.day >= first.isoformat())
    return {date.fromisoformat(row.day): Fraction(row.per_usd) for row in connection.execute(query)}


def fix_rate(connection: Connection, currency: str, day: date, per_usd: Fraction) -> None:
    """Keep the rate a day's dollars are converted at; the first one stays."""
    row = {"currency": currency, "day": day.isoformat(), "per_usd": str(per_usd)}
    connection.execute(upsert(alert_rates).values(row).on_conflict_do_nothing())


# ── what fired ────────────────────────────────────────────────────────────────────────────────────────────────────────


def add_alert(connection: Connection, rule: Rule, level: str, value: int | None, now_ms: int) -> None:
    """Remember what fired."""
    same = {name: getattr(rule, name) for name in ("account_id", "kind", "name", "threshold", "currency")}
    connection.execute(
        insert(alerts).values(same | {"rule_id": rule.id, "level": level, "fired_ms": now_ms, "value": value})
    )


def alerts_of(connection: Connection, account_id: int, limit: int) -> Sequence[Fired[Any]]:
    """What fired for an account, the latest first."""
    query = select(alerts).where(alerts.c.account_id == account_id).order_by(alerts.c.id.desc()).limit(limit)
    return connection.execute(query).all()
