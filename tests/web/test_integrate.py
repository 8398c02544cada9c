"""Integrate: from the key to the first tracked request, on a real server before a provider that does as it is told."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple
from urllib.parse import urlsplit
from uuid import uuid4

import pytest

from metrion.kit.secrets import Secret
from metrion.storage.latest import Told
from metrion.web.probe import verdict
from metrion.web.snippets import RECIPES
from metrion.web.snippets.recipe import fill
from tests.conftest import NewMetrion
from tests.fake_provider import FakeProvider, Script
from tests.fake_provider.samples import provider_error
from tests.support import PROVIDERS, Answer, Metrion, exchange, free_port, provider_key
from tests.web.browser import Browser, Page

OWN_KEYS = {
    "openai": "sk-proj-own-key-0123456789",
    "anthropic": "sk-ant-own-key-0123456789",
    "gemini": "AIza-own-key-0123456789",
    "mistral": "own-key-0123456789",
    "grok": "xai-own-key-0123456789",
}
LABELS = {"openai": "OpenAI", "anthropic": "Anthropic", "gemini": "Gemini", "mistral": "Mistral", "grok": "Grok"}


class Person(NamedTuple):
    """Somebody who signed in."""

    email: str
    token: str
    browser: Browser

    def see(self, query: str = "") -> Page:
        return self.browser.get(f"/integrate{query}")

    def poll(self) -> Page:
        """What the page asks for once a second: its own address for that, as it stands in it."""
        found = re.search(r'hx-get="(/integrate/first\?after=[0-9a-f]*)"', self.browser.page.html)
        assert found, "the page does not wait"
        kept = self.browser.page
        page = self.browser.get(found[1], headers={"hx-request": "true"})
        self.browser.page = kept
        return page


NewPerson = Callable[..., Person]


BEHIND = {"METRION_TRUSTED_PROXIES": "127.0.0.1"}  # so that everybody comes from an address of their own


@pytest.fixture(scope="module")
def metrion(fake: FakeProvider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Metrion]:
    server = Metrion(tmp_path_factory.mktemp("integrate") / "data", dict.fromkeys(PROVIDERS, fake.origin), BEHIND)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def new_person(metrion: Metrion) -> NewPerson:
    """`new_person(keys=("openai",))`: an account with those keys, signed in by the operator's link."""

    def make(*, keys: Sequence[str] = (), server: Metrion = metrion) -> Person:
        email = f"{uuid4().hex[:12]}@example.com"
        token = server.create_account(email, keys=keys)
        browser = Browser(server.origin, address=".".join(str(byte) for byte in uuid4().bytes[:4]))
        browser.get(urlsplit(server.call("account", "link", email).strip()).path)
        browser.submit()
        return Person(email, token, browser)

    return make


@contextmanager
def answering(fake: FakeProvider, script: Script) -> Iterator[None]:
    """The provider answers so whatever it is asked."""
    fake.default = script
    try:
        yield
    finally:
        fake.default = None


def ask_openai(metrion: Metrion, token: str, *headers: tuple[str, str]) -> Answer:
    body = b'{"model":"gpt-4o-mini","messages":[{"role":"user","content":"hi"}]}'
    sent = [("Authorization", f"Bearer {token}"), *headers]
    return exchange(metrion.port, "POST", "/api/proxy/openai/v1/chat/completions", sent, body)


def wait_for(person: Person, seconds: float = 2.0) -> Page:
    """The answer to the first poll that has one; it must come within 2 s of the request's end."""
    end = time.monotonic() + seconds
    while (page := person.poll()).status == 204:
        assert time.monotonic() < end, "the request was not noticed in time"
        time.sleep(0.05)
    return page


# ── the Metrion key and the snippets ──────────────────────────────────────────────────────────────────────────────────


def test_only_who_is_signed_in_sees_it(metrion: Metrion) -> None:
    page = Browser(metrion.origin).get("/integrate?provider=openai")
    assert page.path == "/login"
    for path in ("/integrate/token", "/integrate/copy", "/integrate/key", "/integrate/check", "/integrate/test"):
        stranger = Browser(metrion.origin)
        stranger.get("/login")
        csrf = stranger.page.form("/login").fields["csrf"]
        assert stranger.post(path, {"csrf": csrf}).path == "/login"


