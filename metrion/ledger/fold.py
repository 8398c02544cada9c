"""Folding: a task of the server that makes days of hours that are over, and pairs and tops of rows; in small steps.

Nothing waits for it: readers add to the days what is not folded yet. So an account waits until that is many rows, or a
day old. Where an account's time zone changes, its days are
cleared and folded again, after hours that begin at other minutes in the new zone were counted again from their rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from math import inf
from time import perf_counter

from metrion.kit.background import Background
from metrion.kit.clock import DAY_MS, HOUR_MS, now_ms
from metrion.kit.zones import QUARTER_MS, day_start, hour_start, month_start, next_day, utc_month
from metrion.ledger import totals
from metrion.ledger.pace import Pace
from metrion.ledger.writer import Writer
from metrion.storage import folding, hours, pairs, running
from metrion.storage.database import Connection, Database
from metrion.storage.folding import MANY
from metrion.storage.pairs import RECENT_MS
from metrion.storage.totals import Fold, find_folds, save_folds

GRACE_MS = 600_000  # after an hour's end, for calls that began in it; later ones cost a little more
STEP_SECONDS = 0.012  # and nearly as much for the disk
_PAIR_GRACE_MS = 120_000  # after a row's start
_ACCOUNTS = 100  # looked at in one step
_LOOK_SECONDS = 5.0


class Folder(Background):
    """Folds between the writer's batches."""

    def __init__(self, writer: Writer) -> None:
        super().__init__("fold", failed="totals_not_folded")
        self._writer = writer
        self._pace = Pace(STEP_SECONDS)

    async def work(self) -> float:
        """Fold for a step; rests as long as that took, so that rows get their turn."""
        began = perf_counter()
        left = await self._writer.run(partial(fold_some, now=now_ms(), pace=self._pace))
        return perf_counter() - began if left else _LOOK_SECONDS


def fold_some(database: Database, now: int, pace: Pace) -> bool:
    """Fold for about as long as a step takes; says whether something may be left. `now` in Unix ms."""
    end = perf_counter() + pace.seconds
    with database.begin() as connection:
        left = _each(_moving(connection, pace), end)
        if not left:
            waiting = folding.waiting(connection, now - DAY_MS, _ACCOUNTS)
            steps = [(fold, partial(_advance, connection, now, pace)) for fold in waiting]
            left = _each(steps, end) or len(waiting) == _ACCOUNTS
    if left:
        pace.settle(database)
    return left


def fold_all(database: Database, now: int) -> None:
    """Fold whatever is over, at once."""
    pace = Pace(inf)
    with database.begin() as connection:
        _each(_moving(connection, pace), inf)
        _each([(fold, partial(_advance, connection, now, pace)) for fold in folding.steady(connection)], inf)


Step = Callable[[Fold], Fold | None]


def _each(waiting: Iterable[tuple[Fold, Step]], end: float) -> bool:
    """Take steps with one account after the other until the time is up; says whether it was up."""
    for fold, step in waiting:
        following: Fold | None = fold
        while following is not None:
            following = step(following)
            if perf_counter() >= end:
                return True
    return False


# ── a step on ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def _advance(connection: Connection, now: int, pace: Pace, fold: Fold) -> Fold | None:
    """Fold an account's next hours that are over, or pair its next rows; None where nothing is left."""
    if _tidy(connection, pace, fold):
        return fold
    over, until = hour_start(fold.time_zone, now - GRACE_MS), now - _PAIR_GRACE_MS
    hour_ms = folding.next_hour(connection, fold.account_id, fold.folded_ms)
    if hour_ms is not None and hour_ms < over:
        following = _fold_hours(connection, pace, fold, hour_ms, over)
    else:
        first = folding.next_row(connection, fold.account_id, fold.paired_ms)
        if first is None or first >= until:
            done = fold._replace(folded_ms=max(over, fold.folded_ms), paired_ms=max(until, fold.paired_ms), waiting=0)
            save_folds(connection, [done])
            return None
        following = _pair_some(connection, pace, fold, first, until)
    save_folds(connection, [following])
    return following


def _tidy(connection: Connection, pace: Pace, fold: Fold) -> bool:
    """Make some of a sum that runs, or forget some of what is kept for a few days only; says whether there was any."""
    for kind, do in (("running", running.run_on), ("forgetting", pairs.forget_recent)):
        began = perf_counter()
        if rows := do(connection, fold, pace.rows(kind)):
            pace.took(kind, rows, began)
            return True
    return False


def _fold_hours(connection: Connection, pace: Pace, fold: Fold, hour_ms: int, over: int) -> Fold:
    """Fold hours of one day from the one that began then on, one at least and as many as a step takes."""
    began, rows = perf_counter(), pace.rows("hours")
    account_id, zone = fold.account_id, fold.time_zone
    day_ms, end = day_start(zone, hour_ms), min(next_day(zone, hour_ms), over)
    end = max(hours.hour_with_row(connection, account_id, hour_ms, end, rows) or end, hour_ms + 1)
    running.begin_day(connection, account_id, day_ms, month_start(zone, day_ms))
    added = hours.add_hours(connection, account_id, hour_ms, end, day_ms)
    running.count_day(connection, account_id, day_ms)
    pace.took("hours", added, began)
    return fold._replace(folded_ms=end)


