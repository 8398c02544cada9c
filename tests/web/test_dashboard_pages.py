"""The dashboard around its figures: empty, filtered away, out of retention, live; foreign accounts, hostile names."""

from __future__ import annotations

import html
import time
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from urllib.parse import quote, urlencode

import pytest

from metrion.kit.clock import DAY_MS, now_ms
from metrion.web.figures import exact_usd
from tests.fake_provider import FakeProvider
from tests.support import PROVIDERS, Metrion, exchange
from tests.web import told
from tests.web.browser import Browser, Page
from tests.web.people import by_link
from tests.web.spent import HOSTILE, RTL, change_account, draw_calls, random_moments, rows_of, write

TABS = ("/dashboard", "/dashboard/costs", "/dashboard/latency", "/dashboard/errors", "/dashboard/sources")
CHAT = b'{"model":"gpt-4o-mini","messages":[{"role":"user","content":"hi"}]}'
ADA, EVE, POOR, NEW, EURO = (f"{name}@example.com" for name in ("ada", "eve", "poor", "new", "euro"))


@dataclass
class House:
    """A Metrion with people in it, each with a browser that is signed in."""

    metrion: Metrion
    tokens: dict[str, str]
    ids: dict[str, int]
    browsers: dict[str, Browser]


@pytest.fixture(scope="module")
def house(fake: FakeProvider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """`ada`'s calls have hostile names; `eve`'s have names of her own; `poor` is on the free plan; `new` has none."""
    metrion = Metrion(tmp_path_factory.mktemp("house") / "data", dict.fromkeys(PROVIDERS, fake.origin))
    now, rng, ids, tokens = now_ms(), Random(2), {}, {}
    for email in (ADA, EVE, POOR, NEW, EURO):
        tokens[email] = metrion.create_account(email, plan="free" if email == POOR else "pro", keys=("openai",))
        ids[email] = change_account(metrion, email, currency="EUR" if email == EURO else "USD")
    hostile = tuple(("openai", name) for name in HOSTILE)
    write(metrion, draw_calls(rng, ids[ADA], random_moments(rng, now, 600, 6), HOSTILE, hostile))
    write(
        metrion, draw_calls(rng, ids[EVE], random_moments(rng, now, 200, 6), ("eves-bot",), (("grok", "eves-model"),))
    )
    write(metrion, draw_calls(rng, ids[POOR], random_moments(rng, now, 200, 30), ("bot",)))
    write(metrion, draw_calls(rng, ids[EURO], random_moments(rng, now, 200, 6), ("bot",)))
    metrion.start()
    yield House(metrion, tokens, ids, {email: by_link(metrion, email) for email in ids})
    metrion.stop()


def ask(house: House, email: str, path: str, **query: object) -> Page:
    page = house.browsers[email].get(path + ("?" + urlencode(query, doseq=True) if query else ""))
    assert page.status == 200, page.text[:300]
    return page


# ── Before the first request, and nothing that matches ────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("path", TABS)
def test_before_the_first_request_the_two_lines_are_told(house: House, path: str) -> None:
    page = ask(house, NEW, path)
    assert "Your requests will be here" in page.text
    assert f'base_url="{house.metrion.origin}/api/proxy/openai/v1"' in page.text
    assert house.tokens[NEW][-4:] in page.text
    assert house.tokens[NEW] not in page.html
    assert page.links["Send a test request"] == "/integrate#test"
    assert "Example" in page.text


def test_the_start_is_where_there_is_something(house: House) -> None:
    assert ask(house, NEW, "/").path == "/integrate"
    assert ask(house, EVE, "/").path == "/dashboard"


def test_a_filter_that_excludes_everything_is_named(house: House) -> None:
    page = ask(house, EVE, "/dashboard/costs", provider="grok", model="no-such-model", by="provider")
    assert "This filter excludes everything" in page.text
    root = told.parse(page.html)
    drops = root.one("ul", class_="drops").all("a")
    assert [drop.text for drop in drops] == ["Drop model no-such-model"]
    assert drops[0].at["href"] == "/dashboard/costs?provider=grok&by=provider"
    requests = len(rows_of(house.metrion, house.ids[EVE]))
    assert f"leaves {requests} requests" in page.text
    found = told.parse(ask(house, EVE, drops[0].at["href"]).html)
    assert told.stat(found, "cost").exact.startswith("$")


def test_where_only_all_filters_together_are_too_many(house: House) -> None:
    page = ask(house, EVE, "/dashboard", provider="mistral", model="no-such-model", requester="eves-bot")
    assert "only without all of them" in page.text
    assert page.links["Drop all filters"] == "/dashboard"
    page = ask(house, EVE, "/dashboard", **{"from": "2020-01-01", "to": "2020-01-02", "provider": "grok"})
    assert "no request in this range at all" in page.text


def test_chips_drop_one_filter_each_and_tabs_keep_them(house: House) -> None:
    page = told.parse(
        ask(house, ADA, "/dashboard/errors", provider="openai", model=list(HOSTILE[:2]), range="30d", status="4xx").html
    )
    chips = page.one("ul", aria_label="Filters").all("span", class_="chip")
    assert [chip.one("bdi").text for chip in chips] == ["OpenAI", *HOSTILE[:2], "4xx"]
    rest = urlencode({"range": "30d", "provider": "openai", "model": HOSTILE[1], "status": "4xx"})
    assert chips[1].one("a").at["href"] == f"/dashboard/errors?{rest}"
    query = urlencode(
        [("range", "30d"), ("provider", "openai"), *(("model", one) for one in HOSTILE[:2]), ("status", "4xx")]
    )
    tabs = [link.at["href"] for link in page.one("nav", aria_label="Dashboard").all("a")]
    assert tabs == [f"{path}?{query}" for path in TABS]
    logs = [link.at["href"] for link in page.all("a") if link.at["href"].startswith("/logs?")]
    assert logs
    assert all("provider=openai" in link and "range=30d" in link for link in logs)


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("range=5y", "There is no range “5y”. Showing 7 days."),
        ("from=2026-11-21&to=2026-11-20", "The range ends before it begins. Showing 7 days."),
        ("from=tomorrow", "A day is written as 2026-11-21. Showing 7 days."),
        ("provider=%3Cb%3Eacme", "There is no provider “<b>acme”. Showing all providers."),
        ("status=teapot", "There is no status class “teapot”."),
    ],
)
@pytest.mark.parametrize("path", TABS)
def test_what_cannot_be_understood_is_told(house: House, path: str, query: str, said: str) -> None:
    page = ask(house, EVE, f"{path}?{query}")
    assert said in page.text
    assert "<b>acme" not in page.html


