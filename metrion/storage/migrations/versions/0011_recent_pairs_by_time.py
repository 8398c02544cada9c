"""Pairs of the last days by time: what comes and goes together lies together, where each had a page of its own."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"

BIGINT = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
KEY = ("account_id", "start_ms", "requester", "provider", "model", "class")
TEXTS = {"requester", "provider", "model"}
SUMS = (
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
    "input_nano",
    "cached_nano",
    "written_nano",
    "output_nano",
    "saved_nano",
    "streamed_tokens",
    "streamed_us",
    "errors",
)


def upgrade() -> None:
    columns, key = ",".join((*KEY, *SUMS)), ",".join(KEY)
    op.rename_table("recent_pairs", "old_recent_pairs")
    op.create_table(
        "recent_pairs",
        *(sa.Column(name, sa.Text() if name in TEXTS else BIGINT, nullable=False) for name in KEY),
        *(sa.Column(name, BIGINT, nullable=False, server_default=sa.text("0")) for name in SUMS),
        sa.PrimaryKeyConstraint(*KEY, name="pk_recent_pairs"),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    op.execute(
        f"INSERT INTO recent_pairs ({columns}) SELECT {columns} FROM old_recent_pairs ORDER BY {key}"  # noqa: S608  our own names
    )
    op.drop_table("old_recent_pairs")
