"""An ended call becomes a row: its usage understood, its cost computed. Pure; nothing here may fail a call's row."""

from __future__ import annotations

from functools import lru_cache

import msgspec
import orjson
import structlog

from metrion.call import Call, Outcome, Reading
from metrion.ledger.estimate import estimate
from metrion.ledger.metered import BATCHES, COUNTED_BEFORE, FETCHES
from metrion.ledger.reread import ESTIMATED
from metrion.prices.calculate import Cost
from metrion.prices.catalog import PriceBook
from metrion.storage.rows import Row
from metrion.wire.format import LOST
from metrion.wire.openai_other import CHARACTERS
from metrion.wire.understand import understand, understand_plain
from metrion.wire.usage import Usage

log = structlog.get_logger("metrion.ledger")
_UNKNOWN = Cost(None, "unknown", None)
_NOTHING_USED = Cost(0, "computed", None)
_EMPTY = Usage()
# Beyond these a figure is nonsense, and a sum of such figures would not fit into its column.
_MOST_TOKENS = 10**12
_MOST_NANO = 10**15
_OK = Outcome.OK.value
# Outcomes after which what was counted is all there is; a call that was cut may have cost more than it had said so far.
_FREE = {Outcome.REJECTED.value, Outcome.PROVIDER_ERROR.value}
_WHOLE = {Outcome.OK.value, Outcome.PROVIDER_ERROR.value, Outcome.CACHED.value}
# Formats whose pieces count on as the answer grows: what the last piece said before a cut is the least that it cost.
# Anthropic's first event counts the input alone, which says nothing of the rest: such a call's cost is unknown.
_COUNTING_ON = {"openai_chat", "gemini_generate"}


def price(book: PriceBook, call: Call) -> Row:
    """The row of `call`, in the order of `storage.rows.COLUMNS`."""
    return _plain(book, call) or _any(book, call)


def _plain(book: PriceBook, call: Call) -> Row | None:
    """What `_any` makes of a call like most, in a third of its time: whole, of text alone, at a price that is known."""
    reading = call.reading
    if reading is None or call.outcome != _OK or call.characters:
        return None
    understood = understand_plain(call.provider, call.format, reading)
    if understood is None:
        return None
    (tokens, cached, output, reasoning), raw = understood
    model = _text(reading.model or call.requested_model)
    unit = book.per_token(call.provider, model, reading.service_tier, call.started_ms)
    if unit is None or tokens > unit.ceiling or (cached and unit.cached == unit.input) or (output and not unit.output):
        return None  # dearer, or of a class without a price of its own
    fresh_nano, cached_nano = (tokens - cached) * unit.input, cached * unit.cached
    output_nano = output * unit.output if unit.output else 0
    nano = fresh_nano + cached_nano + output_nano
    if tokens > _MOST_TOKENS or output > _MOST_TOKENS or nano > _MOST_NANO:
        return None
    rare = _of_tier(reading.service_tier) if reading.service_tier else None
    counts = tokens, cached, 0, 0, output, reasoning
    split = fresh_nano, cached_nano, 0, output_nano, cached * (unit.input - unit.cached)
    return _row(call, model, rare, raw, counts, nano, "computed", unit.ref, split)


@lru_cache(256)
def _of_tier(service_tier: str) -> str:
    """`_rare` where that is all."""
    return orjson.dumps({"service_tier": service_tier}).decode()


def _any(book: PriceBook, call: Call) -> Row:
    """The row of a call, whatever it brings."""
    if call.characters:
        call = _with_characters(call)
    reading = call.reading
    model = _text((reading.model if reading else "") or call.requested_model)
    if reading is not None and reading.model != model:  # as the row will have it, so that the row can be read again
        reading = msgspec.structs.replace(reading, model=model)
    usage: Usage | None = None
    raw: str | None = None
    rare: str | None = None
    cost = _UNKNOWN
    try:
        if reading is not None:
            usage, raw = understand(call.provider, call.format, reading)
        guess = estimate(call) if usage is None and call.held is not None else None
        if guess is not None:
            usage, cost = guess, estimated(book.cost(call.provider, model, guess, call.started_ms))
        else:
            cost = _cost(book, call, model, usage)
        _check(usage or _EMPTY, cost)
        rare = _rare(call, usage or _EMPTY)
    except Exception:  # whatever a provider sends, the call keeps its row
        log.exception("usage_not_understood", provider=call.provider, endpoint=call.endpoint, request_id=call.id.hex())
        usage, cost = None, _UNKNOWN
    seen = usage or _EMPTY
    counts = (
        seen.input_tokens,
        seen.cached_input_tokens,
        seen.cache_write_5m_tokens,
        seen.cache_write_1h_tokens,
        seen.output_tokens,
        seen.reasoning_tokens,
    )
    return _row(call, model, rare, raw, counts, *cost)


