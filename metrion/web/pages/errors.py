"""What is shown where something is not found, not allowed, too much, or broken."""

from __future__ import annotations

from typing import NamedTuple

from starlette.responses import Response

from metrion.web.visit import Visit


class _Words(NamedTuple):
    headline: str
    advice: str


_WORDS = {
    400: _Words("This request was not understood", "Go back and try again."),
    403: _Words("This is not allowed", "Go back, reload the page and try again."),
    404: _Words("There is no page here", "Check the address, or start from the dashboard."),
    405: _Words("This address cannot be used that way", "Go back and use the page's own buttons."),
    413: _Words("This was too large", "Send less at once."),
    421: _Words("Metrion does not know this address", "Use the address that Metrion was set up with."),
    429: _Words("Too many attempts", "Wait a moment, then try again."),
    503: _Words("Metrion is busy", "Try again in a moment. Recorded data is safe."),
}
_BROKEN = _Words("Something failed on our side", "Recorded data is safe. Try again in a moment.")


async def show(visit: Visit, status: int, why: str = "", *, error_id: str = "", seconds: int = 0) -> Response:
    """The page for an HTTP status; `why` replaces its standing advice, `error_id` is to quote."""
    words = _WORDS.get(status, _BROKEN if status >= 500 else _WORDS[400])
    template = "error_part.html" if visit.by_htmx else "error.html"
    response = visit.render(template, status, headline=words.headline, advice=why or words.advice, error_id=error_id)
    if seconds:
        response.headers["retry-after"] = str(seconds)
    return response
