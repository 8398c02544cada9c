"""Statements: a month's figures for whoever has the link, as long as it works, and of one account alone."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from playwright.sync_api import Browser as Chromium
from playwright.sync_api import expect

from metrion.config import Settings
from metrion.kit.clock import DAY_MS, now_ms
from metrion.kit.zones import month_start
from metrion.storage.database import open_writer
from tests.chromium import needs_chromium, open_chromium, opened
from tests.fake_provider import FakeProvider
from tests.storage.samples import call_row, write_rows
from tests.support import PROVIDERS, Metrion
from tests.web.browser import Browser, Page
from tests.web.people import by_link, new_browser

MARKUP = "<script>alert('x')</script>\u202e🦊"


class House:
    """A Metrion with `ada`, who has rows of this month and the last, and `eve`, who has one."""

    def __init__(self, metrion: Metrion) -> None:
        self.metrion = metrion
        for name in ("ada", "eve"):
            metrion.create_account(f"{name}@example.com", keys=())
        self.this = month_start("UTC", now_ms())
        self.last = month_start("UTC", self.this - DAY_MS)
        rows = [
            call_row(
                self.last + number * 3_600_000,
                number,
                model=["gpt-5", "gpt-5-mini", MARKUP][number % 3],
                requester=["invoice-bot", MARKUP][number % 2],
                cost_nano=1_000_000_000,
                input_tokens=1000,
                output_tokens=10,
                status=500 if number == 0 else 200,
                outcome="provider_error" if number == 0 else "ok",
            )
            for number in range(12)
        ]
        rows.append(call_row(self.this, 99, requester="this-month", cost_nano=7_000_000_000))
        rows.append(call_row(self.last, 77, account_id=2, requester="eves-bot", model="eves-model"))
        database = open_writer(Settings(data_dir=metrion.data_dir))
        write_rows(database, rows)
        database.close()

    def execute(self, statement: str, *values: Any) -> None:
        """Change the database from outside, as time would."""
        database = sqlite3.connect(self.metrion.data_dir / "metrion.db", timeout=10)
        database.execute(statement, values)
        database.commit()
        database.close()


@pytest.fixture(scope="module")
def house(fake: FakeProvider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    trust = {"METRION_TRUSTED_PROXIES": "127.0.0.1"}
    metrion = Metrion(tmp_path_factory.mktemp("statement") / "data", dict.fromkeys(PROVIDERS, fake.origin), trust)
    house = House(metrion)
    metrion.start()
    yield house
    metrion.stop()


@pytest.fixture(scope="module")
def ada(house: House) -> Browser:
    return by_link(house.metrion, "ada@example.com")


@pytest.fixture(scope="module")
def eve(house: House) -> Browser:
    return by_link(house.metrion, "eve@example.com")


def make(browser: Browser, month_ms: int, days: str = "30") -> str:
    """A new link's path."""
    browser.get("/settings/statements")
    page = browser.submit("/settings/statements", month=str(month_ms), days=days)
    assert page.status == 200
    url = page.html.partition('id="made"')[2].partition('href="')[2].partition('"')[0]
    assert url.startswith("http")
    return "/statement/" + url.rpartition("/")[2]


def opened_by_stranger(house: House, path: str) -> Page:
    return new_browser(house.metrion).get(path)


def test_a_link_shows_its_month_by_requester_and_model_to_whoever_has_it(house: House, ada: Browser) -> None:
    page = opened_by_stranger(house, make(ada, house.last))
    assert page.status == 200
    month = datetime.fromtimestamp(house.last / 1000, UTC)
    assert f"Statement for {month:%B %Y}" in page.text
    for words in ("$12.00", "8.3 %", "invoice-bot", "gpt-5-mini", "By requester", "By model", "$6.00", "$4.00"):
        assert words in page.text, words
    for words in ("this-month", "eves-bot", "eves-model", "example.com", "not over"):
        assert words not in page.text, words
    assert MARKUP in page.text
    assert "<script>alert" not in page.html
    assert "style=" not in page.html
    assert not page.forms
    assert page.headers["cache-control"] == "no-store"


def test_a_month_that_is_not_over_says_so(house: House, ada: Browser) -> None:
    page = opened_by_stranger(house, make(ada, house.this))
    assert "This month is not over" in page.text
    assert "$7.00" in page.text


