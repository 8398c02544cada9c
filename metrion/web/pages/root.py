"""`/`: where somebody goes who only knows the address."""

from __future__ import annotations

from starlette.responses import Response

from metrion.web.visit import Visit


async def show(visit: Visit) -> Response:
    """The account's first page, or the way in."""
    return visit.redirect("/integrate" if visit.session else "/login")
