"""One server from its start to its end, as its operator sees it."""

from __future__ import annotations

import os
import resource
import signal
import socket
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from metrion.call import Call
from metrion.config import Settings
from metrion.datadir import open_for_writing
from metrion.kit.clock import now_ms
from metrion.kit.months import month_of, month_start_ms
from metrion.ledger.record import COMPLETION, INTENT, frame
from metrion.ledger.writer import write_calls
from metrion.prices.catalog import PriceBook
from tests.conftest import NewMetrion
from tests.fake_provider import FakeProvider, Script
from tests.ledger.samples import intent_of, make_call
from tests.support import EMAIL, PROVIDERS, Answer, Metrion, exchange

CHAT = "/api/proxy/openai/v1/chat/completions"
BODY = b'{"model":"gpt-4o-mini","messages":[]}'


def ask(
    metrion: Metrion, mark: str = "app", script: Script | None = None, token: str = "", body: bytes = BODY
) -> Answer:
    headers = [("Authorization", f"Bearer {token or metrion.token}"), ("x-mark", mark), ("x-metrion-user", mark)]
    if script is not None:
        headers.append(("x-fake", script.header()))
    return exchange(metrion.port, "POST", CHAT, headers, body)


def refusal_to_start(metrion: Metrion) -> list[str]:
    done = metrion.run("serve", check=False)
    assert done.returncode != 0
    assert done.stdout == ""
    return done.stderr.splitlines()


@pytest.fixture
def stopped(fake: FakeProvider, tmp_path: Path) -> Iterator[Metrion]:
    """A Metrion with an account, not started yet."""
    server = Metrion(tmp_path / "data", dict.fromkeys(PROVIDERS, fake.origin))
    server.token = server.create_account()
    yield server
    if server.is_running():
        server.stop()


# ── start ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_it_says_that_it_lives_and_can_record(metrion: Metrion) -> None:
    for path in ("/healthz", "/readyz"):
        answer = exchange(metrion.port, "GET", path)
        assert (answer.status, answer.complete) == (200, True)


def test_it_is_alive_but_not_ready_while_calls_cannot_be_recorded(
    stopped: Metrion, fake: FakeProvider, mark: str
) -> None:
    stopped.start()
    folder = stopped.data_dir / "journal"
    limit_files(stopped.pid, 0)
    refused = ask(stopped, mark)
    assert (refused.status, refused.get("x-metrion-error")) == (503, "cannot_record")
    assert exchange(stopped.port, "GET", "/healthz").status == 200
    assert exchange(stopped.port, "GET", "/readyz").status == 503
    assert fake.named(mark) == []
    limit_files(stopped.pid, -1)
    wait_until(lambda: exchange(stopped.port, "GET", "/readyz").status == 200)
    assert ask(stopped, mark).status == 200
    assert [row["outcome"] for row in stopped.rows(2, requester=mark)] == ["rejected", "ok"]
    assert stopped.stop() == 0
    assert list(folder.iterdir()) == []


def test_a_second_server_on_the_same_data_is_refused_in_one_line(metrion: Metrion) -> None:
    (line,) = refusal_to_start(metrion)
    assert "in use by a running server" in line
    assert str(metrion.pid) in line
    assert ask(metrion).status == 200


def test_a_port_in_use_is_one_line_and_leaves_nothing_behind(stopped: Metrion) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", stopped.port))
        other.listen()
        (line,) = refusal_to_start(stopped)
    assert f"127.0.0.1:{stopped.port}" in line
    assert "METRION_PORT" in line
    stopped.start()
    assert ask(stopped).status == 200


@pytest.mark.parametrize("how", ["another key", "no key any more"])
def test_a_wrong_master_key_is_one_line_and_changes_nothing(stopped: Metrion, how: str) -> None:
    (file,) = stopped.data_dir.glob("*master*")
    key = file.read_bytes()
    if how == "another key":
        file.write_text("ab" * 32)
    else:
        file.unlink()
    lines = refusal_to_start(stopped)
    assert len(lines) == 1, lines
    assert "master key" in lines[0]
    file.write_bytes(key)
    stopped.start()
    assert ask(stopped).status == 200


def test_what_a_killed_server_left_is_there_when_the_next_is_ready(stopped: Metrion) -> None:
    whole, cut = call_of(stopped, now_ms()), call_of(stopped, now_ms())
    folder = stopped.data_dir / "journal"
    folder.mkdir(exist_ok=True)
    records = frame(INTENT, intent_of(whole)) + frame(INTENT, intent_of(cut)) + frame(COMPLETION, whole)
    (folder / "0000000007.journal").write_bytes(records)
    stopped.start()
    assert [row["outcome"] for row in stopped.rows(2, seconds=0)] == ["ok", "interrupted"]


# ── limits that survive a restart ─────────────────────────────────────────────────────────────────────────────────────


def call_of(metrion: Metrion, started_ms: int, **values: object) -> Call:
    with sqlite3.connect(metrion.data_dir / "metrion.db") as connection:
        (account_id,) = connection.execute("SELECT id FROM accounts WHERE email = ?", (EMAIL,)).fetchone()
    return make_call(started_ms, account_id=account_id, **values)


def leave_rows(metrion: Metrion, *calls: Call) -> None:
    with open_for_writing(Settings(data_dir=metrion.data_dir)) as database:
        write_calls(database, PriceBook.load(), calls, fresh=True)


def admitted(metrion: Metrion) -> int:
    """How many calls pass before the first refusal."""
    for count in range(10):
        answer = ask(metrion, f"number {count}")
        if answer.status == 429:
            assert 0 < int(answer.get("retry-after") or 0) <= 60
            return count
    return 10


