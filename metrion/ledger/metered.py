"""Usage that comes again counts once: by account, provider and the id of the response, or of the batch's item.

What was asked for by POST is new and is only remembered; what is fetched by GET is looked up first. So a response made
in the background, whose POST tells no usage, is counted by the first GET that tells it. Run inside the transaction that
writes the rows: a call and the memory of it are there together, or neither is.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b

import msgspec

from metrion.call import Call, Outcome
from metrion.kit.clock import DAY_MS, now_ms
from metrion.storage.database import Connection
from metrion.storage.metered import add_metered, find_metered, forget_metered
from metrion.wire.batch import item_ids
from metrion.wire.tap import FORMATS

# Endpoints that hand out what was made before. They cost nothing themselves.
FETCHES = {
    "responses.retrieve",
    "responses.cancel",
    "interactions.retrieve",
    "interactions.cancel",
    "threads.runs.retrieve",
    "chat.deferred",
    "messages.batches.results",
    "files.content",
    "files.download",
    "batches.retrieve",
    "batches.results",
    "batch.jobs.retrieve",
}
COUNTED_BEFORE = "counted_before"  # the fact that says so, and of how many items
# Formats of batches' results: each item is whole, also where the rest is cut off.
BATCHES = {name for name, format in FORMATS.items() if format.results}
_KEPT = {"openai_responses", "openai_runs", "gemini_interactions", *BATCHES}  # of what providers keep for fetching

# Responses are there for 30 days at OpenAI (https://developers.openai.com/api/docs/guides/your-data) and xAI
# (https://docs.x.ai/docs/guides/chat), interactions for 55 (https://ai.google.dev/gemini-api/docs/interactions). Batch
# results go after 29 days at Anthropic, but OpenAI's files stay until somebody deletes them: who looks into last
# quarter's results shall not pay them twice.
_RESPONSE_MS = 60 * DAY_MS
_ITEM_MS = 400 * DAY_MS
_FORGOTTEN_EACH_TIME = 100

Remembered = dict[tuple[int, str, bytes], int]  # account, provider, digest → until when


def once(connection: Connection, calls: Sequence[Call]) -> list[Call]:
    """`calls` in their order, those whose usage was counted before without it; remembers what they count."""
    counted: Remembered = {}
    now = now_ms()
    out = [
        _once(connection, call, counted, now) if call.format in _KEPT or call.endpoint in FETCHES else call
        for call in calls
    ]
    if counted:
        add_metered(connection, [(*key, until) for key, until in counted.items()])
        forget_metered(connection, now, len(counted) + _FORGOTTEN_EACH_TIME)
    return out


def _once(connection: Connection, call: Call, counted: Remembered, now: int) -> Call:
    reading, is_batch = call.reading, call.format in BATCHES
    if reading is None or not reading.usage or not (is_batch or reading.done or call.outcome == Outcome.OK.value):
        return call
    if call.endpoint not in FETCHES:
        if reading.response_id:
            counted[(call.account_id, call.provider, _digest(reading.response_id))] = now + _RESPONSE_MS
        return call
    digests = [_digest(one) if one else b"" for one in (item_ids(reading) if is_batch else [reading.response_id])]
    before = _before(connection, call, digests, counted)
    until = now + (_ITEM_MS if is_batch else _RESPONSE_MS)
    new = []
    for at, digest in enumerate(digests):
        if digest not in before:
            new.append(at)
        if digest:  # what has no id cannot be known again
            before.add(digest)
            counted.setdefault((call.account_id, call.provider, digest), until)
    if len(new) == len(digests):
        return call
    usage = [reading.usage[at] for at in new]  # of a response none, since that is one
    facts = {**reading.facts, COUNTED_BEFORE: str(len(digests) - len(new))}
    return msgspec.structs.replace(call, reading=msgspec.structs.replace(reading, usage=usage, tools={}, facts=facts))


def _digest(own_id: str) -> bytes:
    return blake2b(own_id.encode(errors="replace"), digest_size=16).digest()


def _before(connection: Connection, call: Call, digests: list[bytes], counted: Remembered) -> set[bytes]:
    """Those of `digests` that were counted by an earlier call, or by one of these."""
    own = (call.account_id, call.provider)
    earlier = {digest for digest in digests if (*own, digest) in counted}
    return earlier | find_metered(connection, *own, digests)
