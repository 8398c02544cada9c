"""Visit: one request for a page, who makes it, and the ways to answer it."""

from __future__ import annotations

import hmac
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import msgspec
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.types import Message, Receive

from metrion.accounts.codes import Purpose
from metrion.accounts.limits import Kind, address_key
from metrion.accounts.plans import FREE, Use
from metrion.accounts.sessions import ABSOLUTE_SECONDS, Session, find_session
from metrion.errors import InputError, MetrionError, VaultError
from metrion.kit.clock import now_ms
from metrion.kit.months import month_of, month_start_ms
from metrion.mail.letters import Occasion
from metrion.web.client import client_address
from metrion.web.site import Site

_FORM_BYTES = 64 * 1024
_VISIT_SECONDS = 24 * 3600
_STEP = "metrion-step"
_STEP_SECONDS = 30 * 60
_NOTE = "metrion-note"
_NOTE_SECONDS = 60
_AGENT_LENGTH = 200


class Step(msgspec.Struct, frozen=True):
    """What a browser keeps between asking for a code and typing it in. It may name an address without an account."""

    email: str
    purpose: Purpose
    at_ms: int
    password_hash: str = ""  # what was chosen at sign-up; an account has it once its address is confirmed, and the name
    name: str = ""


class TooMany(MetrionError):
    """A form was sent too often."""

    def __init__(self, seconds: float) -> None:
        self.seconds = max(1, round(seconds))
        super().__init__(f"Too many attempts. Try again in {_span(self.seconds)}.")


def refused(problem: InputError | TooMany, field: str) -> tuple[int, dict[str, str]]:
    """The status and the errors of a form that is not taken; `field`: where the problem names none."""
    if isinstance(problem, TooMany):
        return 429, {field: str(problem)}
    return 422, {problem.field or field: str(problem)}


class Form(Mapping[str, str]):
    """The fields of a form that was sent from our own page; a missing one is ""."""

    def __init__(self, fields: FormData) -> None:
        self._fields = {name: value for name, value in fields.items() if isinstance(value, str)}

    def __getitem__(self, name: str) -> str:
        return self._fields.get(name, "")

    def __iter__(self) -> Any:
        return iter(self._fields)

    def __len__(self) -> int:
        return len(self._fields)

    def __contains__(self, name: object) -> bool:
        return name in self._fields


class Errors(dict[str, str]):
    """What is wrong, by field; "" for a field that is fine."""

    def __missing__(self, field: str) -> str:
        return ""


