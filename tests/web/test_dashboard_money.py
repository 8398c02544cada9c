"""The dashboard's money: forecast and saving by their formulas, and in other currencies at one rate that is told."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from metrion.kit.clock import DAY_MS, HOUR_MS, now_ms
from metrion.rates.table import Rate, load
from metrion.web.figures import call_money, exact_usd, money
from tests.fake_provider import FakeProvider
from tests.support import PROVIDERS, Metrion
from tests.web import told
from tests.web.people import by_link
from tests.web.plain import Spender, asked, by, cost, midnight, reached
from tests.web.spent import Row, change_account, draw_calls, local_day, rows_of, write
from tests.web.told import Node

# currency, time zone and days with calls of each
PEOPLE = {
    "usd@example.com": ("USD", "Asia/Kolkata", 45),
    "eur@example.com": ("EUR", "Europe/Berlin", 36),
    "chf@example.com": ("CHF", "Pacific/Chatham", 12),
    "new@example.com": ("USD", "America/New_York", 5),
}
SIGNS = {"USD": "$", "EUR": "€", "CHF": "CHF "}


@pytest.fixture(scope="module")
def metrion(fake: FakeProvider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Metrion]:
    """On working days people call six times as often, so that weekdays differ."""
    metrion = Metrion(tmp_path_factory.mktemp("money") / "data", dict.fromkeys(PROVIDERS, fake.origin))
    now, rng = now_ms(), Random(4)
    for email, (currency, zone, days) in PEOPLE.items():
        metrion.create_account(email, keys=())
        number = change_account(metrion, email, currency=currency, time_zone=zone)
        moments = [now - rng.randrange(1000, days * DAY_MS) for _ in range(days * 40)]
        working = [at for at in moments if weekday(zone, at) < 5 or rng.random() < 1 / 6]
        write(metrion, draw_calls(rng, number, working, ("bot", "agent", "")), folded_at=now - 30 * HOUR_MS)
    metrion.start()
    yield metrion
    metrion.stop()


@pytest.fixture(scope="module")
def people(metrion: Metrion) -> dict[str, Spender]:
    found = {}
    for email, (_, zone, _) in PEOPLE.items():
        number = 1 + list(PEOPLE).index(email)
        found[email] = Spender(by_link(metrion, email), zone, rows_of(metrion, number))
    return found


def weekday(zone: str, ms: int) -> int:
    return datetime.fromtimestamp(ms / 1000, ZoneInfo(zone)).weekday()


# ── The forecast ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("query", [{}, {"provider": "openai"}, {"requester": "bot"}, {"range": "24h"}], ids=str)
@pytest.mark.parametrize("email", [email for email, (_, _, days) in PEOPLE.items() if days > 8])
def test_the_forecast_is_what_days_of_the_same_name_cost(
    people: dict[str, Spender], email: str, query: dict[str, Any]
) -> None:
    spender = people[email]
    page, now = spender.ask("/dashboard/costs", **query)
    keeps = asked(spender, now, query).keeps
    today = date.fromisoformat(local_day(spender.zone, now))
    spent: defaultdict[date, int] = defaultdict(int)
    for row in spender.rows:
        if keeps(row):
            spent[date.fromisoformat(local_day(spender.zone, row["started_ms"]))] += row["cost_nano"] or 0
    first = date.fromisoformat(local_day(spender.zone, spender.rows[0]["started_ms"]))
    sample = [day for day in (today - timedelta(back) for back in range(1, 29)) if day >= first]
    same = {name: [spent[day] for day in sample if day.weekday() == name] for name in range(7)}
    so_far = sum(nano for day, nano in spent.items() if (day.year, day.month) == (today.year, today.month))
    mean = {name: round(sum(costs) / len(costs)) for name, costs in same.items()}
    left = [day for day in (today + timedelta(ahead) for ahead in range(1, 32)) if day.month == today.month]
    known = so_far + max(mean[today.weekday()] - spent[today], 0)
    card = told.stat(page, "forecast")
    assert card.exact == exact_usd(known + sum(mean[day.weekday()] for day in left))
    chance = Random(99)
    months = sorted(known + sum(chance.choice(same[day.weekday()]) for day in left) for _ in range(4000))
    low, high = (amount(text) for text in card.beside.removeprefix("80 % likely ").split(" to "))
    rate = rate_of(page)
    for shown, exact in ((low, months[400]), (high, months[3599])):
        assert abs(shown - exact * rate / 1e9) <= 0.04 * exact * rate / 1e9 + 0.01
    assert low <= amount(card.text) <= high


def test_a_forecast_waits_for_a_week(people: dict[str, Spender]) -> None:
    page, _ = people["new@example.com"].ask("/dashboard/costs")
    card = told.stat(page, "forecast")
    assert (card.text, card.beside, card.exact) == ("–", "after 7 whole days of data", "")


def amount(text: str) -> float:
    return float(text.lstrip("$€CHF ").replace(",", ""))


# ── What caching saved ────────────────────────────────────────────────────────────────────────────────────────────────


def saved(row: Row) -> float:
    """Cached × (input − cached) − written × (write − input), at the prices that the row's own parts tell."""
    written = row["cache_write_5m_tokens"] + row["cache_write_1h_tokens"]
    fresh = row["input_tokens"] - row["cached_input_tokens"] - written
    price = row["input_nano"] / fresh
    return (
        row["cached_input_tokens"] * price - row["cached_nano"] - (row["written_nano"] - written * price)
        if row["cached_input_tokens"] or written
        else 0.0
    )


