"""The dashboard's figures: each is the straight sum of the rows that its page is about, in whatever zone and filter."""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from datetime import date, datetime, timedelta
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from metrion.kit.clock import DAY_MS, HOUR_MS, now_ms
from metrion.web.cards import change
from metrion.web.figures import count, exact_usd, money, percent
from tests.fake_provider import FakeProvider
from tests.support import PROVIDERS, Metrion
from tests.web import told
from tests.web.people import by_link
from tests.web.plain import (
    Asked,
    Spender,
    asked,
    by,
    cost,
    failed,
    mean_latency,
    midnight,
    reached,
    tokens,
)
from tests.web.spent import (
    Row,
    change_account,
    draw_calls,
    last_clock_change,
    local_day,
    random_moments,
    rows_of,
    write,
)
from tests.web.told import Node, Stat

ZONES = {"kolkata@example.com": "Asia/Kolkata", "chatham@example.com": "Pacific/Chatham"}
CHANGING = (
    "Europe/Berlin",
    "America/New_York",
    "Pacific/Chatham",
    "Africa/Cairo",
    "America/Santiago",
    "Australia/Lord_Howe",
)
REQUESTERS = ("invoice-bot", "support-agent", "nightly-report", "")
DAYS = 40
LABELS = {"openai": "OpenAI", "anthropic": "Anthropic", "gemini": "Gemini", "mistral": "Mistral", "grok": "Grok"}


@pytest.fixture(scope="module")
def spenders(fake: FakeProvider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Spender]]:
    """By address; the one of "changed" lives where clocks were changed lately."""
    metrion = Metrion(tmp_path_factory.mktemp("spent") / "data", dict.fromkeys(PROVIDERS, fake.origin))
    now, rng = now_ms(), Random(1)
    zones = dict(ZONES)
    changes = {zone: at for zone in CHANGING if (at := last_clock_change(zone, now, 80)) is not None}
    if changes:
        zones["changed@example.com"] = next(iter(changes))
    ids = {}
    for email, zone in zones.items():
        metrion.create_account(email, keys=())
        ids[email] = change_account(metrion, email, time_zone=zone)
        moments = random_moments(rng, now, 1200, DAYS)
        if email == "changed@example.com":
            moments += [changes[zone] + rng.randrange(-2 * DAY_MS, 2 * DAY_MS) for _ in range(400)]
        write(metrion, draw_calls(rng, ids[email], moments, REQUESTERS), folded_at=now - 30 * HOUR_MS)
    metrion.start()
    yield {email: Spender(by_link(metrion, email), zone, rows_of(metrion, ids[email])) for email, zone in zones.items()}
    metrion.stop()


def check_main(page: Node, want: Asked, rows: list[Row], *, refusals: bool) -> None:
    """The four cards that Overview and a requester's page begin with."""
    now, before = want.of(rows), want.before(rows)
    requests, errors = told.stat(page, "requests"), told.stat(page, "errors")
    assert requests.exact == f"{len(reached(now)):,}"
    assert requests.beside == f"{count(tokens(now))} tokens"
    assert errors.exact == f"{len(failed(now)):,}"
    refused = len(now) - len(reached(now))
    rate = percent(len(failed(now)) / len(reached(now)) if reached(now) else None)
    assert errors.beside == f"{rate} of requests" + (f" · {refused} refused" if refused and refusals else "")
    spent, latency = told.stat(page, "cost"), told.stat(page, "latency")
    assert spent.exact == exact_usd(cost(now))
    assert latency.text == mean_latency(now)
    check_change(requests, len(reached(now)), len(reached(before)), count, before)
    check_change(errors, len(failed(now)), len(failed(before)), count, before)
    check_change(spent, cost(now), cost(before), money, before)
    assert latency.before == (mean_latency(before) if latency.change else "")
    assert bool(latency.change) == bool(reached(now) and reached(before))


