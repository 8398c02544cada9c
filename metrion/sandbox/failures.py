"""What each provider says when it refuses, in its own shape.

Sources: https://platform.openai.com/docs/guides/error-codes, https://docs.anthropic.com/en/api/errors,
https://ai.google.dev/gemini-api/docs/troubleshooting, https://docs.mistral.ai/api, https://docs.x.ai/docs/key-information/debugging.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from metrion.sandbox.draft import Reply

OPENAI = {
    400: ("invalid_request_error", None, "We could not parse the JSON body of your request."),
    401: ("invalid_request_error", "invalid_api_key", "Incorrect API key provided."),
    404: ("invalid_request_error", "model_not_found", "The model does not exist or you do not have access to it."),
    429: ("requests", "rate_limit_exceeded", "Rate limit reached for requests. Please try again in 1s."),
    500: ("server_error", None, "The server had an error while processing your request. Sorry about that!"),
    503: ("server_error", None, "The engine is currently overloaded, please try again later."),
}
ANTHROPIC = {
    400: ("invalid_request_error", "The request body is not valid JSON."),
    401: ("authentication_error", "invalid x-api-key"),
    404: ("not_found_error", "model: not found"),
    429: ("rate_limit_error", "This request would exceed your organization's rate limit."),
    500: ("api_error", "Internal server error"),
    529: ("overloaded_error", "Overloaded"),
}
GEMINI = {
    400: ("INVALID_ARGUMENT", "Invalid JSON payload received."),
    401: ("UNAUTHENTICATED", "Request is missing required authentication credential."),
    404: ("NOT_FOUND", "The model is not found for this API version, or is not supported for this method."),
    429: ("RESOURCE_EXHAUSTED", "Resource has been exhausted (e.g. check quota)."),
    500: ("INTERNAL", "An internal error has occurred. Please retry."),
    503: ("UNAVAILABLE", "The model is overloaded. Please try again later."),
}
MISTRAL = {
    400: ("invalid_request_error", "1500", "Invalid model."),
    401: ("unauthorized", "1000", "Unauthorized"),
    404: ("invalid_model", "1500", "Invalid model."),
    429: ("rate_limited", "1300", "Rate limit exceeded"),
    500: ("internal_server_error", "1000", "Internal server error"),
    503: ("service_unavailable", "1001", "Service unavailable."),
}
GROK = {
    400: ("Client specified an invalid argument", "The request body is not valid JSON."),
    401: ("The caller does not have valid authentication credentials", "Incorrect API key provided."),
    404: ("Some requested entity was not found", "The model does not exist or your team does not have access to it."),
    429: ("Some resource has been exhausted", "Too many requests. Please try again later."),
    500: ("Internal error", "Internal server error."),
    503: ("The service is currently unavailable", "The model is at capacity. Please try again later."),
}
KNOWN: dict[str, Collection[int]] = {
    "anthropic": ANTHROPIC,
    "openai": OPENAI,
    "gemini": GEMINI,
    "mistral": MISTRAL,
    "grok": GROK,
}
OVERLOADED = {"anthropic": 529}  # the others say 503


def statuses(provider: str) -> tuple[int, ...]:
    """The failures that come now and then without anybody's fault."""
    return (429, 500, OVERLOADED.get(provider, 503))


def failure(provider: str, status: int, *, native: bool, request_id: str) -> Reply:
    """The provider's refusal with that status, or with 500 where it has none such; `native` is Gemini's own API."""
    status = status if status in KNOWN[provider] else 500
    headers = {"retry-after": "1"} if status == 429 else {}
    if provider == "anthropic":
        headers["x-should-retry"] = "false" if status < 409 else "true"
    return Reply(status, _body(provider, status, native, request_id), headers=headers)


def _body(provider: str, status: int, native: bool, request_id: str) -> Any:
    if provider == "anthropic":
        kind, message = ANTHROPIC[status]
        return {"type": "error", "error": {"type": kind, "message": message}, "request_id": request_id}
    if provider == "gemini":
        name, message = GEMINI[status]
        error = {"error": {"code": status, "message": message, "status": name}}
        return error if native else [error]  # the OpenAI-compatible door wraps its errors in a list
    if provider == "mistral":
        kind, code, message = MISTRAL[status]
        body = {"object": "error", "message": message, "type": kind, "param": None, "code": code}
        return body | {"raw_status_code": status}
    if provider == "grok":
        what, message = GROK[status]
        return {"code": what, "error": message}
    kind, openai_code, message = OPENAI[status]
    return {"error": {"message": message, "type": kind, "param": None, "code": openai_code}}