@pytest.mark.parametrize("query", [{"range": "30d"}, {"provider": "anthropic"}, {"requester": "agent"}], ids=str)
def test_saving_follows_its_formula(people: dict[str, Spender], query: dict[str, Any]) -> None:
    spender = people["usd@example.com"]
    page, now = spender.ask("/dashboard/costs", **query)
    rows = asked(spender, now, query).of(spender.rows)
    computed = [row for row in rows if row["cost_source"] == "computed" and row["input_nano"]]
    exact = round(sum(map(saved, computed)))
    assert exact
    shown = told.stat(page, "saved").exact
    assert abs(round(amount(shown) * 1e9) - exact) <= 2 * len(computed)  # each is rounded by itself
    assert shown == exact_usd(sum(row["saved_nano"] for row in rows))


# ── Other currencies ──────────────────────────────────────────────────────────────────────────────────────────────────

CONVERTED = ["eur@example.com", "chf@example.com"]


def rate_of(page: Node) -> float:
    """What a dollar is, as the page tells; 1 where it tells of no rate."""
    return float(page.text.partition("Shown in ")[2][7:].partition(" ")[0] or 1)


def latest(metrion: Metrion, currency: str) -> Rate:
    table = load(metrion.data_dir / "none.zip", days=1)
    return table.rate(currency, table.latest)


def shown_in(rate: Rate, nano: int) -> str:
    return money(round(nano * rate.per_usd), rate.currency)


@pytest.mark.parametrize("email", CONVERTED)
def test_every_amount_is_converted_at_one_rate_and_exact_in_dollars(
    metrion: Metrion, people: dict[str, Spender], email: str
) -> None:
    spender, currency = people[email], PEOPLE[email][0]
    rate = latest(metrion, currency)
    page, now = spender.ask("/dashboard")
    want = asked(spender, now, {})
    rows, before = want.of(spender.rows), want.before(spender.rows)
    assert_told(page, rate)
    spent = told.stat(page, "cost")
    assert (spent.text, spent.exact) == (shown_in(rate, cost(rows)), exact_usd(cost(rows)))
    assert spent.before == shown_in(rate, cost(before))
    series, _, values = told.chart(page, "cost")
    for at, model in enumerate(series):
        nano = sum(row["cost_nano"] or 0 for row in rows if row["model"] == model)
        drawn = sum(row[at] or 0 for row in values)
        assert model == "other" or abs(drawn - nano * rate.per_usd) <= len(values)  # each day is rounded by itself
    difference = cost(rows) - cost(before)
    total = page.one("p", class_="why-sum").one("strong")
    assert (total.text.lstrip("+-−"), total.at["title"]) == (shown_in(rate, abs(difference)), exact_usd(difference))
    page, _ = spender.ask("/dashboard/costs")
    assert_told(page, rate)
    lines = {cells[0][0]: cells[1] for cells in told.table(page, "By model")}
    for model, own in by(reached(rows), "model").items():
        if any(row["cost_nano"] is not None for row in own):
            assert lines[model] == (shown_in(rate, cost(own)), exact_usd(cost(own)))
    month = date.fromisoformat(local_day(spender.zone, now)).replace(day=1)
    this = cost([row for row in spender.rows if row["started_ms"] >= midnight(spender.zone, month)])
    assert told.stat(page, "month").text == shown_in(rate, this)
    page, _ = spender.ask("/dashboard/sources")
    assert_told(page, rate)
    for cells in told.table(page, "Requesters"):
        own = [row for row in reached(rows) if (row["requester"] or "(none)") == cells[0][0]]
        assert cells[7] == (shown_in(rate, cost(own)), exact_usd(cost(own)))


def assert_told(page: Node, rate: Rate) -> None:
    """The rate and its day stand on the page, and no amount that is read is in dollars."""
    day = f"{rate.day.day} {rate.day:%b %Y}"
    said = (
        f"Shown in {rate.currency} at {float(rate.per_usd):.4f} for one US dollar, the European Central Bank's rate of"
    )
    assert f"{said} {day}" in page.text
    assert "$" not in page.text


@pytest.mark.parametrize("email", CONVERTED)
def test_lines_of_the_log_and_the_statement_are_converted_too(
    metrion: Metrion, people: dict[str, Spender], email: str
) -> None:
    spender = people[email]
    rate = latest(metrion, PEOPLE[email][0])
    page, _ = spender.ask("/logs")
    newest = sorted(spender.rows, key=lambda row: row["request_id"], reverse=True)[:50]
    texts = [line.one("td", class_="last").text for line in page.one("table", class_="log").one("tbody").all("tr")]
    assert texts == [
        row["cost_source"]
        if row["cost_nano"] is None
        else call_money(round(row["cost_nano"] * rate.per_usd), rate.currency)
        for row in newest
    ]
    assert_told(page, rate)
    spender.browser.get("/settings/statements")
    made = told.parse(spender.browser.submit("/settings/statements", days="7").html)
    page, now = spender.ask(made.one("a", id="made").at["href"])
    month = date.fromisoformat(local_day(spender.zone, now)).replace(day=1)
    this = [row for row in spender.rows if row["started_ms"] >= midnight(spender.zone, month)]
    assert page.one("section", class_="figures").one(class_="stat-figure").text == shown_in(rate, cost(this))
    assert_told(page, rate)