def check_change(figure: Stat, now: int, before: int, text: Callable[[int], str], then: list[Row]) -> None:
    """A figure against the period before, whose calls were `then`: nothing where there was none, or both are 0."""
    if not reached(then) or not (now or before):
        assert (figure.change, figure.before) == ("", "")
    else:
        assert (figure.change, figure.before) == (change(now, before, "").text, text(before))


QUERIES: list[dict[str, Any]] = [
    {},
    {"range": "24h"},
    {"range": "30d"},
    {"provider": "openai", "range": "30d"},
    {"model": ["gpt-5.5", "no-such-price"], "range": "30d"},
    {"requester": "invoice-bot", "range": "30d"},
    {"requester": "invoice-bot", "range": "24h"},
    {"status": "4xx", "range": "30d"},
    {"status": "5xx", "provider": "openai"},
    {"requester": "support-agent", "model": ["gpt-5.5"], "range": "30d"},
    {"requester": "support-agent", "provider": "openai", "status": "2xx", "range": "30d"},
    {"requester": "nightly-report", "model": ["claude-sonnet-5-5", "gpt-5.5"], "range": "24h"},
]
everybody = pytest.mark.parametrize("email", list(ZONES))
every_query = pytest.mark.parametrize("query", QUERIES, ids=lambda query: "&".join(map(str, query.values())) or "all")


def with_refusals(query: dict[str, Any]) -> bool:
    """Whether refusals are known: not of pairs of models and requesters."""
    return "requester" not in query or not ("model" in query or "status" in query)


# ── Overview ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@everybody
@every_query
def test_overview_is_the_sum_of_its_rows(spenders: dict[str, Spender], email: str, query: dict[str, Any]) -> None:
    spender = spenders[email]
    page, now = spender.ask("/dashboard", **query)
    want = asked(spender, now, query)
    rows = want.of(spender.rows)
    check_main(page, want, spender.rows, refusals=with_refusals(query))
    check_money_chart(page, "cost", want, rows)
    check_tokens_chart(page, want, rows)
    spent = {LABELS[name]: cost(own) for name, own in by(rows, "provider").items() if cost(own)}
    assert told.bars(page, "Providers by cost") == {name: exact_usd(nano) for name, nano in spent.items()}
    models = {name: len(own) for name, own in by(reached(rows), "model").items()}
    assert told.bars(page, "Models by requests") == {name: f"{number:,}" for name, number in models.items()}
    names = {row["requester"] for row in reached(rows)} - {""}
    if "model" not in query and "status" not in query:
        assert told.figure(page, "Requesters") == str(len(names))


def check_money_chart(page: Node, name: str, want: Asked, rows: list[Row]) -> None:
    series, buckets, values = told.chart(page, name)
    table = {
        (bucket, one): value
        for bucket, row in zip(buckets, values, strict=True)
        for one, value in zip(series, row, strict=True)
    }
    straight: dict[tuple[str, str], int] = defaultdict(int)
    for row in rows:
        model = row["model"] if row["model"] in series else "other"
        straight[want.bucket(row), model] += row["cost_nano"] or 0
    assert {key: value for key, value in table.items() if value} == {k: v for k, v in straight.items() if v}


def check_tokens_chart(page: Node, want: Asked, rows: list[Row]) -> None:
    series, buckets, values = told.chart(page, "tokens")
    parts: dict[str, Callable[[Row], int]] = {
        "Input": lambda row: row["input_tokens"] - row["cached_input_tokens"] - written(row, "written"),
        "Cached input": lambda row: row["cached_input_tokens"],
        "Cache writes": lambda row: written(row, "written"),
        "Output": lambda row: row["output_tokens"],
    }
    for at, name in enumerate(series):
        straight: Counter[str] = Counter()
        for row in rows:
            straight[want.bucket(row)] += parts[name](row)
        assert {bucket: row[at] for bucket, row in zip(buckets, values, strict=True) if row[at]} == +straight
    assert sum(sum(filter(None, row)) for row in values) == tokens(rows)


