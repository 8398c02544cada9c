"""Webhooks and what is delivered to them; which channels a rule does not use, and how far its sums are made."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"

BIGINT = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.add_column("alert_rules", _text("muted"))
    op.add_column("alert_rules", sa.Column("filled", sa.Text(), nullable=True))
    op.create_index("ix_alert_rules_filled", "alert_rules", ["id"], sqlite_where=sa.text("filled IS NOT NULL"))
    op.create_table(
        "webhooks",
        sa.Column("id", BIGINT, primary_key=True, autoincrement=True),
        sa.Column("account_id", BIGINT, nullable=False),
        _text("kind"),
        _text("name"),
        _text("origin"),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        _number("created_ms"),
        _number("disabled_ms", null=True),
        sqlite_strict=True,
        sqlite_autoincrement=True,
    )
    op.create_index("ix_webhooks_account_id", "webhooks", ["account_id"])
    op.create_table(
        "deliveries",
        sa.Column("id", BIGINT, primary_key=True, autoincrement=True),
        sa.Column("account_id", BIGINT, nullable=False),
        sa.Column("webhook_id", BIGINT, nullable=False),
        _text("name"),
        _text("title"),
        _text("body"),
        _number("created_ms"),
        _number("next_ms", null=True),
        _number("until_ms"),
        _number("tries"),
        _number("tried_ms", null=True),
        _number("took_ms"),
        _number("status"),
        _number("delivered"),
        _text("problem"),
        sqlite_strict=True,
        sqlite_autoincrement=True,
    )
    op.create_index("ix_deliveries_account_id_webhook_id", "deliveries", ["account_id", "webhook_id"])
    op.create_index("ix_deliveries_next_ms", "deliveries", ["next_ms"], sqlite_where=sa.text("next_ms IS NOT NULL"))


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text(), nullable=False, server_default="")


def _number(name: str, *, null: bool = False) -> sa.Column[int]:
    return sa.Column(name, BIGINT, nullable=null, server_default=None if null else sa.text("0"))
