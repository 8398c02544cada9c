"""Counting rows: their sums by hour, in the rows' own transaction; those of days follow (`ledger.fold`)."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from itertools import chain
from operator import itemgetter

import structlog

from metrion.alerts import sums as alert_sums
from metrion.errors import StorageError
from metrion.ledger import days
from metrion.ledger.groups import Group, Key, Sums, add, durations, errors, group, sum_up
from metrion.storage import totals
from metrion.storage.database import Connection
from metrion.storage.memory import changed
from metrion.storage.rows import COLUMNS, Row
from metrion.storage.totals import HOURS, Fold

_ACCOUNT, _STARTED = (itemgetter(COLUMNS.index(name)) for name in ("account_id", "started_ms"))
_NAMED = 10  # accounts that a line of the log names
log = structlog.get_logger("metrion.ledger")


def count(connection: Connection, rows: Sequence[Row], taken: Sequence[Row] = ()) -> None:
    """Count `rows`; take back those that were counted as `taken` and have changed since."""
    if not (rows or taken):
        return
    account_ids = set(map(_ACCOUNT, chain(rows, taken)))
    folds = totals.find_folds(connection, account_ids)
    sides = [(sign, group(connection, some, folds)) for sign, some in ((1, rows), (-1, taken)) if some]
    for one in chain.from_iterable(groups for _, groups in sides):
        changed(connection, one.account_id, one.hour_ms)
    _count_for_alerts(connection, account_ids, sides)
    hours = _hours(connection, sides)
    for table, sums in hours.items():
        totals.add_sums(connection, table, sums)
    _count_late_hours(connection, folds, hours)
    _count_late_rows(connection, folds, ((-1, taken), (1, rows)))
    if not taken:
        _remember(connection, folds, sides[0][1])


def _count_for_alerts(
    connection: Connection, account_ids: Collection[int], sides: Sequence[tuple[int, list[Group]]]
) -> None:
    """A rule that cannot be counted is told of; rows are written whatever it is."""
    rows, taken = ([one.rows for sign, groups in sides if sign == wanted for one in groups] for wanted in (1, -1))
    try:
        with connection.begin_nested():
            alert_sums.count(connection, account_ids, rows, taken)
    except StorageError:  # the rows cannot be written either: all of it is tried again
        raise
    except Exception as problem:  # a fault of ours in alerts: the ledger comes first
        log.error("alerts_not_counted", accounts=sorted(account_ids)[:_NAMED], reason=str(problem))


def _hours(connection: Connection, sides: Sequence[tuple[int, list[Group]]]) -> dict[str, list[Row]]:
    """Rows to add to each of HOURS."""
    found: dict[str, Sums] = {table: {} for table in HOURS}
    for sign, groups in sides:
        for table, sums in (
            ("model_hours", sum_up(groups, _model)),
            ("requester_hours", sum_up(groups, _requester)),
            ("latency_hours", durations(groups)),
            ("error_hours", errors(connection, groups)),
        ):
            for key, figures in sums.items():
                add(found[table], key, figures, sign)
    return {table: [(*key, *figures) for key, figures in sums.items() if any(figures)] for table, sums in found.items()}


def _model(one: Group) -> Key:
    return one.account_id, one.hour_ms, one.provider, one.model, one.status, one.outcome


def _requester(one: Group) -> Key:
    return one.account_id, one.hour_ms, one.provider, one.requester, one.outcome


_START = {table: 2 if table == "latency_hours" else 1 for table in HOURS}


def _count_late_hours(connection: Connection, folds: Mapping[int, Fold], hours: Mapping[str, Sequence[Row]]) -> None:
    """Count in its day too what came after its hour was folded."""
    late: defaultdict[int, dict[str, list[Row]]] = defaultdict(dict)
    for table, rows in hours.items():
        start = _START[table]
        for row in rows:
            if row[start] < folds[row[0]].folded_ms:
                late[row[0]].setdefault(table, []).append(row)
    for account_id, own in late.items():
        days.add_sums(connection, folds[account_id], own)


def _count_late_rows(
    connection: Connection, folds: Mapping[int, Fold], sides: Sequence[tuple[int, Sequence[Row]]]
) -> None:
    """Count among pairs and tops what came after its time's rows were paired."""
    paired_ms = max(fold.paired_ms for fold in folds.values())
    for sign, rows in sides:
        if min(map(_STARTED, rows), default=paired_ms) >= paired_ms:
            continue
        late: defaultdict[int, list[Row]] = defaultdict(list)
        for row in rows:
            account_id = _ACCOUNT(row)
            if _STARTED(row) < folds[account_id].paired_ms:
                late[account_id].append(row)
        for account_id, own in late.items():
            days.add_rows(connection, folds[account_id], group(connection, own, folds), sign)


def _remember(connection: Connection, folds: Mapping[int, Fold], groups: Sequence[Group]) -> None:
    """Keep when each account made its latest call and used its keys, and how many rows wait to be folded."""
    together: defaultdict[tuple[int, str, str], list[Row]] = defaultdict(list)
    for one in groups:
        together[one.account_id, one.provider, one.mode] += one.rows
    used = {key: max(map(_STARTED, rows)) for key, rows in together.items()}
    new: Counter[int] = Counter()
    last = {account_id: fold.last_ms for account_id, fold in folds.items()}
    for key, rows in together.items():
        new[key[0]] += len(rows)
        last[key[0]] = max(last[key[0]], used[key])
    totals.save_folds(
        connection,
        (
            fold._replace(last_ms=last[account_id], waiting=fold.waiting + new[account_id])
            for account_id, fold in folds.items()
        ),
    )
    totals.set_used(connection, used)
