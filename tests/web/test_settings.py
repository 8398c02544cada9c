"""Settings: how things are shown, the Metrion key, provider keys, the plan; each for its owner alone."""

from __future__ import annotations

from collections.abc import Iterator
from threading import Thread

import pytest
from playwright.sync_api import Browser as Chromium
from playwright.sync_api import expect

from metrion.rates.table import FILE_NAME, load
from tests.chromium import needs_chromium, open_chromium, opened
from tests.conftest import NewMetrion
from tests.fake_provider import FakeProvider, Script
from tests.mail_server import MailServer, text_of
from tests.support import Answer, Metrion, exchange, provider_key
from tests.web.browser import Browser, Page
from tests.web.people import by_link, signed_up

CHAT = "/api/proxy/openai/v1/chat/completions"
CHAT_BODY = b'{"model":"gpt-4o-mini","messages":[{"role":"user","content":"hi"}]}'
SECTIONS = ("", "/token", "/providers", "/billing", "/alerts", "/profile", "/profile/delete")
MARKUP = "<script>alert('x')</script>"


@pytest.fixture
def ada(silent: Metrion, email: str) -> Browser:
    return signed_up(silent, None, email)


def ask(metrion: Metrion, token: str, *headers: tuple[str, str]) -> Answer:
    return exchange(metrion.port, "POST", CHAT, [("Authorization", f"Bearer {token}"), *headers], CHAT_BODY)


def with_key(metrion: Metrion, email: str, *providers: str) -> None:
    for provider in providers:
        metrion.call("key", "set", provider, "--account", email, given=provider_key(provider) + "\n")


def forged(browser: Browser, path: str, **fields: str) -> Page:
    """What somebody sends who does not use our form; the token is theirs."""
    csrf = browser.page.html.partition('name="csrf" content="')[2].partition('"')[0]
    return browser.post(path, {"csrf": csrf} | fields)


# ── general ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("section", SECTIONS)
def test_each_section_leads_to_all_others(ada: Browser, section: str) -> None:
    page = ada.get(f"/settings{section}")
    assert page.status == 200
    assert {f"/settings{one}" for one in SECTIONS[:-1]} <= set(page.links.values())
    assert "style=" not in page.html
    assert page.headers["cache-control"] == "no-store"


def test_what_is_saved_is_kept_and_said_once(ada: Browser) -> None:
    ada.get("/settings")
    page = ada.submit("/settings", name=f"Ada {MARKUP}", currency="CHF", time_zone="Asia/Kolkata")
    assert (page.status, page.path) == (200, "/settings")
    assert "Saved." in page.text
    fields = page.form("/settings").fields
    assert (fields["name"], fields["currency"], fields["time_zone"]) == (f"Ada {MARKUP}", "CHF", "Asia/Kolkata")
    assert MARKUP not in page.html
    assert "Saved." not in ada.get("/settings").text


@pytest.mark.parametrize(
    ("typed", "field", "words"),
    [
        ({"name": "x" * 81}, "name", "at most 80 characters"),
        ({"name": "a\x00b"}, "name", "letters, digits, signs and blanks"),
        ({"currency": "XAU"}, "currency", "USD, EUR, CHF"),
        ({"time_zone": "Mars/Phobos"}, "time_zone", "from the list"),
        ({"time_zone": "../../etc/passwd"}, "time_zone", "from the list"),
    ],
)
def test_bad_input_is_told_beside_its_field(ada: Browser, typed: dict[str, str], field: str, words: str) -> None:
    ada.get("/settings")
    page = forged(ada, "/settings", **({"name": "Ada", "currency": "EUR", "time_zone": "UTC"} | typed))
    assert page.status == 422
    assert words in page.errors[f"field-{field}"]
    assert page.form("/settings").fields["name"] == typed.get("name", "Ada")
    kept = ada.get("/settings").form("/settings").fields
    assert (kept["name"], kept["currency"], kept["time_zone"]) == ("", "USD", "UTC")


def test_80_characters_are_a_name(ada: Browser) -> None:
    ada.get("/settings")
    assert "Saved." in ada.submit("/settings", name="x" * 80).text


def test_a_zone_of_another_spelling_stays_chosen(silent: Metrion, ada: Browser) -> None:
    ada.get("/settings")
    page = forged(ada, "/settings", name="", currency="USD", time_zone="CET")
    assert page.form("/settings").fields["time_zone"] == "CET"