def test_the_key_is_masked_until_it_is_asked_for(new_person: NewPerson) -> None:
    person = new_person(keys=("openai",))
    page = person.see()
    assert person.token not in page.html
    assert "sandbox" not in page.text
    assert f"sk-metrion-…{person.token[-4:]}" in page.text
    assert person.browser.secret("/integrate/token") == person.token
    assert person.browser.post("/integrate/token", {}).status == 403


@pytest.mark.parametrize("mode", ["stored", "pass_through"])
@pytest.mark.parametrize("provider", PROVIDERS)
def test_copy_gives_each_snippet_with_the_real_key(
    provider: str, mode: str, metrion: Metrion, new_person: NewPerson
) -> None:
    person = new_person(keys=(provider,))
    page = person.see(f"?provider={provider}&mode={mode}")
    assert person.token not in page.html
    urls = {url.replace("&amp;", "&") for url in re.findall(r'data-copy-from="(/integrate/copy\?[^"]*)"', page.html)}
    model = page.form("/integrate").fields["model"]
    recipe = RECIPES[provider]
    wanted = [
        fill(one.text(mode), origin=metrion.origin, key=person.token, model=model)
        for one in (*recipe.code, *recipe.tools)
        if one.text(mode)
    ]
    assert sorted(map(person.browser.secret, urls)) == sorted(wanted)
    for text in wanted:
        masked = text.replace(person.token, f"sk-metrion-…{person.token[-4:]}")
        assert " ".join(masked.split()) in page.text


def test_there_is_nothing_to_copy_of_what_is_not_there(new_person: NewPerson) -> None:
    person = new_person()
    csrf = person.see().form("/integrate/key").fields["csrf"]
    for query in ("?provider=openai&name=claude-code", "?provider=openai&name=cursor&mode=pass_through", ""):
        assert person.browser.post(f"/integrate/copy{query}", {"csrf": csrf}).status == 404


def test_the_code_is_locked_until_there_is_a_key(new_person: NewPerson) -> None:
    person = new_person()
    assert "Save your OpenAI key and this code is yours to copy." in person.see("?provider=openai").text
    assert "/integrate/copy" not in person.browser.page.html
    assert "Save your OpenAI key" not in person.see("?provider=openai&mode=pass_through").text
    assert "/integrate/copy" in person.browser.page.html


def test_what_calls_from_elsewhere_says_so_on_loopback(new_person: NewPerson, new_metrion: NewMetrion) -> None:
    assert "Cursor calls from its maker's servers" in new_person().see("?provider=openai").text
    public = new_metrion({"METRION_PUBLIC_URL": "http://metrion.example.com:8000"})
    person = new_person(keys=("openai",), server=public)
    page = person.see("?provider=openai")
    assert "calls from its maker's servers" not in page.text
    assert "http://metrion.example.com:8000/api/proxy/openai/v1" in page.text


def test_models_have_names_and_prices_and_the_cheapest_is_chosen(new_person: NewPerson) -> None:
    page = new_person().see("?provider=openai")
    assert "GPT-5.4 mini · $0.75 in, $4.50 out" in page.text
    assert page.form("/integrate").fields["model"] == "gpt-6-luna"


@pytest.mark.parametrize(
    "query",
    [
        "?provider=nobody&mode=both&model=none",
        "?provider=%3Cscript%3Ealert(1)%3C/script%3E&model=%22%3E%3Cscript%3E",
        "?checked=zz&tested=zz",
        "?checked=" + "00" * 16,
    ],
)
def test_an_address_somebody_made_up_is_only_a_page(query: str, new_person: NewPerson) -> None:
    page = new_person().see(query)
    assert page.status == 200
    assert "<script>" not in page.html
    assert page.form("/integrate").fields["provider"] == "openai"


