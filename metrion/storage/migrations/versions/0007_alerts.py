"""Alerts: rules, the running sums they look at, and what fired."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"

BIGINT = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
ZERO = sa.text("0")


def upgrade() -> None:
    _rules()
    _sums()
    op.create_table(
        "alerts",
        sa.Column("id", BIGINT, primary_key=True, autoincrement=True),
        _key("account_id"),
        _number("rule_id"),
        _text("kind"),
        _text("name"),
        _text("level"),
        _number("fired_ms"),
        _number("value", null=True),
        _number("threshold"),
        _text("currency"),
        sqlite_strict=True,
        sqlite_autoincrement=True,
    )
    op.create_index("ix_alerts_account_id", "alerts", ["account_id"])


def _rules() -> None:
    op.create_table(
        "alert_rules",
        sa.Column("id", BIGINT, primary_key=True, autoincrement=True),
        _key("account_id"),
        _text("kind"),
        _text("name"),
        _text("providers"),
        _text("models"),
        _text("requesters"),
        _text("span"),
        _number("from_ms"),
        _number("to_ms", null=True),
        _number("threshold"),
        _text("currency"),
        _number("least"),
        _text("zone"),
        _number("created_ms"),
        _number("paused_ms", null=True),
        _number("warned_ms", null=True),
        _number("alerted_ms", null=True),
        _number("tested_ms", null=True),
        sqlite_strict=True,
        sqlite_autoincrement=True,
    )
    op.create_index("ix_alert_rules_account_id", "alert_rules", ["account_id"])


def _sums() -> None:
    op.create_table(
        "alert_sums",
        _key("account_id"),
        _key("rule_id"),
        _key("start_ms"),
        _number("requests"),
        _number("errors"),
        _number("cost_nano"),
        sa.PrimaryKeyConstraint("account_id", "rule_id", "start_ms", name="pk_alert_sums"),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    op.create_table(
        "alert_latencies",
        _key("account_id"),
        _key("rule_id"),
        _key("start_ms"),
        _key("bucket"),
        _number("requests"),
        sa.PrimaryKeyConstraint("account_id", "rule_id", "start_ms", "bucket", name="pk_alert_latencies"),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    op.create_table(
        "alert_due",
        sa.Column("account_id", BIGINT, primary_key=True, autoincrement=False),
        sqlite_strict=True,
    )
    op.create_table(
        "alert_rates",
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("day", sa.Text(), nullable=False),
        _text("per_usd"),
        sa.PrimaryKeyConstraint("currency", "day", name="pk_alert_rates"),
        sqlite_strict=True,
    )


def _key(name: str) -> sa.Column[int]:
    return sa.Column(name, BIGINT, nullable=False, autoincrement=False)


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text(), nullable=False, server_default="")


def _number(name: str, *, null: bool = False) -> sa.Column[int]:
    return sa.Column(name, BIGINT, nullable=null, server_default=None if null else ZERO)
