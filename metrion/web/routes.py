"""Every URL that is not proxied, who may ask for it, and the function that answers. Nothing else adds one."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from enum import Enum
from typing import NamedTuple

import structlog
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from metrion.accounts.sessions import find_session, touch_session
from metrion.errors import BusyError
from metrion.kit.logs import place_of
from metrion.web.api import latency, openapi, usage
from metrion.web.api import logs as api_logs
from metrion.web.api.access import PATH as API
from metrion.web.api.access import reads, told
from metrion.web.pages import (
    alerts,
    billing,
    channels,
    deletion,
    entry,
    errors,
    integrate,
    links,
    logs,
    operator,
    profile,
    reference,
    root,
    settings,
    statement,
)
from metrion.web.pages.dashboard import show as dashboard
from metrion.web.security import App, Guard
from metrion.web.site import Site
from metrion.web.visit import TooMany, Visit

log = structlog.get_logger("metrion.web")

Answer = Callable[[Visit], Awaitable[Response]]


class Access(Enum):
    """Who may ask for a page."""

    ANYBODY = "anybody"
    SIGNED_IN = "signed in"
    READER = "signed in, or with a Metrion key that may read"  # `api.access` finds out
    OPERATOR = "operator"
    SIGNED = "who signs what it sends, which the page checks"


class Page(NamedTuple):
    """A URL and what answers GET and POST; None: that method is refused."""

    path: str
    access: Access
    get: Answer | None = None
    post: Answer | None = None


PAGES = (
    Page("/", Access.ANYBODY, get=root.show),
    Page("/signup", Access.ANYBODY, get=entry.show_signup, post=entry.sign_up),
    Page("/invite/{token}", Access.ANYBODY, get=entry.show_signup),
    Page("/login", Access.ANYBODY, get=entry.show_login, post=entry.log_in),
    Page("/logout", Access.ANYBODY, post=entry.log_out),
    Page("/login/code", Access.ANYBODY, get=entry.show_ask, post=entry.ask),
    Page("/reset", Access.ANYBODY, get=entry.show_ask, post=entry.ask),
    Page("/login/code/enter", Access.ANYBODY, get=entry.show_code, post=entry.enter_code),
    Page("/reset/enter", Access.ANYBODY, get=entry.show_code, post=entry.enter_code),
    Page("/confirm", Access.ANYBODY, get=entry.show_code, post=entry.enter_code),
    Page("/code/again", Access.ANYBODY, post=entry.send_again),
    Page("/link/{token}", Access.ANYBODY, get=links.show_sign_in, post=links.sign_in),
    Page("/claim/{token}", Access.ANYBODY, get=links.show_claim, post=links.claim),
    Page("/dashboard", Access.SIGNED_IN, get=dashboard.show_overview),
    Page("/dashboard/costs", Access.SIGNED_IN, get=dashboard.show_costs),
    Page("/dashboard/latency", Access.SIGNED_IN, get=dashboard.show_latency),
    Page("/dashboard/errors", Access.SIGNED_IN, get=dashboard.show_errors),
    Page("/dashboard/sources", Access.SIGNED_IN, get=dashboard.show_sources),
    Page("/dashboard/sources/{requester:path}", Access.SIGNED_IN, get=dashboard.show_source),
    Page("/dashboard/live", Access.SIGNED_IN, get=dashboard.show_live),
    Page("/integrate", Access.SIGNED_IN, get=integrate.show),
    Page("/integrate/first", Access.SIGNED_IN, get=integrate.show_first),
    Page("/integrate/token", Access.SIGNED_IN, post=integrate.reveal),
    Page("/integrate/copy", Access.SIGNED_IN, post=integrate.copy),
    Page("/integrate/key", Access.SIGNED_IN, post=integrate.save_key),
    Page("/integrate/check", Access.SIGNED_IN, post=integrate.check_stored),
    Page("/integrate/test", Access.SIGNED_IN, post=integrate.send_test),
    Page("/settings", Access.SIGNED_IN, get=settings.show_general, post=settings.save_general),
    Page("/settings/token", Access.SIGNED_IN, get=settings.show_token, post=settings.regenerate),
    Page("/settings/token/reads", Access.SIGNED_IN, post=settings.set_reads),
    Page("/settings/providers", Access.SIGNED_IN, get=settings.show_providers),
    Page("/settings/providers/delete", Access.SIGNED_IN, post=settings.delete_key),
    Page("/settings/billing", Access.SIGNED_IN, get=billing.show),
    Page("/settings/billing/upgrade", Access.SIGNED_IN, post=billing.upgrade),
    Page("/settings/billing/manage", Access.SIGNED_IN, post=billing.manage),
    Page("/webhooks/stripe", Access.SIGNED, post=billing.receive),
    Page("/settings/statements", Access.SIGNED_IN, get=statement.show_links, post=statement.create),
    Page("/settings/statements/revoke", Access.SIGNED_IN, post=statement.revoke),
    Page("/statement/{token}", Access.ANYBODY, get=statement.show),
    Page("/settings/alerts", Access.SIGNED_IN, get=channels.show),
    Page("/settings/alerts/webhooks/new", Access.SIGNED_IN, get=channels.show_new, post=channels.create),
    Page("/settings/alerts/webhooks/{webhook_id}", Access.SIGNED_IN, get=channels.show_one, post=channels.save),
    Page("/settings/alerts/webhooks/{webhook_id}/switch", Access.SIGNED_IN, post=channels.switch),
    Page("/settings/alerts/webhooks/{webhook_id}/delete", Access.SIGNED_IN, post=channels.delete),
    Page("/settings/alerts/webhooks/{webhook_id}/secret", Access.SIGNED_IN, post=channels.reveal),
    Page("/settings/alerts/webhooks/{webhook_id}/secret/replace", Access.SIGNED_IN, post=channels.replace),
    Page("/settings/alerts/webhooks/{webhook_id}/test", Access.SIGNED_IN, post=channels.test),
    Page("/settings/alerts/webhooks/{webhook_id}/again", Access.SIGNED_IN, post=channels.again),
    Page("/settings/profile", Access.SIGNED_IN, get=profile.show),
    Page("/settings/profile/password", Access.SIGNED_IN, post=profile.change_password),
    Page("/settings/profile/email", Access.SIGNED_IN, get=profile.show_email, post=profile.change_email),
    Page("/settings/profile/email/codes", Access.SIGNED_IN, post=profile.enter_codes),
    Page("/settings/profile/session", Access.SIGNED_IN, post=profile.end_one),
    Page("/settings/profile/sessions", Access.SIGNED_IN, post=profile.end_all),
    Page("/settings/profile/data.json", Access.SIGNED_IN, get=profile.download),
    Page("/settings/profile/delete", Access.SIGNED_IN, get=deletion.show, post=deletion.delete),
    Page("/settings/profile/delete/code", Access.SIGNED_IN, post=deletion.send_code),
    Page("/deleted/{token}", Access.ANYBODY, get=deletion.show_deleted),
    Page("/deleted/{token}/left", Access.ANYBODY, get=deletion.show_left),
    Page("/logs", Access.SIGNED_IN, get=logs.show),
    Page("/logs.csv", Access.SIGNED_IN, get=logs.export),
    Page("/logs/newer", Access.SIGNED_IN, get=logs.newer),
    Page("/logs/{request_id}", Access.SIGNED_IN, get=logs.show_one),
    Page("/alerts", Access.SIGNED_IN, get=alerts.show),
    Page("/alerts/new", Access.SIGNED_IN, get=alerts.show_new, post=alerts.create),
    Page("/alerts/{rule_id}", Access.SIGNED_IN, get=alerts.show_one, post=alerts.save),
    Page("/alerts/{rule_id}/pause", Access.SIGNED_IN, post=alerts.pause),
    Page("/alerts/{rule_id}/test", Access.SIGNED_IN, post=alerts.test),
    Page("/alerts/{rule_id}/delete", Access.SIGNED_IN, post=alerts.delete),
    Page("/api/v1/usage", Access.READER, get=reads(usage.find)),
    Page("/api/v1/latency", Access.READER, get=reads(latency.find)),
    Page("/api/v1/logs", Access.READER, get=reads(api_logs.find)),
    Page("/api/v1/logs/{request_id}", Access.READER, get=reads(api_logs.show)),
    Page("/api/v1/openapi.json", Access.ANYBODY, get=openapi.show),
    Page("/docs/api", Access.ANYBODY, get=reference.show),
    Page("/operator", Access.OPERATOR, get=operator.show),
    Page("/operator/account", Access.OPERATOR, post=operator.change),
    Page("/operator/invite", Access.OPERATOR, post=operator.invite),
)


def create_app(site: Site, ready: Callable[[], bool]) -> App:
    """The ASGI application. `ready`: whether calls can be recorded."""

    async def healthz(request: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def readyz(request: Request) -> Response:
        if ready():
            return PlainTextResponse("ready\n")
        return PlainTextResponse("not ready: calls cannot be recorded; see the server's log\n", 503)

    async def static(request: Request) -> Response:
        codings = request.headers.get("accept-encoding", "")
        found = await run_in_threadpool(site.assets.get, request.url.path, codings)
        if found is None:
            raise HTTPException(404)
        body, headers = found
        response = Response(body)
        response.raw_headers = [*headers, (b"content-length", str(len(body)).encode())]
        return response

    async def failed(request: Request, problem: Exception) -> Response:
        assert isinstance(problem, HTTPException)
        if request.url.path.startswith(API):
            return told(problem.status_code)
        detail = problem.detail if problem.status_code in (403, 421) else ""
        return await _answer(request, site, lambda visit: errors.show(visit, problem.status_code, detail))

    def refuse(scope: Scope, status: int, why: str) -> ASGIApp:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            visit = Visit(Request(scope, receive), site, None)
            await (await errors.show(visit, status, why))(scope, receive, send)

        return app

    app = Starlette(
        routes=[
            Route("/healthz", healthz),
            Route("/readyz", readyz),
            Route("/static/{name:path}", static),
            *(_route(site, page) for page in PAGES),
        ],
        exception_handlers={HTTPException: failed},
    )
    signed = frozenset(page.path for page in PAGES if page.access is Access.SIGNED)
    return Guard(app, site.settings, site.public_url, refuse, signed)


def _route(site: Site, page: Page) -> Route:
    answers = {"GET": page.get, "HEAD": page.get, "POST": page.post}

    async def endpoint(request: Request) -> Response:
        answer = answers[request.method]
        assert answer is not None
        return await _answer(request, site, answer, page)

    return Route(page.path, endpoint, methods=[method for method, answer in answers.items() if answer])


async def _answer(request: Request, site: Site, answer: Answer, page: Page | None = None) -> Response:
    """Find out who asks, whether they may, and answer; whatever goes wrong is a page too. `page`: None for no page."""
    access, path = (page.access, page.path) if page else (Access.ANYBODY, "")
    visit = Visit(request, site, None)
    try:
        await _recognize(visit)
        if access in (Access.SIGNED_IN, Access.OPERATOR) and visit.session is None:
            return visit.log_in_first()
        if access is Access.OPERATOR and not visit.account.operator:
            return await errors.show(visit, 404)  # who may not see it need not know that it is there
        return await answer(visit)
    except HTTPException as problem:
        return await errors.show(visit, problem.status_code, problem.detail if problem.status_code == 403 else "")
    except TooMany as problem:
        return await errors.show(visit, 429, str(problem), seconds=problem.seconds)
    except BusyError:
        return await errors.show(visit, 503, seconds=1)
    except Exception as problem:
        # The message may quote what somebody typed, or a key, and the address may be a link that lets people in:
        # only the kind, the place and the page are logged.
        error_id = secrets.token_hex(6)
        log.error("page_failed", id=error_id, path=path, why=type(problem).__name__, at=place_of(problem))
        return await errors.show(visit, 500, error_id=error_id)


async def _recognize(visit: Visit) -> None:
    """Give `visit` its session, where its cookie is one's."""
    cookie = visit.cookie
    if not cookie:
        return
    session = visit.session = await visit.site.read(lambda connection: find_session(connection, cookie))
    if session is not None and session.stale:
        await visit.site.change(lambda connection: touch_session(connection, session))
