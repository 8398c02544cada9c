"""What operators see of accounts: never keys, logs, requesters or costs."""

from __future__ import annotations

from typing import Literal, NamedTuple

from metrion.storage import accounts as stored
from metrion.storage.database import Connection


class Listed(NamedTuple):
    """An account in the operator's list."""

    account_id: int
    email: str
    plan: str
    state: Literal["active", "disabled"]
    operator: bool
    created_ms: int
    used_ms: int | None  # its last call
    requests: int  # ever, refused ones left out


def list_accounts(
    connection: Connection, search: str = "", *, after: int = 0, limit: int | None = None
) -> list[Listed]:
    """Accounts whose address contains `search`, the oldest first, behind the account `after`; `limit` None: all."""
    rows = stored.find_accounts(connection, search.strip().lower(), after, limit)
    requests = stored.count_requests(connection, None if limit is None else [row.id for row in rows])
    return [
        Listed(
            account_id=row.id,
            email=row.email,
            plan=row.plan,
            state="active" if row.disabled_ms is None else "disabled",
            operator=bool(row.operator),
            created_ms=row.created_ms,
            used_ms=row.used_ms,
            requests=requests.get(row.id, 0),
        )
        for row in rows
    ]
