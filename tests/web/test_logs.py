"""Logs: every request found, paged, opened and exported, as text whatever it is named, and for its account alone."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from urllib.parse import quote
from uuid import uuid4

import pytest
from playwright.sync_api import Browser as Chromium
from playwright.sync_api import expect

from metrion.accounts.plans import FREE
from metrion.config import Settings
from metrion.kit.clock import DAY_MS, HOUR_MS, iso, now_ms
from metrion.kit.ids import first_id
from metrion.storage.database import open_writer
from metrion.storage.reports import CALL_FIELDS
from metrion.storage.rows import COLUMNS, Row
from tests.chromium import needs_chromium, open_chromium, opened
from tests.fake_provider import FakeProvider
from tests.storage.samples import call_row, write_rows
from tests.support import PROVIDERS, Metrion, exchange
from tests.web.browser import Browser, Page
from tests.web.people import by_link

CHAT = "/api/proxy/openai/v1/chat/completions"
HOSTILE = [
    "<script>alert('x')</script>",
    '"><img src=x onerror=alert(1)>',
    "\u202egnp.exe",
    '=HYPERLINK("http://x")',
    "+1",
    "-2+3",
    "@SUM(A1)",
    '🦊, "quoted"',
    "x" * 256,
]
USAGE = '{"prompt_tokens":1000,"completion_tokens":100,"total_tokens":1100}'


class House:
    """A Metrion with three accounts: `pro` with many rows, `other` with one, `free` with one kept and one too old."""

    def __init__(self, metrion: Metrion) -> None:
        self.metrion = metrion
        self.tokens = {name: metrion.create_account(f"{name}@example.com", plan=plan) for name, plan in PLANS.items()}
        self.now = now_ms()
        self.rows = {"pro": self._pro(), "other": self._other(), "free": self._free()}
        database = open_writer(Settings(data_dir=metrion.data_dir))
        for rows in self.rows.values():
            write_rows(database, rows)
        database.close()

    def _pro(self) -> list[Row]:
        rows = [
            call_row(
                self.now - DAY_MS - number * 60_000,
                number,
                model=["gpt-4o-mini", "gpt-4.1", "grok-4"][number % 3],
                provider="grok" if number % 3 == 2 else "openai",
                stream=number % 2,
                status=500 if number % 10 == 0 else 200,
                outcome="provider_error" if number % 10 == 0 else "ok",
                cost_nano=number * 1_000_000,
                latency_us=(number * 7919 % 130 + 1) * 1000,
                input_tokens=number,
            )
            for number in range(130)
        ]
        rows += [
            call_row(
                self.now - 2 * DAY_MS - number,
                number,
                model=name,
                requested_model=name,
                requester=name,
                error_message=name,
                status=400,
                outcome="provider_error",
                upstream_request_id=name,
            )
            for number, name in enumerate(HOSTILE)
        ]
        computed = {"usage_raw": USAGE, "input_tokens": 1000, "output_tokens": 100, "cost_nano": 210_000}
        rows.append(
            call_row(
                self.now - 3 * DAY_MS,
                1,
                requester="priced",
                latency_us=900_000,
                ttft_us=300_000,
                provider_us=899_000,
                price_ref="a list",
                **computed,
            )
        )
        rows.append(call_row(self.now - 3 * DAY_MS, 2, requester="unpriced", cost_nano=None, cost_source="unpriced"))
        return rows

    def _other(self) -> list[Row]:
        return [call_row(self.now - DAY_MS, 7, account_id=2, model="their-model", requester="their-bot")]

    def _free(self) -> list[Row]:
        border = self.now - FREE.retention_days * DAY_MS
        ages = {"kept": border + HOUR_MS, "too-old": border - HOUR_MS}
        return [call_row(at, 3, account_id=3, model=name) for name, at in ages.items()]

    def ids(self, name: str = "pro") -> list[str]:
        """Ids of an account's rows, the newest first."""
        at = COLUMNS.index("request_id")
        return sorted((row[at].hex() for row in self.rows[name]), reverse=True)

    def ask(self, name: str, requester: str) -> None:
        """Send a request, and wait for its row."""
        headers = [("Authorization", f"Bearer {self.tokens[name]}"), ("x-metrion-user", requester)]
        body = b'{"model":"gpt-4o-mini","messages":[]}'
        assert exchange(self.metrion.port, "POST", CHAT, headers, body).status == 200
        self.metrion.rows(1, requester=requester, email=f"{name}@example.com")


PLANS = {"pro": "pro", "other": "pro", "free": "free"}


