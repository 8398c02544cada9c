"""Accounts with their sealed keys, calls, and hourly and daily totals.

Written out, not taken from tables.py: this is how the schema was, whatever tables.py says later.
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

BIGINT = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def number(name: str) -> "sa.Column[int]":
    return sa.Column(name, BIGINT, nullable=False, server_default=sa.text("0"))


def maybe_number(name: str) -> "sa.Column[int]":
    return sa.Column(name, BIGINT, nullable=True)


def number_key(name: str) -> "sa.Column[int]":
    return sa.Column(name, BIGINT, nullable=False)


def text(name: str) -> "sa.Column[str]":
    return sa.Column(name, sa.Text(), nullable=False, server_default="")


def maybe_text(name: str) -> "sa.Column[str]":
    return sa.Column(name, sa.Text(), nullable=True)


def text_key(name: str) -> "sa.Column[str]":
    return sa.Column(name, sa.Text(), nullable=False)


def blob(name: str) -> "sa.Column[bytes]":
    return sa.Column(name, sa.LargeBinary(), nullable=False)


def primary(table: str, *columns: str) -> sa.PrimaryKeyConstraint:
    return sa.PrimaryKeyConstraint(*columns, name=f"pk_{table}")


def upgrade() -> None:
    create_accounts()
    create_calls()
    create_totals("model_hours", [text_key("model"), number_key("status"), text_key("outcome")])
    create_totals("model_days", [text_key("model"), number_key("status"), text_key("outcome")])
    create_totals("requester_hours", [text_key("requester"), text_key("outcome")])
    create_totals("requester_days", [text_key("requester"), text_key("outcome")])


def create_accounts() -> None:
    op.create_table(
        "accounts",
        sa.Column("id", BIGINT, autoincrement=True, nullable=False),
        sa.Column("email", sa.Text(), nullable=False, unique=True),
        text("plan"),
        number("created_ms"),
        maybe_number("disabled_ms"),
        primary("accounts", "id"),
        sqlite_strict=True,
    )
    op.create_table(
        "tokens",
        blob("digest"),
        number_key("account_id"),
        blob("sealed"),
        number("created_ms"),
        primary("tokens", "digest"),
        sqlite_strict=True,
    )
    op.create_index("ix_tokens_account_id", "tokens", ["account_id"])
    op.create_table(
        "provider_keys",
        number_key("account_id"),
        text_key("provider"),
        blob("sealed"),
        text("tail"),
        number("created_ms"),
        primary("provider_keys", "account_id", "provider"),
        sqlite_strict=True,
    )
    op.create_table(
        "master_keys",
        blob("id"),
        blob("canary"),
        number("created_ms"),
        primary("master_keys", "id"),
        sqlite_strict=True,
    )


def create_calls() -> None:
    op.create_table(
        "calls",
        number_key("account_id"),
        blob("request_id"),
        number("started_ms"),
        *(text(name) for name in ("provider", "endpoint", "format", "mode", "model", "requested_model", "requester")),
        number("stream"),
        number("status"),
        text("outcome"),
        maybe_text("error_code"),
        maybe_text("error_message"),
        number("input_tokens"),
        number("cached_input_tokens"),
        number("cache_write_5m_tokens"),
        number("cache_write_1h_tokens"),
        number("output_tokens"),
        number("reasoning_tokens"),
        maybe_text("usage_raw"),
        maybe_text("rare"),
        maybe_number("cost_nano"),
        text("cost_source"),
        maybe_text("price_ref"),
        number("latency_us"),
        number("ttft_us"),
        number("provider_us"),
        number("request_bytes"),
        number("response_bytes"),
        maybe_text("upstream_request_id"),
        primary("calls", "account_id", "request_id"),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )


def create_totals(table: str, by: "list[sa.Column[int] | sa.Column[str]]") -> None:
    keys = [number_key("account_id"), number_key("start_ms"), text_key("provider"), *by]
    op.create_table(
        table,
        *keys,
        number("requests"),
        number("input_tokens"),
        number("cached_input_tokens"),
        number("cache_write_5m_tokens"),
        number("cache_write_1h_tokens"),
        number("output_tokens"),
        number("reasoning_tokens"),
        number("cost_nano"),
        number("cost_provider"),
        number("cost_computed"),
        number("cost_estimated"),
        number("cost_unpriced"),
        number("cost_unknown"),
        number("latency_us"),
        primary(table, *(key.name for key in keys)),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
