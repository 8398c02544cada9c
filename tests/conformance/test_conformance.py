"""Every provider, by every way in: bytes unchanged, the right target, the right key, one right row."""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest

from tests.conformance.cases import APIS, Api, Case, cases, is_shaped
from tests.fake_provider import FakeProvider, Script, Seen
from tests.fake_provider.samples import provider_error
from tests.support import Answer, Headers, Metrion, exchange, provider_key

CASES = list(cases())
OWN_KEY = "own-key-0123456789"  # pass-through: what the client holds itself
APART = [("X-Order", "1"), ("x-order", "2"), ("Anthropic-Beta", "a-2026-01-01"), ("OpenAI-Organization", "org ü")]
STRIPPED = [
    ("Cookie", "a=b"),
    ("X-Forwarded-For", "1.2.3.4"),
    ("Forwarded", "for=1.2.3.4"),
    ("X-Real-IP", "1.2.3.4"),
    ("X-Metrion-Anything", "x"),
    ("Keep-Alive", "timeout=5"),
    ("Connection", "X-Hop"),
    ("X-Hop", "for this hop alone"),
    ("TE", "trailers"),
]
ANSWERED = [("X-Request-Id", "req_abc"), ("X-Twice", "1"), ("X-Twice", "2"), ("Retry-After-Ms", "5")]
KEPT_BACK = [
    ("Set-Cookie", "a=b"),
    ("Alt-Svc", 'h3=":443"'),
    ("Strict-Transport-Security", "max-age=1"),
    ("Access-Control-Allow-Origin", "*"),
    ("X-Metrion-Request-Id", "forged"),
    ("Keep-Alive", "timeout=9"),
]
FORMS = ("authorization", "x-api-key", "x-goog-api-key")


@dataclass(slots=True)
class Outcome:
    """What one case came to."""

    answer: Answer
    seen: list[Seen]
    rows: list[dict[str, Any]]


def with_headers(script: Script, more: Headers) -> Script:
    return Script(
        headers=[*script.headers, *more],
        text=script.text,
        framing=script.framing,
        chunk=script.chunk,
        status=script.status,
    )


def credential(form: str, value: str) -> list[tuple[str, str]]:
    return [] if form == "key" else [(form, f"Bearer {value}" if form == "authorization" else value)]


def send(metrion: Metrion, case: Case, mark: str) -> Answer:
    api = case.api
    target, _ = api.targets(case.path, stream=case.stream)
    script = with_headers(api.stream if case.stream else api.plain, [*ANSWERED, *KEPT_BACK])
    value = metrion.token if case.mode == "stored" else OWN_KEY
    query = "?a=1&key=" + value + "&b=%20x" if case.form == "key" else "?a=1&b=%20x"
    headers = [
        ("Content-Type", "application/json"),
        *APART,
        *STRIPPED,
        *credential(case.form, value),
        *([("X-Metrion-Token", metrion.token)] if case.mode == "pass_through" else []),
        ("X-Metrion-User", mark),
        ("X-Mark", mark),
        ("X-Fake", script.header()),
    ]
    return exchange(metrion.port, "POST", target + query, headers, api.body(stream=case.stream))


