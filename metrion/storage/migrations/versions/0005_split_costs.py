"""What of a call's cost is for which tokens, and what caching saved; calls that are there are not split."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

BIGINT = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
PARTS = ("input", "cached", "written", "output", "saved")


def upgrade() -> None:
    for part in PARTS:
        op.add_column("calls", sa.Column(f"{part}_nano", BIGINT, nullable=False, server_default=sa.text("0")))
