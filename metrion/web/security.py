"""The rules around every page: who may send forms, by which names we answer, and the headers that bind browsers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, MutableMapping
from typing import Any

from metrion.config import Settings
from metrion.web.client import header, known_host, same_origin

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Refuse = Callable[[Scope, int, str], App]

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self';"
    " font-src 'self'; manifest-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
_HEADERS = {
    b"content-security-policy": _POLICY.encode(),
    b"referrer-policy": b"same-origin",
    b"x-content-type-options": b"nosniff",
    b"x-frame-options": b"DENY",
    b"cross-origin-opener-policy": b"same-origin",
    b"cross-origin-resource-policy": b"same-origin",
    b"permissions-policy": b"camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    b"cache-control": b"no-store",  # unless the answer says otherwise
}
_HSTS = (b"strict-transport-security", b"max-age=31536000")
_SAFE = ("GET", "HEAD")
_PROBES = ("/healthz", "/readyz")  # asked by address, not by name


class Guard:
    """ASGI middleware. `refuse(scope, status, why)` makes the page for what is not let through.

    `signed`: paths that no browser sends forms to.
    """

    def __init__(
        self, app: App, settings: Settings, public_url: str, refuse: Refuse, signed: Collection[str] = ()
    ) -> None:
        self._app = app
        self._settings = settings
        self._public_url = public_url
        self._refuse = refuse
        self._signed = signed
        self._headers = dict(_HEADERS)
        if public_url.startswith("https://"):
            self._headers[_HSTS[0]] = _HSTS[1]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_guarded(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                said = {name.lower() for name, _ in message["headers"]}
                added = [(name, value) for name, value in self._headers.items() if name not in said]
                message = {**message, "headers": [*message["headers"], *added]}
            await send(message)

        app = self._app if scope["path"] in _PROBES else self._let_through(scope)
        await app(scope, receive, send_guarded)

    def _let_through(self, scope: Scope) -> App:
        if not known_host(header(scope, b"host"), self._settings):
            return self._refuse(scope, 421, "Metrion does not know this address. Set METRION_PUBLIC_URL to it.")
        form = scope["method"] not in _SAFE and scope["path"] not in self._signed
        if form and not same_origin(scope, self._public_url):
            return self._refuse(scope, 403, "This form was not sent from a page of Metrion's.")
        return self._app
