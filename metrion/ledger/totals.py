"""Counting rows: their sums by hour, in the rows' own transaction; those of days follow (`ledger.fold`)."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

from metrion.ledger import days
from metrion.ledger.groups import Group, Key, Sums, add, durations, errors, group, sum_up
from metrion.storage import totals
from metrion.storage.database import Connection
from metrion.storage.rows import COLUMNS, Row
from metrion.storage.totals import HOURS, Fold

_ACCOUNT, _STARTED = COLUMNS.index("account_id"), COLUMNS.index("started_ms")


def count(connection: Connection, rows: Sequence[Row], taken: Sequence[Row] = ()) -> None:
    """Count `rows`; take back those that were counted as `taken` and have changed since."""
    if not (rows or taken):
        return
    folds = totals.find_folds(connection, {row[_ACCOUNT] for row in (*rows, *taken)})
    sides = [(sign, group(connection, some, folds)) for sign, some in ((1, rows), (-1, taken)) if some]
    hours = _hours(connection, sides)
    for table, sums in hours.items():
        totals.add_sums(connection, table, sums)
    _count_late_hours(connection, folds, hours)
    _count_late_rows(connection, folds, ((-1, taken), (1, rows)))
    if not taken:
        _remember(connection, folds, sides[0][1])


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
    for sign, rows in sides:
        late: defaultdict[int, list[Row]] = defaultdict(list)
        for row in rows:
            if row[_STARTED] < folds[row[_ACCOUNT]].paired_ms:
                late[row[_ACCOUNT]].append(row)
        for account_id, own in late.items():
            days.add_rows(connection, folds[account_id], group(connection, own, folds), sign)


def _remember(connection: Connection, folds: Mapping[int, Fold], groups: Sequence[Group]) -> None:
    """Keep when each account made its latest call and used its keys, and how many rows are to be paired."""
    last: dict[int, int] = {}
    new: Counter[int] = Counter()
    used: dict[tuple[int, str, str], int] = {}
    for one in groups:
        ms = max(row[_STARTED] for row in one.rows)
        account_id = one.account_id
        key = (account_id, one.provider, one.mode)
        used[key] = max(used.get(key, 0), ms)
        last[account_id] = max(last.get(account_id, folds[account_id].last_ms), ms)
        new[account_id] += len(one.rows)
    for account_id, ms in last.items():
        fold = folds[account_id]
        totals.save_fold(connection, fold._replace(last_ms=ms, unpaired=fold.unpaired + new[account_id]))
    totals.set_used(connection, used)