def test_rates_have_their_date(silent: Metrion, ada: Browser) -> None:
    table = load(silent.data_dir / FILE_NAME)
    text = ada.get("/settings").text
    for currency in ("EUR", "CHF"):
        assert f"{float(table.rate(currency, table.latest).per_usd):.4f} {currency}" in text
    assert f"of {table.latest.day} {table.latest:%b %Y}" in text


def test_what_leaves_the_machine_is_what_is_set(new_metrion: NewMetrion, ada: Browser) -> None:
    text = ada.get("/settings").text
    assert "no telemetry" in text
    assert "mail server" not in text
    assert "Central Bank. Nothing" not in text
    assert "Not named" in text
    settings = {
        "METRION_REGION": "eu-central-2",
        "METRION_RATES_REFRESH": "on",
        "METRION_SMTP_URL": "smtp://127.0.0.1:9",
    }
    metrion = new_metrion(settings)
    text = by_link(metrion, "tests@example.com").get("/settings").text
    assert "eu-central-2" in text
    assert "mail to the mail server" in text
    assert "fetches currency rates from the European Central Bank. Nothing else" in text


# ── Metrion key ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_key_is_masked_until_it_is_asked_for(ada: Browser) -> None:
    page = ada.get("/settings/token")
    key = ada.secret("/integrate/token")
    assert key.startswith("sk-metrion-")
    assert key not in page.html
    assert f"sk-metrion-…{key[-4:]}" in page.text


def test_a_new_key_takes_the_old_ones_place_at_once_and_open_answers_finish(
    silent: Metrion, ada: Browser, email: str, fake: FakeProvider, mark: str
) -> None:
    with_key(silent, email, "openai")
    ada.get("/settings/token")
    old = ada.secret("/integrate/token")
    slow = Script(text="x" * 2000, piece=100, drip=0.05)
    answers: list[Answer] = []
    stream = Thread(target=lambda: answers.append(ask(silent, old, ("X-Fake", slow.header()), ("X-Mark", mark))))
    stream.start()
    fake.wait(lambda: bool(fake.named(mark)))
    page = ada.submit("/settings/token")
    assert (page.status, page.path) == (200, "/settings/token")
    assert "Your key was replaced." in page.text
    new = ada.secret("/integrate/token")
    assert new != old
    assert f"sk-metrion-…{new[-4:]}" in page.text
    assert stream.is_alive()
    assert ask(silent, old).status == 401
    assert ask(silent, new).status == 200
    stream.join(20)
    assert (answers[0].status, answers[0].complete, len(answers[0].body)) == (200, True, 2000)


def test_a_new_key_is_mailed_about_without_the_key(mailing: Metrion, mail: MailServer, email: str) -> None:
    browser = signed_up(mailing, mail, email)
    assert "You get a mail about it." in browser.get("/settings/token").text
    browser.submit("/settings/token")
    letter = mail.wait_for(email)
    assert letter["subject"] == "Your Metrion key was replaced"
    assert browser.secret("/integrate/token") not in text_of(letter)


def test_keys_are_not_replaced_without_end(ada: Browser) -> None:
    ada.get("/settings/token")
    statuses = [ada.submit("/settings/token").status for _ in range(21)]
    assert statuses == [200] * 20 + [429]
    assert "Try again in" in ada.page.text


# ── provider keys ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_without_a_provider_key_the_page_says_what_one_is_for(ada: Browser) -> None:
    page = ada.get("/settings/providers")
    assert "No provider key is stored" in page.text
    assert page.links["Add a key"] == "/integrate"


def test_provider_keys_are_listed_by_their_tails(silent: Metrion, ada: Browser, email: str) -> None:
    with_key(silent, email, "openai", "gemini")
    page = ada.get("/settings/providers")
    assert "OpenAI" in page.text
    assert "Gemini" in page.text
    assert f"…{provider_key('openai')[-4:]}" in page.text
    assert provider_key("openai")[:-4] not in page.html
    assert page.links["Replace"].startswith("/integrate?provider=")


CONSOLES = {
    "anthropic": "https://platform.claude.com/",
    "openai": "https://platform.openai.com/",
    "gemini": "https://aistudio.google.com/",
    "mistral": "https://console.mistral.ai/",
    "grok": "https://console.x.ai",
}


