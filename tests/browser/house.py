"""House: two running Metrions, with mail and without, and the people who live there. For whatever looks at pages."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

from playwright.sync_api import Browser as Chromium
from playwright.sync_api import BrowserContext, ViewportSize

from tests.alerts.receiver import OK, Receiver, answer
from tests.fake_provider import FakeProvider, Script
from tests.fake_provider.samples import anthropic_message, chat_body, provider_error
from tests.mail_server import MailServer
from tests.support import PROVIDERS, Metrion, exchange
from tests.web.browser import Browser
from tests.web.people import by_link, new_browser, signed_up

TRUST = {"METRION_TRUSTED_PROXIES": "127.0.0.1"}  # so that each browser is a client of its own
DESKTOP = ViewportSize(width=1440, height=900)
PHONE = ViewportSize(width=390, height=844)
WHO = ("ada", "eve", "guest", "poor", "boss")
MONTH = 5  # requests that a free month holds here

CHAT = "/api/proxy/openai/v1/chat/completions"
CHAT_BODY = b'{"model":"gpt-4o-mini","messages":[{"role":"user","content":"hi"}]}'


@dataclass
class House:
    """`ada` has something everywhere, and mail is on where she lives. All others live where it is off.

    `eve` has just come; `guest` has no password; `poor` has used up a free month; `boss` is the operator.
    """

    mailing: Metrion
    silent: Metrion
    mail: MailServer
    fake: FakeProvider
    cookies: dict[str, dict[str, str]] = field(default_factory=dict)

    def server(self, who: str, *, mail: bool = False) -> Metrion:
        return self.mailing if mail or who == "ada" else self.silent

    def newcomer(self, *, mail: bool = False) -> tuple[str, Browser]:
        """Somebody who signed up a moment ago: address, and a browser that is signed in."""
        email = f"new-{uuid4().hex[:8]}@example.com"
        return email, signed_up(self.server("", mail=mail), self.mail if mail else None, email)


@contextmanager
def open_house(folder: Path, fake: FakeProvider) -> Iterator[House]:
    """Everybody has moved in. `folder`: for the data directories."""
    with ExitStack() as held:
        mail = held.enter_context(MailServer())
        hooks = held.enter_context(Receiver(OK, answer(503, b"The bot is being deployed."), OK))
        sending = {"METRION_SMTP_URL": mail.url, "METRION_ALLOW_PRIVATE_WEBHOOKS": "on"}
        mailing = _started(held, folder / "mailing", fake, sending)
        silent = _started(held, folder / "silent", fake, {"METRION_FREE_MONTHLY_REQUESTS": str(MONTH)})
        house = House(mailing, silent, mail, fake)
        house.cookies["ada"] = _ada(house, hooks).cookies
        house.cookies["eve"] = signed_up(silent, None, "eve@example.com").cookies
        silent.create_account("guest@example.com", keys=())
        house.cookies["guest"] = by_link(silent, "guest@example.com").cookies
        token = silent.create_account("poor@example.com", plan="free", keys=("openai",))
        for _ in range(MONTH):
            ask(silent, token)
        house.cookies["poor"] = by_link(silent, "poor@example.com").cookies
        house.cookies["boss"] = _boss(silent).cookies
        yield house


def _started(held: ExitStack, data_dir: Path, fake: FakeProvider, settings: dict[str, str]) -> Metrion:
    server = Metrion(data_dir, dict.fromkeys(PROVIDERS, fake.origin), TRUST | settings)
    server.start()
    held.callback(server.stop)
    return server


def ask(metrion: Metrion, token: str, script: Script | None = None, requester: str = "") -> int:
    """One chat completion; its status."""
    headers = [("Authorization", f"Bearer {token}"), ("x-metrion-user", requester)][: 2 if requester else 1]
    headers += [("x-fake", script.header())] if script else []
    return exchange(metrion.port, "POST", CHAT, headers, CHAT_BODY).status


def _ada(house: House, hooks: Receiver) -> Browser:
    """A name, every provider's key, calls of many kinds, rules and webhooks, three sessions, and an address that waits
    for its codes.
    """
    metrion, email = house.mailing, "ada@example.com"
    browser = signed_up(metrion, house.mail, email)
    for provider in PROVIDERS:
        metrion.call("key", "set", provider, "--account", email, given=f"own-key-of-{provider}-4f2a\n")
    browser.get("/settings")
    browser.submit("/settings", name="Ada Lovelace", currency="EUR", time_zone="Europe/Zurich")
    token = browser.secret("/integrate/token")
    for number in range(12):
        script = provider_error("openai", 429) if number % 6 == 5 else chat_body(("gpt-4o", "gpt-4o-mini")[number % 2])
        ask(metrion, token, script, ("invoice-bot", "support", "")[number % 3])
    ask(metrion, token, chat_body("a-model-without-a-price"), "nightly")
    exchange(
        metrion.port,
        "POST",
        "/api/proxy/v1/messages",
        [("x-api-key", token), ("x-fake", anthropic_message().header())],
        b'{"model":"claude-sonnet-4-5","max_tokens":9,"messages":[]}',
    )
    _tell(browser, hooks)
    for _ in range(2):
        by_link(metrion, email)
    browser.get("/settings/profile")
    browser.submit("/settings/profile/email", email="ada@analytical.example.com")
    return browser


def _tell(browser: Browser, hooks: Receiver) -> None:
    """Rules near, over and far from their limits, and webhooks: one that works by now, one that is off."""
    webhook = "/settings/alerts/webhooks/new"
    browser.get(webhook)
    path = browser.submit(webhook, url=f"{hooks.origin}/told", name="Our bot").path
    browser.get(webhook)
    slack = browser.submit(webhook, url="https://hooks.slack.com/services/T0/B0/x", kind="slack").path
    browser.submit(f"{slack}/switch")
    for at in (1, 2):
        browser.get(path)
        browser.submit(f"{path}/test")
        hooks.wait_for(at)
    for kind, fields in (
        ("budget", {"limit": "250", "currency": "EUR", "name": "Everything this month"}),
        ("volume", {"limit": "14", "span": "week"}),
        ("error_count", {"limit": "2", "name": "Failures at <night>"}),
        ("latency", {"limit": "900"}),
    ):
        browser.get(f"/alerts/new?kind={kind}")
        assert browser.submit("/alerts/new", **fields).path == "/alerts"
    hooks.wait_for(4)  # the two rules that tell


def _boss(metrion: Metrion) -> Browser:
    """The operator, of a dozen accounts, one of them disabled and one with a long address."""
    for number in range(6):
        metrion.create_account(f"person-{number}@example.com", plan=("pro", "free")[number % 2], keys=())
    metrion.create_account("somebody-with-quite-a-long-address@department.university.example.com", keys=())
    metrion.call("account", "disable", "person-2@example.com")
    metrion.call("account", "create", "boss@example.com", "--operator")
    return by_link(metrion, "boss@example.com")


@contextmanager
def open_context(
    chromium: Chromium, metrion: Metrion, cookies: dict[str, str] | None = None, **options: Any
) -> Iterator[BrowserContext]:
    """A browser of its own, at an address of its own, that has these cookies."""
    usual: dict[str, Any] = {"viewport": DESKTOP, "color_scheme": "light"}
    context = chromium.new_context(
        permissions=["clipboard-read", "clipboard-write"],
        extra_http_headers={"x-forwarded-for": new_browser(metrion).address},
        **usual | options,
    )
    context.set_default_timeout(10_000)
    for name, value in (cookies or {}).items():
        context.add_cookies([{"name": name, "value": value, "url": metrion.origin}])
    yield context
    context.close()
