"""Statements: a month's figures for whoever has the link, as long as it works, and of one account alone."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from playwright.sync_api import Browser as Chromium
from playwright.sync_api import expect

from metrion.config import Settings
from metrion.kit.clock import DAY_MS, now_ms
from metrion.kit.zones import month_start
from metrion.storage.database import open_writer
from metrion.storage.rows import COLUMNS
from metrion.web.figures import exact_usd
from tests.chromium import needs_chromium, open_chromium, opened
from tests.fake_provider import FakeProvider
from tests.storage.samples import call_row, write_rows
from tests.support import PROVIDERS, Metrion
from tests.web import told
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
        rows.append(call_row(self.this, 96, model="new", requester="unpriced", cost_nano=None, cost_source="unpriced"))
        rows.append(call_row(self.last - 1, 98, requester="the-month-before", cost_nano=8_000_000_000))
        rows.append(call_row(self.last, 97, model="refused-one", outcome="rejected", status=429, cost_nano=0))
        rows.append(call_row(self.last, 77, account_id=2, requester="eves-bot", model="eves-model"))
        self.rows = [row for row in rows if row[COLUMNS.index("account_id")] == 1]
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
    before = datetime.fromtimestamp((house.last - 1) / 1000, UTC)
    assert f"▲ 50 % against {before:%B %Y}" in page.text
    for words in ("$12.00", "8.3 %", "invoice-bot", "gpt-5-mini", "By requester", "By model", "$6.00", "$4.00"):
        assert words in page.text, words
    for words in ("this-month", "the-month-before", "refused-one", "eves-bot", "eves-model", "example.com", "not over"):
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


def test_what_has_no_known_cost_has_no_share_of_it(house: House, ada: Browser) -> None:
    page = told.parse(opened_by_stranger(house, make(ada, house.this)).html)
    ends = {cells[0][0]: [cells[-2][0], cells[-1][0]] for cells in told.table(page, "By model")}
    assert ends["new"] == ["–", "not known"]
    assert ends["gpt-4o-mini"] == ["100 %", "$7.00"]


def test_each_day_of_the_month_has_its_cost(house: House, ada: Browser) -> None:
    page = told.parse(opened_by_stranger(house, make(ada, house.last)).html)
    days = [cells for cells in told.table(page, "Cost by day") if cells[-1][1] != "$0.00"]
    first = datetime.fromtimestamp(house.last / 1000, UTC)
    assert [(cells[0][0], cells[-1][1]) for cells in days] == [(f"1 {first:%b %Y}", "$12.00")]
    bars = page.one("svg", class_="days").all("rect")
    assert len(bars) == len(told.table(page, "Cost by day")) == (house.this - house.last) // DAY_MS
    assert [bar.at["height"] for bar in bars[:2]] == ["100.0", "0.0"]
    assert bars[0].one("title").text == f"1 {first:%b %Y}: $12.00"


@pytest.mark.parametrize("zone", ["Pacific/Kiritimati", "Pacific/Pago_Pago", "Asia/Kolkata"])
def test_a_link_stays_of_its_month_when_its_owner_moves(house: House, ada: Browser, zone: str) -> None:
    path = make(ada, house.last)
    here = ZoneInfo(zone)
    month = datetime.fromtimestamp(house.last / 1000, UTC)
    house.execute("UPDATE accounts SET time_zone = ? WHERE email = 'ada@example.com'", zone)
    try:
        page = opened_by_stranger(house, path)
        listed = ada.get("/settings/statements").text.partition("Links that work")[2]
    finally:
        house.execute("UPDATE accounts SET time_zone = 'UTC' WHERE email = 'ada@example.com'")
    assert f"Statement for {month:%B %Y}" in page.text
    assert f"{month:%B %Y}" in listed
    began = datetime(month.year, month.month, 1, tzinfo=here).timestamp() * 1000
    ended = datetime(month.year + month.month // 12, month.month % 12 + 1, 1, tzinfo=here).timestamp() * 1000
    at, nano = COLUMNS.index("started_ms"), COLUMNS.index("cost_nano")
    cost = sum(row[nano] or 0 for row in house.rows if began <= row[at] < ended)
    assert told.parse(page.html).one("section", class_="figures").one(class_="stat-figure").at["title"] == exact_usd(
        cost
    )


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


LIGHT = "rgb(25, 29, 37)"  # of text, on light ground


@needs_chromium
def test_it_reads_on_a_phone_and_prints(house: House, ada: Browser, chromium: Chromium) -> None:
    with opened(chromium, house.metrion.origin + make(ada, house.last)) as page:
        page.set_viewport_size({"width": 390, "height": 844})
        expect(page.get_by_role("heading", name="By requester")).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        page.set_viewport_size({"width": 718, "height": 1000})  # A4 between its margins, where a table stays a table
        page.emulate_media(media="print", color_scheme="dark")
        for hidden in ("[data-theme-switch]", "details.twin"):
            expect(page.locator(hidden)).to_be_hidden()
        assert page.evaluate("document.documentElement.scrollWidth") <= 718
        assert (
            page.evaluate("getComputedStyle(document.querySelector('table.lines tbody')).display") == "table-row-group"
        )
        paper = "getComputedStyle(document.querySelector('h1')).color"
        assert page.evaluate(paper) == LIGHT
        page.evaluate("document.documentElement.dataset.theme = 'dark'")  # as whoever reads may have chosen
        assert page.evaluate(paper) == LIGHT


@needs_chromium
def test_a_link_is_made_handed_on_and_revoked_in_a_browser(house: House, ada: Browser, chromium: Chromium) -> None:
    origin = house.metrion.origin
    with (
        opened(chromium, f"{origin}/settings/statements", ada.cookies) as mine,
        opened(chromium, f"{origin}/login") as theirs,
    ):
        mine.context.grant_permissions(["clipboard-read", "clipboard-write"])
        month = datetime.fromtimestamp(house.last / 1000, UTC)
        mine.get_by_label("Month").select_option(label=f"{month:%B %Y}")
        mine.get_by_label("The link works for").select_option(label="7 days")
        mine.get_by_role("button", name="Make a link").click()
        mine.get_by_role("button", name="Copy link").click()
        expect(mine.get_by_role("button", name="Copied link")).to_be_visible()
        link = str(mine.evaluate("navigator.clipboard.readText()"))
        assert link == mine.locator("#made").get_attribute("href")
        theirs.goto(link)
        expect(theirs.get_by_role("heading", level=1)).to_have_text(f"Statement for {month:%B %Y}")
        expect(theirs.locator("svg.days rect").first).to_have_class("data-1")
        assert theirs.get_by_role("link").all_text_contents() == ["Skip to content"]  # it leads nowhere else
        theirs.get_by_text("Table", exact=False).first.click()
        expect(theirs.locator("details.twin table")).to_be_visible()
        mine.get_by_role("button", name="Revoke").first.click()
        mine.get_by_role("dialog").get_by_role("button", name="Revoke link").click()
        expect(mine.get_by_text("The link is revoked.")).to_be_visible()
        theirs.reload()
        expect(theirs.get_by_role("heading", level=1)).not_to_contain_text("Statement")
