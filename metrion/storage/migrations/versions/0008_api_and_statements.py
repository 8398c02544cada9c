"""Whether a Metrion key may read the JSON API, and links to statements."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"

BIGINT = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.add_column("accounts", sa.Column("key_reads", BIGINT, nullable=False, server_default=sa.text("1")))
    op.create_table(
        "statements",
        sa.Column("digest", sa.LargeBinary(), primary_key=True),
        sa.Column("account_id", BIGINT, nullable=False),
        *(
            sa.Column(name, BIGINT, nullable=False, server_default=sa.text("0"))
            for name in ("month_ms", "created_ms", "expires_ms")
        ),
        sqlite_strict=True,
    )
    op.create_index("ix_statements_account_id", "statements", ["account_id"])