@pytest.fixture(scope="module")
def outcomes(metrion: Metrion, fake: FakeProvider) -> Mapping[Case, Outcome]:
    """Every case, sent once; the rows are read once."""
    marks = {case: f"case-{uuid4().hex[:10]}" for case in CASES}
    answers = {case: send(metrion, case, mark) for case, mark in marks.items()}
    known = set(marks.values())
    metrion.rows(1, requester=marks[CASES[-1]])  # the last one's row is there: so are the others'
    rows = [row for row in metrion.rows(len(CASES)) if row["requester"] in known]
    return {
        case: Outcome(answers[case], fake.named(mark), [row for row in rows if row["requester"] == mark])
        for case, mark in marks.items()
    }


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_bytes_are_the_same_both_ways(case: Case, outcomes: Mapping[Case, Outcome]) -> None:
    outcome = outcomes[case]
    (seen,) = outcome.seen
    script = case.api.stream if case.stream else case.api.plain
    assert outcome.answer.status == 200
    assert outcome.answer.complete
    assert outcome.answer.body == script.plain_body()
    assert seen.body == case.api.body(stream=case.stream)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_it_goes_where_the_provider_has_it_with_one_key(case: Case, outcomes: Mapping[Case, Outcome]) -> None:
    (seen,) = outcomes[case].seen
    _, upstream = case.api.targets(case.path, stream=case.stream)
    assert (seen.method, seen.target) == ("POST", upstream + "?a=1&b=%20x")
    wanted = provider_key(case.api.provider) if case.mode == "stored" else OWN_KEY
    sent = [(name.lower(), value) for name, value in seen.headers if name.lower() in FORMS]
    assert sent == credential(case.api.credential, wanted)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_headers_pass_less_what_was_meant_for_this_hop(case: Case, outcomes: Mapping[Case, Outcome]) -> None:
    outcome = outcomes[case]
    (seen,) = outcome.seen
    apart = [name.lower() for name, _ in APART]
    assert [(n.lower(), v) for n, v in seen.headers if n.lower() in apart] == [
        (n.lower(), v.encode().decode("latin-1")) for n, v in APART
    ]
    names = {name.lower() for name, _ in seen.headers}
    assert not names & {name.lower() for name, _ in STRIPPED if name != "Connection"}
    assert not any(name.startswith(("x-metrion-", "x-forwarded-")) for name in names)
    assert len(seen.all("host")) == 1 and "metrion" not in (seen.get("host") or "")
    got = [(n.lower(), v) for n, v in outcome.answer.headers]
    assert [h for h in got if h[0] in ("x-request-id", "x-twice", "retry-after-ms")] == [
        (n.lower(), v) for n, v in ANSWERED
    ]
    assert not {n for n, _ in got} & {n.lower() for n, _ in KEPT_BACK if n != "X-Metrion-Request-Id"}
    assert len(outcome.answer.all("x-metrion-request-id")) == 1


@pytest.mark.parametrize("case", CASES, ids=str)
def test_one_row_tells_it_all(case: Case, outcomes: Mapping[Case, Outcome]) -> None:
    outcome = outcomes[case]
    (row,) = outcome.rows
    api = case.api
    assert row["request_id"] == outcome.answer.get("x-metrion-request-id")
    assert (row["provider"], row["mode"], row["stream"]) == (api.provider, case.mode, case.stream)
    endpoint = "streamGenerateContent" if case.stream and api.family == "gemini" else api.endpoint
    assert (row["endpoint"], row["model"], row["requested_model"]) == (endpoint, api.answered, api.model)
    assert (row["status"], row["outcome"]) == (200, "ok")
    assert {name: row[name] for name in api.figures} == api.figures
    assert Decimal(row["cost_usd"]) > 0 and row["cost_source"] == "computed"
    assert row["request_bytes"] == len(api.body(stream=case.stream))
    assert row["response_bytes"] == len(outcome.answer.body)
    assert row["upstream_request_id"] == "req_abc" or api.provider in ("anthropic", "gemini", "mistral")
    assert 0 <= row["ttft_ms"] <= row["latency_ms"]


@pytest.mark.parametrize("api", APIS, ids=lambda api: f"{api.provider} {api.endpoint}")
def test_a_providers_error_passes_as_it_came(api: Api, metrion: Metrion, fake: FakeProvider, mark: str) -> None:
    script = provider_error(api.provider)
    answer = call(metrion, api, mark, script)
    assert (answer.status, answer.body) == (429, script.plain_body())
    assert answer.get("x-metrion-error") is None
    (row,) = metrion.rows(1, requester=mark)
    assert (row["status"], row["outcome"], row["error_message"]) == (429, "provider_error", "Slow down.")


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "raw-deflate", "br", "zstd"])
@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
def test_a_packed_answer_stays_packed_and_is_metered(encoding: str, stream: bool, metrion: Metrion, mark: str) -> None:
    api = APIS[1]
    plain = api.stream if stream else api.plain
    script = Script(headers=plain.headers, text=plain.text, framing=plain.framing, chunk=7, encoding=encoding)  # type: ignore[arg-type]
    answer = call(metrion, api, mark, script)
    assert answer.body == script.body()
    assert answer.get("content-encoding") == encoding.removeprefix("raw-")
    (row,) = metrion.rows(1, requester=mark)
    assert {name: row[name] for name in api.figures} == api.figures


