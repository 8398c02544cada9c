"""The JSON API: what it answers is what rows add up to, as its own document says, and for whoever may read alone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import cycle
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_schema_conformance,
    status_code_conformance,
)

from metrion.config import Settings
from metrion.kit.clock import DAY_MS, HOUR_MS, now_ms
from metrion.storage.database import open_writer
from metrion.storage.reports import CALL_FIELDS
from metrion.storage.rows import COLUMNS, Row
from tests.fake_provider import FakeProvider
from tests.storage.samples import call_row, write_rows
from tests.support import PROVIDERS, Answer, Metrion, exchange
from tests.web.people import by_link

USAGE = '{"prompt_tokens":10,"completion_tokens":1.50,"total_tokens":11}'
TURNS = 12
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
MARKUP = "<b>=1+1\u202e🦊"


class House:
    """A Metrion with two accounts and rows of both."""

    def __init__(self, metrion: Metrion) -> None:
        self.metrion = metrion
        self.tokens = {
            name: metrion.create_account(f"{name}@example.com", plan=name, keys=()) for name in ("pro", "free")
        }
        others = [f"turn-{number}" for number in range(TURNS)]  # each may ask so often a minute
        self.tokens |= {name: metrion.create_account(f"{name}@example.com", keys=()) for name in others}
        self.turn = cycle(others)
        now = now_ms()
        self.rows: list[Row] = [
            call_row(
                now - number * HOUR_MS,
                number,
                provider=["openai", "grok"][number % 2],
                model=["a", "b", MARKUP][number % 3],
                requested_model="asked",
                requester=["", "bot", MARKUP][number % 3],
                stream=number % 2,
                status=[200, 200, 429, 500][number % 4],
                outcome=["ok", "ok", "rejected", "provider_error"][number % 4],
                input_tokens=0 if number % 4 == 2 else number,  # what is refused uses nothing
                output_tokens=0 if number % 4 == 2 else 1,
                cost_nano=0 if number % 4 == 2 else None if number % 5 == 0 else number * 1000,
                cost_source="unpriced" if number % 5 == 0 and number % 4 != 2 else "computed",
                latency_us=number * 1000 + 1,
                usage_raw=USAGE if number % 2 else "{broken",
            )
            for number in range(120)
        ]
        theirs = [call_row(now - DAY_MS, 7, account_id=2, model="theirs"), call_row(now - 8 * DAY_MS, 8, account_id=2)]
        database = open_writer(Settings(data_dir=metrion.data_dir))
        at = COLUMNS.index("account_id")
        copies = [(*row[:at], 3 + turn, *row[at + 1 :]) for row in self.rows[:60] for turn in range(TURNS)]
        write_rows(database, [*self.rows, *theirs, *copies])
        database.close()

    def ask(self, path: str, name: str = "pro", **headers: str) -> Answer:
        sent = [("Authorization", f"Bearer {self.tokens[name]}"), *headers.items()]
        return exchange(self.metrion.port, "GET", path, [("Host", f"127.0.0.1:{self.metrion.port}"), *sent])

    def get(self, path: str, name: str = "pro") -> Any:
        answer = self.ask(path, name)
        assert answer.status == 200, answer.body
        return answer.json()

    def wanted(self, **columns: Any) -> list[dict[str, Any]]:
        """The rows with these values, newest first."""
        rows = [dict(zip(COLUMNS, row, strict=True)) for row in self.rows]
        return [row for row in rows if all(row[name] == value for name, value in columns.items())]


@pytest.fixture(scope="module")
def house(fake: FakeProvider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    trust = {"METRION_TRUSTED_PROXIES": "127.0.0.1"}
    metrion = Metrion(tmp_path_factory.mktemp("api") / "data", dict.fromkeys(PROVIDERS, fake.origin), trust)
    house = House(metrion)
    metrion.start()
    yield house
    metrion.stop()


# ── who may read ──────────────────────────────────────────────────────────────────────────────────────────────────────


def asked(house: House, path: str, *headers: tuple[str, str], method: str = "GET") -> Answer:
    away = ("X-Forwarded-For", f"198.51.100.{uuid4().int % 250}")
    return exchange(house.metrion.port, method, path, [("Host", "localhost"), away, *headers])


@pytest.mark.parametrize(
    "headers",
    [
        (),
        (("Authorization", "Bearer sk-metrion-" + "0" * 32),),
        (("Authorization", "Bearer"),),
        (("Authorization", "Basic YTpi"),),
        (("Authorization", "Bearer \xff\xfe"),),
        (("x-api-key", "sk-metrion-" + "0" * 32),),
    ],
)
@pytest.mark.parametrize("path", ["usage", "latency", "logs", "logs/" + "0" * 32])
def test_who_has_no_key_reads_nothing(house: House, path: str, headers: tuple[tuple[str, str], ...]) -> None:
    answer = asked(house, f"/api/v1/{path}", *headers)
    assert answer.status == 401
    assert answer.get("content-type") == "application/problem+json"
    assert answer.get("www-authenticate") == "Bearer"
    assert answer.json()["title"] == "Unauthorized"


def test_a_key_with_a_label_reads_and_so_does_who_is_signed_in(house: House) -> None:
    key = ("Authorization", f"bearer {house.tokens['pro']}.label")
    assert asked(house, "/api/v1/usage", key).status == 200
    browser = by_link(house.metrion, "free@example.com")
    assert browser.get("/api/v1/logs").status == 200
    assert [call["model"] for call in json.loads(browser.page.body)["calls"]] == ["theirs"]
    bad = browser.get("/api/v1/logs", headers={"authorization": "Bearer sk-metrion-nothing"})
    assert bad.status == 401  # what is sent counts, not what else would do


def test_a_key_reads_and_does_nothing_else(house: House) -> None:
    key = ("Authorization", f"Bearer {house.tokens['pro']}")
    for path in ("/logs", "/settings", "/logs.csv", "/dashboard"):
        assert asked(house, path, key).status == 303  # to log in
    for method in ("POST", "PUT", "DELETE"):
        assert asked(house, "/api/v1/usage", key, method=method).status in (403, 405)
    missing = asked(house, "/api/v1/nothing", key)
    assert (missing.status, missing.get("content-type")) == (404, "application/problem+json")


def test_the_owner_can_keep_the_key_from_reading(house: House) -> None:
    token = house.metrion.create_account("shut@example.com")
    key = ("Authorization", f"Bearer {token}")
    assert asked(house, "/api/v1/usage", key).status == 200
    browser = by_link(house.metrion, "shut@example.com")
    browser.get("/settings/token")
    assert "Saved." in browser.submit("/settings/token/reads").text
    answer = asked(house, "/api/v1/usage", key)
    assert (answer.status, answer.get("content-type")) == (403, "application/problem+json")
    assert browser.get("/api/v1/usage").status == 200  # with the session, still
    browser.get("/settings/token")
    browser.submit("/settings/token/reads")
    assert asked(house, "/api/v1/usage", key).status == 200


def test_a_disabled_accounts_key_reads_nothing(house: House) -> None:
    key = ("Authorization", f"Bearer {house.metrion.create_account('gone@example.com')}")
    assert asked(house, "/api/v1/usage", key).status == 200
    house.metrion.run("account", "disable", "gone@example.com")
    assert asked(house, "/api/v1/usage", key).status == 401


def test_guessing_and_asking_without_end_are_slowed_down(house: House) -> None:
    away = ("X-Forwarded-For", "203.0.113.77")
    statuses = []
    for number in range(32):
        key = ("Authorization", f"Bearer sk-metrion-{number:032x}")
        answer = exchange(house.metrion.port, "GET", "/api/v1/usage", [("Host", "localhost"), away, key])
        statuses.append(answer.status)
    assert statuses == [401] * 30 + [429] * 2
    assert int(answer.get("retry-after") or 0) > 0
    token = house.metrion.create_account("busy@example.com", keys=())
    mine = ("Authorization", f"Bearer {token}")
    assert [asked(house, "/api/v1/logs?limit=1", mine).status for _ in range(122)] == [200] * 120 + [429] * 2


# ── what is answered ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_all_calls_come_page_by_page_by_the_names_of_the_spec(house: House) -> None:
    seen: list[dict[str, Any]] = []
    before = ""
    while before is not None:
        told = house.get(f"/api/v1/logs?range=7d&limit=50{before and '&before=' + before}")
        assert len(told["calls"]) <= 50
        seen += told["calls"]
        before = told["next"]
    expected = [row["request_id"].hex() for row in house.wanted()]
    assert [call["request_id"] for call in seen if call["requested_model"] == "asked"] == expected
    assert set(seen[0]) == set(CALL_FIELDS) - {"usage_raw"}


def test_one_call_has_its_usage_as_it_came(house: House) -> None:
    odd, even = house.wanted()[1], house.wanted()[2]
    answer = house.ask(f"/api/v1/logs/{odd['request_id'].hex()}")
    assert b'"usage_raw":' + USAGE.encode() in answer.body  # to the last digit
    assert answer.json()["cost_history"] == []
    assert house.get(f"/api/v1/logs/{even['request_id'].hex()}")["usage_raw"] == "{broken"


FILTERS: dict[str, dict[str, Any]] = {
    "provider=grok": {"provider": "grok"},
    f"requester={quote(MARKUP)}": {"requester": MARKUP},
    "model=a": {"model": "a"},
    f"model={quote(MARKUP)}&provider=openai": {"model": MARKUP, "provider": "openai"},
    "status=5xx&requester=bot": {"status": 500, "requester": "bot"},
    "status=5xx": {"status": 500},
}


@pytest.mark.parametrize(("query", "columns"), FILTERS.items())
def test_sums_and_calls_agree_with_the_rows_within_each_filter(
    house: House, query: str, columns: dict[str, Any]
) -> None:
    rows = house.wanted(**columns)
    calls = house.get(f"/api/v1/logs?{query}&limit=500")["calls"]
    assert [call["request_id"] for call in calls if call["requested_model"] == "asked"] == [
        row["request_id"].hex() for row in rows
    ]
    reached = [row for row in rows if row["outcome"] != "rejected"]
    for by in ("day", "hour", "model", "provider"):
        told = house.get(f"/api/v1/usage?{query}&by={by}")
        for figures in (told["total"], _together(told["groups"])):
            assert figures["requests"] == len(reached)
            assert figures["errors"] == sum(row["outcome"] == "provider_error" for row in reached)
            assert figures["input_tokens"] == sum(row["input_tokens"] for row in reached)
            assert figures["total_tokens"] == sum(row["input_tokens"] + row["output_tokens"] for row in reached)
        nano = sum(row["cost_nano"] or 0 for row in reached)
        assert round(float(told["total"]["cost_usd"]) * 1e9) == nano
        assert told["total"]["confidence"]["unpriced_rows"] == sum(row["cost_nano"] is None for row in reached)
    assert house.get(f"/api/v1/latency?{query}")["all"]["requests"] == len(reached)


def _together(groups: list[dict[str, Any]]) -> dict[str, int]:
    return {
        name: sum(group[name] for group in groups) for name in ("requests", "errors", "input_tokens", "total_tokens")
    }


def test_requesters_are_summed_each(house: House) -> None:
    groups = {group["key"]: group for group in house.get("/api/v1/usage?by=requester")["groups"]}
    for name in ("", "bot", MARKUP):
        rows = [row for row in house.wanted(requester=name) if row["outcome"] != "rejected"]
        assert groups[name]["requests"] == len(rows)
    refused = house.ask("/api/v1/usage?by=requester&model=a")
    assert (refused.status, "by=requester" in refused.json()["detail"]) == (400, True)


def test_percentiles_are_close_to_the_exact_ones(house: House) -> None:
    told = house.get("/api/v1/latency?model=a")
    times = sorted(row["latency_us"] for row in house.wanted(model="a") if row["outcome"] != "rejected")
    exact = times[-(-len(times) // 2) - 1] / 1000
    assert told["all"]["latency_ms"]["p50"] == pytest.approx(exact, rel=0.02)
    assert told["models"][0]["name"] == "a"


def test_nothing_of_another_account_or_past_its_days_is_told(house: House) -> None:
    mine = house.wanted()[5]["request_id"].hex()
    assert house.ask(f"/api/v1/logs/{mine}", "free").status == 404
    for query in ("", f"?before={mine}", "?range=90d", "?model=a", "?q=bot", f"?q={mine}"):
        calls = house.get(f"/api/v1/logs{query}", "free")["calls"]
        assert {call["model"] for call in calls} <= {"theirs"}, query
    assert house.get("/api/v1/usage?range=90d", "free")["total"]["requests"] == 1
    assert house.get("/api/v1/latency?range=90d", "free")["all"]["requests"] == 1


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("range=1y", "1y"),
        ("from=2026-13-01", "2026-11-21"),
        ("provider=acme", "acme"),
        ("status=6xx", "6xx"),
        ("by=week", "day, hour"),
        ("range=90d&by=hour", "32 days"),
        ("colour=red", "colour"),
        ("by=day&by=hour", "once"),
        ("model=%00", "zero byte"),
        ("model=a&model=" + "x" * 257, "at most 256"),
        ("requester=" + "x" * 257, "at most 256"),
        ("model=", "empty"),
        ("range=7d&from=2026-11-21", "either range, or from and to"),
    ],
)
def test_what_is_not_understood_is_refused_in_words(house: House, query: str, words: str) -> None:
    answer = house.ask(f"/api/v1/usage?{query}")
    assert (answer.status, answer.get("content-type")) == (400, "application/problem+json")
    assert words in answer.json()["detail"]
    assert "Showing" not in answer.json()["detail"]


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=501", "limit=x", "limit=%D9%A3", "before=zz", "before=00", "stream=yes"]
)
def test_so_is_what_only_logs_take(house: House, query: str) -> None:
    assert house.ask(f"/api/v1/logs?{query}").status == 400


# ── its own document ──────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
@pytest.mark.parametrize("path", ["usage", "latency", "logs", "logs/{request_id}"])
def test_no_answer_is_of_another_kind_than_the_document_says(house: House, path: str, mode: GenerationMode) -> None:
    schema = schemathesis.openapi.from_dict(asked(house, "/api/v1/openapi.json").json())
    statuses = set()

    @settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(case=schema[f"/api/v1/{path}"]["GET"].as_strategy(generation_mode=mode))
    def attempt(case: Case[Any]) -> None:
        key = house.tokens[next(house.turn)]
        sent = {"Authorization": f"Bearer {key}"}
        checks = [*CHECKS, negative_data_rejection] if mode is GenerationMode.NEGATIVE else CHECKS
        answer = case.call_and_validate(base_url=house.metrion.origin, headers=sent, checks=checks)
        statuses.add(answer.status_code)

    attempt()
    assert (200 if mode is GenerationMode.POSITIVE and "{" not in path else 400) in statuses or 404 in statuses
    assert not statuses & {401, 403, 429, 503}
