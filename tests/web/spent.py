"""Spent: accounts with made-up calls of many days, and their rows as they are. Shared by the dashboard's tests."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from datetime import datetime, timedelta
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from metrion.call import Call, Outcome, Reading
from metrion.config import Settings
from metrion.kit.clock import DAY_MS, HOUR_MS
from metrion.kit.ids import new_ids
from metrion.ledger.fold import fold_all
from metrion.ledger.writer import write_calls
from metrion.prices.catalog import PriceBook
from metrion.storage.database import open_writer
from tests.support import Metrion

RTL = "\N{RIGHT-TO-LEFT OVERRIDE}drowssap"  # never closed
HOSTILE = (
    "<script>window.hacked = 1</script>",
    "\"><img src=x onerror='window.hacked = 1'>",
    RTL,
    '=HYPERLINK("http://evil.example")',
    "{a|b} {{ 7 * 7 }} |%s",
    "a/../../b?c=d&e#f",
    "🦊" * 20,
    "x" * 256,
)
MODELS = (
    ("openai", "gpt-4o-mini"),
    ("openai", "gpt-5.5"),
    ("openai", "no-such-price"),
    ("anthropic", "claude-sonnet-5-5"),
    ("mistral", "mistral-large-4"),
    ("grok", "grok-code-fast-1"),
)
_FAILED = (
    (429, Outcome.PROVIDER_ERROR),
    (500, Outcome.PROVIDER_ERROR),
    (503, Outcome.PROVIDER_ERROR),
    (504, Outcome.TIMEOUT),
)
_FORMATS = {"anthropic": "anthropic_messages"}
_IDS = new_ids()

Row = dict[str, Any]


def draw_calls(
    rng: Random,
    account_id: int,
    moments: Iterable[int],
    requesters: tuple[str, ...],
    models: tuple[tuple[str, str], ...] = MODELS,
) -> list[Call]:
    """A call of each moment (Unix ms), of whatever kind, model and requester."""
    return [_draw(rng, account_id, at, rng.choice(requesters), *rng.choice(models)) for at in sorted(moments)]


def _draw(rng: Random, account_id: int, at: int, requester: str, provider: str, model: str) -> Call:
    call = Call(
        id=at.to_bytes(6, "big") + next(_IDS)[6:],
        account_id=account_id,
        started_ms=at,
        provider=provider,
        endpoint="messages" if provider == "anthropic" else "chat.completions",
        format=_FORMATS.get(provider, "openai_chat"),
        mode="stored",
        requester=requester,
        requested_model=model,
        stream=rng.random() < 0.5,
        status=200,
        outcome=Outcome.OK.value,
        provider_us=rng.randrange(50_000, 5_000_000),
    )
    call.latency_us = call.provider_us + rng.randrange(100, 3000)
    call.ttft_us = rng.randrange(20_000, call.latency_us)
    chance = rng.random()
    if chance < 0.12:
        call.status, outcome = rng.choice(_FAILED)
        call.outcome, call.error_message = (
            outcome.value,
            f"it failed for reason {rng.choice('ABC')}, try {rng.randrange(99)}",
        )
    elif chance < 0.17:
        call.status, call.outcome = 429, Outcome.REJECTED.value
        call.error_code, call.error_message = "rate_limit", "too many requests"
        call.provider_us = 0
    elif chance < 0.20:
        call.outcome = Outcome.CLIENT_GONE.value
        call.reading = _reading(rng, provider, model)
    elif chance < 0.97:  # beyond: no usage was told
        call.reading = _reading(rng, provider, model)
    return call


def _reading(rng: Random, provider: str, model: str) -> Reading:
    prompt, answer = rng.randrange(10, 9000), rng.randrange(1, 900)
    cached = rng.choice((0, prompt // 2))
    if provider == "anthropic":
        written = (prompt - cached) // 3
        usage: dict[str, Any] = {
            "input_tokens": prompt - cached - written,
            "cache_read_input_tokens": cached,
            "cache_creation_input_tokens": written,
            "output_tokens": answer,
        }
    else:
        usage = {
            "prompt_tokens": prompt,
            "completion_tokens": answer,
            "total_tokens": prompt + answer,
            "prompt_tokens_details": {"cached_tokens": cached},
        }
        if provider == "grok":
            usage["cost_in_usd_ticks"] = rng.randrange(10**6, 10**10)
    return Reading(model=model, usage=[msgspec.Raw(msgspec.json.encode(usage))], done=True)


def write(metrion: Metrion, calls: list[Call], *, folded_at: int = 0) -> None:
    """Write calls as the server would that is not running; fold them as at `folded_at`, where that is given."""
    settings = Settings(data_dir=metrion.data_dir)
    database = open_writer(settings)
    try:
        book = PriceBook.load()
        for at in range(0, len(calls), 5000):
            write_calls(database, book, calls[at : at + 5000], fresh=True)
        if folded_at:
            fold_all(database, folded_at)
    finally:
        database.close()


def change_account(metrion: Metrion, email: str, **columns: str) -> int:
    """Set columns of an account of a server that is not running; its number."""
    with sqlite3.connect(metrion.data_dir / "metrion.db") as database:
        for name, value in columns.items():
            database.execute(f"UPDATE accounts SET {name} = ? WHERE email = ?", (value, email))  # noqa: S608
        number: int = database.execute("SELECT id FROM accounts WHERE email = ?", (email,)).fetchone()[0]
    database.close()
    return number


def rows_of(metrion: Metrion, account_id: int) -> list[Row]:
    """Every row of an account, by time."""
    database = sqlite3.connect(f"file:{metrion.data_dir / 'metrion.db'}?mode=ro", uri=True)
    database.row_factory = sqlite3.Row
    try:
        query = "SELECT * FROM calls WHERE account_id = ? ORDER BY request_id"
        return [dict(row) for row in database.execute(query, (account_id,))]
    finally:
        database.close()


def last_clock_change(zone: str, now_ms: int, days: int) -> int | None:
    """When a zone's clocks were last changed within so many days, in Unix ms."""
    here = ZoneInfo(zone)
    for back in range(2 * 24, days * 24):
        later = now_ms - now_ms % HOUR_MS - back * HOUR_MS
        offsets = [datetime.fromtimestamp(ms / 1000, here).utcoffset() for ms in (later - HOUR_MS, later)]
        if offsets[0] != offsets[1]:
            return later
    return None


def local_day(zone: str, ms: int) -> str:
    """The day of a moment in a zone, as 2026-11-21."""
    return datetime.fromtimestamp(ms / 1000, ZoneInfo(zone)).date().isoformat()


def days_of(zone: str, now_ms: int, days: int) -> list[str]:
    """The last so many days of a zone, today the last."""
    today = datetime.fromtimestamp(now_ms / 1000, ZoneInfo(zone)).date()
    return [(today - timedelta(back)).isoformat() for back in reversed(range(days))]


def random_moments(rng: Random, now_ms: int, number: int, days: int) -> list[int]:
    """Moments of the last days, half of them of the last two."""
    return [now_ms - rng.randrange(1000, 2 * DAY_MS if rng.random() < 0.5 else days * DAY_MS) for _ in range(number)]
