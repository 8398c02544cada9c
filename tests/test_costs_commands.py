"""Prices, repricing, what-if and currencies, as a person at the command line meets them, also beside a server."""

from __future__ import annotations

import json
import threading
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from metrion.config import Settings
from metrion.control import ask
from metrion.errors import ConfigError, InputError
from metrion.kit.clock import now_ms
from metrion.ledger.price import price
from metrion.prices.catalog import PriceBook
from metrion.storage import tables
from metrion.storage.database import open_reader
from tests.conftest import NewMetrion
from tests.ledger.samples import make_call
from tests.ledger.test_reprice import used
from tests.rates.test_table import HEAD, zipped
from tests.support import Metrion, exchange
from tests.test_commands import Metrion as Command
from tests.test_commands import jsonl, metrion, record  # noqa: F401  `metrion` is the fixture

TOKENS = {"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100}
ACCOUNT = ("--account", "a@example.com")
FROM = ("--from", "2026-10-01")
BODY = json.dumps({"model": "gpt-4o", "messages": [{"role": "user", "content": "Hi"}]}).encode()


@pytest.fixture
def run(metrion: Command, tmp_path: Path) -> Command:  # noqa: F811
    """Commands over an account with two calls of 2026-11-01, of $0.0035 and $0.0000045."""
    metrion("account", "create", "a@example.com")
    book = PriceBook.load()
    calls = [used("openai", "gpt-4o", TOKENS, requester="bot"), make_call()]
    record(tmp_path, *(price(book, call) for call in calls))
    return metrion


def costs(run: Command, *more: str) -> list[dict[str, Any]]:
    return jsonl(run("logs", *ACCOUNT, "--format", "jsonl", *more))


# ── price ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_price_that_is_set_is_shown_with_its_history_and_source(run: Command, tmp_path: Path) -> None:
    done = run("price", "set", "openai", "gpt-4o", "--input", "2", "--from", "2026-11-01", "--source", "contract 7")
    assert done.code == 0, done.err
    assert f"{tmp_path / 'data' / 'prices.toml'}: openai gpt-4o, from 2026-11-01 on" in done.out
    assert "metrion reprice --from 2026-11-01 --dry-run" in done.out
    shown = run("price", "show", "gpt-4o").out
    assert "contract 7" in shown
    history = [line.split()[:4] for line in shown[shown.index("History:") :].splitlines()[2:4]]
    assert history == [["ever", "2.5", "1.25", "10"], ["2026-11-01", "2", "1.25", "10"]]
    assert "processing=batch" in shown
    listed = {
        line.split()[1]: line.split()[2:5] for line in run("price", "list", "--provider", "openai").out.splitlines()
    }
    assert listed["gpt-4o"] == ["2", "1.25", "10"]


def test_a_price_of_a_day_to_come_does_not_hold_yet(run: Command) -> None:
    done = run("price", "set", "openai", "gpt-4o", "--output", "9", "--from", "2090-01-01")
    assert "reprice" not in done.out
    shown = run("price", "show", "gpt-4o", "--provider", "openai").out
    assert "output                  10" in shown
    assert "2090-01-01" in shown


def test_without_a_day_a_price_holds_from_today_on(run: Command, tmp_path: Path) -> None:
    run("price", "set", "openai", "gpt-*", "--discount", "10")
    text = (tmp_path / "data" / "prices.toml").read_text()
    assert f"valid_from = {datetime.now(UTC).date()}" in text
    assert 'prefix = "gpt-"' in text


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("openai", "gpt-4o"), "sets nothing"),
        (("acme", "x", "--input", "1"), "unknown provider 'acme'"),
        (("openai", "x", "--input", "much"), "not a decimal number"),
        (("openai", "x", "--per-million", "input"), "--per-million: 'input' is not NAME=VALUE"),
        (("openai", "x", "--per-million", "smell=1"), "unknown token class 'smell'"),
        (("openai", "x", "--input", "1", "--from", "soon"), "--from: 'soon' is no day"),
        (("openai", "x", "--input", "1", "--when", "mood=good"), "unknown condition 'mood'"),
        (("openai", "x", "--input", "1", "--from", "2026-11-02", "--to", "2026-11-02"), "valid_to must come after"),
    ],
)
def test_a_wrong_price_is_refused_in_one_line(
    run: Command, tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    done = run("price", "set", *arguments)
    assert done.code > 0
    assert said in done.err
    assert done.err.count("\n") == 1
    assert not (tmp_path / "data" / "prices.toml").exists()


def test_unknown_models_and_providers_are_named(run: Command) -> None:
    assert "there is no price for 'gpt-house'" in run("price", "show", "gpt-house").err
    assert "unknown provider 'acme'" in run("price", "list", "--provider", "acme").err


def test_check_ends_with_1_where_a_price_differs(run: Command, tmp_path: Path) -> None:
    same = run("price", "check")
    assert (same.code, "0 differ" in same.out) == (0, True)
    table = tmp_path / "litellm.json"
    entry = {"litellm_provider": "openai", "input_cost_per_token": 2e-06, "output_cost_per_token": 1e-05}
    table.write_text(json.dumps({"gpt-4o": entry, "gpt-house": entry}))
    other = run("price", "check", "--table", str(table))
    assert other.code == 1
    assert ["openai", "gpt-4o", "input", "2.5", "2"] in [line.split()[:5] for line in other.out.splitlines()]
    assert "1 models of the table have no price in the book: openai gpt-house" in other.out
    assert run("price", "check", "--table", str(table), "--tolerance", "20").code == 0
    assert "no number" in run("price", "check", "--tolerance", "few").err


def test_reload_checks_the_file_where_no_server_runs(run: Command, tmp_path: Path) -> None:
    file = tmp_path / "data" / "prices.toml"
    assert "0 prices of your own" in run("price", "reload").out
    file.write_text('[[price]]\nprovider = "openai"\nprefix = ""\ndiscount = "5"\n')
    assert "1 prices of your own" in run("price", "reload").out
    file.write_text("[[price]]\n")
    assert run("price", "reload").code == ConfigError.exit_code


# ── reprice ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_repricing_shows_the_old_figure_the_reason_and_the_time(run: Command) -> None:
    run("price", "set", "openai", "gpt-4o", "--input", "2", "--output", "8", "--from", "2026-10-01")
    before = now_ms()
    done = run("reprice", *FROM, "--reason", "the contract")
    assert "1 rows were priced again" in done.out
    assert ["openai", "gpt-4o", "1", "$0.0035", "$0.0028", "-$0.0007"] in [
        line.split() for line in done.out.splitlines()
    ]
    whole, other = costs(run, "--history")
    assert (whole["cost_usd"], whole["cost_version"], other["cost_version"]) == ("0.0028", 2, 1)
    [old] = whole["cost_history"]
    assert (old["cost_version"], old["cost_usd"], old["cost_source"], old["reason"]) == (
        1,
        "0.0035",
        "computed",
        "the contract",
    )
    assert before - 1 <= datetime.fromisoformat(old["replaced_at"]).timestamp() * 1000 <= now_ms()
    assert old["price_ref"] != whole["price_ref"]
    assert other["cost_history"] == []
    assert "cost_history" not in costs(run)[0]
    total = json.loads(run("usage", *ACCOUNT, "--format", "json").out)["total"]
    assert total["cost_usd"] == "0.0028045"


def test_running_it_twice_changes_nothing(run: Command) -> None:
    run("price", "set", "openai", "gpt-4o", "--input", "2", "--from", "2026-10-01")
    run("reprice", *FROM)
    rows = costs(run, "--history")
    assert "nothing to change" in run("reprice", *FROM).out
    assert costs(run, "--history") == rows


def test_a_dry_run_tells_and_changes_nothing(run: Command) -> None:
    run("price", "set", "openai", "gpt-4o", "--input", "2", "--from", "2026-10-01")
    rows = costs(run, "--history")
    done = run("reprice", *FROM, "--dry-run")
    assert "1 rows would change; nothing was changed" in done.out
    assert costs(run, "--history") == rows


@pytest.mark.parametrize(
    ("more", "changed"),
    [
        (("--to", "2026-11-01"), True),
        (("--to", "2026-10-31"), False),
        (("--provider", "grok"), False),
        (("--model", "gpt-4o"), True),
        (("--model", "gpt-4o-mini"), False),
        (("--account", "a@example.com"), True),
    ],
)
def test_only_what_is_asked_for(run: Command, more: tuple[str, ...], changed: bool) -> None:
    run("price", "set", "openai", "gpt-4o", "--input", "2", "--from", "2026-10-01")
    run("reprice", *FROM, *more)
    assert (costs(run)[0]["cost_version"] == 2) is changed


def test_wrong_use_of_it(run: Command) -> None:
    assert run("reprice").code == 2
    assert "no account" in run("reprice", *FROM, "--account", "b@example.com").err
    assert "--history goes with" in run("logs", *ACCOUNT, "--history").err


# ── what-if ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_what_if_as_a_table_and_as_json(run: Command) -> None:
    out = run("what-if", *ACCOUNT, "--map", "gpt-4o=gpt-4o-mini").out
    assert ["bot", "gpt-4o", "gpt-4o-mini", "1", "0", "$0.0035", "$0.00021", "-$0.0033"] in [
        line.split() for line in out.splitlines()
    ]
    assert "Each call has the tokens it had" in out
    found = json.loads(run("what-if", *ACCOUNT, "--map", "gpt-4o=gpt-4o-mini", "--format", "json").out)
    assert found["total"] == {
        "calls": 2,
        "cost_usd": "0.0035045",
        "would_be_usd": "0.0002145",
        "difference_usd": "-0.00329",
        "left_out": 0,
        "at_list_price": 0,
    }
    assert [(group["requester"], group["model"], group["as"]) for group in found["groups"]] == [
        ("bot", "gpt-4o", "gpt-4o-mini"),
        ("", "gpt-4o-mini-2024-07-18", None),
    ]
    assert len(found["assumptions"]) > 1


def test_what_if_of_a_period(run: Command) -> None:
    assert "No calls yet" in run("what-if", *ACCOUNT, "--batch", "--to", "2026-10-31").out
    assert "$0.0018" in run("what-if", *ACCOUNT, "--batch", *FROM).out
    assert "say what would be otherwise" in run("what-if", *ACCOUNT).err


# ── currencies and confidence ─────────────────────────────────────────────────────────────────────────────────────────


def test_costs_in_another_currency_stand_beside_the_rate_and_its_day(run: Command, tmp_path: Path) -> None:
    # A Saturday and the Friday before: https://www.ecb.europa.eu publishes on working days only.
    (tmp_path / "data" / "eurofxref-hist.zip").write_bytes(
        zipped(HEAD + "2090-01-06,1.25,170,0.95,\n2026-10-30,1.25,1,0.9,\n")
    )
    found = json.loads(run("usage", *ACCOUNT, "--to", "2026-11-01", "--currency", "EUR", "--format", "json").out)
    assert (found["currency"], found["rate"]) == (
        "EUR",
        {"per_usd": "0.800000", "date": "2026-10-30", "source": "European Central Bank"},
    )
    assert (found["total"]["cost_usd"], found["total"]["cost"]) == ("0.0035045", "0.0028036")
    out = run("usage", *ACCOUNT, "--to", "2026-11-01", "--currency", "CHF").out
    assert [line.split()[-5:] for line in out.splitlines() if line.startswith("total")] == [
        ["$0.0035", "0.0025", "0.720000", "of", "2026-10-30"]
    ]
    plain = json.loads(run("usage", *ACCOUNT, "--format", "json").out)
    assert (plain["currency"], "rate" in plain, "cost" in plain["total"]) == ("USD", False, False)


def test_totals_say_how_far_they_can_be_trusted(run: Command, tmp_path: Path) -> None:
    book = PriceBook.load()
    reported = used("grok", "grok-4", TOKENS | {"cost_in_usd_ticks": 5_000_000_000})
    unpriced = used("openai", "gpt-house", TOKENS)
    record(tmp_path, *(price(book, call) for call in (reported, unpriced, make_call(reading=None))))
    total = json.loads(run("usage", *ACCOUNT, "--format", "json").out)["total"]
    assert total["confidence"] == {
        "provider": "0.5",
        "computed": "0.0035045",
        "estimated": "0",
        "unpriced_rows": 1,
        "unknown_rows": 1,
    }
    assert total["cost_usd"] == "0.5035045"
    out = run("usage", *ACCOUNT, "--by", "provider").out
    assert "$0.50 is as providers reported it, $0.0035 computed, $0.00 estimated" in out
    assert "1 without a known price, 1 without known usage" in out


# ── beside a running server ───────────────────────────────────────────────────────────────────────────────────────────


def call(server: Metrion) -> None:
    headers = [("Authorization", f"Bearer {server.token}"), ("Content-Type", "application/json")]
    assert exchange(server.port, "POST", "/api/proxy/openai/v1/chat/completions", headers, BODY).status == 200


def sums(server: Metrion) -> tuple[int, int, int]:
    """Requests and cost by the rows, and the cost by the totals, of one moment."""
    reader = open_reader(Settings(data_dir=server.data_dir))
    hours = tables.model_hours
    with reader.connect() as connection:
        counted, cost = connection.execute(select(func.count(), func.sum(tables.calls.c.cost_nano))).one()
        total = connection.execute(select(func.sum(hours.c.cost_nano))).scalar_one()
    reader.dispose()
    return counted, cost, total


def test_prices_hold_at_once_and_repricing_goes_on_beside_the_traffic(new_metrion: NewMetrion) -> None:
    server = new_metrion()
    for _ in range(20):
        call(server)
    listed = Decimal(server.rows(20)[0]["cost_usd"])
    stop, seen = threading.Event(), list[tuple[int, int, int]]()

    def traffic() -> None:
        while not stop.is_set():
            call(server)

    def read() -> None:
        while not stop.is_set():
            seen.append(sums(server))

    threads = [threading.Thread(target=target) for target in (traffic, read)]
    for thread in threads:
        thread.start()
    try:
        for percent in ("50", "0", "50"):
            server.call("price", "set", "openai", "*", "--discount", percent)
            server.call("reprice", "--from", "2026-01-01")
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert all(cost == total for _, cost, total in seen)  # at every moment
    assert len({cost for _, cost, _ in seen}) > 1
    rows = server.rows(20)
    assert {Decimal(row["cost_usd"]) for row in rows} == {listed / 2}
    assert max(row["cost_version"] for row in rows) == 4  # half, whole, half
    assert "nothing to change" in server.call("reprice", "--from", "2026-01-01")


def test_the_server_takes_up_a_file_that_was_edited_and_keeps_the_old_prices_where_it_is_broken(
    new_metrion: NewMetrion,
) -> None:
    server = new_metrion()
    call(server)
    file = server.data_dir / "prices.toml"
    file.write_text('[[price]]\nprovider = "openai"\nprefix = ""\ndiscount = "100"\n')
    assert "1 prices of your own hold" in server.call("price", "reload")
    call(server)
    file.write_text("[[price]]\n")
    with pytest.raises(RuntimeError) as refused:
        server.call("price", "reload")
    assert isinstance(refused.value.__cause__, ConfigError)
    call(server)
    assert [row["cost_usd"] == "0" for row in server.rows(3)] == [False, True, True]


def test_the_server_starts_with_the_operators_prices(new_metrion: NewMetrion, tmp_path: Path) -> None:
    file = tmp_path / "own.toml"
    file.write_text('[[price]]\nprovider = "openai"\nprefix = ""\ndiscount = "100"\n')
    server = new_metrion({"METRION_PRICES_FILE": str(file)})
    call(server)
    assert server.rows(1)[0]["cost_usd"] == "0"
    assert str(file) in server.call("price", "set", "openai", "*", "--discount", "0")
    assert 'discount = "0"' in file.read_text()


def test_an_operation_the_server_does_not_know(new_metrion: NewMetrion) -> None:
    server = new_metrion()
    with pytest.raises(InputError, match="does not know this operation"):
        ask(Settings(data_dir=server.data_dir), "drop_everything", {})
    with pytest.raises(InputError, match="cannot be priced again"):
        ask(Settings(data_dir=server.data_dir), "reprice", {"scope": 1})
