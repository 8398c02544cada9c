"""Accounts that people sign up for and log in to: passwords, sessions, codes, links, mail, and how an account ends."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

BIGINT = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
ZERO = sa.text("0")


def upgrade() -> None:
    _accounts()
    op.add_column("provider_keys", sa.Column("used_ms", BIGINT, nullable=True))
    _people()
    op.create_table(
        "outbox",
        sa.Column("id", BIGINT, primary_key=True, autoincrement=True),
        sa.Column("account_id", BIGINT, nullable=False, server_default=ZERO),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("created_ms", BIGINT, nullable=False, server_default=ZERO),
        sa.Column("next_ms", BIGINT, nullable=False, server_default=ZERO),
        sa.Column("tries", BIGINT, nullable=False, server_default=ZERO),
        sa.Column("problem", sa.Text(), nullable=False, server_default=""),
        sqlite_strict=True,
        sqlite_autoincrement=True,
    )
    op.create_index("ix_outbox_next_ms", "outbox", ["next_ms"])
    op.create_table(
        "deletions",
        sa.Column("digest", sa.LargeBinary(), primary_key=True),
        sa.Column("account_id", BIGINT, nullable=True),
        sa.Column("requested_ms", BIGINT, nullable=False, server_default=ZERO),
        sa.Column("finished_ms", BIGINT, nullable=True),
        sqlite_strict=True,
    )


def _accounts() -> None:
    # SQLite cannot make a column AUTOINCREMENT afterwards.
    op.rename_table("accounts", "accounts_before")
    op.create_table(
        "accounts",
        sa.Column("id", BIGINT, primary_key=True, autoincrement=True),
        sa.Column("email", sa.Text(), nullable=False, unique=True),
        sa.Column("plan", sa.Text(), nullable=False, server_default=""),
        sa.Column("created_ms", BIGINT, nullable=False, server_default=ZERO),
        sa.Column("disabled_ms", BIGINT, nullable=True),
        sa.Column("name", sa.Text(), nullable=False, server_default=""),
        sa.Column("password", sa.Text(), nullable=True),
        sa.Column("confirmed_ms", BIGINT, nullable=True),
        sa.Column("operator", BIGINT, nullable=False, server_default=ZERO),
        sa.Column("currency", sa.Text(), nullable=False, server_default="USD"),
        sa.Column("time_zone", sa.Text(), nullable=False, server_default="UTC"),
        sa.Column("used_ms", BIGINT, nullable=True),
        sqlite_strict=True,
        sqlite_autoincrement=True,
    )
    op.execute(
        "INSERT INTO accounts (id, email, plan, created_ms, disabled_ms)"
        " SELECT id, email, plan, created_ms, disabled_ms FROM accounts_before"
    )
    op.drop_table("accounts_before")


def _people() -> None:
    op.create_table(
        "sessions",
        sa.Column("digest", sa.LargeBinary(), primary_key=True),
        sa.Column("account_id", BIGINT, nullable=False),
        sa.Column("created_ms", BIGINT, nullable=False, server_default=ZERO),
        sa.Column("seen_ms", BIGINT, nullable=False, server_default=ZERO),
        sa.Column("agent", sa.Text(), nullable=False, server_default=""),
        sa.Column("address", sa.Text(), nullable=False, server_default=""),
        sqlite_strict=True,
    )
    op.create_index("ix_sessions_account_id", "sessions", ["account_id"])
    op.create_table(
        "codes",
        sa.Column("account_id", BIGINT, nullable=False),
        sa.Column("purpose", sa.Text(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False, server_default=""),
        sa.Column("created_ms", BIGINT, nullable=False, server_default=ZERO),
        sa.Column("expires_ms", BIGINT, nullable=False, server_default=ZERO),
        sa.Column("tries", BIGINT, nullable=False, server_default=ZERO),
        sa.PrimaryKeyConstraint("account_id", "purpose", name="pk_codes"),
        sqlite_strict=True,
    )
    op.create_table(
        "links",
        sa.Column("digest", sa.LargeBinary(), primary_key=True),
        sa.Column("purpose", sa.Text(), nullable=False, server_default=""),
        sa.Column("account_id", BIGINT, nullable=True),
        sa.Column("email", sa.Text(), nullable=False, server_default=""),
        sa.Column("created_ms", BIGINT, nullable=False, server_default=ZERO),
        sa.Column("expires_ms", BIGINT, nullable=False, server_default=ZERO),
        sa.Column("used_ms", BIGINT, nullable=True),
        sqlite_strict=True,
    )
    op.create_index("ix_links_account_id", "links", ["account_id"])