@pytest.fixture(scope="module")
def house(fake: FakeProvider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    settings = {"METRION_TRUSTED_PROXIES": "127.0.0.1"}
    metrion = Metrion(tmp_path_factory.mktemp("logs") / "data", dict.fromkeys(PROVIDERS, fake.origin), settings)
    house = House(metrion)
    metrion.start()
    yield house
    metrion.stop()


@pytest.fixture(scope="module")
def pro(house: House) -> Browser:
    return by_link(house.metrion, "pro@example.com")


@pytest.fixture(scope="module")
def other(house: House) -> Browser:
    return by_link(house.metrion, "other@example.com")


@pytest.fixture(scope="module")
def free(house: House) -> Browser:
    return by_link(house.metrion, "free@example.com")


def shown(page: Page) -> list[str]:
    """The ids of a page's lines."""
    parts = page.html.split('class="row-link" href="/logs/')[1:]
    return [part[:32] for part in parts]


def leads(page: Page, rel: str) -> str:
    """Where the page's next or previous one is; "" for nowhere."""
    before, found, _ = page.html.partition(f'rel="{rel}"')
    return before.rpartition('href="')[2].partition('"')[0].replace("&amp;", "&") if found else ""


def cells(page: Page) -> list[dict[str, str]]:
    text = page.body.decode()
    assert text.count("\r\n") >= 1
    return list(csv.DictReader(io.StringIO(text, newline="")))


# ── the lines ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_nobody_sees_them_who_is_not_signed_in(house: House) -> None:
    stranger = Browser(house.metrion.origin)
    for path in ("/logs", "/logs.csv", f"/logs/{house.ids()[0]}", f"/logs/newer?after={house.ids()[0]}"):
        assert stranger.get(path).path.startswith("/login")


def test_pages_lead_through_all_rows_and_back_while_new_ones_come(house: House, pro: Browser) -> None:
    page = pro.get("/logs?range=30d")
    down, newest = shown(page), shown(page)[0]
    while leads(page, "next"):
        house.ask("pro", f"later-{uuid4().hex}")
        page = pro.get(leads(page, "next"))
        down += shown(page)
    assert [one for one in down if one in house.ids()] == house.ids()
    assert down == sorted(set(down), reverse=True)
    up = shown(page)
    while leads(page, "prev"):
        page = pro.get(leads(page, "prev"))
        up = shown(page) + [one for one in up if one not in shown(page)]  # of the first page, which is always full
    assert up[up.index(newest) :] == down
    assert up.index(newest) == 2  # what came meanwhile


def test_each_filter_holds_for_every_line(house: House, pro: Browser) -> None:
    page = pro.get("/logs?provider=grok&stream=yes&status=2xx")
    wanted = [number for number in range(130) if number % 3 == 2 and number % 2 and number % 10]
    assert f"{len(wanted)} requests in 7 days" in page.text
    assert len(shown(page)) == len(wanted)
    for query, found in {
        "status=5xx": 13,
        "requester=priced": 1,
        "q=PRICED": 2,
        "status=none": 0,
        f"q={house.ids()[3]}": 1,
    }.items():
        assert len(shown(pro.get(f"/logs?{query}"))) == found, query


def test_what_matches_nothing_offers_to_show_everything(pro: Browser) -> None:
    page = pro.get("/logs?range=30d&q=no-such-thing&provider=grok")
    assert "No request matches" in page.text
    assert page.links["Show everything"] == "/logs?range=30d"


def test_a_chip_drops_its_filter_and_keeps_the_rest(pro: Browser) -> None:
    page = pro.get("/logs?provider=openai&model=gpt-4.1&q=gpt&sort=cost&stream=no&range=30d")
    chips = page.html.split('class="chip" href="')[1:]
    without = {chip.partition('"')[0].replace("&amp;", "&") for chip in chips}
    assert without == {
        "/logs?range=30d&model=gpt-4.1&q=gpt&stream=no&sort=cost",
        "/logs?range=30d&provider=openai&q=gpt&stream=no&sort=cost",
        "/logs?range=30d&provider=openai&model=gpt-4.1&q=gpt&sort=cost",
    }


@pytest.mark.parametrize(
    ("sort", "column"), [("cost", "cost_nano"), ("latency", "latency_us"), ("tokens", "input_tokens")]
)
def test_the_greatest_come_first(house: House, pro: Browser, sort: str, column: str) -> None:
    rows = [
        dict(zip(COLUMNS, row, strict=True)) for row in house.rows["pro"] if row[COLUMNS.index("provider")] == "grok"
    ]
    rows.sort(key=lambda row: (row[column], row["request_id"]), reverse=True)
    page = pro.get(f"/logs?provider=grok&sort={sort}")
    assert shown(page) == [row["request_id"].hex() for row in rows[:50]]
    assert not leads(page, "next")


def test_jumping_to_a_time_begins_there(house: House, pro: Browser) -> None:
    at = house.now - DAY_MS - 60 * 60_000
    page = pro.get(f"/logs?at={iso(at)[:16]}")
    assert shown(page)[0] == next(one for one in house.ids() if one < first_id(at // 60_000 * 60_000 + 60_000).hex())
    assert leads(page, "prev")
    assert pro.get("/logs?at=2026-99-99T99:99").status == 200


def test_what_is_not_understood_is_told_and_the_rest_holds(pro: Browser) -> None:
    page = pro.get("/logs?range=3y&provider=acme&status=9xx&sort=x&stream=maybe&page=-1&before=zz&after=0")
    assert page.status == 200
    for word in ("3y", "acme", "9xx"):
        assert word in page.text
    assert len(shown(page)) == 50


def test_the_requester_has_a_column_only_where_there_is_one(pro: Browser) -> None:
    assert '<th scope="col">Requester' in pro.get("/logs?requester=priced").html
    assert '<th scope="col">Requester' not in pro.get("/logs?provider=grok").html


def test_an_account_without_requests_is_told_what_will_be_here(house: House) -> None:
    house.metrion.create_account("new@example.com", keys=())
    page = by_link(house.metrion, "new@example.com").get("/logs")
    assert "Each request will be a line here" in page.text
    assert page.links["Set it up"] == "/integrate"


# ── what htmx asks for ────────────────────────────────────────────────────────────────────────────────────────────────


def part(browser: Browser, path: str, current: str = "") -> Page:
    return browser.get(path, headers={"hx-request": "true", "hx-current-url": current})


def test_a_search_gets_its_lines_and_the_shortest_address(house: House, pro: Browser) -> None:
    path = "/logs?q=gpt&range=7d&from=2026-11-01&to=2026-11-02&provider=&status=&stream=&sort=&at=&requester="
    origin = house.metrion.origin
    page = part(pro, path, f"{origin}/logs")
    assert page.html.lstrip().startswith('<div id="log"')
    assert page.headers["hx-push-url"] == "/logs?q=gpt"
    longer = part(pro, path.replace("gpt", "gpt-4"), f"{origin}/logs?q=gpt")
    assert longer.headers["hx-replace-url"] == "/logs?q=gpt-4"  # who types on makes no new entry in the history
    other_filter = part(pro, path.replace("status=", "status=5xx"), f"{origin}/logs?q=gpt")
    assert other_filter.headers["hx-push-url"] == "/logs?status=5xx&q=gpt"


def test_new_requests_are_told_of_by_their_number(house: House, other: Browser) -> None:
    newest = shown(other.get("/logs"))[0]
    assert part(other, f"/logs/newer?after={newest}").status == 204
    house.ask("other", f"new-{uuid4().hex}")
    told = part(other, f"/logs/newer?after={newest}")
    assert (told.status, told.text.split()) == (200, ["1", "new"])
    assert part(other, f"/logs/newer?q=nothing-like-it&after={newest}").status == 204
    assert other.get("/logs/newer").status == 400


# ── one request ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_request_opens_into_how_its_cost_came_about(house: House, pro: Browser) -> None:
    one = shown(pro.get("/logs?requester=priced"))[0]
    page = pro.get(f"/logs/{one}")
    assert page.status == 200
    for words in ("$0.000210", "computed from its usage", "1,000", "$0.15 / 1M", "$0.60 / 1M", "a list", one):
        assert words in page.text, words
    assert "1.0 ms" in page.text  # Metrion's own of 900 ms
    assert "299 ms" in page.text
    assert "600 ms" in page.text
    assert "prompt_tokens" in page.text
    assert "prices changed" not in page.text
    assert part(pro, f"/logs/{one}").html.lstrip().startswith("<article")


def test_what_has_no_price_says_so_and_is_not_free(pro: Browser) -> None:
    page = pro.get("/logs?requester=unpriced")
    assert "unpriced" in page.text
    assert "$0" not in page.text
    text = pro.get(f"/logs/{shown(page)[0]}").text
    assert "No price is known" in text


def test_costs_are_shown_in_the_accounts_currency_with_its_rate(house: House) -> None:
    house.tokens["eur"] = house.metrion.create_account("eur@example.com")
    house.ask("eur", "euro-bot")
    browser = by_link(house.metrion, "eur@example.com")
    browser.get("/settings")
    browser.submit("/settings", currency="EUR")
    page = browser.get("/logs")
    assert "€0.0000" in page.text
    assert "the European Central Bank's rate of" in page.text
    assert "€0.0000" in browser.get(f"/logs/{shown(page)[0]}").text


@pytest.mark.parametrize(
    "path", ["/logs/zz", "/logs/00", f"/logs/{'0' * 32}", f"/logs/{'f' * 32}", "/logs/..%2fsettings"]
)
def test_what_is_no_request_is_not_found(pro: Browser, path: str) -> None:
    assert pro.get(path).status == 404


# ── names, accounts, plans ────────────────────────────────────────────────────────────────────────────────────────────


def test_hostile_names_are_text_on_every_page(house: House, pro: Browser) -> None:
    page = pro.get("/logs?status=4xx")
    assert len(shown(page)) == len(HOSTILE)
    pages = [page, pro.get("/logs"), *(pro.get(f"/logs/{one}") for one in shown(page))]
    for one in pages:
        assert "<script>alert" not in one.html
        assert "<img" not in one.html
        assert "style=" not in one.html
    for name in HOSTILE:
        assert name in pages[0].text
        assert len(shown(pro.get(f"/logs?requester={quote(name, safe='')}&model={quote(name, safe='')}"))) == 1
        assert len(shown(pro.get(f"/logs?q={quote(name, safe='')}"))) >= 1


def test_nothing_of_another_account_is_seen(house: House, pro: Browser, other: Browser) -> None:
    theirs = house.ids()
    for one in (theirs[0], theirs[60]):
        assert other.get(f"/logs/{one}").status == 404
    ways = ["", f"?before={theirs[0]}", f"?after={theirs[-1]}", "?q=gpt-4.1", "?model=gpt-4.1", "?requester=priced"]
    ways += [f"?q={theirs[5]}", "?sort=cost", "?provider=grok", "?status=5xx"]
    for way in ways:
        for path in ("/logs", "/logs.csv"):
            page = other.get(path + way)
            assert page.status == 200
            assert not [one for one in theirs if f"/logs/{one}" in page.html or f"\n{one}," in page.html], path + way
    assert "their-bot" in other.get("/logs").text
    assert "their-bot" not in pro.get("/logs?range=90d").html


def test_rows_past_the_plans_days_are_out_of_reach_at_once(house: House, free: Browser) -> None:
    kept, old = house.ids("free")
    for query in ("", "?range=90d", "?q=o", f"?before={'f' * 32}", f"?after={'0' * 32}&range=90d", "?sort=tokens"):
        assert shown(free.get(f"/logs{query}")) in ([kept], []), query
    assert shown(free.get("/logs?range=90d")) == [kept]
    assert "Free plan keeps requests for 7 days" in free.page.text
    assert free.get(f"/logs/{kept}").status == 200
    assert free.get(f"/logs/{old}").status == 404


# ── CSV ───────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_csv_holds_every_match_oldest_first(house: House, pro: Browser) -> None:
    page = pro.get("/logs.csv?range=7d&provider=grok")
    assert page.headers["content-type"] == "text/csv; charset=utf-8"
    assert "attachment" in page.headers["content-disposition"]
    rows = cells(page)
    assert tuple(rows[0]) == tuple(name for name in CALL_FIELDS if name != "usage_raw")
    assert [row["request_id"] for row in rows] == [
        one.hex() for one in sorted(row[COLUMNS.index("request_id")] for row in house.rows["pro"] if "grok" in row)
    ]
    assert rows[0]["started_at"].endswith("Z")
    assert {row["stream"] for row in rows} == {"true", "false"}


def test_no_cell_is_a_formula_and_each_can_be_read_back(pro: Browser) -> None:
    rows = cells(pro.get("/logs.csv?range=7d&status=4xx"))
    names = [row["requester"] for row in rows]
    assert sorted(name.removeprefix("'") for name in names) == sorted(HOSTILE)
    for row in rows:
        assert not [cell for cell in row.values() if cell[:1] in ("=", "+", "-", "@", "\t", "\r")]


def test_a_plan_without_csv_is_told_so(free: Browser) -> None:
    assert "Export CSV (Pro)" in free.get("/logs").links
    page = free.get("/logs.csv")
    assert page.status == 403
    assert "part of the Pro plan" in page.text


# ── in a browser ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def chromium() -> Iterator[Chromium]:
    with open_chromium() as browser:
        yield browser


@needs_chromium
def test_search_panel_and_keys_in_a_browser(house: House, pro: Browser, chromium: Chromium) -> None:
    origin = house.metrion.origin
    with opened(chromium, f"{origin}/logs?range=30d", pro.cookies) as page:
        page.keyboard.press("/")
        page.keyboard.type("priced", delay=30)
        expect(page.locator("#log tbody tr")).to_have_count(2)
        expect(page).to_have_url(f"{origin}/logs?range=30d&q=priced")
        page.locator("#q").fill("grok")
        expect(page.locator("#log tbody tr")).to_have_count(43)
        page.select_option("#status", "5xx")
        expect(page.locator("#log tbody tr")).to_have_count(4)
        expect(page).to_have_url(f"{origin}/logs?range=30d&status=5xx&q=grok")
        expect(page.locator(".row-link[data-htmx-powered]")).to_have_count(4)
        links = [link.get_attribute("href") for link in page.locator(".row-link").all()]
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.locator("h1").click()  # leaves the search, which must not replace the lines
        page.keyboard.press("ArrowDown")
        page.keyboard.press("Enter")
        expect(page.locator("#panel")).to_be_visible()
        expect(page).to_have_url(f"{origin}{links[0]}")
        assert [url for url in asked if "/logs?" in url] == []
        page.keyboard.press("ArrowDown")
        expect(page).to_have_url(f"{origin}{links[1]}")
        expect(page.locator("#panel #request-id")).to_have_text(str(links[1])[6:])
        page.keyboard.press("Escape")
        expect(page.locator("#panel")).not_to_be_visible()
        expect(page).to_have_url(f"{origin}/logs?range=30d&status=5xx&q=grok")
        assert page.locator("[data-csv]").get_attribute("href") == "/logs.csv?range=30d&status=5xx&q=grok"


@needs_chromium
def test_what_is_exported_and_linked_to_is_what_is_seen(house: House, pro: Browser, chromium: Chromium) -> None:
    """The CSV has the lines' filters, and a request's address opens it for whoever may see it."""
    origin = house.metrion.origin
    with opened(chromium, f"{origin}/logs?provider=grok&range=30d", pro.cookies) as page:
        page.select_option("#status", "2xx")
        page.wait_for_url("**status=2xx*")
        expect(page.locator("#log [role=status]")).to_contain_text("39 requests")
        with page.expect_download() as waiting:
            page.get_by_role("link", name="Export CSV").click()
        rows = list(csv.DictReader(io.StringIO(waiting.value.path().read_text(), newline="")))
        assert len(rows) == 39
        assert {(row["provider"], row["status"]) for row in rows} == {("grok", "200")}
        page.locator(".row-link[data-htmx-powered]").first.click()
        expect(page.locator("#panel")).to_be_visible()
        link, one = page.url, page.locator("#request-id").inner_text()
        assert link == f"{origin}/logs/{one}"
        page.reload()
        expect(page.locator("#request-id")).to_have_text(one)
        expect(page.locator("#panel")).to_have_count(0)  # a page of its own
        page.go_back()
        expect(page.locator("#log tbody tr")).to_have_count(39)
        page.get_by_role("link", name="Provider Grok").click()
        page.wait_for_url(f"{origin}/logs?range=30d&status=2xx")
        page.go_back()
        expect(page.locator("#log tbody tr")).to_have_count(39)
        expect(page.locator("#status")).to_have_value("2xx")


@needs_chromium
def test_a_request_made_now_is_told_within_seconds_unless_paused(
    house: House, other: Browser, chromium: Chromium
) -> None:
    with opened(chromium, f"{house.metrion.origin}/logs", other.cookies) as page:
        house.ask("other", f"now-{uuid4().hex}")
        expect(page.locator("#newer")).to_have_text("1 new", timeout=5000)
        page.locator("#newer a").click()
        expect(page.locator("#newer")).to_have_text("")
        page.get_by_role("button", name="Live").click()
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.wait_for_timeout(2500)
        assert not [url for url in asked if "/logs/newer" in url]


@needs_chromium
def test_it_can_all_be_read_without_scripts(house: House, pro: Browser, chromium: Chromium) -> None:
    with opened(chromium, f"{house.metrion.origin}/logs", pro.cookies, scripts=False) as page:
        page.locator("#q").fill("priced")
        page.get_by_role("button", name="Search").click()
        expect(page.locator("#log tbody tr")).to_have_count(2)
        page.locator(".row-link").first.click()
        expect(page.locator("#request-id")).to_be_visible()