# ── Out of retention ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_free_plan_shows_what_it_keeps(house: House) -> None:
    since = (now_ms() - 7 * DAY_MS) // DAY_MS * DAY_MS + DAY_MS
    page = ask(house, POOR, "/dashboard", range="30d")
    assert "The free plan keeps requests for 7 days: you see them from" in page.text
    rows = [row for row in rows_of(house.metrion, house.ids[POOR]) if row["started_ms"] >= since]
    root = told.parse(page.html)
    assert told.stat(root, "cost").exact == exact_usd(sum(row["cost_nano"] or 0 for row in rows))
    assert len(told.chart(root, "cost")[1]) == 7
    assert "keeps" not in ask(house, POOR, "/dashboard", range="7d").text


def test_a_range_that_is_gone_is_explained(house: House) -> None:
    page = ask(house, POOR, "/dashboard/latency", **{"from": "2024-01-01", "to": "2024-01-31"})
    assert "The free plan keeps requests for 7 days." in page.text
    assert "No requests in this range" in page.text
    assert page.links["Show 24 hours"] == "/dashboard/latency?range=24h"


# ── Money in other currencies ─────────────────────────────────────────────────────────────────────────────────────────


def test_money_is_converted_at_a_rate_that_is_told(house: House) -> None:
    root = told.parse(ask(house, EURO, "/dashboard/costs").html)
    rows = rows_of(house.metrion, house.ids[EURO])
    nano = sum(row["cost_nano"] or 0 for row in rows)
    spent = told.stat(root, "cost")
    assert spent.text.startswith("€")
    assert spent.exact == exact_usd(nano)
    note = "the European Central Bank's rate of"
    assert note in root.text
    rate = float(root.text.partition("Shown in EUR at ")[2].split()[0])
    _, _, values = told.chart(root, "costs")
    assert abs(sum(sum(filter(None, row)) for row in values) - nano * rate) < nano * 0.0002
    assert root.one("table", id="table-costs").at["data-sign"] == "€"


# ── Live ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


def live_url(page: Page) -> str:
    return told.parse(page.html).one("div", id="poll").at["hx-get"]


