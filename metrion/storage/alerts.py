"""Alerts as stored: rules, their running sums, whom to look at, what fired. `account_id` comes first everywhere."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from datetime import date
from fractions import Fraction
from typing import Any, NamedTuple

import orjson
from sqlalchemy import Row as Fired
from sqlalchemy import delete, insert, or_, select, update
from sqlalchemy.dialects.sqlite import insert as upsert

from metrion.storage.database import Connection
from metrion.storage.many import Many
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
    muted: tuple[str, ...] = ()
    filled: str | None = None


_LISTS = ("providers", "models", "requesters", "muted")
_LISTS_AT = tuple(map(Rule._fields.index, _LISTS))
# In one row, however many there are: see `many`.
_RULE = f"json_array({','.join(Rule._fields)})"
_RULES = (
    f"SELECT json_group_array({_RULE}) FROM alert_rules"  # noqa: S608  our own names
    " WHERE account_id IN (SELECT value FROM json_each(?))"
)
_UNFILLED = f"SELECT {_RULE} FROM alert_rules WHERE filled IS NOT NULL ORDER BY id LIMIT 1"  # noqa: S608


def _rule(row: list[Any]) -> Rule:
    for at in _LISTS_AT:
        row[at] = _lines(row[at])
    return Rule._make(row)


def _lines(text: str) -> tuple[str, ...]:
    return tuple(text.split("\n")) if text else ()


def _stored(columns: Mapping[str, Any]) -> dict[str, Any]:
    return {name: "\n".join(value) if name in _LISTS else value for name, value in columns.items()}


# ── rules ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def rules_of(connection: Connection, account_ids: Collection[int]) -> list[Rule]:
    """The rules of these accounts, paused ones too, the oldest first."""
    wanted = orjson.dumps(sorted(account_ids)).decode()
    found = orjson.loads(connection.exec_driver_sql(_RULES, (wanted,)).scalar_one())
    return sorted(map(_rule, found))


def find_rule(connection: Connection, account_id: int, rule_id: int) -> Rule | None:
    """A rule of this account."""
    return next((rule for rule in rules_of(connection, [account_id]) if rule.id == rule_id), None)


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

_SUMS = Many(
    "INSERT INTO alert_sums (account_id,rule_id,start_ms,requests,errors,cost_nano) VALUES",
    6,
    "ON CONFLICT (account_id,rule_id,start_ms) DO UPDATE SET requests=requests+excluded.requests,"
    " errors=errors+excluded.errors, cost_nano=cost_nano+excluded.cost_nano",
)
_LATENCIES = Many(
    "INSERT INTO alert_latencies (account_id,rule_id,start_ms,bucket,requests) VALUES",
    5,
    "ON CONFLICT (account_id,rule_id,start_ms,bucket) DO UPDATE SET requests=requests+excluded.requests",
)
# What several rules look at, in one row: see `many`. ?1: rules' ids and first buckets, ?2: their account. Each rule's
# own sum, found by the primary key: grouped by rule all at once, they take five times as long.
_FIRSTS = "(SELECT json_extract(value,'$[0]') AS id, json_extract(value,'$[1]') AS first FROM json_each(?1)) AS looks"
_OF_FIRSTS = "account_id=?2 AND rule_id=looks.id AND start_ms>=looks.first"
_TOTALS = (
    "SELECT json_group_array(json((SELECT json_array(looks.id,sum(requests),sum(errors),sum(cost_nano))"  # noqa: S608
    f" FROM alert_sums WHERE {_OF_FIRSTS}))) FROM {_FIRSTS}"
)
_COSTS = (
    "SELECT json_group_array(json_array(rule_id,start_ms,cost_nano))"  # noqa: S608
    f" FROM {_FIRSTS} CROSS JOIN alert_sums ON {_OF_FIRSTS}"
)
_COUNTS = (
    "SELECT json_group_array(json_array(id,json((SELECT json_group_array(json_array(bucket,counted)) FROM"  # noqa: S608
    f" (SELECT bucket, sum(requests) AS counted FROM alert_latencies WHERE {_OF_FIRSTS}"
    f" GROUP BY bucket HAVING counted>0))))) FROM {_FIRSTS}"
)
_CLEAR = [
    f"DELETE FROM {table} WHERE account_id=?2 AND (rule_id,start_ms) IN (SELECT rule_id,start_ms FROM {_FIRSTS}"  # noqa: S608
    f" CROSS JOIN {table} ON account_id=?2 AND rule_id=looks.id AND start_ms<looks.first)"
    for table in ("alert_sums", "alert_latencies")
]
Firsts = Mapping[int, int]  # the first bucket that a rule looks at, by the rule's id


def add_sums(connection: Connection, sums: Sequence[Row], latencies: Sequence[Row]) -> None:
    """Add to the sums of rules; each row has the columns of its table in their order."""
    _SUMS.write(connection, sums)
    _LATENCIES.write(connection, latencies)


def sums_since(connection: Connection, account_id: int, firsts: Firsts) -> dict[int, tuple[int, int, int]]:
    """Requests, errors and nano-dollars of rules from their first buckets on; a rule without any is not there."""
    found = _ask(connection, _TOTALS, account_id, firsts)
    return {id: (requests, errors, cost) for id, requests, errors, cost in found if requests is not None}


def costs_since(connection: Connection, account_id: int, firsts: Firsts) -> dict[int, dict[int, int]]:
    """Nano-dollars of each of these rules' buckets, by its start."""
    found: defaultdict[int, dict[int, int]] = defaultdict(dict)
    for id, start_ms, cost in _ask(connection, _COSTS, account_id, firsts):
        found[id][start_ms] = cost
    return found


