"""The dashboard in a browser: charts drawn from their tables, updates that disturb nobody, filters, keys, paper."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from random import Random

import pytest
from playwright.sync_api import Browser, Page, expect

from metrion.kit.clock import now_ms
from tests.chromium import needs_chromium, open_chromium, opened
from tests.fake_provider import FakeProvider
from tests.support import PROVIDERS, Metrion, exchange
from tests.web.people import by_link
from tests.web.spent import HOSTILE, change_account, draw_calls, random_moments, write

pytestmark = needs_chromium
EMAIL = "ada@example.com"
CHAT = b'{"model":"gpt-4o-mini","messages":[{"role":"user","content":"hi"}]}'

OPTION = "id => echarts.getInstanceByDom(document.getElementById(id)).getOption()"


@pytest.fixture(scope="module")
def metrion(fake: FakeProvider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Metrion]:
    """Somebody's calls, some of whose models and requesters have names that mean harm."""
    server = Metrion(tmp_path_factory.mktemp("drawn") / "data", dict.fromkeys(PROVIDERS, fake.origin))
    server.token = server.create_account(EMAIL)
    now, rng = now_ms(), Random(3)
    number = change_account(server, EMAIL)
    models = (
        ("openai", "gpt-4o-mini"),
        ("anthropic", "claude-sonnet-5-5"),
        *(("openai", name) for name in HOSTILE[:5]),
    )
    write(server, draw_calls(rng, number, random_moments(rng, now, 600, 13), ("bot", *HOSTILE[:5]), models))
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with open_chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def cookies(metrion: Metrion) -> dict[str, str]:
    return by_link(metrion, EMAIL).cookies


@pytest.fixture
def page(chromium: Browser, metrion: Metrion, cookies: dict[str, str]) -> Iterator[Page]:
    with opened(chromium, metrion.origin + "/dashboard", cookies=cookies) as page:
        page.set_default_timeout(10_000)
        yield page


def send_call(metrion: Metrion) -> None:
    headers = [("Authorization", f"Bearer {metrion.token}"), ("Content-Type", "application/json")]
    exchange(metrion.port, "POST", "/api/proxy/openai/v1/chat/completions", headers, CHAT)


def requests(page: Page) -> int:
    return int((page.locator("#stat-requests .stat-figure").get_attribute("title") or "").replace(",", ""))


def open_tab(page: Page, name: str) -> None:
    page.get_by_role("navigation", name="Dashboard").get_by_role("link", name=name).click()
    expect(page.get_by_role("heading", level=1)).to_have_text(f"Dashboard: {name}")


def drawn(page: Page, chart: str) -> dict[str, list[list[float | None]]]:
    """What a chart draws, and what its table holds."""
    page.locator(f"#chart-{chart} canvas").wait_for()
    option = page.evaluate(OPTION, f"chart-{chart}")
    values = [[one["value"] if isinstance(one, dict) else one for one in series["data"]] for series in option["series"]]
    table = page.evaluate(
        """id => [...document.getElementById(id).tBodies[0].rows].map((row) =>
           [...row.cells].slice(1).map((cell) => (cell.dataset.v === undefined ? null : Number(cell.dataset.v))))""",
        f"table-{chart}",
    )
    return {"chart": values, "table": [list(column) for column in zip(*table, strict=True)]}


def test_every_chart_draws_its_table(page: Page) -> None:
    for tab, charts in (("Overview", ("cost", "tokens")), ("Costs", ("costs",)), ("Latency", ("latency", "ttft"))):
        open_tab(page, tab)
        for chart in charts:
            found = drawn(page, chart)
            assert found["chart"] == found["table"] != []
    assert page.locator("[style]:not(canvas, [data-chart], [data-chart] *)").count() == 0


def test_names_are_text_in_a_chart_too(page: Page) -> None:
    page.goto(page.url + "/costs?of=tokens")
    option = page.locator("#chart-costs")
    option.locator("canvas").wait_for()
    box = option.bounding_box()
    assert box
    for part in (0.3, 0.6, 0.9):
        page.mouse.move(box["x"] + box["width"] * part, box["y"] + box["height"] / 2)
        page.wait_for_function("id => document.getElementById(id).matches(':hover')", arg="chart-costs")
    assert page.evaluate("window.hacked") is None
    names = [series["name"].rstrip("\u200b") for series in page.evaluate(OPTION, "chart-costs")["series"]]
    assert HOSTILE[0] in names
    assert not any(sign in name for name in names for sign in "{|}")
    assert page.evaluate(OPTION, "chart-costs")["tooltip"][0]["renderMode"] == "richText"


