"""Every URL that is not proxied."""

from __future__ import annotations

from collections.abc import Callable

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route

_HEADERS = {
    "content-security-policy": "default-src 'none'; style-src 'sha256-{style}'; frame-ancestors 'none';"
    " base-uri 'none'",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}


def create_app(ready: Callable[[], bool], status_page: bytes, style_hash: str) -> Starlette:
    """The ASGI application. `ready`: whether calls can be recorded."""
    headers = {name: value.format(style=style_hash) for name, value in _HEADERS.items()}

    async def healthz(request: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def readyz(request: Request) -> Response:
        if ready():
            return PlainTextResponse("ready\n")
        return PlainTextResponse("not ready: calls cannot be recorded; see the server's log\n", 503)

    async def status(request: Request) -> Response:
        return HTMLResponse(status_page, headers=headers)

    return Starlette(routes=[Route("/healthz", healthz), Route("/readyz", readyz), Route("/", status)])