# ── a provider's key ──────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("sk-ant-api03-somebodys-own-key", "This looks like an Anthropic key. You chose OpenAI."),
        ("AIza-somebodys-own-key", "This looks like a Gemini key. You chose OpenAI."),
        ("", "No key was given. Paste your OpenAI key."),
        ("sk-proj two words", "This is not an API key"),
        ("sk-metrion-0123456789abcdef0123456789abcdef", "This is a Metrion key."),
        ("<script>alert(1)</script>" * 40, "This is not an API key"),
    ],
)
def test_what_is_no_key_of_that_provider_is_told_beside_the_field(
    typed: str, said: str, fake: FakeProvider, new_person: NewPerson
) -> None:
    person = new_person()
    person.see("?provider=openai")
    seen = len(fake.seen)
    page = person.browser.submit("/integrate/key", key=typed)
    assert page.status == 422
    assert said in page.errors["field-key"]
    assert typed == "" or typed not in page.html
    assert len(fake.seen) == seen
    assert "Replace it" not in page.text


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_key_that_the_provider_takes_is_stored(
    provider: str, metrion: Metrion, fake: FakeProvider, new_person: NewPerson
) -> None:
    person, own = new_person(), OWN_KEYS[provider]
    person.see(f"?provider={provider}")
    page = person.browser.submit("/integrate/key", key=f"  {own}\n")
    assert page.status == 200
    assert f"Saved. {LABELS[provider]} accepts this key." in page.text
    assert own not in page.html and f"…{own[-4:]}" in page.text
    seen = fake.seen[-1]
    assert (seen.method, seen.target.partition("?")[0].rpartition("/")[2]) == ("GET", "models")
    assert any(value.endswith(own) for _, value in seen.headers)
    assert not any(person.token in value for _, value in seen.headers)
    (row,) = metrion.rows(1, email=person.email)
    assert (row["mode"], row["requester"], row["outcome"]) == ("pass_through", "metrion-check", "ok")


def test_the_check_is_no_first_request(new_person: NewPerson) -> None:
    person = new_person()
    person.see("?provider=openai")
    person.browser.submit("/integrate/key", key=OWN_KEYS["openai"])
    assert "Waiting for your first request" in person.browser.page.text
    assert person.poll().status == 204


def test_a_key_that_the_provider_refuses_is_not_stored(fake: FakeProvider, new_person: NewPerson) -> None:
    person = new_person()
    person.see("?provider=openai")
    with answering(fake, provider_error("openai", 401)):
        page = person.browser.submit("/integrate/key", key=OWN_KEYS["openai"])
    assert page.status == 422
    assert page.errors["field-key"] == "OpenAI refuses this key. It says: Slow down. It was not saved."
    assert "Replace it" not in person.see("?provider=openai").text


@pytest.mark.parametrize(
    ("status", "said"),
    [(429, "takes no more requests right now"), (500, "answered 500"), (404, "answered 404")],
)
def test_a_key_that_could_not_be_checked_is_stored_and_the_page_says_so(
    status: int, said: str, fake: FakeProvider, new_person: NewPerson
) -> None:
    person = new_person()
    person.see("?provider=mistral")
    with answering(fake, provider_error("mistral", status)):
        page = person.browser.submit("/integrate/key", key=OWN_KEYS["mistral"])
    assert page.status == 200
    assert said in page.text and "Saved." in page.text and "Replace it" in page.text


def test_a_provider_out_of_reach(new_metrion: NewMetrion, new_person: NewPerson) -> None:
    server = new_metrion(origins={"grok": f"http://127.0.0.1:{free_port()}"})
    person = new_person(keys=("grok",), server=server)
    person.see("?provider=grok")
    page = person.browser.submit("/integrate/check")
    assert "Grok could not be reached, so the key was not checked." in page.text
    page = person.browser.submit("/integrate/test")
    assert "Grok could not be reached" in page.text


def test_without_the_check_nobody_is_asked(fake: FakeProvider, new_person: NewPerson) -> None:
    person = new_person()
    page, seen = person.see("?provider=openai"), len(fake.seen)
    form = page.form("/integrate/key")
    del form.fields["check"]
    page = person.browser.post(form.action, form.fields | {"key": OWN_KEYS["openai"]})
    assert page.status == 200 and "Saved." in page.text and "accepts" not in page.text
    assert len(fake.seen) == seen


def test_replacing_a_key_says_so_and_works_at_once(metrion: Metrion, fake: FakeProvider, new_person: NewPerson) -> None:
    person = new_person(keys=("openai",))
    assert "Replaces the stored key at once." in person.see("?provider=openai").text
    person.browser.submit("/integrate/key", key=OWN_KEYS["openai"])
    mark = uuid4().hex
    assert ask_openai(metrion, person.token, ("X-Mark", mark)).status == 200
    (seen,) = fake.named(mark)
    assert seen.get("authorization") == f"Bearer {OWN_KEYS['openai']}"


