"""Totals know how much of a cost was reported or estimated; a call keeps what it cost before it was priced again."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

BIGINT = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
HOUR_MS, DAY_MS = 3_600_000, 86_400_000
TOTALS = (
    ("model_hours", HOUR_MS, ("model", "status", "outcome")),
    ("model_days", DAY_MS, ("model", "status", "outcome")),
    ("requester_hours", HOUR_MS, ("requester", "outcome")),
    ("requester_days", DAY_MS, ("requester", "outcome")),
)


def number(name: str) -> "sa.Column[int]":
    return sa.Column(name, BIGINT, nullable=False, server_default=sa.text("0"))


def upgrade() -> None:
    for table, bucket_ms, names in TOTALS:
        for source in ("provider", "estimated"):
            op.add_column(table, number(f"{source}_nano"))
            fill(table, bucket_ms, names, source)
    op.create_table(
        "repricing_runs",
        sa.Column("id", BIGINT, autoincrement=True, nullable=False),
        number("started_ms"),
        sa.Column("reason", sa.Text(), nullable=False, server_default=""),
        sa.PrimaryKeyConstraint("id", name="pk_repricing_runs"),
        sqlite_strict=True,
    )
    op.create_table(
        "repricings",
        sa.Column("account_id", BIGINT, nullable=False),
        sa.Column("request_id", sa.LargeBinary(), nullable=False),
        sa.Column("version", BIGINT, nullable=False),
        sa.Column("run_id", BIGINT, nullable=False),
        number("replaced_ms"),
        sa.Column("cost_nano", BIGINT, nullable=True),
        sa.Column("cost_source", sa.Text(), nullable=False, server_default=""),
        sa.Column("price_ref", sa.Text(), nullable=True),
        sa.Column("counts", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("account_id", "request_id", "version", name="pk_repricings"),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )


def fill(table: str, bucket_ms: int, names: tuple[str, ...], source: str) -> None:
    """Sum what is there by source; the columns before this revision told the rows of each source, not their money."""
    keys = ("account_id", "provider", *names)
    same = " AND ".join(f"{table}.{key} = found.{key}" for key in keys)
    op.execute(
        f"UPDATE {table} SET {source}_nano = found.nano FROM ("  # noqa: S608  our own names
        f" SELECT {', '.join(keys)}, started_ms - started_ms % {bucket_ms} AS start_ms, SUM(cost_nano) AS nano"
        f" FROM calls WHERE cost_source = '{source}' AND cost_nano IS NOT NULL"
        f" GROUP BY {', '.join(keys)}, started_ms - started_ms % {bucket_ms}"
        f") AS found WHERE {table}.start_ms = found.start_ms AND {same}"
    )