@pytest.mark.parametrize("provider", CONSOLES)
def test_a_deleted_key_is_gone_at_once_and_to_be_revoked_at_its_provider(
    silent: Metrion, ada: Browser, email: str, provider: str
) -> None:
    with_key(silent, email, provider)
    if provider == "openai":
        assert ask(silent, ada.secret("/integrate/token")).status == 200
    ada.get("/settings/providers")
    page = ada.submit("/settings/providers/delete")
    assert "it is still valid" in page.text
    assert any(link.startswith(CONSOLES[provider]) for link in page.links.values())
    assert "No provider key is stored" in page.text
    assert "it is still valid" in ada.get(f"/settings/providers?deleted={provider}").text  # it stays when reloaded
    if provider == "openai":
        assert ask(silent, ada.secret("/integrate/token")).status == 401
    page = forged(ada, "/settings/providers/delete", provider=provider)
    assert page.status == 422
    assert "key to delete" in page.text


def test_nobody_is_told_to_revoke_a_key_that_is_stored(silent: Metrion, ada: Browser, email: str) -> None:
    with_key(silent, email, "openai")
    assert "still valid" not in ada.get("/settings/providers?deleted=openai").text
    page = ada.get(f"/settings/providers?deleted={MARKUP}")
    assert page.status == 200
    assert MARKUP not in page.html
    assert forged(ada, "/settings/providers/delete", provider="../x").status == 422


# ── alerts ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_alerts_lead_to_rules(ada: Browser, mailing: Metrion, mail: MailServer, email: str) -> None:
    text = ada.get("/settings/alerts").text
    assert "See your rules" in text
    assert "mail is off" in text
    assert f"To {email}" in signed_up(mailing, mail, email).get("/settings/alerts").text


# ── others ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_nobody_sees_or_changes_what_is_anothers(silent: Metrion, ada: Browser, email: str) -> None:
    with_key(silent, email, "openai")
    ada.get("/settings")
    ada.submit("/settings", name="Countess of Lovelace")
    key = ada.secret("/integrate/token")
    eve = signed_up(silent, None, f"eve-{email}")
    for section in SECTIONS:
        page = eve.get(f"/settings{section}")
        for mine in (f" {email}", "Countess", key, key[-4:], provider_key("openai")[-4:]):
            assert mine not in page.text, section
    forged(eve, "/settings/providers/delete", provider="openai", account="1", account_id="1", email=email)
    forged(eve, "/settings", name="Eve", currency="CHF", time_zone="UTC", account_id="1", id="1", email=email)
    forged(eve, "/settings/token", account="1", email=email)
    assert ask(silent, key).status == 200
    fields = ada.get("/settings").form("/settings").fields
    assert (fields["name"], fields["currency"]) == ("Countess of Lovelace", "USD")


# ── in a browser ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def chromium() -> Iterator[Chromium]:
    with open_chromium() as browser:
        yield browser


@needs_chromium
def test_the_browsers_time_zone_is_offered(chromium: Chromium, ada: Browser) -> None:
    with opened(chromium, f"{ada.origin}/settings", ada.cookies, zone="Europe/Zurich") as page:
        page.get_by_role("button", name="Use this browser's").click()
        expect(page.get_by_label("Time zone")).to_have_value("Europe/Zurich")
        page.get_by_role("button", name="Save").click()
        expect(page.get_by_text("Saved.")).to_be_visible()
        expect(page.get_by_role("button", name="Use this browser's")).to_be_disabled()


@needs_chromium
@pytest.mark.parametrize("scripts", [True, False])
def test_the_key_is_replaced_by_keyboard_with_and_without_scripts(
    chromium: Chromium, ada: Browser, scripts: bool
) -> None:
    ada.get("/settings/token")
    old = ada.secret("/integrate/token")
    with opened(chromium, f"{ada.origin}/settings/token", ada.cookies, scripts=scripts) as page:
        page.get_by_role("button", name="Regenerate key").press("Enter")
        dialog = page.get_by_role("dialog")
        expect(dialog).to_contain_text("Apps using the old key stop working at once.")
        dialog.get_by_role("button", name="Cancel").press("Enter")
        expect(dialog).to_be_hidden()
        page.get_by_role("button", name="Regenerate key").press("Enter")
        dialog.get_by_role("button", name="Regenerate key").press("Enter")
        expect(page.get_by_text("Your key was replaced.")).to_be_visible()
    assert ada.secret("/integrate/token") != old