def test_the_stored_key_can_be_checked_again(fake: FakeProvider, new_person: NewPerson) -> None:
    person = new_person(keys=("anthropic",))
    person.see("?provider=anthropic")
    page = person.browser.submit("/integrate/check")
    assert "Anthropic accepts this key." in page.text
    assert fake.seen[-1].get("x-api-key") == provider_key("anthropic")


def test_keys_cannot_be_tried_without_end(new_person: NewPerson) -> None:
    person = new_person()
    for _ in range(20):
        person.see("?provider=openai")
        assert person.browser.submit("/integrate/key", key=OWN_KEYS["openai"]).status == 200
    page = person.browser.submit("/integrate/key", key=OWN_KEYS["openai"])
    assert page.status == 429
    assert "Too many attempts. Try again in 10 minutes." in page.errors["field-key"]


# ── the first request ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_first_request_is_noticed_and_told(metrion: Metrion, new_person: NewPerson) -> None:
    person = new_person(keys=("openai",))
    assert "5. Your first request" in person.see().text
    assert person.poll().status == 204
    assert ask_openai(metrion, f"{person.token}.invoice-bot").status == 200
    page = wait_for(person)
    assert "First request received." in page.text
    (row,) = metrion.rows(1, email=person.email)
    cost = f"${row['cost_usd']}"
    assert "Model gpt-4o-mini-2024-07-18 Tokens 40 in, 12 out Cost $0.0000" in page.text
    assert f'title="{cost}"' in page.html
    assert "Requester invoice-bot" in page.text and "Latency" in page.text
    assert "hx-get" not in page.html  # found: it asks no more


def test_later_visits_tell_the_last_request_and_wait_for_the_next(metrion: Metrion, new_person: NewPerson) -> None:
    person = new_person(keys=("openai",))
    ask_openai(metrion, person.token)
    metrion.rows(1, email=person.email)
    page = person.see()
    assert "Last request just now" in page.text and "First request received" not in page.text
    assert person.poll().status == 204
    ask_openai(metrion, person.token)
    page = wait_for(person)
    assert "Request received." in page.text and "First request" not in page.text


@pytest.mark.parametrize(
    ("script", "said"),
    [
        (provider_error("openai", 429), "OpenAI answered 429: Slow down."),
        (Script(act="close"), "OpenAI could not be reached"),
    ],
)
def test_a_request_that_failed_is_told_and_the_page_goes_on_waiting(
    script: Script, said: str, metrion: Metrion, new_person: NewPerson
) -> None:
    person = new_person(keys=("openai",))
    person.see()
    ask_openai(metrion, person.token, ("X-Fake", script.header()))
    page = wait_for(person)
    assert "A request arrived just now" in page.text and "and failed." in page.text and said in page.text
    assert "hx-get" in page.html
    person.browser.page = page
    assert person.poll().status == 204
    ask_openai(metrion, person.token)
    assert "First request received." in wait_for(person).text


def test_a_request_that_metrion_refused_is_told(metrion: Metrion, new_person: NewPerson) -> None:
    person = new_person()
    person.see()
    assert ask_openai(metrion, person.token).status == 401
    assert "Metrion refused it: no OpenAI key is stored for this account." in wait_for(person).text


def test_an_unpriced_model_costs_no_zero(metrion: Metrion, fake: FakeProvider, new_person: NewPerson) -> None:
    person = new_person(keys=("openai",))
    person.see()
    answer: dict[str, Any] = {"id": "x", "object": "chat.completion", "model": "no-such-model", "choices": []}
    answer |= {"usage": {"prompt_tokens": 5, "completion_tokens": 1, "total_tokens": 6}}
    script = Script(headers=[("Content-Type", "application/json")], text=json.dumps(answer))
    ask_openai(metrion, person.token, ("X-Fake", script.header()))
    assert "Cost unpriced" in wait_for(person).text


