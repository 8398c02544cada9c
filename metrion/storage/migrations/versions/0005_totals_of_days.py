"""What of a cost was for which tokens, and totals that a dashboard can stand on.

Totals of hours get their new columns filled from the rows that are there; those of days are made anew, of the hours, by
the server (`ledger.fold`). Costs are not split afterwards: nothing tells by which prices.
"""

from bisect import bisect_right
from collections import Counter
from itertools import groupby
from math import ceil

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

BIGINT = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
SPLIT = ("input_nano", "cached_nano", "written_nano", "output_nano", "saved_nano")
BEFORE = (
    "requests",
    "input_tokens",
    "cached_input_tokens",
    "cache_write_5m_tokens",
    "cache_write_1h_tokens",
    "output_tokens",
    "reasoning_tokens",
    "cost_nano",
    "cost_provider",
    "cost_computed",
    "cost_estimated",
    "cost_unpriced",
    "cost_unknown",
    "latency_us",
    "provider_nano",
    "estimated_nano",
)
NEW = (*SPLIT, "streamed_tokens", "streamed_us")
BUCKETS = tuple(f"bucket_{number}" for number in range(18))
MODEL = ("start_ms", "provider", "model", "status", "outcome")
REQUESTER = ("start_ms", "provider", "requester", "outcome")
PAIR = ("requester", "provider", "model", "start_ms", "class")
LATENCY = ("kind", "start_ms", "provider", "model", "octave")
ERROR = ("start_ms", "provider", "status", "outcome", "error_code", "message")
HOUR = "started_ms - started_ms % 3600000"


def upgrade() -> None:
    for name in SPLIT:
        op.add_column("calls", number(name))
    op.create_index(
        "ix_calls_requester",
        "calls",
        ["account_id", "requester", "request_id"],
        sqlite_where=sa.text("requester <> ''"),
    )
    op.create_index(
        "ix_calls_failed",
        "calls",
        ["account_id", "request_id", "status", "outcome"],
        sqlite_where=sa.text("outcome <> 'ok'"),
    )
    op.drop_table("model_days")
    op.drop_table("requester_days")
    for table, keys in (("model_hours", MODEL), ("requester_hours", REQUESTER)):
        for name in NEW:
            op.add_column(table, number(name))
        fill_streamed(table, keys)
    create_totals()
    create_others()
    fill_latency()
    fill_errors()
    fill_names()
    op.execute(
        "INSERT INTO folds (account_id, time_zone, last_ms, waiting)"
        " SELECT account_id, 'UTC', MAX(start_ms), SUM(requests) FROM model_hours GROUP BY account_id"
    )


def number(name: str) -> "sa.Column[int]":
    return sa.Column(name, BIGINT, nullable=False, server_default=sa.text("0"))


def text(name: str) -> "sa.Column[str]":
    return sa.Column(name, sa.Text(), nullable=False, server_default="")


def create(table: str, keys: "tuple[str, ...]", columns: "tuple[str, ...]") -> None:
    numbers = {"start_ms", "status", "class", "octave", "month"}
    blobs = {"request_id"}
    kinds = {name: BIGINT if name in numbers else sa.LargeBinary() if name in blobs else sa.Text() for name in keys}
    op.create_table(
        table,
        sa.Column("account_id", BIGINT, nullable=False),
        *(sa.Column(name, kind, nullable=False) for name, kind in kinds.items()),
        *(text(name) if name == "provider" else number(name) for name in columns),
        sa.PrimaryKeyConstraint("account_id", *keys, name=f"pk_{table}"),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )


def create_totals() -> None:
    sums = (*BEFORE, *NEW)
    create("model_days", MODEL, sums)
    create("provider_days", ("start_ms", "provider", "status", "outcome"), sums)
    for table in ("requester_days", "requester_running"):
        create(table, ("start_ms", "provider", "requester"), (*sums, "errors", "refused"))
    create("requester_dates", ("start_ms",), ("since_ms", "requesters", "rows", "running"))
    for table in ("pair_days", "recent_pairs"):
        create(table, PAIR, (*sums, "errors"))
    for size in ("hours", "days"):
        create(f"latency_{size}", LATENCY, BUCKETS)
        create(f"error_{size}", ERROR, ("requests",))
    for table in ("top_days", "recent_tops"):
        create(table, ("measure", "start_ms", "request_id"), ("value",))


