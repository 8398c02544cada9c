"""Latencies of each provider by the hour, as by the day: of many models, a page need not add them up."""

from alembic import op

revision = "0010"
down_revision = "0009"

BUCKETS = tuple(f"bucket_{number}" for number in range(18))


def upgrade() -> None:
    columns = ",".join(BUCKETS)
    sums = ",".join(f"SUM({name})" for name in BUCKETS)
    for kind in ("latency", "ttft"):
        op.execute(
            f"INSERT INTO latency_hours (account_id, kind, start_ms, provider, model, octave, {columns})"  # noqa: S608
            f" SELECT account_id, '{kind}', start_ms, provider, '', octave, {sums} FROM latency_hours"
            f" WHERE kind = 'model_{kind}' GROUP BY account_id, start_ms, provider, octave"
        )