class Visit:
    """A request with its site and its session (None: not signed in)."""

    def __init__(self, request: Request, site: Site, session: Session | None) -> None:
        self.request = request
        self.site = site
        self.session = session
        self.address = client_address(request.scope, site.settings.trusted_proxies)
        self.agent = request.headers.get("user-agent", "")[:_AGENT_LENGTH]
        self.host_prefix = "__Host-" if site.secure else ""
        self._new_visit = ""
        self._cookies: list[tuple[str, str, int]] = []

    @property
    def account(self) -> Session:
        """Who is signed in; only for pages that ask for it in routes.py."""
        assert self.session is not None
        return self.session

    @property
    def by_htmx(self) -> bool:
        """Whether a part of a page is asked for, not a page."""
        return "hx-request" in self.request.headers

    @property
    def use(self) -> Use | None:
        """How much of its month the account has used; None where nothing limits it."""
        most = self.site.settings.free_monthly_requests
        if self.session is None or self.session.plan != FREE.name or not most:
            return None
        used = self.site.month_used(self.session.id)
        return Use(used, most, month_start_ms(month_of(now_ms()) + 1))

    # ── forms ─────────────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def csrf(self) -> str:
        """What a form must carry: bound to the session, or before log-in to a cookie of its own."""
        cookie = self._cookie("metrion") if self.session else self._visit_cookie()
        return self.site.vault.token_digest(b"csrf|" + cookie.encode()).hex()

    def _visit_cookie(self) -> str:
        found = self._cookie("metrion-visit") or self._new_visit
        if not found:
            self._new_visit = found = secrets.token_urlsafe(24)
            self._cookies.append(("metrion-visit", found, _VISIT_SECONDS))
        return found

    async def form(self) -> Form:
        """The form's fields; 403 where it is not from our page or its session has ended, 413 where it is too large."""
        if int(self.request.headers.get("content-length") or 0) > _FORM_BYTES:
            raise HTTPException(413)
        request = Request(self.request.scope, _bounded(self.request.receive))
        try:
            fields = await request.form(max_files=0, max_fields=200, max_part_size=_FORM_BYTES)
        except ClientDisconnect:
            raise HTTPException(400) from None  # nobody is there to read it
        sent = self.request.headers.get("x-csrf-token") or fields.get("csrf") or ""
        if isinstance(sent, UploadFile) or not hmac.compare_digest(sent.encode(), self.csrf.encode()):
            raise HTTPException(403, "This form has grown old. Go back, reload the page and send it again.")
        await self._look_again()
        return Form(fields)

    async def _look_again(self) -> None:
        """Refuse a form whose session has ended since it began to come in: a client may take hours to send it."""
        if self.session is not None:
            self.session = await self.site.read(lambda connection: find_session(connection, self.cookie))
            if self.session is None:
                raise HTTPException(403, "Your session has ended. Log in and send this again.")

    def limit(self, kind: Kind, key: str = "") -> None:
        """Count an attempt of `key` (of the client's address, if none is given); raises TooMany beyond the limit."""
        seconds = self.site.limits.take(kind, key or address_key(self.address))
        if seconds:
            raise TooMany(seconds)

    @property
    def occasion(self) -> Occasion:
        """When and from where, for letters."""
        return Occasion(now_ms(), self.agent, self.address)

    # ── the session's cookie ──────────────────────────────────────────────────────────────────────────────────────

    @property
    def cookie(self) -> str:
        """The session's cookie as it was sent."""
        return self._cookie("metrion")

    def sign_in(self, cookie: str) -> None:
        """Give the browser a session that was started; anything it had before is replaced."""
        self._cookies += [("metrion", cookie, ABSOLUTE_SECONDS), ("metrion-visit", "", 0), (_STEP, "", 0)]

    def sign_out(self) -> None:
        """Take the session's cookie back."""
        self._cookies.append(("metrion", "", 0))

    @property
    def step(self) -> Step | None:
        """What `remember` kept; None where there is nothing, or it has grown old."""
        try:
            sealed = urlsafe_b64decode(self._cookie(_STEP))
            step = msgspec.json.decode(self.site.vault.open(0, _STEP, sealed).reveal(), type=Step)
        except (ValueError, VaultError):
            return None
        return step if now_ms() - step.at_ms < _STEP_SECONDS * 1000 else None

    def remember(self, step: Step) -> None:
        """Keep what the next page has to know in this browser, sealed."""
        sealed = self.site.vault.seal(0, _STEP, msgspec.json.encode(step))
        self._cookies.append((_STEP, urlsafe_b64encode(sealed).decode(), _STEP_SECONDS))

    def _cookie(self, name: str) -> str:
        return self.request.cookies.get(self.host_prefix + name, "")

    # ── what one page leaves for the next to say ──────────────────────────────────────────────────────────────────

    def note(self, name: str) -> None:
        """Have the next page say something: the name of one of its sentences, never a text."""
        self._cookies.append((_NOTE, name, _NOTE_SECONDS))

    def take_note(self, sentences: Mapping[str, str]) -> str:
        """The sentence that the page before left the name of, once; "" where there is none."""
        name = self._cookie(_NOTE)
        if name:
            self._cookies.append((_NOTE, "", 0))
        return sentences.get(name, "")

    # ── answers ───────────────────────────────────────────────────────────────────────────────────────────────────

    def render(
        self, template: str, code: int = 200, *, errors: Mapping[str, str] | None = None, **context: Any
    ) -> Response:
        """A page from a template, which also gets `visit`, `account`, `site`, `csrf`, `status` and `now_ms`.

        `errors`: what is wrong, by form field; the page says it beside the field.
        """
        given = {
            "errors": Errors(errors or {}),
            "account": self.session,
            "site": self.site,
            "csrf": self.csrf,
            "now_ms": now_ms(),
        }
        text = self.site.templates.get_template(template).render(visit=self, status=code, **given, **context)
        return self.finish(HTMLResponse(text, code))

    def redirect(self, path: str) -> Response:
        """Go on to another page of ours; `path` is never what somebody sent."""
        if self.by_htmx:
            return self.finish(Response(status_code=204, headers={"hx-redirect": path}))
        return self.finish(RedirectResponse(path, 303))

    def leave(self, url: str) -> Response:
        """To a page that somebody else made for us; a redirect of a form would need the policy's leave."""
        response = self.render("leaving.html", url=url)
        response.headers["refresh"] = f"0;url={url}"
        return response

    def log_in_first(self) -> Response:
        """To the log-in page, and from there back to here."""
        here = self.request.url.path
        back = f"?next={quote(here)}" if self.request.method == "GET" and here != "/" else ""
        return self.redirect("/login" + back)

    def finish(self, response: Response) -> Response:
        """Set the cookies that this visit gave."""
        for name, value, seconds in self._cookies:
            response.set_cookie(
                self.host_prefix + name,
                value,
                max_age=seconds,
                path="/",
                secure=self.site.secure,
                httponly=True,
                samesite="lax",
            )
        return response


def _bounded(receive: Receive) -> Receive:
    """`receive`, which raises 413 beyond a form's size: a body in chunks does not tell its length beforehand."""
    left = _FORM_BYTES

    async def bounded() -> Message:
        nonlocal left
        message = await receive()
        left -= len(message.get("body", b""))
        if left < 0:
            raise HTTPException(413)
        return message

    return bounded


def _span(seconds: int) -> str:
    minutes = -(-seconds // 60)
    if seconds < 60:
        return f"{seconds} seconds" if seconds > 1 else "a second"
    return f"{minutes} minutes" if minutes > 1 else "a minute"
