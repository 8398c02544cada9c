"""An answer of Metrion's own, in the shape of the API that was called, so that SDKs raise their own typed errors. Spec
§2.6.
"""

from __future__ import annotations

import math
from http import HTTPStatus
from typing import NamedTuple

import orjson

from metrion.providers.provider import Family


class Refusal(NamedTuple):
    """Why Metrion does not answer as asked. `code` goes into `x-metrion-error`; `message` says what to do."""

    status: int
    code: str
    message: str
    retry_after: float | None = None  # seconds
    should_retry: bool | None = None  # False: SDKs are told not to try again


NO_ANSWER = Refusal(404, "no_route", "there is nothing here.")
NOT_RECORDED = Refusal(503, "cannot_record", "this call could not be recorded, so it was not sent.", retry_after=5)
NOT_READY = Refusal(
    503, "cannot_record", "calls cannot be recorded safely right now. See the server's log.", retry_after=5
)
STOPPING = Refusal(503, "stopping", "the server is shutting down.", retry_after=5)


def too_large(limit: int) -> Refusal:
    return Refusal(413, "body_too_large", f"the request body is larger than {limit:,} bytes (METRION_MAX_BODY_BYTES).")


def silent(provider: str, seconds: float) -> Refusal:
    """A 504 for a provider that has the request: it may do the work and bill it, so nobody shall ask again at once."""
    text = f"{provider} sent nothing for {seconds:g} s. The operator sets METRION_UPSTREAM_TIMEOUT."
    return Refusal(504, "upstream_timeout", text, should_retry=False)


# The words each family's SDKs map to their exception classes.
_ANTHROPIC_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
}
_OPENAI_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    429: "rate_limit_error",
    502: "server_error",
    503: "server_error",
    504: "server_error",
}
_GEMINI_STATUSES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    413: "INVALID_ARGUMENT",
    429: "RESOURCE_EXHAUSTED",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
_OPENAI_CODES = {"month": "insufficient_quota", "rate_limit": "rate_limit_exceeded", "unknown_key": "invalid_api_key"}


def _body(refusal: Refusal, family: Family, request_id: str) -> bytes:
    message = f"Metrion: {refusal.message}"
    if family is Family.ANTHROPIC:
        kind = _ANTHROPIC_TYPES.get(refusal.status, "invalid_request_error" if refusal.status < 500 else "api_error")
        return orjson.dumps({"type": "error", "error": {"type": kind, "message": message}, "request_id": request_id})
    if family is Family.GEMINI:
        status = _GEMINI_STATUSES.get(refusal.status, "INVALID_ARGUMENT" if refusal.status < 500 else "INTERNAL")
        return orjson.dumps({"error": {"code": refusal.status, "message": message, "status": status}})
    kind = _OPENAI_TYPES.get(refusal.status, "invalid_request_error")
    code = _OPENAI_CODES.get(refusal.code, refusal.code)
    if code == "insufficient_quota":
        kind = code
    return orjson.dumps({"error": {"message": message, "type": kind, "param": None, "code": code}})


def answer(
    refusal: Refusal, family: Family, request_id: str, *, extra_lines: list[bytes], close: bool, head_only: bool
) -> bytes:
    """The whole answer as bytes. `extra_lines`: further header lines (CORS)."""
    body = _body(refusal, family, request_id)
    lines = [
        b"HTTP/1.1 %d %b" % (refusal.status, _phrase(refusal.status)),
        b"content-type: application/json",
        b"content-length: %d" % len(body),
        b"x-metrion-request-id: " + request_id.encode(),
        b"x-metrion-error: " + refusal.code.encode(),
        *extra_lines,
    ]
    if refusal.retry_after is not None:
        lines.append(b"retry-after: %d" % max(1, math.ceil(refusal.retry_after)))
    if refusal.should_retry is not None:
        lines.append(b"x-should-retry: true" if refusal.should_retry else b"x-should-retry: false")
    if close:
        lines.append(b"connection: close")
    return b"\r\n".join([*lines, b"", b"" if head_only else body])


def _phrase(status: int) -> bytes:
    return HTTPStatus(status).phrase.encode()