def _pair_some(connection: Connection, pace: Pace, fold: Fold, first: int, until: int) -> Fold:
    """Pair an account's rows of one day from the one that started at `first` on, as many as a step takes."""
    to = min(next_day(fold.time_zone, first), until)
    if utc_month(first // QUARTER_MS) != utc_month((to - 1) // QUARTER_MS):
        to = month_start("UTC", to - 1)
    recent_ms = hour_start(fold.time_zone, until - RECENT_MS)
    fold = fold._replace(recent_ms=max(recent_ms, fold.recent_ms))
    began, rows = perf_counter(), pace.rows("pairs")
    some = folding.row_number(connection, fold.account_id, first, to, rows)
    if some is not None:
        to = max(some, first + 1)
    day_ms = max(day_start(fold.time_zone, first), fold.pairs_ms)
    pairs.pair_rows(connection, fold.account_id, first, to, day_ms, fold.recent_ms)
    pace.took("pairs", 0 if some is None else rows, began)
    return fold._replace(paired_ms=to)


# ── another time zone ─────────────────────────────────────────────────────────────────────────────────────────────────


def _moving(connection: Connection, pace: Pace) -> list[tuple[Fold, Step]]:
    """Accounts whose time zone changed, with the step to take."""
    found = folding.with_another_zone(connection)
    return [(fold, partial(_move_some, connection, pace, zone)) for fold, zone in found]


def _move_some(connection: Connection, pace: Pace, zone: str, fold: Fold) -> Fold | None:
    """Bring an account's totals a step nearer to its time zone; None where they are ready to be folded again."""
    if fold.clearing:
        began = perf_counter()
        cleared = folding.clear_days(connection, fold, pace.rows("clearing"))
        pace.took("clearing", cleared, began)
        if not cleared:
            fold = fold._replace(clearing=0)
            save_folds(connection, [fold])
    elif fold.old_zone is not None:
        fold = _count_again(connection, pace, fold)
    elif fold.time_zone != zone:
        fold = _begin_to_move(connection, fold, zone)
        save_folds(connection, [fold])
    else:
        return None
    return fold


def _begin_to_move(connection: Connection, fold: Fold, zone: str) -> Fold:
    account_id = fold.account_id
    first_hour = folding.next_hour(connection, account_id, 0)
    first_row = folding.next_row(connection, account_id, 0)
    if first_row is None:
        kept = fold.paired_ms
    elif first_hour is None or first_hour >= fold.hour(first_row):
        kept = 0  # every call that was ever counted has its row
    else:
        kept = next_day(fold.time_zone, first_row)
    moved = fold._replace(
        time_zone=zone,
        folded_ms=0,
        paired_ms=kept,
        waiting=MANY,
        recent_ms=max(fold.recent_ms, kept),
        pairs_ms=kept,
        clearing=1,
    )
    if first_row is None or not _begin_at_other_minutes(fold, zone, first_row):
        return moved
    # Whatever has a row by now started before that; new ones that start before are counted in the old hours, and again.
    after = hour_start(zone, fold.last_ms + 2 * HOUR_MS)
    return moved._replace(old_zone=fold.time_zone, moved_ms=after)


def _begin_at_other_minutes(fold: Fold, zone: str, first_ms: int) -> bool:
    """Whether an hour that has rows begins at another time in `zone`."""
    moments = range(first_ms, fold.last_ms + HOUR_MS, HOUR_MS)
    return any(hour_start(zone, ms) != hour_start(fold.time_zone, ms) for ms in moments)


def _count_again(connection: Connection, pace: Pace, fold: Fold) -> Fold:
    """Count the latest rows that are still in hours of the old time zone in those of the new one."""
    began, account_id = perf_counter(), fold.account_id
    last = folding.last_row(connection, account_id, fold.moved_ms)
    if last is None:
        fold = fold._replace(old_zone=None, moved_ms=0)
        save_folds(connection, [fold])
        return fold
    hour_ms = fold.hour(last)
    some = folding.row_number(connection, account_id, hour_ms, fold.moved_ms, -pace.rows("counting"))
    from_ms = hour_ms if some is None else some
    rows = folding.rows_between(connection, account_id, from_ms, fold.moved_ms)
    totals.count(connection, (), rows)
    left = folding.last_row(connection, account_id, from_ms)
    if left is None or left < hour_ms:
        folding.delete_empty_hour(connection, account_id, hour_ms)
    save_folds(connection, [fold._replace(moved_ms=from_ms)])
    totals.count(connection, rows)
    pace.took("counting", len(rows), began)
    return find_folds(connection, [account_id])[account_id]
