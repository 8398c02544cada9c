"""Responses and batch items that are counted, so that fetching them again counts nothing."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

BIGINT = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "metered",
        sa.Column("account_id", BIGINT, nullable=False),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("until_ms", BIGINT, nullable=False, server_default=sa.text("0")),
        sa.PrimaryKeyConstraint("account_id", "provider", "digest", name="pk_metered"),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    op.create_index("ix_metered_until_ms", "metered", ["until_ms"])
