"""Each refusal of spec §2.5 and §2.6 on both sides of its border: status, shape, code, message, and its one row."""

from __future__ import annotations

import json
import socket
import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.conformance.cases import is_shaped
from tests.fake_provider import FakeProvider, Script
from tests.proxy.conftest import BODY_LIMIT, NewAccount
from tests.proxy.talk import (
    CHAT,
    CHAT_BODY,
    GENERATE,
    MESSAGES,
    OPENAI,
    UPLOAD,
    call,
    connect,
    error_of,
    message_of,
    post,
    read_answer,
    read_until,
    settle,
    status_of,
)
from tests.support import PROVIDERS, Answer, Headers, Metrion, exchange

MESSAGES_BODY = b'{"model":"claude-sonnet-4-5","max_tokens":9,"messages":[]}'
FAMILIES = {"anthropic": MESSAGES, "openai": CHAT, "gemini": GENERATE}
LIMITED = {"METRION_RATE_LIMIT_PER_MINUTE": "100"}
MONTHLY = {"METRION_FREE_MONTHLY_REQUESTS": "3"}


def check(answer: Answer, family: str, status: int, code: str, *hints: str) -> None:
    """It is that refusal, in that family's shape, and says what to do."""
    assert (answer.status, answer.get("x-metrion-error"), answer.complete) == (status, code, True), answer.body
    assert is_shaped(family, answer.json(), status)
    assert answer.get("content-type") == "application/json"
    assert answer.get("x-metrion-request-id")
    text = message_of(answer)
    assert text.startswith("Metrion: ")
    for hint in hints:
        assert hint in text


def the_row(server: Metrion, email: str, status: int) -> dict[str, Any]:
    """The account's one row, of a refusal."""
    (row,) = server.rows(1, email=email)
    assert (row["status"], row["outcome"], row["cost_usd"], row["total_tokens"]) == (status, "rejected", "0", 0)
    assert row["error_message"]
    return row


def totals(server: Metrion, email: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(server.call("usage", "--account", email, "--format", "json"))["total"]
    return found


# ── who asks ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    ("headers", "code", "hint"),
    [
        ([], "no_credential", "Use your Metrion key"),
        ([("Authorization", "Basic eDp5")], "no_credential", "Use your Metrion key"),
        ([("Authorization", "Bearer provider-own-key")], "no_metrion_key", "x-metrion-token"),
        ([("x-api-key", "provider-own-key")], "no_metrion_key", "x-metrion-token"),
        ([("x-api-key", "sk-metrion-" + "0" * 32)], "unknown_key", "not known"),
        ([("Authorization", "Bearer sk-metrion-")], "unknown_key", "not known"),
        ([("x-api-key", "k"), ("x-metrion-token", "sk-metrion-" + "0" * 32)], "unknown_key", "not known"),
        ([("x-api-key", "sk-metrion-a"), ("Authorization", "Bearer sk-metrion-b")], "two_keys", "two different"),
        ([("x-api-key", "sk-metrion-a"), ("x-metrion-token", "sk-metrion-b")], "two_keys", "two different"),
    ],
)
def test_nobody_we_know(
    family: str, headers: Headers, code: str, hint: str, metrion: Metrion, fake: FakeProvider
) -> None:
    before = len(fake.seen)
    answer = exchange(metrion.port, "POST", FAMILIES[family], headers, CHAT_BODY)
    check(answer, family, 401, code, hint)
    assert len(fake.seen) == before


@pytest.mark.parametrize("family", FAMILIES)
def test_no_key_is_stored_for_the_provider(family: str, metrion: Metrion, new_account: NewAccount) -> None:
    email, token = new_account(metrion, keys=("mistral",))
    answer = exchange(metrion.port, "POST", FAMILIES[family], [("x-api-key", token)], CHAT_BODY)
    label = {"anthropic": "Anthropic", "openai": "OpenAI", "gemini": "Gemini"}[family]
    check(answer, family, 401, "no_provider_key", f"no {label} key", f"metrion key set {family}", "Integrate")
    assert the_row(metrion, email, 401)["provider"] == family


def test_a_metrion_key_alone_in_its_own_header_pays_no_provider(metrion: Metrion, new_account: NewAccount) -> None:
    email, token = new_account(metrion)
    answer = exchange(metrion.port, "POST", CHAT, [("x-metrion-token", token)], CHAT_BODY)
    check(answer, "openai", 401, "no_credential")
    the_row(metrion, email, 401)


@pytest.mark.parametrize(
    ("path", "family"), [("/api/proxy/nobody/v1/x", "openai"), ("/api/proxy/v1/../x", "anthropic")]
)
def test_no_such_route_is_a_row_where_the_account_is_known(
    path: str, family: str, metrion: Metrion, new_account: NewAccount
) -> None:
    email, token = new_account(metrion)
    for headers in ([], [("x-api-key", "sk-metrion-x")], [("x-api-key", token)]):
        check(exchange(metrion.port, "POST", path, headers, b"{}"), family, 404, "no_route", "/api/proxy/openai/v1")
    the_row(metrion, email, 404)


