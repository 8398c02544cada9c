"""Who may read, how often, and what is said instead of an answer."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any, NamedTuple

import orjson
import structlog
from starlette.responses import Response

from metrion.accounts.tokens import Reader, find_reader
from metrion.errors import BusyError, InputError
from metrion.kit.clock import now_ms
from metrion.kit.logs import place_of
from metrion.web.visit import TooMany, Visit

log = structlog.get_logger("metrion.web")

Answer = Callable[["Question"], Awaitable[Any]]
PATH = "/api/v1/"
_BEARER = "bearer "


class Problem(Exception):
    """There is no answer: the status to say so with, and why."""

    def __init__(self, status: int, detail: str) -> None:
        self.status = status
        self.detail = detail
        super().__init__(detail)


class Question(NamedTuple):
    """A request that may be answered. `now`: Unix ms, one moment for all of the answer."""

    visit: Visit
    reader: Reader
    now: int


async def answer(visit: Visit, act: Answer) -> Response:
    """What `act` says, as JSON; whatever goes wrong is a problem."""
    try:
        question = Question(visit, await _reader(visit), now_ms())
        visit.limit("api_account", str(question.reader.id))
        return _json(await act(question), 200)
    except Problem as problem:
        return told(problem.status, problem.detail)
    except TooMany as problem:
        return told(429, str(problem), retry_after=problem.seconds)
    except BusyError:
        return told(503, "Metrion is busy. Try again in a moment.", retry_after=1)
    except Exception as problem:
        error_id = secrets.token_hex(6)
        log.error(
            "api_failed", id=error_id, path=visit.request.url.path, why=type(problem).__name__, at=place_of(problem)
        )
        return told(500, f"Something failed on our side. Recorded data is safe. Quote {error_id}.")


def reads(act: Answer) -> Callable[[Visit], Awaitable[Response]]:
    """The page that answers with what `act` says."""
    return lambda visit: answer(visit, act)


async def _reader(visit: Visit) -> Reader:
    """Who asks; a key that is sent counts, even where a session is there too."""
    sent = visit.request.headers.get("authorization", "")
    if not sent:
        if visit.session is None:
            raise Problem(401, "Send a Metrion key: Authorization: Bearer sk-metrion-…")
        return Reader(visit.session.id, visit.session.plan, visit.session.time_zone)
    key = sent[len(_BEARER) :].strip().encode("latin-1") if sent.lower().startswith(_BEARER) else b""
    try:
        reader = await visit.site.read(lambda connection: find_reader(connection, visit.site.vault, key))
    except InputError as problem:
        raise Problem(403, str(problem)) from None
    if reader is None:
        visit.limit("api_address")
        raise Problem(401, "This Metrion key is not known, or was replaced.")
    return reader


def told(status: int, detail: str = "", *, retry_after: int = 0) -> Response:
    """A problem as an answer."""
    title = HTTPStatus(status).phrase
    document = {"type": "about:blank", "title": title, "status": status} | ({"detail": detail} if detail else {})
    response = _json(document, status, "application/problem+json")
    if status == 401:
        response.headers["www-authenticate"] = "Bearer"
    if retry_after:
        response.headers["retry-after"] = str(retry_after)
    return response


def _json(document: Any, status: int, kind: str = "application/json") -> Response:
    return Response(orjson.dumps(document), status, media_type=kind)