def test_nobody_sees_anothers_requests(metrion: Metrion, new_person: NewPerson) -> None:
    owner, other = new_person(keys=("openai",)), new_person(keys=("openai",))
    ask_openai(metrion, f"{owner.token}.secret-project")
    (row,) = metrion.rows(1, email=owner.email)
    other.see()
    assert other.poll().status == 204
    for query in (f"?tested={row['request_id']}", f"?checked={row['request_id']}"):
        page = other.see(query)
        assert "secret-project" not in page.text and "accepts this key" not in page.text
    assert "secret-project" in owner.see(f"?tested={row['request_id']}").text


def test_a_poll_that_was_made_up_is_refused(new_person: NewPerson) -> None:
    assert new_person().browser.get("/integrate/first?after=xyz").status == 400


# ── the test request ──────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_test_request_uses_the_own_key_and_16_tokens(
    provider: str, metrion: Metrion, fake: FakeProvider, new_person: NewPerson
) -> None:
    person = new_person(keys=(provider,))
    page = person.see(f"?provider={provider}")
    shown = re.search(r"in at most 16 tokens, for at most \$(0\.\d+)\.", page.text)
    assert shown
    page = person.browser.submit("/integrate/test")
    assert f"{LABELS[provider]} answered your test request." in page.text
    assert page.text.count("Tokens 40 in, 12 out") == 2  # as the test's result, and as the last request
    seen = fake.seen[-1]
    assert any(value.endswith(provider_key(provider)) for _, value in seen.headers)
    model = page.form("/integrate").fields["model"]
    assert model in seen.target or json.loads(seen.body)["model"] == model
    assert re.search(rb'"(max_output_tokens|max_tokens|maxOutputTokens)": 16\b', seen.body)
    (row,) = metrion.rows(1, email=person.email)
    assert (row["requester"], row["mode"], row["outcome"]) == ("metrion-test", "stored", "ok")


def test_the_shown_price_is_the_most_that_it_can_cost(new_person: NewPerson) -> None:
    person = new_person(keys=("openai",))
    assert "for at most $0.00003360." in person.see("?provider=openai&model=gpt-6-luna").text  # 256 × 0.10 + 16 × 0.50
    assert "for at most $0.0008800." in person.see("?provider=openai&model=gpt-5.4").text  # 256 × 2.50 + 16 × 15.00


def test_a_provider_that_refuses_the_test_is_quoted(fake: FakeProvider, new_person: NewPerson) -> None:
    person = new_person(keys=("anthropic",))
    person.see("?provider=anthropic")
    with answering(fake, provider_error("anthropic", 404)):
        page = person.browser.submit("/integrate/test")
    assert page.status == 200
    assert "Anthropic answered 404: Slow down." in page.text


def test_without_a_stored_key_there_is_no_test(new_person: NewPerson) -> None:
    person = new_person()
    assert "Send a test request" not in person.see("?provider=openai").text
    csrf = person.browser.page.form("/integrate/key").fields["csrf"]
    page = person.browser.post("/integrate/test", {"csrf": csrf, "provider": "openai"})
    assert "no OpenAI key is stored for this account" in page.text


# ── what a check says ─────────────────────────────────────────────────────────────────────────────────────────────────


def told(status: int, outcome: str, message: str | None = None) -> Told:
    return Told(b"", 0, "gemini", "stored", "", "", "metrion-check", status, outcome, message, 0, 0, None, "unknown", 0)


@pytest.mark.parametrize(
    ("row", "kind"),
    [
        (told(200, "ok"), "accepted"),
        (told(200, "client_gone"), "accepted"),  # its list was longer than anybody wants to read
        (told(401, "provider_error"), "refused"),
        (told(403, "provider_error"), "refused"),
        (told(400, "provider_error", "API key not valid. Please pass a valid API key."), "refused"),  # Gemini's way
        (told(400, "provider_error", "something else"), "unclear"),
        (told(429, "provider_error"), "limited"),
        (told(429, "rejected", "over 100 requests per minute"), "limited"),
        (told(502, "upstream_failed"), "unreachable"),
        (told(504, "timeout"), "unreachable"),
        (told(500, "provider_error"), "unclear"),
        (None, "unreachable"),
    ],
)
def test_verdicts(row: Told | None, kind: str) -> None:
    found = verdict("Gemini", row)
    assert found.kind == kind
    assert "Gemini" in found.text or "Metrion" in found.text
    assert str(Secret("x")) not in found.text