@everybody
def test_why_it_changed_names_the_greatest_differences(spenders: dict[str, Spender], email: str) -> None:
    spender = spenders[email]
    page, now = spender.ask("/dashboard")
    want = asked(spender, now, {})
    difference: Counter[tuple[str, str]] = Counter()
    for sign, rows in ((1, want.of(spender.rows)), (-1, want.before(spender.rows))):
        for row in reached(rows):
            difference[row["requester"] or "Without a requester", row["model"]] += sign * (row["cost_nano"] or 0)
    direction = 1 if difference.total() >= 0 else -1
    greatest = sorted(difference.items(), key=lambda item: -direction * item[1])[:3]
    found = [
        tuple(one.text for one in item.one("span", class_="why-names").all("bdi"))
        for item in page.one("ol", class_="why").all("li")
    ]
    assert found == [key for key, nano in greatest if nano * direction > 0]
    assert page.one("p", class_="why-sum").one("strong").at["title"] == exact_usd(difference.total())


def test_a_day_on_which_clocks_are_changed_has_its_own_hours(spenders: dict[str, Spender]) -> None:
    if "changed@example.com" not in spenders:
        pytest.skip("no zone of the list changed its clocks within what is kept")
    spender = spenders["changed@example.com"]
    changed = last_clock_change(spender.zone, now_ms(), 80)
    assert changed is not None
    day = local_day(spender.zone, changed)
    query = {"from": day, "to": day}
    page, now = spender.ask("/dashboard", **query)
    want = asked(spender, now, query)
    _, buckets, _ = told.chart(page, "cost")
    assert len(buckets) == math.ceil((want.to_ms - want.from_ms) / HOUR_MS) != 24
    check_main(page, want, spender.rows, refusals=True)
    check_tokens_chart(page, want, want.of(spender.rows))
    first, last = (date.fromisoformat(day) + timedelta(by) for by in (-2, 2))
    query = {"from": first.isoformat(), "to": last.isoformat()}
    page, now = spender.ask("/dashboard", **query)
    want = asked(spender, now, query)
    check_main(page, want, spender.rows, refusals=True)
    check_money_chart(page, "cost", want, want.of(spender.rows))


@pytest.mark.parametrize("days", [0, 2])
def test_every_tab_counts_the_day_on_which_clocks_are_changed(spenders: dict[str, Spender], days: int) -> None:
    """Of that day alone, by hours, and of the days around it."""
    if "changed@example.com" not in spenders:
        pytest.skip("no zone of the list changed its clocks within what is kept")
    spender = spenders["changed@example.com"]
    changed = last_clock_change(spender.zone, now_ms(), 80)
    assert changed is not None
    day = date.fromisoformat(local_day(spender.zone, changed))
    query = {"from": (day - timedelta(days)).isoformat(), "to": (day + timedelta(days)).isoformat()}
    want = asked(spender, now_ms(), query)
    rows = want.of(spender.rows)
    assert len(rows) > 50
    page, _ = spender.ask("/dashboard/costs", **query)
    check_money_chart(page, "costs", want, rows)
    check_lines(page, "By model", by(reached(rows), "model"))
    page, _ = spender.ask("/dashboard/latency", **query)
    assert near(told.stat(page, "p50").text, exact(reached(rows), "latency_us", 0.5))
    page, _ = spender.ask("/dashboard/errors", **query)
    check_errors_chart(page, want, rows)
    page, _ = spender.ask("/dashboard/sources", **query)
    check_sources(page, rows)


# ── Costs ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

COUNTED = ("input_tokens", "cached_input_tokens", "written", "output_tokens", "reasoning_tokens")


