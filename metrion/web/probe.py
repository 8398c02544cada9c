"""Probe: asks Metrion itself, over HTTP, as a person's own program would, and tells what came of it by the call's row.

It never talks to anybody but this process's own listener, so that keys, limits and the ledger treat it like any call.
"""

from __future__ import annotations

import asyncio
from typing import Literal, NamedTuple

import httpx2

from metrion.accounts.plans import visible_since
from metrion.kit.clock import now_ms
from metrion.kit.secrets import Secret
from metrion.storage.latest import Told, find_call
from metrion.web.snippets.recipe import Ask
from metrion.web.visit import Visit

CHECK = "metrion-check"  # the requester of a key's check, which is no request of the person's own
TEST = "metrion-test"
PROMPT_TOKENS = 256  # more than any provider counts for the two words asked, its own instructions included
ANSWER_TOKENS = 16

_SECONDS = 30.0
_MOST_BYTES = 64 * 1024  # of an answer that nobody shows
_ROW_SECONDS = 3.0  # a finished call's row is there within one
_ROW_STEP = 0.05

Kind = Literal["accepted", "refused", "limited", "unreachable", "unclear"]


class Verdict(NamedTuple):
    """What a check says of a key, in a word and in a sentence."""

    kind: Kind
    text: str


async def send(
    address: str, ask: Ask, token: Secret, requester: str, *, model: str = "", key: Secret | None = None
) -> str:
    """Send the request and return its id in hex; "" where no answer came within 30 s.

    `key`: a provider key to pass through; None uses the stored one.
    """
    headers = {b"authorization": b"Bearer " + (key or token).reveal(), b"x-metrion-user": requester.encode()}
    if key is not None:
        headers[b"x-metrion-token"] = token.reveal()
    if ask.body:
        headers[b"content-type"] = b"application/json"
    url = f"{address}/api/proxy{ask.path.replace('«model»', model)}"
    body = ask.body.replace("«model»", model).encode() or None
    method = "POST" if ask.body else "GET"
    try:
        async with (
            asyncio.timeout(_SECONDS),
            httpx2.AsyncClient(trust_env=False, timeout=_SECONDS) as client,
            client.stream(method, url, headers=headers, content=body) as answer,
        ):
            read = 0
            async for piece in answer.aiter_raw():
                read += len(piece)
                if read > _MOST_BYTES:
                    break
            return str(answer.headers.get("x-metrion-request-id", ""))
    except (httpx2.HTTPError, TimeoutError):
        return ""


async def row_of(visit: Visit, request_id: str, *, seconds: float = _ROW_SECONDS) -> Told | None:
    """The account's call of that id (hex), waited for up to `seconds`; None where there is none that may be shown."""
    try:
        wanted = bytes.fromhex(request_id)
    except ValueError:
        return None
    account, clock = visit.account, asyncio.get_running_loop().time
    since, end = visible_since(visit.site.settings, account.plan, now_ms()), clock() + seconds
    while True:
        row = await visit.site.read(lambda connection: find_call(connection, account.id, wanted, since))
        if row is not None or clock() >= end:
            return row
        await asyncio.sleep(_ROW_STEP)


def verdict(label: str, row: Told | None) -> Verdict:
    """What the call that listed models says of the key; `label` is the provider's name."""
    if row is None:
        return Verdict("unreachable", f"{label} gave no answer in time, so the key was not checked.")
    said = f" It says: {row.error_message}" if row.error_message else ""
    if 200 <= row.status < 300:
        return Verdict("accepted", f"{label} accepts this key.")
    if row.outcome == "rejected":
        return Verdict("limited", f"Metrion itself refused the check: {row.error_message}")
    if row.outcome in ("upstream_failed", "timeout", "interrupted"):
        return Verdict("unreachable", f"{label} could not be reached, so the key was not checked.{said}")
    if row.status in (401, 403) or (row.status == 400 and "key" in (row.error_message or "").lower()):
        return Verdict("refused", f"{label} refuses this key.{said}")
    if row.status == 429:
        return Verdict("limited", f"{label} takes no more requests right now, so the key was not checked.{said}")
    return Verdict("unclear", f"{label} answered {row.status}, so it is not clear whether it takes this key.{said}")