def test_an_update_comes_when_something_was_recorded_and_within_three_seconds(house: House) -> None:
    browser, metrion = house.browsers[EVE], house.metrion
    page = ask(house, EVE, "/dashboard")
    before = int(told.stat(told.parse(page.html), "requests").exact.replace(",", ""))
    url = live_url(page)
    assert browser.get(url).status == 204
    began = time.monotonic()
    headers = [("Authorization", f"Bearer {house.tokens[EVE]}"), ("Content-Type", "application/json")]
    exchange(metrion.port, "POST", "/api/proxy/openai/v1/chat/completions", headers, CHAT)
    while (update := browser.get(url)).status == 204:
        assert time.monotonic() - began < 3
        time.sleep(0.05)
    root = told.parse(update.html)
    assert root.all("div", id="board")
    assert "<html" not in update.html
    assert int(told.stat(root, "requests").exact.replace(",", "")) == before + 1
    assert browser.get(live_url(update)).status == 204
    other = ask(house, ADA, "/dashboard")
    assert house.browsers[ADA].get(live_url(other)).status == 204


def test_only_what_is_not_over_is_live(house: House) -> None:
    yesterday = time.strftime("%Y-%m-%d", time.gmtime(time.time() - 86_400))
    assert 'id="poll"' not in ask(house, EVE, "/dashboard", **{"from": yesterday}).html
    assert 'id="poll"' in ask(house, EVE, "/dashboard", range="24h").html
    assert house.browsers[EVE].get("/dashboard/live?tab=nothing").status == 404


# ── Hostile names ─────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("path", [*TABS, "/dashboard/costs?by=requester&all=yes", "/dashboard/latency?all=yes"])
def test_hostile_names_are_text(house: House, path: str) -> None:
    page = ask(house, ADA, path)
    assert "<script>window" not in page.html
    assert "<img src=x" not in page.html
    assert html.escape(HOSTILE[0]) in page.html
    alone = told.parse(page.html).all("bdi")
    assert page.html.count(f">{RTL}<") == sum(one.text == RTL for one in alone) + page.html.count(f"{RTL}</option>")
    assert any(one.text == RTL for one in alone)


def test_every_requester_has_a_page_whatever_its_name(house: House) -> None:
    root = told.parse(ask(house, ADA, "/dashboard/sources", range="30d").html)
    links = {
        row.one("bdi").text: row.one("a").at["href"] for row in told.card(root, "Requesters").one("tbody").all("tr")
    }
    assert {name.strip() for name in links} == {" ".join(name.split()) for name in HOSTILE}
    for name in HOSTILE:
        link = links[" ".join(name.split())]
        assert link == f"/dashboard/sources/{quote(name, safe='')}?range=30d"
        found = told.parse(ask(house, ADA, link).html)
        assert found.one("p", class_="crumbs").one("bdi").text == " ".join(name.split())
        rows = [row for row in rows_of(house.metrion, house.ids[ADA]) if row["requester"] == name]
        assert told.stat(found, "requests").exact == str(sum(row["outcome"] != "rejected" for row in rows))


@pytest.mark.parametrize("name", [".", ".."])
def test_names_that_are_steps_of_a_path_lead_to_a_filter(house: House, name: str) -> None:
    page = ask(house, ADA, "/dashboard/sources", requester=name)
    assert page.path == "/dashboard/sources"
    assert "No request matches" in page.text


# ── Two accounts ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "path", [*TABS, "/dashboard/sources/eves-bot", "/dashboard/live?tab=overview", "/dashboard/live?source=eves-bot"]
)
@pytest.mark.parametrize("query", ["", "requester=eves-bot", "model=eves-model&range=30d", "provider=grok"])
def test_nothing_foreign_is_seen(house: House, path: str, query: str) -> None:
    hers = house.browsers[EVE].get(f"{path}{'&' if '?' in path else '?'}range=90d")
    assert "eves-" in hers.text
    page = house.browsers[ADA].get(f"{path}{'&' if '?' in path else '?'}{query}")
    assert page.status == 200
    asked_for = {name for name in ("eves-bot", "eves-model") if name in path + query}
    told_of = page.html
    for name in asked_for:  # what was asked for is told back, and no more than that
        assert "No request matches" in page.text or "No requests in this range" in page.text
        told_of = told_of.replace(name, "")
    assert "eves-" not in told_of


def test_a_visitor_sees_nothing(house: House) -> None:
    browser = Browser(house.metrion.origin)
    for path in (*TABS, "/dashboard/sources/eves-bot", "/dashboard/live?tab=overview"):
        assert browser.get(path).path == "/login"