def check_lines(page: Node, title: str, groups: dict[str, list[Row]]) -> None:
    """A table by name: cost, share, requests and tokens."""
    lines = {cells[0][0]: cells for cells in told.table(page, title)}
    assert lines.keys() == {name or "(none)" for name in groups}
    whole = sum(cost(rows) for rows in groups.values())
    for name, rows in groups.items():
        cells = lines[name or "(none)"]
        sums = [sum(written(row, column) for row in rows) for column in COUNTED]
        assert [title for _, title in cells[3:]] == [f"{number:,}" for number in (len(reached(rows)), *sums)]
        if any(row["cost_nano"] is not None for row in reached(rows)):
            assert cells[1][1] == exact_usd(cost(rows))
            assert cells[2][0] == percent(cost(rows) / whole if whole else 0.0)
        else:
            assert cells[1][0] == "unpriced"


def written(row: Row, column: str) -> int:
    if column == "written":
        return int(row["cache_write_5m_tokens"] + row["cache_write_1h_tokens"])
    return int(row[column])


@everybody
@every_query
def test_costs_are_the_sums_of_their_rows(spenders: dict[str, Spender], email: str, query: dict[str, Any]) -> None:
    spender = spenders[email]
    page, now = spender.ask("/dashboard/costs", **query)
    want = asked(spender, now, query)
    rows = want.of(spender.rows)
    check_money_chart(page, "costs", want, rows)
    check_lines(page, "By model", by(reached(rows), "model"))
    assert told.stat(page, "cost").exact == exact_usd(cost(rows))
    assert told.stat(page, "saved").exact == exact_usd(sum(row["saved_nano"] for row in rows))
    cached, prompt = (sum(row[name] for row in rows) for name in ("cached_input_tokens", "input_tokens"))
    assert (
        told.stat(page, "saved").beside == f"{percent(cached / prompt if prompt else None)} of input came from a cache"
    )
    month = datetime.fromtimestamp(now / 1000, ZoneInfo(spender.zone)).date().replace(day=1)
    so_far = [row for row in spender.rows if row["started_ms"] >= midnight(spender.zone, month) and want.keeps(row)]
    assert told.stat(page, "month").exact == exact_usd(cost(so_far))
    known = Counter(row["cost_source"] for row in reached(rows))
    names = {"computed": "Computed", "provider": "Reported", "estimated": "Estimated", "unpriced": "Unpriced"}
    found = {
        name.split()[0].rstrip(":"): number
        for name, number in told.bars(page, "Requests by how their cost is known").items()
    }
    assert found == {names.get(source, "Unknown"): f"{number:,}" for source, number in known.items()}


@everybody
@pytest.mark.parametrize("of", ["money", "tokens"])
@pytest.mark.parametrize("name", ["provider", "requester", "class"])
def test_costs_by_other_names(spenders: dict[str, Spender], email: str, name: str, of: str) -> None:
    spender = spenders[email]
    page, now = spender.ask("/dashboard/costs", by=name, of=of, range="30d")
    want = asked(spender, now, {"range": "30d"})
    rows = want.of(spender.rows)
    _, buckets, values = told.chart(page, "costs")
    straight: Counter[str] = Counter()
    for row in rows:
        straight[want.bucket(row)] += (row["cost_nano"] or 0) if of == "money" else tokens([row])
    assert {
        bucket: sum(filter(None, row)) for bucket, row in zip(buckets, values, strict=True) if any(row)
    } == +straight
    if name == "provider":
        check_lines(page, "By provider", {LABELS[key]: own for key, own in by(reached(rows), "provider").items()})
    elif name == "requester":
        check_lines(page, "By requester", by(reached(rows), "requester"))
    else:
        lines = {cells[0][0]: cells[1][1] for cells in told.table(page, "By token class")}
        parts = {
            "Input": "input_nano",
            "Cached input": "cached_nano",
            "Cache writes": "written_nano",
            "Output": "output_nano",
        }
        sums = {label: sum(row[column] for row in rows) for label, column in parts.items()}
        assert lines == {name: exact_usd(nano) for name, nano in sums.items()} | {
            "Not by class": exact_usd(cost(rows) - sum(sums.values()))
        }


