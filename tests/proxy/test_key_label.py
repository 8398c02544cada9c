"""A label behind the Metrion key names the requester, in whatever form the key comes. Spec §2.2."""

from __future__ import annotations

import pytest

from tests.fake_provider import FakeProvider
from tests.proxy.talk import CHAT, CHAT_BODY, GENERATE, MESSAGES, one_row
from tests.support import Headers, Metrion, exchange, provider_key

GEMINI_BODY = b'{"contents":[{"parts":[{"text":"hi"}]}]}'
MESSAGES_BODY = b'{"model":"claude-haiku-4-5","max_tokens":16,"messages":[{"role":"user","content":"hi"}]}'
COMPATIBLE = {name: f"/api/proxy/{name}/v1/chat/completions" for name in ("openai", "gemini", "mistral", "grok")}
FORMS = {
    "bearer": ("Authorization", "Bearer {}"),
    "x-api-key": ("x-api-key", "{}"),
    "x-goog-api-key": ("x-goog-api-key", "{}"),
}


def ask(metrion: Metrion, path: str, headers: Headers) -> int:
    body = MESSAGES_BODY if path == MESSAGES else GEMINI_BODY if "generateContent" in path else CHAT_BODY
    return exchange(metrion.port, "POST", path, headers, body).status


def credential(form: str, value: str) -> tuple[str, str]:
    name, pattern = FORMS[form]
    return name, pattern.format(value)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("path", [MESSAGES, *COMPATIBLE.values(), GENERATE])
def test_in_every_header_at_every_provider(
    form: str, path: str, metrion: Metrion, fake: FakeProvider, mark: str
) -> None:
    if path == COMPATIBLE["gemini"] and form == "x-goog-api-key":
        path = GENERATE  # Google's header asks for Google's own API
    headers = [credential(form, f"{metrion.token}.{mark}"), ("X-Mark", mark)]
    assert ask(metrion, path, headers) == 200
    row = one_row(metrion, mark)
    assert (row["mode"], row["outcome"]) == ("stored", "ok")
    (seen,) = fake.named(mark)
    assert mark not in seen.target
    assert [value for name, value in seen.headers if mark in value and name.lower() != "x-mark"] == []
    assert any(value.endswith(provider_key(row["provider"])) for _, value in seen.headers)


@pytest.mark.parametrize("label", ["{}", "{}%20b%C3%BCro"], ids=["plain", "escaped"])
def test_in_geminis_query(label: str, metrion: Metrion, fake: FakeProvider, mark: str) -> None:
    path = f"{GENERATE}?key={metrion.token}.{label.format(mark)}&alt=json"
    assert ask(metrion, path, [("X-Mark", mark)]) == 200
    requester = mark if label == "{}" else f"{mark} büro"
    assert one_row(metrion, requester)["mode"] == "stored"
    (seen,) = fake.named(mark)
    assert metrion.token not in seen.target


def test_in_the_header_of_pass_through(metrion: Metrion, mark: str) -> None:
    headers = [("Authorization", "Bearer sk-own"), ("x-metrion-token", f"{metrion.token}.{mark}")]
    assert ask(metrion, CHAT, headers) == 200
    assert one_row(metrion, mark)["mode"] == "pass_through"


def test_the_header_that_names_the_requester_wins(metrion: Metrion, mark: str) -> None:
    headers = [credential("bearer", f"{metrion.token}.somebody-else"), ("x-metrion-user", mark)]
    assert ask(metrion, CHAT, headers) == 200
    one_row(metrion, mark)


def test_the_same_key_with_and_without_label_is_one_key(metrion: Metrion, mark: str) -> None:
    headers = [credential("bearer", f"{metrion.token}.{mark}"), ("x-metrion-token", metrion.token)]
    assert ask(metrion, CHAT, headers) == 200
    assert one_row(metrion, mark)["mode"] == "stored"


@pytest.mark.parametrize(("length", "status"), [(256, 200), (257, 400)])
def test_a_label_has_a_requesters_limits(length: int, status: int, metrion: Metrion, mark: str) -> None:
    label = mark + "x" * (length - len(mark))
    assert ask(metrion, CHAT, [credential("bearer", f"{metrion.token}.{label}")]) == status


def test_a_label_makes_no_wrong_key_right(metrion: Metrion) -> None:
    wrong = "sk-metrion-" + "0" * 32
    assert ask(metrion, CHAT, [credential("bearer", f"{wrong}.invoice-bot")]) == 401