def latencies_since(connection: Connection, account_id: int, firsts: Firsts) -> dict[int, dict[int, int]]:
    """How many durations are in each bucket of `kit.buckets`, of each of these rules."""
    return {id: dict(counts) for id, counts in _ask(connection, _COUNTS, account_id, firsts)}


def _ask(connection: Connection, statement: str, account_id: int, firsts: Firsts) -> list[Any]:
    found = connection.exec_driver_sql(statement, (orjson.dumps(list(firsts.items())).decode(), account_id))
    return orjson.loads(found.scalar_one())  # type: ignore[no-any-return]


def clear_old_sums(connection: Connection, account_id: int, firsts: Firsts) -> None:
    """Delete what lies before the first buckets of these rules."""
    wanted = orjson.dumps(list(firsts.items())).decode()
    for statement in _CLEAR:
        connection.exec_driver_sql(statement, (wanted, account_id))


def clear_sums(connection: Connection, account_id: int, rule_id: int) -> None:
    """Delete all of a rule's sums."""
    for table in (alert_sums, alert_latencies):
        which = (table.c.account_id == account_id) & (table.c.rule_id == rule_id)
        connection.execute(delete(table).where(which))


def calls_after(connection: Connection, account_id: int, after: bytes, limit: int) -> list[Row]:
    """The first `limit` rows of an account behind that request id, in the order of `rows.COLUMNS`."""
    behind = (calls.c.account_id == account_id) & (calls.c.request_id > after)
    query = select(*(calls.c[name] for name in COLUMNS)).where(behind).order_by(calls.c.request_id).limit(limit)
    return [tuple(row) for row in connection.execute(query)]


def next_unfilled(connection: Connection) -> Rule | None:
    """The first rule, of all accounts, whose sums are still being made."""
    found = connection.exec_driver_sql(_UNFILLED).scalar_one_or_none()
    return None if found is None else _rule(orjson.loads(found))


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
    disabled_ms: int | None


def owner(connection: Connection, account_id: int) -> Owner | None:
    """Of an account; None where it is gone."""
    query = select(*(accounts.c[name] for name in Owner._fields)).where(accounts.c.id == account_id)
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