def create_others() -> None:
    create("names", ("kind", "month", "name"), ("provider",))
    op.create_table(
        "folds",
        sa.Column("account_id", BIGINT, nullable=False),
        text("time_zone"),
        *map(number, ("last_ms", "folded_ms", "paired_ms", "waiting", "recent_ms", "pairs_ms", "clearing")),
        sa.Column("old_zone", sa.Text(), nullable=True),
        number("moved_ms"),
        sa.PrimaryKeyConstraint("account_id", name="pk_folds"),
        sqlite_strict=True,
    )
    op.create_index("ix_folds_paired_ms", "folds", ["paired_ms"], sqlite_where=sa.text("paired_ms <= last_ms"))
    op.create_index("ix_folds_waiting", "folds", ["waiting"], sqlite_where=sa.text("waiting >= 5000"))


def fill_streamed(table: str, keys: "tuple[str, ...]") -> None:
    names = ", ".join(keys[1:])
    same = " AND ".join(f"{table}.{key} = found.{key}" for key in ("account_id", *keys))
    op.execute(
        f"UPDATE {table} SET streamed_tokens = found.tokens, streamed_us = found.us FROM ("  # noqa: S608  our own names
        f" SELECT account_id, {HOUR} AS start_ms, {names}, SUM(output_tokens) AS tokens,"
        f" SUM(latency_us - ttft_us) AS us FROM calls WHERE stream = 1 AND outcome = 'ok'"
        f" GROUP BY account_id, {HOUR}, {names}) AS found WHERE {same}"
    )


def fill_latency() -> None:
    """As `kit.buckets` was at this revision."""
    growth = 2 ** (1 / 18)
    borders = [ceil(growth**n) for n in range(37 * 18 - 1)]
    rows = op.get_bind().exec_driver_sql(
        f"SELECT account_id, {HOUR}, provider, model, latency_us, ttft_us, provider_us FROM calls"  # noqa: S608
        " WHERE outcome <> 'rejected' ORDER BY account_id, request_id"
    )
    for (account_id, start_ms), calls in groupby(rows, key=lambda row: (row[0], row[1])):
        counts: Counter[tuple[str, str, str, int]] = Counter()
        for _, _, provider, model, latency, first_byte, waiting in calls:
            counts["model_latency", provider, model, bisect_right(borders, latency)] += 1
            counts["model_ttft", provider, model, bisect_right(borders, first_byte)] += 1
            if waiting:
                counts["overhead", provider, "", bisect_right(borders, latency - waiting)] += 1
        octaves: dict[tuple[str, int, str, str, int], list[int]] = {}
        for (kind, provider, model, bucket), count in counts.items():
            if bucket:
                octave, column = divmod(bucket, 18)
                octaves.setdefault((kind, start_ms, provider, model, octave), [0] * 18)[column] = count
        insert("latency_hours", [(account_id, *key, *octave) for key, octave in octaves.items()])


def fill_errors() -> None:
    """By code; messages are counted from this revision on."""
    op.execute(
        "INSERT INTO error_hours (account_id, start_ms, provider, status, outcome, error_code, message, requests)"
        " SELECT account_id, start_ms, provider, status, outcome, '', '', SUM(requests) FROM model_hours"
        " WHERE outcome NOT IN ('ok', 'cached', 'client_gone') GROUP BY account_id, start_ms, provider, status, outcome"
    )


def fill_names() -> None:
    month = "CAST(strftime('%Y%m', start_ms / 1000, 'unixepoch') AS INTEGER)"
    for kind, provider in (("model", "MAX(provider)"), ("requester", "''")):
        op.execute(
            f"INSERT INTO names (account_id, kind, month, name, provider)"  # noqa: S608
            f" SELECT account_id, '{kind}', {month}, {kind}, {provider} FROM {kind}_hours WHERE {kind} <> ''"
            f" GROUP BY account_id, {month}, {kind}"
        )


def insert(table: str, rows: "list[tuple[object, ...]]") -> None:
    if rows:
        marks = ", ".join("?" * len(rows[0]))
        op.get_bind().exec_driver_sql(f"INSERT INTO {table} VALUES ({marks})", rows)  # noqa: S608
