"""Names that mean harm, sent through the proxy: nothing but text on each page, chart, export, statement and API."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from playwright.sync_api import expect

from tests.chromium import needs_chromium, open_chromium, opened
from tests.fake_provider import FakeProvider
from tests.fake_provider.samples import JSON, chat_body
from tests.fake_provider.script import Script
from tests.support import PROVIDERS, Metrion, exchange
from tests.web import told
from tests.web.browser import Browser
from tests.web.people import by_link
from tests.web.spent import HOSTILE, Row, rows_of
from tests.web.told import Node

EMAIL = "ada@example.com"
CHAT = "/api/proxy/openai/v1/chat/completions"
NAMES = (
    *HOSTILE,
    "two\nlines\r\nand\ta tab",
    "nul\0 within",
    "a\u2028line\u2029apart",
    "</title></script><script>window.hacked = 1</script>",
    "javascript:window.hacked=1",
    "&lt;b&gt; &amp; &#x202e;",
    "\ufeffmarked\u200b",
    "+1-2",
    "@SUM(A1)",
    "-2+3",
    ".",
    "..",
    "🏳️‍🌈" * 18,
)
TABS = (
    "/dashboard",
    "/dashboard/costs?all=yes",
    "/dashboard/costs?by=requester&all=yes&of=tokens",
    "/dashboard/latency?all=yes",
    "/dashboard/errors",
    "/dashboard/sources",
)
PAGES = (*TABS, "/dashboard/live?tab=overview", "/logs", "/integrate", "/alerts/new?kind=budget")


@dataclass
class House:
    """Somebody whose requests, answers and errors have such names, with what was recorded of them."""

    metrion: Metrion
    token: str
    browser: Browser
    rows: list[Row]


@pytest.fixture(scope="module")
def house(fake: FakeProvider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    metrion = Metrion(tmp_path_factory.mktemp("hostile") / "data", dict.fromkeys(PROVIDERS, fake.origin))
    token = metrion.create_account(EMAIL)
    metrion.start()
    for name in NAMES:
        answer = json.loads(chat_body().text) | {"model": name}
        said = {"error": {"message": name, "type": name, "code": name}}
        requester = name if name.isprintable() else "plain"  # what else a header may not hold
        for status, document in ((200, answer), (400, said)):
            script = Script(status=status, headers=[JSON], text=json.dumps(document))
            headers = [("Authorization", f"Bearer {token}"), ("x-fake", script.header()), ("x-metrion-user", requester)]
            body = json.dumps({"model": name, "messages": []}).encode()
            assert exchange(metrion.port, "POST", CHAT, headers, body).status == status, name
    metrion.rows(2 * len(NAMES), email=EMAIL)
    yield House(metrion, token, by_link(metrion, EMAIL), rows_of(metrion, 1))
    metrion.stop()


def test_every_name_is_recorded_as_it_came_but_for_what_no_text_holds(house: House) -> None:
    kept = [name.replace("\0", "") for name in NAMES]
    assert [row["model"] for row in house.rows] == [name for name in kept for _ in range(2)]
    assert {row["error_message"] for row in house.rows if row["status"] == 400} == set(kept)


def harmless(page: Node, html: str) -> None:
    """No element or attribute that the templates do not make."""
    scripts = page.all("script")
    assert all(one.at.get("src", "").startswith("/static/") and not one.text for one in scripts)
    assert not page.all("img") and not page.all("b")
    assert not [one for one in page.all() if any(name.startswith("on") or name == "style" for name in one.at)]
    assert not [one.at["href"] for one in page.all("a") if not one.at.get("href", "/").startswith(("/", "#", "http"))]
    assert "\0" not in html


@pytest.mark.parametrize("path", PAGES)
def test_pages_are_made_of_nothing_but_their_templates(house: House, path: str) -> None:
    page = house.browser.get(path)
    assert page.status == 200, page.text[:200]
    harmless(told.parse(page.html), page.html)


def isolated(page: Node) -> set[str]:
    """What stands in elements of a direction of their own."""
    return {one.text for one in page.all("bdi")}


@pytest.mark.parametrize(
    ("path", "column"),
    [
        ("/dashboard/costs?all=yes", "model"),
        ("/dashboard/latency?all=yes", "model"),
        ("/dashboard/costs?by=requester&all=yes", "requester"),
        ("/dashboard/sources", "requester"),
        ("/dashboard/errors", "error_message"),
        ("/logs", "model"),
        ("/logs", "requester"),
    ],
)
def test_each_name_is_read_in_a_direction_of_its_own(house: House, path: str, column: str) -> None:
    page = told.parse(house.browser.get(path).html)
    names = {" ".join((row[column] or "").split()) for row in house.rows} - {""}
    assert names <= isolated(page) | {one.at.get("title", "") for one in page.all("bdi")}, names - isolated(page)


@pytest.mark.parametrize("path", ["/dashboard/costs?all=yes", "/dashboard/latency?all=yes"])
def test_a_models_link_leads_to_its_requests_alone(house: House, path: str) -> None:
    lines = told.card(told.parse(house.browser.get(path).html), "By model").one("tbody").all("tr")
    assert len(lines) == len({row["model"] for row in house.rows})
    for line in lines:
        link = line.one("a").at["href"]
        page = told.parse(house.browser.get(link.replace("/latency", "").replace("/costs", "")).html)
        name = parse_qs(urlsplit(link).query, keep_blank_values=True)["model"]
        assert told.stat(page, "requests").exact == str(sum([row["model"]] == name for row in house.rows)), name
        harmless(page, house.browser.page.html)


def test_a_requesters_page_and_the_log_find_its_requests(house: House) -> None:
    for name in {row["requester"] for row in house.rows}:
        number = sum(row["requester"] == name for row in house.rows)
        page = house.browser.get("/logs?" + urlencode({"requester": name, "range": "24h"}))
        assert page.text.count("open this request") == number, name
        found = house.browser.get("/logs?" + urlencode({"q": name}))
        assert found.text.count("open this request") >= min(number, 1), name
        harmless(told.parse(page.html), page.html)


def test_one_request_tells_its_names_as_text(house: House) -> None:
    for row in house.rows:
        page = house.browser.get(f"/logs/{row['request_id'].hex()}")
        tree = told.parse(page.html)
        harmless(tree, page.html)
        for name in (row["model"], row["requester"], row["error_message"]):
            assert not name or " ".join(name.split()) in isolated(tree), name


def test_a_statement_tells_them_as_text(house: House) -> None:
    house.browser.get("/settings/statements")
    made = told.parse(house.browser.submit("/settings/statements", days="7").html)
    page = Browser(house.metrion.origin).get(made.one("a", id="made").at["href"])
    tree = told.parse(page.html)
    harmless(tree, page.html)
    assert {" ".join(row["model"].split()) for row in house.rows} <= isolated(tree)
    assert {" ".join(row["requester"].split()) for row in house.rows} <= isolated(tree)


def test_exports_hold_them_to_the_letter_and_no_formula(house: House) -> None:
    rows = list(csv.DictReader(io.StringIO(house.browser.get("/logs.csv").body.decode(), newline="")))
    assert len(rows) == len(house.rows)
    for cells, row in zip(rows, house.rows, strict=True):
        for name in ("model", "requester", "error_message"):
            text, kept = cells[name], row[name] or ""
            assert text == ("'" + kept if kept[:1] in ("=", "+", "-", "@", "\t", "\r") else kept), kept
    data = json.loads(house.browser.get("/settings/profile/data.json").body)
    assert [one["model"] for one in data["logs"]] in (
        [row["model"] for row in house.rows],
        [row["model"] for row in reversed(house.rows)],
    )


def test_the_api_finds_and_tells_them_to_the_letter(house: House) -> None:
    def get(path: str) -> Any:
        answer = exchange(house.metrion.port, "GET", path, [("Authorization", f"Bearer {house.token}")])
        assert answer.status == 200, (path, answer.body)
        return answer.json()

    calls = get("/api/v1/logs?limit=500")["calls"]
    assert [one["model"] for one in calls] == [row["model"] for row in reversed(house.rows)]
    for name in {row["model"] for row in house.rows}:
        rows = [row for row in house.rows if row["model"] == name]
        query = urlencode({"model": name})
        assert get(f"/api/v1/usage?{query}")["total"]["requests"] == len(rows), name
        assert [one["model"] for one in get(f"/api/v1/logs?{query}")["calls"]] == [name] * len(rows)
    groups = {one["key"]: one["requests"] for one in get("/api/v1/usage?by=requester")["groups"]}
    assert groups == Counter(row["requester"] for row in house.rows)


DONE = "[window.hacked, document.querySelectorAll('main :is(img, script, b)').length]"


@needs_chromium
def test_a_browser_shows_them_and_does_nothing_that_they_say(house: House) -> None:
    origin, cookies = house.metrion.origin, house.browser.cookies
    with open_chromium() as chromium, opened(chromium, origin + "/dashboard", cookies) as page:
        for path in (*TABS, "/logs"):
            page.goto(house.metrion.origin + path)
            if page.locator("[data-chart]").count():
                page.locator("[data-chart] canvas").first.wait_for()
                chart = page.locator("[data-chart]").first
                chart.focus()
                page.keyboard.press("End")
                expect(page.locator("#live")).not_to_be_empty()
            assert page.evaluate("[window.hacked, document.querySelectorAll('main :is(img, script, b)').length]") == [
                None,
                0,
            ]
        page.locator(".row-link[data-htmx-powered]").last.wait_for()
        page.locator("h1").click()
        for _ in range(len(house.rows) - 1):
            page.keyboard.press("ArrowDown")
        page.keyboard.press("Enter")
        for _ in range(6):
            expect(page.locator("#panel article")).to_be_visible()
            assert page.evaluate("[window.hacked, document.querySelectorAll('main :is(img, script, b)').length]") == [
                None,
                0,
            ]
            page.keyboard.press("ArrowUp")
