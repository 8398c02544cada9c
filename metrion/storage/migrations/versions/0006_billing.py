"""Plans that are paid for: what is granted and what is paid, and what Stripe said of each customer."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

BIGINT = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
ZERO = sa.text("0")


def upgrade() -> None:
    op.add_column("accounts", _text("granted"))
    op.add_column("accounts", _number("paid"))
    op.add_column("accounts", _number("grace_ends_ms", null=True))
    op.add_column("accounts", _number("free_since_ms", null=True))
    op.add_column("accounts", _number("month_base"))
    op.execute("UPDATE accounts SET granted = plan")
    _customers()
    _events()


def _customers() -> None:
    op.create_table(
        "billing",
        sa.Column("account_id", BIGINT, primary_key=True, autoincrement=False),
        _text("customer_id"),
        _text("subscription_id"),
        _text("status"),
        _number("ends_ms", null=True),
        _number("renews_ms", null=True),
        _number("asked_ms", null=True),
        sqlite_strict=True,
    )
    op.create_index("ix_billing_customer_id", "billing", ["customer_id"], unique=True)
    op.create_table(
        "invoices",
        sa.Column("account_id", BIGINT, nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        _text("number"),
        _text("status"),
        _number("created_ms"),
        _number("amount"),
        _text("currency"),
        sa.PrimaryKeyConstraint("account_id", "id", name="pk_invoices"),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    op.create_table(
        "reversals",
        sa.Column("account_id", BIGINT, nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        _text("kind"),
        _text("status"),
        _text("reason"),
        _number("created_ms"),
        _number("amount"),
        _text("currency"),
        sa.PrimaryKeyConstraint("account_id", "id", name="pk_reversals"),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )


def _events() -> None:
    op.create_table(
        "stripe_events",
        sa.Column("id", sa.Text(), primary_key=True),
        _text("type"),
        _number("account_id", null=True),
        _text("customer_id"),
        _text("object_id"),
        _number("created_ms"),
        _number("received_ms"),
        _number("next_ms", null=True),
        _number("tries"),
        _text("problem"),
        sqlite_strict=True,
    )
    op.create_index("ix_stripe_events_account_id", "stripe_events", ["account_id"])
    op.create_index("ix_stripe_events_next_ms", "stripe_events", ["next_ms"])
    op.create_table(
        "stripe_closures",
        sa.Column("customer_id", sa.Text(), primary_key=True),
        _number("created_ms"),
        _number("next_ms"),
        _number("tries"),
        _text("problem"),
        sqlite_strict=True,
    )


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text(), nullable=False, server_default="")


def _number(name: str, *, null: bool = False) -> sa.Column[int]:
    return sa.Column(name, BIGINT, nullable=null, server_default=None if null else ZERO)