def test_the_link_is_shown_once_and_its_token_is_nowhere(house: House, ada: Browser) -> None:
    token = make(ada, house.last).rpartition("/")[2]
    assert len(token) >= 32
    assert token not in ada.get("/settings/statements").html
    for path in house.metrion.data_dir.rglob("*"):
        assert not path.is_file() or token.encode() not in path.read_bytes(), path
    opened_by_stranger(house, f"/statement/{token}")
    assert token not in house.metrion.log.read_text()


def test_a_revoked_link_shows_nothing_and_nobody_else_can_revoke_it(house: House, ada: Browser, eve: Browser) -> None:
    path = make(ada, house.last)
    listed = [form.fields["link"] for form in ada.page.forms if form.action == "/settings/statements/revoke"]
    csrf = eve.get("/settings/statements").html.partition('name="csrf" content="')[2].partition('"')[0]
    assert "None. A link you make" in eve.page.text
    assert eve.post("/settings/statements/revoke", {"csrf": csrf, "link": listed[0]}).status == 404
    assert eve.post("/settings/statements/revoke", {"csrf": csrf, "link": "zz"}).status == 404
    assert opened_by_stranger(house, path).status == 200
    ada.get("/settings/statements")
    ada.post("/settings/statements/revoke", ada.page.form("/settings/statements/revoke").fields | {"link": listed[0]})
    assert "The link is revoked" in ada.page.text
    assert opened_by_stranger(house, path).status == 404


def test_an_expired_link_shows_nothing(house: House, ada: Browser) -> None:
    path = make(ada, house.last, "7")
    assert opened_by_stranger(house, path).status == 200
    house.execute("UPDATE statements SET expires_ms = ? WHERE expires_ms < ?", now_ms() + 60_000, now_ms() + 8 * DAY_MS)
    assert opened_by_stranger(house, path).status == 200
    house.execute("UPDATE statements SET expires_ms = ? WHERE expires_ms < ?", now_ms(), now_ms() + 8 * DAY_MS)
    assert opened_by_stranger(house, path).status == 404


@pytest.mark.parametrize("path", ["/statement/x", "/statement/" + "A" * 32, "/statement/%00", "/statement/" + "é" * 9])
def test_a_guessed_link_shows_nothing(house: House, path: str) -> None:
    assert opened_by_stranger(house, path.replace("é", "%C3%A9")).status == 404


@pytest.mark.parametrize(
    ("typed", "field"),
    [
        ({"month": "0"}, "month"),
        ({"month": "x"}, "month"),
        ({"month": str(2**60)}, "month"),
        ({"days": "3650"}, "days"),
        ({"days": "-7"}, "days"),
    ],
)
def test_what_cannot_be_chosen_is_told_beside_its_field(
    house: House, ada: Browser, typed: dict[str, str], field: str
) -> None:
    ada.get("/settings/statements")
    form = ada.page.form("/settings/statements")
    page = ada.post(form.action, form.fields | typed)
    assert page.status == 422
    assert "Choose" in page.errors[f"field-{field}"]


def test_a_disabled_accounts_links_are_dead_and_a_deleted_ones_gone(house: House) -> None:
    house.metrion.create_account("ben@example.com", keys=())
    path = make(by_link(house.metrion, "ben@example.com"), house.last)
    assert opened_by_stranger(house, path).status == 200
    house.metrion.run("account", "disable", "ben@example.com")
    assert opened_by_stranger(house, path).status == 404


def test_there_are_so_many_links_and_no_more(house: House, eve: Browser) -> None:
    for _ in range(50):
        make(eve, house.last)
    eve.get("/settings/statements")
    page = eve.submit("/settings/statements", month=str(house.last), days="7")
    assert (page.status, "50 links already" in page.errors["field-month"]) == (422, True)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Chromium]:
    with open_chromium() as browser:
        yield browser


@needs_chromium
def test_it_reads_on_a_phone_and_prints(house: House, ada: Browser, chromium: Chromium) -> None:
    with opened(chromium, house.metrion.origin + make(ada, house.last)) as page:
        page.set_viewport_size({"width": 390, "height": 844})
        expect(page.get_by_role("heading", name="By requester")).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        page.emulate_media(media="print")
        expect(page.locator("[data-theme-switch]")).to_be_hidden()