@everybody
def test_the_dearest_requests_come_first(spenders: dict[str, Spender], email: str) -> None:
    spender = spenders[email]
    page, now = spender.ask("/dashboard/costs", provider="openai", range="30d")
    rows = asked(spender, now, {"provider": "openai", "range": "30d"}).of(spender.rows)
    dearest = sorted((row["cost_nano"] for row in rows if row["cost_nano"] is not None), reverse=True)[:10]
    assert [cells[-1][1] for cells in told.table(page, "Most expensive requests")] == [
        exact_usd(nano) for nano in dearest
    ]


# ── Latency ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def exact(rows: list[Row], column: str, part: float) -> float:
    """A percentile as it is defined: of n in order, the one with the number ceil(part × n)."""
    values = sorted(row["latency_us"] - row["provider_us"] if column == "own" else row[column] for row in rows)
    return float(values[max(math.ceil(part * len(values)), 1) - 1])


def microseconds(text: str) -> float:
    """What `figures.duration` wrote."""
    minutes = re.fullmatch(r"(\d+) m (\d+) s", text)
    if minutes:
        return (60 * int(minutes[1]) + int(minutes[2])) * 1e6
    number, unit = text.split()
    return float(number) * {"ms": 1e3, "s": 1e6}[unit]


def near(text: str, us: float) -> bool:
    """Within 2 %, and what rounding to three digits or a tenth of a millisecond adds."""
    return abs(microseconds(text) - us) <= 0.026 * us + 60


@everybody
@pytest.mark.parametrize(
    "query",
    [
        {},
        {"range": "24h"},
        {"range": "30d", "provider": "openai"},
        {"model": ["gpt-5.5"]},
        {"requester": "invoice-bot"},
    ],
    ids=str,
)
def test_percentiles_are_near_the_exact_ones(spenders: dict[str, Spender], email: str, query: dict[str, Any]) -> None:
    spender = spenders[email]
    page, now = spender.ask("/dashboard/latency", **query)
    rows = reached(asked(spender, now, query).of(spender.rows))
    for name, column in (("p50", "latency_us"), ("ttft", "ttft_us")):
        card = told.stat(page, name)
        most, nearly_all = re.findall(r"([\d. ms]+?) p\d\d", card.beside.replace("·", ""))
        for text, part in ((card.text, 0.5), (most.strip(), 0.95), (nearly_all.strip(), 0.99)):
            assert near(text, exact(rows, column, part)), (name, part, text)
    if "model" not in query:
        assert near(told.stat(page, "overhead").text, exact([row for row in rows if row["provider_us"]], "own", 0.5))
    lines = {cells[0][0]: [text for text, _ in cells[1:]] for cells in told.table(page, "By model")}
    assert lines.keys() == by(rows, "model").keys()
    for model, own in by(rows, "model").items():
        requests, p50, p95, p99, ttft50, ttft95, speed = lines[model]
        assert requests == count(len(own))
        for text, column, part in ((p50, "latency_us", 0.5), (p95, "latency_us", 0.95), (p99, "latency_us", 0.99)):
            assert near(text, exact(own, column, part)), (model, part, text)
        assert near(ttft50, exact(own, "ttft_us", 0.5))
        assert near(ttft95, exact(own, "ttft_us", 0.95))
        streams = [row for row in own if row["stream"] and row["outcome"] == "ok"]
        took = sum(row["latency_us"] - row["ttft_us"] for row in streams) / 1e6
        if took:
            assert (
                abs(
                    float(speed.replace(",", "").replace("k", "")) - sum(row["output_tokens"] for row in streams) / took
                )
                <= 0.6
            )


# ── Errors ────────────────────────────────────────────────────────────────────────────────────────────────────────────