def test_the_arrows_go_through_a_chart_and_tell_it(page: Page) -> None:
    chart = page.locator("#chart-tokens")
    chart.locator("canvas").wait_for()
    chart.focus()
    rows = page.locator("#table-tokens tbody tr")
    page.keyboard.press("End")
    expect(page.locator("#live")).to_contain_text("Input: ")
    told = page.locator("#live").text_content() or ""
    page.keyboard.press("ArrowLeft")
    expect(page.locator("#live")).not_to_have_text(told)
    page.keyboard.press("Home")
    expect(page.locator("#live")).to_contain_text(rows.first.locator("th").text_content() or "?")
    page.keyboard.press("Enter")  # a day leads to its hours
    page.wait_for_url("**/dashboard?from=*")
    expect(page.locator("#table-tokens tbody tr")).to_have_count(24)


def test_a_series_can_be_switched_off_and_stays_so_while_requests_come(page: Page, metrion: Metrion) -> None:
    page.locator("#chart-cost canvas").wait_for()
    button = page.locator('[data-of="chart-cost"]').first
    button.click()
    expect(button).to_have_attribute("aria-pressed", "false")
    before, began = requests(page), time.monotonic()
    page.mouse.move(0, 0)
    send_call(metrion)
    expect(page.locator("#stat-requests .stat-figure")).to_have_attribute("title", f"{before + 1:,}", timeout=5000)
    assert time.monotonic() - began < 3
    expect(button).to_have_attribute("aria-pressed", "false")
    assert list(page.evaluate(OPTION, "chart-cost")["legend"][0]["selected"].values()).count(False) == 1


@pytest.mark.parametrize(
    ("path", "figure"),
    [
        ("/dashboard?range=24h", "#stat-requests .stat-figure"),
        ("/dashboard/costs?provider=openai", "#stat-cost .stat-figure"),
        ("/dashboard/latency", "main tr:has-text('OpenAI') td.number"),
        ("/dashboard/errors?range=24h", "#stat-rate .stat-beside"),
        ("/dashboard/sources?sort=requests", "main tr:has-text('(none)') td[data-label=Requests]"),
    ],
)
def test_a_request_made_now_is_on_each_tab_within_three_seconds(
    page: Page, metrion: Metrion, path: str, figure: str
) -> None:
    page.goto(metrion.origin + path)
    shown = page.locator(figure).first
    before = (shown.get_attribute("title"), shown.text_content())
    page.mouse.move(0, 0)
    began = time.monotonic()
    send_call(metrion)
    while (shown.get_attribute("title"), shown.text_content()) == before:
        assert time.monotonic() - began < 3
        page.wait_for_timeout(50)
    assert page.url == metrion.origin + path


def test_an_address_opens_as_it_was_left(page: Page, metrion: Metrion) -> None:
    """Tab, range, filter and choices are all in the address; somebody who opens it sees the same figures."""
    open_tab(page, "Costs")
    page.locator("#range-menu > summary").click()
    page.get_by_role("link", name="30 days").click()
    page.wait_for_url("**range=30d*")
    page.get_by_text("Filter", exact=True).click()
    page.get_by_label("Requester", exact=True).fill("bot")
    page.get_by_role("button", name="Show").last.click()
    page.wait_for_url("**requester=bot*")
    page.get_by_role("link", name="Token class").click()
    page.wait_for_url("**by=class*")
    page.get_by_role("link", name="Tokens", exact=True).click()
    page.wait_for_url("**of=tokens*")
    expect(page.get_by_role("heading", name="Tokens by class")).to_be_visible()
    query = sorted(page.url.partition("?")[2].split("&"))
    assert query == ["by=class", "of=tokens", "range=30d", "requester=bot"]
    left = page.locator("#board").inner_text()
    page.goto("about:blank")
    page.go_back()
    assert page.locator("#board").inner_text() == left
    another = page.context.new_page()
    another.goto(page.url)
    assert another.locator("#board").inner_text() == left
    another.close()


def test_days_of_ones_own_are_chosen_by_keyboard(page: Page) -> None:
    today = datetime.now(UTC).date()
    page.locator("#range-menu > summary").focus()
    page.keyboard.press("Enter")
    for label, day in (("From", today - timedelta(3)), ("To", today - timedelta(1))):
        page.get_by_label(label, exact=True).fill(day.isoformat())
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/dashboard?from={today - timedelta(3)}&to={today - timedelta(1)}*")
    expect(page.locator("#table-cost tbody tr")).to_have_count(3)
    expect(page.get_by_role("button", name="Live")).to_have_count(0)  # it is over