# ── requesters ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_requester_of_up_to_256_bytes_is_taken(metrion: Metrion, new_account: NewAccount) -> None:
    email, token = new_account(metrion)
    names = ["a" * 256, "é" * 128, "Großes \u4f60 bot 7", "x"]
    for name in names:
        answer = ask_as(metrion, token, email, name.encode())
        assert status_of(answer) == 200
    assert [row["requester"] for row in metrion.rows(len(names), email=email)] == names


def test_another_requester_is_refused(metrion: Metrion, fake: FakeProvider, new_account: NewAccount) -> None:
    email, token = new_account(metrion)
    controls = [b"a\tb", "a\u0085b".encode(), "a\u009f".encode()]
    names = [b"a" * 257, "é".encode() * 128 + b"a", *controls, b"\xff", b"\xed\xa0\x80"]
    for name in names:
        answer = ask_as(metrion, token, email, name)
        assert (status_of(answer), error_of(answer)) == (400, "requester"), name
        assert b"256 bytes" in answer
    rows = metrion.rows(len(names), email=email)
    assert [(row["status"], row["outcome"], row["requester"]) for row in rows] == [(400, "rejected", "")] * len(names)
    assert fake.named(email) == []


def ask_as(metrion: Metrion, token: str, mark: str, requester: bytes) -> bytes:
    name = ("X-Metrion-User", requester.decode("latin-1"))
    with connect(metrion.port) as connection:
        connection.sendall(post([("Authorization", f"Bearer {token}"), ("X-Mark", mark), name]))
        return read_answer(connection)


# ── bodies ───────────────────────────────────────────────────────────────────────────────────────────────────────────

