"""The whole way of a person, in a browser: from sign-up to the first tracked request, and to an account's end."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from uuid import uuid4

import pytest
from playwright.sync_api import Browser as Chromium
from playwright.sync_api import Locator, Page, expect

from tests.browser.house import CHAT, CHAT_BODY, open_context
from tests.chromium import needs_chromium, watch
from tests.fake_provider import FakeProvider, Script
from tests.mail_server import MailServer
from tests.storage.everything import found_in
from tests.support import PROVIDERS, Answer, Metrion, exchange
from tests.web.people import PASSWORD

pytestmark = needs_chromium

IN_TIME = 2000  # ms in which the first request must show
OWN_KEY = "sk-proj-0123456789-of-this-test-Qx7Z"


@dataclass
class Way:
    """Somebody on the way: a browser at a Metrion, with mail or without."""

    page: Page
    metrion: Metrion
    mail: MailServer | None
    folder: Path
    email: str
    requester: str

    def go(self, path: str) -> None:
        self.page.goto(self.metrion.origin + path)

    def press(self, name: str, within: Locator | None = None) -> None:
        (within or self.page.locator("main")).get_by_role("button", name=name, exact=True).click()

    def fill(self, label: str, text: str) -> None:
        self.page.get_by_label(label, exact=True).fill(text)

    def code(self) -> str:
        """The one that was just mailed."""
        assert self.mail is not None
        return MailServer.code_in(self.mail.wait_for(self.email))

    def copied(self, button: str, within: Locator) -> str:
        """What a Copy button puts into the clipboard."""
        self.press(button, within)
        expect(within.get_by_role("button", name=button.replace("Copy", "Copied", 1), exact=True)).to_be_visible()
        return str(self.page.evaluate("navigator.clipboard.readText()"))

    def snippet(self, tab: str, button: str) -> str:
        """The code behind a tab, as Copy gives it."""
        self.page.get_by_role("tab", name=tab, exact=True).click()
        return self.copied(button, self.page.get_by_role("tabpanel", name=tab, exact=True))

    def run(self, *command: str, check: bool = True) -> str:
        """A program as a person would start it, with nothing of Metrion's around it."""
        bare = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "NO_PROXY": "127.0.0.1", "HOME": str(self.folder)}
        done = subprocess.run(
            command, cwd=self.folder, env=bare, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0 or not check, done.stderr[-2000:]
        return done.stdout


@pytest.fixture(params=["mail", "no-mail"])
def way(request: pytest.FixtureRequest, chromium: Chromium, fake: FakeProvider, tmp_path: Path) -> Iterator[Way]:
    """Whatever the browser complains of on the way fails the test: violations of the policy too."""
    mark = uuid4().hex[:8]
    with ExitStack() as held:
        mail = held.enter_context(MailServer()) if request.param == "mail" else None
        settings = {"METRION_SMTP_URL": mail.url} if mail else {}
        metrion = Metrion(tmp_path / "data", dict.fromkeys(PROVIDERS, fake.origin), settings)
        metrion.start()
        held.callback(metrion.stop)
        page = held.enter_context(open_context(chromium, metrion)).new_page()
        complaints = watch(page)
        yield Way(page, metrion, mail, tmp_path, f"ada-{mark}@example.com", f"invoice-bot-{mark}")
        assert complaints == []


def test_from_sign_up_to_nothing_left(way: Way, fake: FakeProvider) -> None:
    sign_up(way)
    save_key(way)
    key = run_what_is_shown(way)
    tell_apps_apart(way, key)
    new_key = regenerate(way, key, fake)
    delete_provider_key(way, new_key)
    download(way, key, new_key)
    end_account(way, new_key)
    gone = (way.email, "Ada Lovelace", way.requester, key, new_key, key[-12:], new_key[-12:], OWN_KEY, OWN_KEY[-4:])
    assert found_in(way.metrion.data_dir, *gone) == []
    assert way.metrion.stop() == 0
    assert found_in(way.metrion.data_dir, *gone) == []
    log = way.metrion.log.read_text()
    assert not [text for text in gone if text in log]


def sign_up(way: Way) -> None:
    way.go("/")
    way.page.get_by_role("link", name="Create an account").click()
    way.fill("E-mail", way.email)
    way.fill("Password", PASSWORD)
    way.page.get_by_label("Name").fill("Ada Lovelace")
    way.press("Create account")
    if way.mail is not None:
        way.page.wait_for_url("**/confirm")
        way.fill("6-digit code", way.code())
        way.press("Confirm")
    way.page.wait_for_url("**/integrate")


def save_key(way: Way) -> None:
    expect(way.page.get_by_text("Save your OpenAI key and this code is yours to copy.").first).to_be_visible()
    way.fill("OpenAI API key", OWN_KEY)
    way.press("Save key")
    expect(way.page.get_by_text("Saved. OpenAI accepts this key.")).to_be_visible()
    assert OWN_KEY not in way.page.content()


def run_what_is_shown(way: Way) -> str:
    """The shown Python and curl, exactly as they are copied; the Metrion key in them."""
    program = way.folder / "program.py"
    program.write_text(way.snippet("Python", "Copy Python"))
    way.run(sys.executable, str(program))
    arrived(way, "First request received.")
    way.page.reload()
    shell = way.snippet("curl", "Copy Shell")
    assert '"model"' in way.run("sh", "-c", shell)
    arrived(way, "Request received.")
    found = re.search(r"sk-metrion-[0-9a-f]{32}", shell)
    assert found
    return found[0]


def arrived(way: Way, said: str) -> None:
    """The page told of the latest request within 2 s, in the figures of its row."""
    told = way.page.locator("#first-request")
    expect(told).to_contain_text(said, timeout=IN_TIME)
    row = way.metrion.rows(1, email=way.email)[-1]
    assert (row["outcome"], row["mode"]) == ("ok", "stored")
    expect(told).to_contain_text(row["model"])
    expect(told).to_contain_text(f"{row['input_tokens']} in, {row['output_tokens']} out")
    expect(told.locator(f'[title="${row["cost_usd"]}"]')).to_contain_text("$0.00")
    expect(told).to_contain_text(re.compile(r"Latency\s*[0-9.]+ m?s"))


def tell_apps_apart(way: Way, key: str) -> None:
    way.go("/integrate")
    labelled = f"{key}.{way.requester}"
    way.run("sh", "-c", way.snippet("curl", "Copy Shell").replace(key, labelled))
    arrived(way, "Request received.")
    expect(way.page.locator("#first-request")).to_contain_text(way.requester)


def ask(way: Way, key: str, script: Script | None = None, mark: str = "") -> Answer:
    headers = [("Authorization", f"Bearer {key}"), ("x-mark", mark or "none")]
    headers += [("x-fake", script.header())] if script else []
    return exchange(way.metrion.port, "POST", CHAT, headers, CHAT_BODY)


def regenerate(way: Way, key: str, fake: FakeProvider) -> str:
    """Replace the key while an answer is under way; the new one."""
    answers: list[Answer] = []
    slow = Script(text="x" * 2000, framing="chunked", piece=100, drip=0.1)
    stream = Thread(target=lambda: answers.append(ask(way, key, slow, way.requester)))
    stream.start()
    fake.wait(lambda: bool(fake.named(way.requester)))
    way.go("/settings/token")
    way.press("Regenerate key")
    way.press("Regenerate key", way.page.get_by_role("dialog"))
    expect(way.page.get_by_text("Your key was replaced.")).to_be_visible()
    assert ask(way, key).status == 401
    assert stream.is_alive()
    new_key = way.copied("Copy Metrion key", way.page.locator(".secret"))
    assert new_key != key
    assert ask(way, new_key).status == 200
    stream.join(20)
    assert [(answer.status, answer.complete, len(answer.body)) for answer in answers] == [(200, True, 2000)]
    if way.mail is not None:
        assert way.mail.wait_for(way.email)["subject"] == "Your Metrion key was replaced"
    return new_key


def delete_provider_key(way: Way, key: str) -> None:
    way.go("/settings/providers")
    expect(way.page.locator("main")).to_contain_text(OWN_KEY[-4:])
    way.press("Delete")
    way.press("Delete key", way.page.get_by_role("dialog"))
    link = way.page.get_by_role("link", name="revoke it at OpenAI")
    expect(link).to_have_attribute("href", "https://platform.openai.com/api-keys")
    assert ask(way, key).status == 401


def download(way: Way, *keys: str) -> None:
    way.go("/settings/profile")
    with way.page.expect_download() as waiting:
        way.page.get_by_role("link", name="Download my data").click()
    text = waiting.value.path().read_text()
    data = json.loads(text)
    assert data["account"]["email"] == way.email
    assert way.requester in {row["requester"] for row in data["logs"]}
    assert not [key for key in (OWN_KEY, *keys) if key in text]


def end_account(way: Way, key: str) -> None:
    way.page.get_by_role("link", name="Delete account").click()
    if way.mail is not None:
        way.press("Mail me the code")
        way.fill("6-digit code", way.code())
    else:
        way.fill("Your password", PASSWORD)
    way.press("Delete account for good")
    expect(way.page.get_by_role("heading", name="Your account is deleted")).to_be_visible()
    expect(way.page.get_by_text("All of it is deleted.")).to_be_visible(timeout=30_000)
    assert ask(way, key).status == 401
    way.go("/settings")
    way.page.wait_for_url("**/login**")
    if way.mail is not None:
        assert way.mail.wait_for(way.email)["subject"] == "Your Metrion account is deleted"