def _row(
    call: Call,
    model: str,
    rare: str | None,
    raw: str | None,
    counts: tuple[int, int, int, int, int, int],
    nano: int | None,
    source: str,
    ref: str | None,
    split: tuple[int, int, int, int, int],
) -> Row:
    tokens, cached, written_5m, written_1h, output, reasoning = counts
    input_nano, cached_nano, written_nano, output_nano, saved_nano = split
    return (
        call.account_id,
        call.provider,
        call.endpoint,
        call.format,
        call.mode,
        model,
        _text(call.requested_model),
        call.requester,
        int(call.stream),
        call.status,
        call.outcome,
        call.error_code or None,
        _text(call.error_message) if call.error_message else None,
        written_5m,
        written_1h,
        rare,
        source,
        ref,
        written_nano,
        call.id,
        call.started_ms,
        tokens,
        cached,
        output,
        reasoning,
        raw,
        nano,
        call.latency_us,
        call.ttft_us,
        call.provider_us,
        call.request_bytes,
        call.response_bytes,
        call.upstream_request_id or None,
        input_nano,
        cached_nano,
        output_nano,
        saved_nano,
    )


def _with_characters(call: Call) -> Call:
    """`call` with the length of its spoken text beside what its answer said, as which the row will keep it."""
    if call.outcome in _FREE:
        return call
    reading = call.reading or Reading()
    facts = {**reading.facts, CHARACTERS: str(call.characters)}
    return msgspec.structs.replace(call, reading=msgspec.structs.replace(reading, facts=facts))


def _cost(book: PriceBook, call: Call, model: str, usage: Usage | None) -> Cost:
    if usage is None:
        return _NOTHING_USED if _is_free(call) else _UNKNOWN
    if call.outcome in _WHOLE or (call.reading and call.reading.done) or call.format in BATCHES:
        cost = book.cost(call.provider, model, usage, call.started_ms)
        return estimated(cost) if CHARACTERS in usage.quantities else cost  # counted by us, not by the provider
    if call.format in _COUNTING_ON:
        cost = estimated(book.cost(call.provider, model, usage, call.started_ms))
        return _UNKNOWN if cost.nano == 0 else cost  # nothing counted yet is not for nothing
    return _UNKNOWN


def _is_free(call: Call) -> bool:
    """Whether a call without usage cost nothing: refused, here or by its provider; only counting; only fetching."""
    if call.outcome in _FREE or (call.reading is not None and COUNTED_BEFORE in call.reading.facts):
        return True
    if call.outcome != Outcome.OK.value or (call.reading is not None and LOST in call.reading.facts):
        return False
    return call.format == "count_only" or call.endpoint in FETCHES


def estimated(cost: Cost) -> Cost:
    """`cost` as an estimate, where there is one."""
    return cost if cost.nano is None else cost._replace(source=ESTIMATED)


def _check(usage: Usage, cost: Cost) -> None:
    """Raise OverflowError for figures that no call can have."""
    tokens = max(
        usage.input_tokens,
        usage.cached_input_tokens,
        usage.cache_write_5m_tokens,
        usage.cache_write_1h_tokens,
        usage.output_tokens,
        usage.reasoning_tokens,
    )
    if tokens > _MOST_TOKENS or (cost.nano or 0) > _MOST_NANO:
        raise OverflowError(f"{tokens} tokens, {cost.nano} nano-dollars")


def _text(value: str) -> str:
    """`value` as both engines can keep it: without NUL and lone surrogates."""
    if value.isascii() and "\x00" not in value:
        return value
    return value.replace("\x00", "").encode("utf-8", "replace").decode()


def _rare(call: Call, usage: Usage) -> str | None:
    """The seldom columns as JSON, or None where there are none."""
    rare: dict[str, object] = {}
    for name in (
        "audio_input_tokens",
        "audio_output_tokens",
        "tool_calls",
        "service_tier",
        "quantities",
        "facts",
        "problem",
    ):
        if value := getattr(usage, name):
            rare[name] = value
    if images := usage.image_input_tokens + usage.image_output_tokens:
        rare["image_tokens"] = images
    if seen := _seen(call, usage):
        rare["seen"] = seen
    return orjson.dumps(rare).decode() if rare else None


def _seen(call: Call, usage: Usage) -> dict[str, object]:
    """What the answer said beside its usage objects, where reading them again (`reread.call_of`) takes it."""
    reading = call.reading
    if reading is None:
        return {}
    seen: dict[str, object] = {}
    if reading.tools and reading.tools != usage.tool_calls:
        seen["tools"] = reading.tools
    if reading.facts:
        seen["facts"] = reading.facts
    if reading.done and call.outcome not in _WHOLE:
        seen["done"] = True
    return seen