@pytest.mark.parametrize("api", APIS, ids=lambda api: f"{api.provider} {api.endpoint}")
def test_metrions_own_errors_wear_the_familys_shape(api: Api, metrion: Metrion, fake: FakeProvider, mark: str) -> None:
    before = len(fake.seen)
    json_type = ("Content-Type", "application/json")
    marked = [json_type, ("X-Mark", mark), ("X-Metrion-User", mark)]
    bare = exchange(metrion.port, "POST", api.paths[0], marked, api.body(stream=False))
    wrong = [*marked, *credential(api.credential, "sk-metrion-" + "0" * 32)]
    unknown = exchange(metrion.port, "POST", api.paths[0], wrong, api.body(stream=False))
    passing = exchange(
        metrion.port, "POST", api.paths[0], [*marked, *credential(api.credential, OWN_KEY)], api.body(stream=False)
    )
    for answer in (bare, unknown, passing):
        assert answer.status == 401
        assert answer.get("x-metrion-error")
        assert is_shaped(api.family, answer.json(), 401)
    assert len(fake.seen) == before
    assert metrion.token not in str([bare, unknown, passing])


@pytest.mark.parametrize("api", [a for a in APIS if a.names_model], ids=lambda api: f"{api.provider} {api.endpoint}")
def test_a_body_that_is_no_json_is_refused_with_a_row(
    api: Api, metrion: Metrion, fake: FakeProvider, mark: str
) -> None:
    answer = exchange(
        metrion.port,
        "POST",
        api.paths[0],
        [*credential(api.credential, metrion.token), ("X-Metrion-User", mark), ("X-Mark", mark)],
        b'{"model": "x", ',
    )
    assert answer.status == 400
    assert is_shaped(api.family, answer.json(), 400)
    (row,) = metrion.rows(1, requester=mark)
    assert (row["status"], row["outcome"], row["provider"]) == (400, "rejected", api.provider)
    assert fake.named(mark) == []


@pytest.mark.parametrize("provider", ["anthropic", "openai", "gemini", "mistral", "grok"])
def test_any_path_and_method_passes(provider: str, metrion: Metrion, fake: FakeProvider, mark: str) -> None:
    root = {"anthropic": "/api/proxy/v1", "gemini": "/api/proxy/gemini/v1"}.get(provider, f"/api/proxy/{provider}/v1")
    prefix = {"gemini": "/v1beta/openai"}.get(provider, "/v1")
    upload = bytes(range(256)) * 1000
    script = Script(size=300_000, headers=[("Content-Type", "application/octet-stream")])
    for method, path, body in (
        ("GET", "/something/new-in-2027?x=%2B&y=a+b&&z", b""),
        ("DELETE", "/files/file-1", b""),
        ("PUT", "/files/upload", upload),
    ):
        headers = [*credential("authorization", metrion.token), ("X-Mark", mark), ("X-Metrion-User", mark)]
        answer = exchange(metrion.port, method, root + path, [*headers, ("X-Fake", script.header())], body)
        assert (answer.status, answer.body) == (200, script.plain_body())
        seen = fake.named(mark)[-1]
        assert (seen.method, seen.target, seen.body) == (method, prefix + path, body)
    rows = metrion.rows(3, requester=mark)
    assert [(row["outcome"], row["cost_usd"], row["cost_source"]) for row in rows] == [("ok", None, "unknown")] * 3


def test_a_chunked_request_arrives_whole(metrion: Metrion, fake: FakeProvider, mark: str) -> None:
    api = APIS[1]
    body = api.body(stream=False)
    headers = [*credential(api.credential, metrion.token), ("X-Mark", mark), ("Content-Type", "application/json")]
    answer = exchange(metrion.port, "POST", api.paths[0], headers, [body[i : i + 3] for i in range(0, len(body), 3)])
    assert answer.status == 200
    assert fake.named(mark)[0].body == body