@pytest.mark.parametrize(
    ("seconds_ago", "values", "left"),
    [
        (50, {}, 2),
        (61, {}, 3),
        (50, {"outcome": "interrupted", "status": 0}, 2),
        (50, {"outcome": "rejected", "status": 429, "error_code": "rate_limit"}, 3),
        (50, {"outcome": "rejected", "status": 400, "error_code": "not_json", "request_bytes": 7}, 2),
        (-3600, {}, 2),  # the clock was set back
    ],
)
def test_the_minute_goes_on_where_the_last_server_stopped(
    stopped: Metrion, seconds_ago: int, values: dict[str, object], left: int
) -> None:
    leave_rows(stopped, call_of(stopped, now_ms() - seconds_ago * 1000, **values))
    stopped.environment["METRION_RATE_LIMIT_PER_MINUTE"] = "3"
    stopped.start()
    assert admitted(stopped) == left


def test_a_full_minute_lasts_until_its_first_call_is_a_minute_old(stopped: Metrion) -> None:
    start = now_ms() - 56_000  # a start takes a second or two
    leave_rows(stopped, *(call_of(stopped, start + number) for number in range(3)))
    stopped.environment["METRION_RATE_LIMIT_PER_MINUTE"] = "3"
    stopped.start()
    if now_ms() < start + 59_000:
        assert ask(stopped).status == 429
    wait_until(lambda: ask(stopped).status == 200)
    assert now_ms() >= start + 60_000


def test_the_month_goes_on_where_the_last_server_stopped(fake: FakeProvider, tmp_path: Path) -> None:
    server = Metrion(tmp_path / "data", dict.fromkeys(PROVIDERS, fake.origin), {"METRION_FREE_MONTHLY_REQUESTS": "5"})
    server.token = server.create_account(plan="free")
    month = month_start_ms(month_of(now_ms()))
    statuses = {200: "ok", 201: "client_gone", 400: "provider_error", 429: "rejected", 0: "interrupted"}
    this_month = [call_of(server, month, status=status, outcome=outcome) for status, outcome in statuses.items()]
    leave_rows(server, call_of(server, month - 1), *this_month)
    server.start()
    try:
        assert [ask(server).status for _ in range(4)] == [200, 200, 200, 429]  # two of this month count
    finally:
        server.stop()


# ── commands while it serves ──────────────────────────────────────────────────────────────────────────────────────────


def test_a_provider_key_that_is_set_is_used_by_the_next_call(metrion: Metrion, fake: FakeProvider, mark: str) -> None:
    email = f"{mark}@example.com"
    token = metrion.create_account(email, keys=())
    assert ask(metrion, mark, token=token).status == 401
    for key in ("first-key-0123456789", "second-key-0123456789"):
        metrion.call("key", "set", "openai", "--account", email, given=key + "\n")
        assert ask(metrion, mark, token=token).status == 200
        assert fake.named(mark)[-1].get("authorization") == f"Bearer {key}"
    metrion.call("key", "delete", "openai", "--account", email)
    assert ask(metrion, mark, token=token).status == 401
    assert len(fake.named(mark)) == 2


# ── the end ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("durability", ["normal", "strict"])
def test_a_clean_end_leaves_an_empty_journal_and_every_row(new_metrion: NewMetrion, durability: str) -> None:
    metrion = new_metrion({"METRION_DURABILITY": durability})
    for _ in range(20):
        assert ask(metrion).status == 200
    assert metrion.stop() == 0
    assert list((metrion.data_dir / "journal").iterdir()) == []
    assert not (metrion.data_dir / "metrion.db-wal").exists()
    assert [row["outcome"] for row in metrion.rows(20, seconds=0)] == ["ok"] * 20


@pytest.mark.parametrize("durability", ["normal", "strict"])
def test_what_is_open_when_the_grace_is_over_is_cut_and_recorded(new_metrion: NewMetrion, durability: str) -> None:
    metrion = new_metrion({"METRION_DURABILITY": durability, "METRION_SHUTDOWN_GRACE": "1"})
    slow = Script(size=100_000, framing="chunked", chunk=100, drip=0.05)
    answers: list[Answer] = []
    clients = [threading.Thread(target=lambda: answers.append(ask(metrion, "slow", slow))) for _ in range(3)]
    for client in clients:
        client.start()
    time.sleep(0.5)
    assert metrion.stop() == 0
    for client in clients:
        client.join(10)
    assert [(answer.status, answer.complete) for answer in answers] == [(200, False)] * 3
    assert list((metrion.data_dir / "journal").iterdir()) == []
    rows = metrion.rows(3, seconds=0)
    assert [(row["outcome"], row["cost_source"]) for row in rows] == [("interrupted", "unknown")] * 3


def test_a_call_under_way_gets_its_grace(new_metrion: NewMetrion) -> None:
    metrion = new_metrion()
    answers: list[Answer] = []
    client = threading.Thread(target=lambda: answers.append(ask(metrion, "late", Script(text="{}", delay=1.0))))
    client.start()
    time.sleep(0.5)
    os.kill(metrion.pid, signal.SIGINT)
    client.join(10)
    assert [(answer.status, answer.complete) for answer in answers] == [(200, True)]
    assert metrion.stop() == 0
    assert [row["outcome"] for row in metrion.rows(1, seconds=0)] == ["ok"]


def limit_files(pid: int, size: int) -> None:
    """Let no file of that process grow beyond that many bytes (-1: any): a full disk."""
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, -1))


def wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)