@everybody
@pytest.mark.parametrize(
    "query", [{}, {"range": "24h"}, {"range": "30d", "provider": "openai"}, {"status": "5xx"}], ids=str
)
def test_errors_are_counted_by_what_was_said(spenders: dict[str, Spender], email: str, query: dict[str, Any]) -> None:
    spender = spenders[email]
    page, now = spender.ask("/dashboard/errors", **query)
    want = asked(spender, now, query)
    rows = want.of(spender.rows)
    errors, refused = failed(rows), [row for row in rows if row["outcome"] == "rejected"]
    assert told.stat(page, "errors").exact == f"{len(errors):,}"
    assert told.stat(page, "refused").exact == f"{len(refused):,}"
    assert told.stat(page, "silent").exact == f"{sum(row['outcome'] == 'timeout' for row in errors):,}"
    assert told.stat(page, "rate").text == percent(len(errors) / len(reached(rows)))
    check_errors_chart(page, want, rows)
    kinds = Counter(
        (str(row["status"]), re.sub(r"\d+", "#", row["error_message"]), LABELS[row["provider"]]) for row in errors
    )
    found = {(cells[0][0], cells[1][0], cells[2][0]): cells[4][1] for cells in told.table(page, "What providers said")}
    assert found == {key: f"{number:,}" for key, number in kinds.most_common(30)} or len(kinds) > 30
    assert sum(int(cells[4][1].replace(",", "")) for cells in told.table(page, "Refused by Metrion")) == len(refused)
    latest = sorted((*errors, *refused), key=lambda row: row["request_id"], reverse=True)[:50]
    assert [cells[1][0] for cells in told.table(page, "The latest")] == [row["error_message"] for row in latest]


def check_errors_chart(page: Node, want: Asked, rows: list[Row]) -> None:
    _, buckets, values = told.chart(page, "errors")
    straight = Counter(want.bucket(row) for row in failed(rows))
    assert {bucket: sum(filter(None, row)) for bucket, row in zip(buckets, values, strict=True) if any(row)} == straight


# ── Sources ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@everybody
@pytest.mark.parametrize(
    "query", [{}, {"range": "24h"}, {"range": "30d", "provider": "openai"}, {"requester": "invoice-bot"}], ids=str
)
def test_sources_have_what_their_rows_have(spenders: dict[str, Spender], email: str, query: dict[str, Any]) -> None:
    spender = spenders[email]
    page, now = spender.ask("/dashboard/sources", **query)
    check_sources(page, asked(spender, now, query).of(spender.rows))


def check_sources(page: Node, rows: list[Row]) -> None:
    lines = {cells[0][0]: cells for cells in told.table(page, "Requesters")}
    groups = by(reached(rows), "requester")
    assert lines.keys() == {name or "(none)" for name in groups}
    for name, own in groups.items():
        cells = lines[name or "(none)"]
        assert [title for _, title in cells[3:6]] == [
            f"{number:,}" for number in (len(own), len(failed(own)), tokens(own))
        ]
        assert cells[6][0] == percent(cost(own) / cost(rows))
        assert cells[7][1] == exact_usd(cost(own))
    order = [cells[7][1] for cells in told.table(page, "Requesters")]
    assert order == [exact_usd(nano) for nano in sorted((cost(own) for own in groups.values()), reverse=True)]


@everybody
@pytest.mark.parametrize(
    "query", [{}, {"range": "24h"}, {"model": ["gpt-5.5", "gpt-4o-mini"], "range": "30d"}], ids=str
)
def test_a_requesters_own_page_is_about_its_rows(
    spenders: dict[str, Spender], email: str, query: dict[str, Any]
) -> None:
    spender = spenders[email]
    page, now = spender.ask("/dashboard/sources/invoice-bot", **query)
    want = asked(spender, now, query | {"requester": "invoice-bot"})
    rows = want.of(spender.rows)
    check_main(page, want, spender.rows, refusals="model" not in query)
    check_money_chart(page, "cost", want, rows)
    check_tokens_chart(page, want, rows)
    spent = {name: cost(own) for name, own in by(reached(rows), "model").items() if cost(own)}
    assert told.bars(page, "Models by cost") == {name: exact_usd(nano) for name, nano in spent.items()}