FILL = b'"fill":"' + b"x" * 1_100_000 + b'"'
WITHOUT = [
    (CHAT, "openai", b'{"messages":[]}', "missing_model"),
    (CHAT, "openai", b'{"model":"m"}', "missing_messages"),
    ("/api/proxy/gemini/v1/chat/completions", "openai", b'{"model":"m"}', "missing_messages"),
    ("/api/proxy/mistral/v1/chat/completions", "openai", b'{"messages":[]}', "missing_model"),
    ("/api/proxy/grok/chat/completions", "openai", b"{}", "missing_model"),
    (MESSAGES, "anthropic", b'{"max_tokens":1,"messages":[]}', "missing_model"),
    (MESSAGES, "anthropic", b'{"model":"m","max_tokens":1}', "missing_messages"),
    ("/api/proxy/messages", "anthropic", b'{"model":"m","messages":[]}', "missing_max_tokens"),
    (MESSAGES, "anthropic", b'{"model":"m","messages":[],' + FILL + b"}", "missing_max_tokens"),
    (CHAT, "openai", b'{"messages":[],' + FILL + b"}", "missing_model"),
    (CHAT, "openai", b"[" + FILL[7:] + b"]", "invalid_json"),
    (CHAT, "openai", b'{"model":"m","messages":[],' + FILL, "invalid_json"),
    (CHAT, "openai", b"", "invalid_json"),
    (CHAT, "openai", b"[]", "invalid_json"),
    (CHAT, "openai", b"null", "invalid_json"),
    (CHAT, "openai", b'{"model":"m","messages":[]', "invalid_json"),
    (CHAT, "openai", b'{"model":"m","messages":[]}x', "invalid_json"),
    (CHAT, "openai", b'{"model":"m","messages":["\\ud83d\\ude00"', "invalid_json"),
    (CHAT, "openai", b'{"messages":["\\ud83d"]}', "missing_model"),
    (CHAT, "openai", b'{"messages":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "missing_model"),
    (f"{OPENAI}/responses", "openai", b"{", "invalid_json"),
    (MESSAGES, "anthropic", b"model=m", "invalid_json"),
]


def test_bodies_no_provider_would_take(metrion: Metrion, fake: FakeProvider, new_account: NewAccount) -> None:
    email, token = new_account(metrion, keys=PROVIDERS)
    for path, family, body, code in WITHOUT:
        what = "not a JSON object" if code == "invalid_json" else f"lacks `{code.removeprefix('missing_')}`"
        answer = call(metrion, email, path=path, body=body, token=token)
        check(answer, family, 400, code, what, "Nothing was sent")
    rows = metrion.rows(len(WITHOUT), email=email)
    assert [(row["status"], row["outcome"], row["cost_usd"]) for row in rows] == [(400, "rejected", "0")] * len(WITHOUT)
    assert fake.named(email) == []


PASSING = (
    (CHAT, b'{"model":"m","messages":[]}', "m"),
    (CHAT, b' \n{"messages":null,"model":null}\t', ""),
    (CHAT, b'{"model":"gpt\\u002d4","messages":[],' + FILL + b"}", "gpt-4"),
    (CHAT, b"{" + FILL + b',"messages":[],"model":"at-the-end"}', "at-the-end"),
    (CHAT, b'{"model":"\\ud800x","messages":[]}', ""),
    (CHAT, b'{"model":"m","messages":["half an emoji: \\ud83d"]}', "m"),
    (CHAT, b'{"model":"m","messages":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "m"),
    (CHAT, b'{"model":["no","text"],"messages":[]}', ""),
    (CHAT, b'{"model":"' + b"m" * 1000 + b'","messages":[]}', "m" * 256),
    (f"{OPENAI}/responses", b"{}", ""),
    (f"{OPENAI}/embeddings", b"not JSON", ""),
    (GENERATE, b"not JSON", "gemini-2.5-flash"),
    (f"{MESSAGES}/count_tokens", b"{}", ""),
    (UPLOAD, b"not JSON", ""),
)


def test_bodies_that_pass(metrion: Metrion, fake: FakeProvider, mark: str) -> None:
    for path, body, _ in PASSING:
        assert call(metrion, mark, Script(text="{}"), path=path, body=body).status == 200, body[:100]
    seen = [(one.body_bytes, one.body[:100]) for one in fake.named(mark)]
    assert seen == [(len(body), body[:100]) for _, body, _ in PASSING]
    rows = metrion.rows(len(PASSING), requester=mark)
    assert [row["requested_model"] for row in rows] == [model for _, _, model in PASSING]


@pytest.mark.parametrize("path", [CHAT, UPLOAD])
def test_a_body_at_the_limit_passes_and_one_above_does_not(
    path: str, short: Metrion, fake: FakeProvider, new_account: NewAccount
) -> None:
    email, token = new_account(short)
    start = CHAT_BODY[:-1] + b',"fill":"'
    body = start + b"x" * (BODY_LIMIT - len(start) - 2) + b'"}'
    parts = [body[:1_000_000], body[1_000_000:]]
    for sent in (body, parts):
        assert call(short, email, path=path, body=sent, token=token).status == 200
    assert [seen.body_bytes for seen in fake.named(email)] == [BODY_LIMIT] * 2
    for larger in (body + b" ", [*parts, b" "]):
        answer = call(short, email, path=path, body=larger, token=token)
        check(answer, "openai", 413, "body_too_large", f"{BODY_LIMIT:,} bytes", "METRION_MAX_BODY_BYTES")
    rows = short.rows(4, email=email)
    assert [row["status"] for row in rows] == [200, 200, 413, 413]
    assert len(rows) == 4
    assert sum(seen.complete for seen in fake.named(email)) == 2


# ── the minute ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def limited(fake: FakeProvider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Metrion]:
    """A Metrion with the minute's limit, and an account that was disabled."""
    server = Metrion(tmp_path_factory.mktemp("limited") / "data", dict.fromkeys(PROVIDERS, fake.origin), LIMITED)
    server.token = server.create_account()
    server.environment["DISABLED"] = server.create_account("disabled@example.com")
    with sqlite3.connect(server.data_dir / "metrion.db") as database:
        database.execute("UPDATE accounts SET disabled_ms = 1 WHERE email = 'disabled@example.com'")
    server.start()
    yield server
    server.stop()


def test_a_disabled_account_is_refused_with_a_row(limited: Metrion, fake: FakeProvider, mark: str) -> None:
    answer = call(limited, mark, token=limited.environment["DISABLED"])
    check(answer, "openai", 403, "account_disabled", "operator")
    the_row(limited, "disabled@example.com", 403)
    assert fake.named(mark) == []


def test_100_in_a_minute_pass_and_the_101st_does_not_nor_after_a_restart(
    limited: Metrion, fake: FakeProvider, new_account: NewAccount
) -> None:
    email, token = new_account(limited, keys=("openai", "anthropic", "gemini"))
    other, other_token = new_account(limited)
    statuses = [call(limited, email, Script(text="{}"), token=token).status for _ in range(100)]
    assert (statuses, len(fake.named(email))) == ([200] * 100, 100)
    for family, path in FAMILIES.items():
        refused_in_a_minute(call(limited, email, path=path, body=MESSAGES_BODY, token=token), family)
    assert call(limited, other, token=other_token).status == 200
    settle(lambda: len(limited.rows(103, email=email)) == 103)
    limited.stop()
    limited.start()
    refused_in_a_minute(call(limited, email, token=token), "openai")
    assert call(limited, other, token=other_token).status == 200
    assert len(fake.named(email)) == 100
    settle(lambda: totals(limited, email)["refused"] == 4)
    assert totals(limited, email)["requests"] == 100


def refused_in_a_minute(answer: Answer, family: str) -> None:
    check(answer, family, 429, "rate_limit", "100 requests in a minute", "METRION_RATE_LIMIT_PER_MINUTE")
    assert 0 < int(answer.get("retry-after") or "") <= 60
    assert answer.get("x-should-retry") is None
    kind = {"anthropic": "type", "openai": "code", "gemini": "status"}[family]
    assert answer.json()["error"][kind] in ("rate_limit_error", "rate_limit_exceeded", "RESOURCE_EXHAUSTED")


def test_beyond_60_refusals_a_minute_only_totals_count(metrion: Metrion, new_account: NewAccount) -> None:
    email, token = new_account(metrion)
    for _ in range(75):
        assert call(metrion, email, body=b"{", token=token).status == 400
    assert call(metrion, email, token=token).status == 200
    settle(lambda: totals(metrion, email)["refused"] == 75)
    rows = metrion.rows(61, email=email)
    assert [row["status"] for row in rows] == [400] * 60 + [200]
    assert totals(metrion, email)["requests"] == 1


# ── the month ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def monthly(fake: FakeProvider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Metrion]:
    """A Metrion whose free plan has three calls a month."""
    server = Metrion(tmp_path_factory.mktemp("monthly") / "data", dict.fromkeys(PROVIDERS, fake.origin), MONTHLY)
    server.token = server.create_account()
    server.start()
    yield server
    server.stop()


def test_the_months_last_call_passes_and_one_more_does_not_nor_after_a_restart(
    monthly: Metrion, fake: FakeProvider, new_account: NewAccount
) -> None:
    email, token = new_account(monthly, plan="free", keys=("openai", "anthropic", "gemini"))
    ask: Callable[..., Answer] = lambda *script, **more: call(monthly, email, *script, token=token, **more)  # noqa: E731
    assert ask().status == 200
    for lost in (Script(status=500), Script(status=429), Script(act="reset"), Script(status=302)):
        assert ask(lost).status in (500, 429, 502, 302)  # none of these takes a place
    assert ask(body=b"{").status == 400
    assert (ask().status, ask().status) == (200, 200)
    for family, path in FAMILIES.items():
        refused_for_the_month(ask(path=path, body=MESSAGES_BODY), family)
    reached = len(fake.named(email))
    assert reached == 7
    settle(lambda: totals(monthly, email)["requests"] == 7)
    monthly.stop()
    monthly.start()
    refused_for_the_month(ask(), "openai")
    assert len(fake.named(email)) == reached
    assert [call(monthly, email).status for _ in range(4)] == [200] * 4  # a pro account has no such limit


def refused_for_the_month(answer: Answer, family: str) -> None:
    check(answer, family, 429, "month", "3 requests of this month", "pro plan")
    assert int(answer.get("retry-after") or "") > 0
    assert answer.get("x-should-retry") == "false"


def test_a_call_under_way_holds_its_place_and_a_failed_one_gives_it_back(
    monthly: Metrion, new_account: NewAccount
) -> None:
    email, token = new_account(monthly, plan="free")
    for _ in range(2):
        assert call(monthly, email, token=token).status == 200
    for script, status in ((Script(status=500, delay=0.5), 500), (Script(act="silent"), 0)):
        with connect(monthly.port) as connection:
            connection.sendall(post([("Authorization", f"Bearer {token}"), ("X-Fake", script.header())]))
            settle(lambda: call(monthly, email, token=token, body=b"{").status == 429)
            assert call(monthly, email, token=token).status == 429
            if status:
                assert status_of(read_until(connection, b"\r\n\r\n")) == status
            else:
                connection.shutdown(socket.SHUT_RDWR)
        settle(lambda: call(monthly, email, token=token, body=b"{").status == 400)
    assert call(monthly, email, token=token).status == 200
    assert call(monthly, email, token=token).status == 429


def test_of_200_at_once_with_one_place_left_one_passes(
    monthly: Metrion, fake: FakeProvider, new_account: NewAccount
) -> None:
    email, token = new_account(monthly, plan="free")
    for _ in range(2):
        assert call(monthly, email, token=token).status == 200

    def ask(_: int) -> int:
        return call(monthly, email, Script(text="{}", delay=0.3), token=token).status

    with ThreadPoolExecutor(50) as pool:
        statuses = list(pool.map(ask, range(200)))
    assert (statuses.count(200), statuses.count(429)) == (1, 199)
    assert len(fake.named(email)) == 3
    settle(lambda: totals(monthly, email)["refused"] == 199)
    rows = monthly.rows(63, email=email)
    assert len(rows) == 63
    assert sum(row["outcome"] == "ok" for row in rows) == 3
