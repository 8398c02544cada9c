"""`/`: where somebody goes who only knows the address."""

from __future__ import annotations

from starlette.responses import Response

from metrion.storage.pulse import has_calls
from metrion.web.visit import Visit


async def show(visit: Visit) -> Response:
    """The dashboard once there is something on it, before that the way to the first request; or the way in."""
    if visit.session is None:
        return visit.redirect("/login")
    account_id = visit.account.id
    started = await visit.site.read(lambda connection: has_calls(connection, account_id))
    return visit.redirect("/dashboard" if started else "/integrate")