def test_a_packed_request_passes_unread(metrion: Metrion, fake: FakeProvider, mark: str) -> None:
    api = APIS[1]
    body = gzip.compress(b"not even JSON", mtime=0)
    headers = [*credential(api.credential, metrion.token), ("X-Mark", mark), ("Content-Encoding", "gzip")]
    answer = exchange(metrion.port, "POST", api.paths[0], headers, body)
    assert answer.status == 200
    assert fake.named(mark)[0].body == body
    assert fake.named(mark)[0].get("content-encoding") == "gzip"


@pytest.mark.parametrize(
    ("sent", "arrives"),
    [
        (["2023-06-01"], "2023-06-01"),
        (["2026-10-21"], "2026-10-21"),
        (["2099-01-01"], "2023-06-01"),
        ([], "2023-06-01"),
        (["2023-06-01", "2026-10-21"], "2023-06-01"),
    ],
)
def test_the_anthropic_version_is_decided_here(
    sent: list[str], arrives: str, metrion: Metrion, fake: FakeProvider, mark: str
) -> None:
    versions = [("Anthropic-Version", version) for version in sent]
    call(metrion, APIS[0], mark, APIS[0].plain, versions)
    assert fake.named(mark)[0].all("anthropic-version") == [arrives]


def test_an_oauth_bearer_goes_to_anthropic_as_it_came(metrion: Metrion, fake: FakeProvider, mark: str) -> None:
    api = APIS[0]
    headers = [("Authorization", "Bearer sk-ant-oat01-abc"), ("X-Metrion-Token", metrion.token), ("X-Mark", mark)]
    exchange(metrion.port, "POST", api.paths[0], headers, api.body(stream=False))
    (seen,) = fake.named(mark)
    assert seen.all("authorization") == ["Bearer sk-ant-oat01-abc"]
    assert seen.get("x-api-key") is None


def test_two_metrion_keys_in_one_request_are_refused(metrion: Metrion, fake: FakeProvider, mark: str) -> None:
    headers = [*credential("authorization", metrion.token), ("x-api-key", "sk-metrion-" + "1" * 32), ("X-Mark", mark)]
    answer = exchange(metrion.port, "POST", APIS[1].paths[0], headers, APIS[1].body(stream=False))
    assert answer.status == 401
    assert fake.named(mark) == []


def test_a_label_names_the_requester_where_nobody_else_does(metrion: Metrion, mark: str) -> None:
    api = APIS[1]
    headers = [*credential(api.credential, f"{metrion.token}.{mark}"), ("X-Fake", api.plain.header())]
    assert exchange(metrion.port, "POST", api.paths[0], headers, api.body(stream=False)).status == 200
    assert len(metrion.rows(1, requester=mark)) == 1


@pytest.mark.parametrize(
    "path",
    [
        "/api/proxy/nobody/v1/chat/completions",
        "/api/proxy/openai/v1/../../../etc/passwd",
        "/api/proxy/openai/v1/%2e%2e/files",
        "/api/proxy/openai//evil.example/v1/models",
        "/api/proxy/openai/v1/a%2fb",
        "/api/proxy",
    ],
)
def test_paths_that_lead_nowhere_are_refused(path: str, metrion: Metrion, fake: FakeProvider, mark: str) -> None:
    headers = [*credential("authorization", metrion.token), ("X-Mark", mark)]
    answer = exchange(metrion.port, "POST", path, headers, b"{}")
    assert answer.status == 404
    assert is_shaped("openai", answer.json(), 404)
    assert fake.named(mark) == []


def call(metrion: Metrion, api: Api, mark: str, script: Script, more: Headers = ()) -> Answer:
    """A plain stored-mode call that gets `script` for an answer."""
    headers = [
        ("Content-Type", "application/json"),
        *credential(api.credential, metrion.token),
        ("X-Metrion-User", mark),
        ("X-Mark", mark),
        ("X-Fake", script.header()),
        *more,
    ]
    return exchange(metrion.port, "POST", api.paths[0], headers, api.body(stream=False))