def test_updates_can_be_paused_and_wait_for_whoever_reads(page: Page, metrion: Metrion) -> None:
    live = page.get_by_role("button", name="Live")
    live.click()
    expect(live).to_have_attribute("aria-pressed", "false")
    polls: list[str] = []
    page.on("request", lambda request: polls.append(request.url) if "/dashboard/live" in request.url else None)
    before = requests(page)
    send_call(metrion)
    page.wait_for_timeout(2500)  # a poll would have come
    assert (polls, requests(page)) == ([], before)
    live.click()
    page.get_by_text("Filter", exact=True).click()
    page.get_by_label("Requester", exact=True).fill("half a na")
    page.wait_for_timeout(2500)
    assert (polls, page.get_by_label("Requester", exact=True).input_value()) == ([], "half a na")
    page.keyboard.press("Escape")
    page.locator("body").click(position={"x": 1, "y": 1})
    expect(page.locator("#stat-requests .stat-figure")).to_have_attribute("title", f"{before + 1:,}")


def test_filters_are_chosen_dropped_and_undone(page: Page) -> None:
    before = requests(page)
    page.get_by_text("Filter", exact=True).click()
    page.get_by_label("Provider", exact=True).select_option("anthropic")
    page.get_by_role("button", name="Show").last.click()
    page.wait_for_url("**/dashboard?provider=anthropic*")
    expect(page.get_by_role("list", name="Filters")).to_contain_text("Anthropic")
    assert requests(page) < before
    open_tab(page, "Costs")
    assert page.url.endswith("/dashboard/costs?provider=anthropic")
    page.get_by_label("Drop the filter provider: Anthropic").click()
    expect(page.get_by_role("list", name="Filters")).to_be_hidden()
    page.go_back()
    expect(page.get_by_role("list", name="Filters")).to_contain_text("Anthropic")
    page.go_back()
    expect(page.get_by_role("heading", level=1)).to_have_text("Dashboard: Overview")


def test_a_model_is_found_in_a_long_list_and_chosen(page: Page) -> None:
    page.get_by_text("Filter", exact=True).click()
    models = page.locator("#filter-models label")
    search = page.get_by_label("Find a model")
    if search.count():
        search.fill("SONNET")
        expect(models.filter(visible=True)).to_have_count(1)
    page.get_by_role("checkbox", name="claude-sonnet-5-5").check()
    page.get_by_role("button", name="Show").last.click()
    page.wait_for_url("**model=claude-sonnet-5-5*")
    expect(page.get_by_role("list", name="Filters")).to_contain_text("claude-sonnet-5-5")


def test_colours_follow_the_theme_and_paper_is_light(page: Page) -> None:
    page.locator("#chart-cost canvas").wait_for()
    light = page.evaluate(OPTION, "chart-cost")["series"][0]["color"]
    page.emulate_media(color_scheme="dark")
    page.wait_for_function(f"light => ({OPTION})('chart-cost').series[0].color !== light", arg=light)
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    page.wait_for_function(f"light => ({OPTION})('chart-cost').series[0].color === light", arg=light)
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    page.wait_for_function(f"light => ({OPTION})('chart-cost').series[0].color !== light", arg=light)
    assert page.locator("html").get_attribute("data-theme") is None


def test_nothing_jumps_while_charts_come(page: Page) -> None:
    page.add_init_script(
        "window.shift = 0; new PerformanceObserver((list) => list.getEntries().forEach((one) => (shift += one.value)))"
        ".observe({ type: 'layout-shift', buffered: true })"
    )
    for path in ("/dashboard", "/dashboard/costs?by=requester", "/dashboard/latency", "/dashboard/errors"):
        page.goto(page.url.partition("/dashboard")[0] + path)
        page.locator("[data-chart] canvas").first.wait_for()
        assert page.evaluate("window.shift") < 0.01, path


def test_without_scripts_the_table_is_there(chromium: Browser, metrion: Metrion, cookies: dict[str, str]) -> None:
    with opened(chromium, metrion.origin + "/dashboard", cookies=cookies, scripts=False) as page:
        table = page.locator("#table-cost")
        expect(table).to_be_hidden()
        page.locator("#twin-cost summary").click()
        expect(table).to_be_visible()
        expect(page.get_by_role("button", name="Live")).to_be_hidden()
        page.get_by_role("link", name="Sources").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("Dashboard: Sources")
