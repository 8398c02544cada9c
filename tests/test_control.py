"""One process writes in a data directory; commands ask it, or write themselves when there is none."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest
import structlog

from metrion import control
from metrion.call import Call, Outcome
from metrion.config import Settings
from metrion.control import ask, listen, perform
from metrion.datadir import has_journal, hold_lock, lock_holder, open_for_reading
from metrion.errors import InputError, LockedError, StorageError
from metrion.kit.ids import first_id
from metrion.ledger.record import COMPLETION, INTENT, frame
from metrion.storage.accounts import list_accounts
from metrion.storage.database import migrate, open_writer
from metrion.storage.reports import stream_calls

CREATE = {"email": "a@example.com", "plan": "pro"}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path / "data")


@contextmanager
def server(settings: Settings, run: control.Run) -> Iterator[None]:
    """A loop in a thread that holds the lock and answers on the control socket."""
    ready, done = threading.Event(), asyncio.Event()
    loop = asyncio.new_event_loop()

    async def serve() -> None:
        with hold_lock(settings):
            listener = await listen(settings, run)
            ready.set()
            await done.wait()
            listener.close()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    assert ready.wait(10)
    try:
        yield
    finally:
        loop.call_soon_threadsafe(done.set)
        thread.join(10)
        loop.close()


async def echo(operation: str, args: dict[str, Any]) -> dict[str, Any]:
    return {"account_id": 1, "operation": operation, "args": args}


def emails(settings: Settings) -> list[str]:
    with open_for_reading(settings) as engine, engine.connect() as connection:
        return [row.email for row in list_accounts(connection)]


def test_without_a_server_a_command_does_it_itself(settings: Settings) -> None:
    assert ask(settings, "create_account", CREATE) is None
    made = perform(settings, "create_account", CREATE)
    assert made["token"].startswith("sk-metrion-")
    assert emails(settings) == ["a@example.com"]
    assert lock_holder(settings) is None


def test_with_a_server_the_server_does_it(settings: Settings) -> None:
    with server(settings, echo):
        assert lock_holder(settings) == f"serve {os.getpid()}"
        assert perform(settings, "create_account", CREATE) == {
            "account_id": 1,
            "operation": "create_account",
            "args": CREATE,
        }
    assert ask(settings, "create_account", CREATE) is None  # the socket's file is still there; nobody listens


def test_a_servers_refusal_is_raised_here(settings: Settings) -> None:
    async def refuse(operation: str, args: dict[str, Any]) -> dict[str, Any]:
        raise InputError("no such thing")

    with server(settings, refuse), pytest.raises(InputError, match="no such thing"):
        perform(settings, "create_account", CREATE)


def test_a_servers_fault_tells_its_kind_and_no_argument(settings: Settings) -> None:
    async def fail(operation: str, args: dict[str, Any]) -> dict[str, Any]:
        raise RuntimeError(f"with {args}")

    with structlog.testing.capture_logs() as logs, server(settings, fail), pytest.raises(StorageError) as caught:
        perform(settings, "set_provider_key", {"key": "sk-secret"})
    assert "RuntimeError" in str(caught.value)
    assert "sk-secret" not in f"{caught.value} {logs}"


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"\n",
        b"{}\n",
        b"[1]\n",
        b"\xff\n",
        b"x" * 200_000 + b"\n",
        b'{"operation": "create_account", "args": 1}\n',
        b'{"operation": ["a"], "args": {}}\n',
    ],
)
def test_a_malformed_request_gets_an_error_and_the_server_goes_on(settings: Settings, line: bytes) -> None:
    with server(settings, echo):
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(10)
            client.connect(str(settings.data_dir / "control.sock"))
            try:
                client.sendall(line)
                client.shutdown(socket.SHUT_WR)
            except OSError:  # it hung up on a line that is too long
                pass
            else:
                answer = client.makefile("rb").readline()
                assert not answer or orjson.loads(answer)["error"] == "InputError"
        assert perform(settings, "create_account", CREATE)["operation"] == "create_account"


def test_a_client_that_says_nothing_is_let_go(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "_READ_SECONDS", 0.05)
    with server(settings, echo), socket.socket(socket.AF_UNIX) as client:
        client.settimeout(10)
        client.connect(str(settings.data_dir / "control.sock"))
        assert orjson.loads(client.makefile("rb").readline())["error"] == "InputError"
        assert client.recv(1) == b""


def test_a_server_that_dies_before_it_answers_is_not_asked_twice(settings: Settings) -> None:
    settings.data_dir.mkdir()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(settings.data_dir / "control.sock"))
        listener.listen()

        def hang_up() -> None:
            peer, _ = listener.accept()
            peer.recv(65536)
            peer.close()

        thread = threading.Thread(target=hang_up)
        thread.start()
        with pytest.raises(LockedError, match="stopped before it answered"):
            perform(settings, "create_account", CREATE)
        thread.join(10)


def test_the_socket_is_its_owners_alone(settings: Settings) -> None:
    with server(settings, echo):
        assert stat.S_IMODE((settings.data_dir / "control.sock").stat().st_mode) == 0o600
        assert stat.S_IMODE(settings.data_dir.stat().st_mode) == 0o700


def test_a_path_too_long_for_a_socket_works(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / ("d" * 100) / ("e" * 100))
    with server(settings, echo):
        assert perform(settings, "create_account", CREATE)["args"] == CREATE
    perform(settings, "create_account", CREATE)
    assert emails(settings) == ["a@example.com"]


def test_a_second_server_is_refused_with_the_firsts_pid(settings: Settings) -> None:
    with (
        hold_lock(settings),
        pytest.raises(LockedError, match=rf"running server \(pid {os.getpid()}\)"),
        hold_lock(settings),
    ):
        pass
    with hold_lock(settings):
        pass


def test_two_data_directories_with_one_database_exclude_each_other(tmp_path: Path) -> None:
    shared = f"sqlite:///{tmp_path / 'shared' / 'm.db'}"
    one = Settings(data_dir=tmp_path / "one", database_url=shared)
    other = Settings(data_dir=tmp_path / "other", database_url=shared)
    with hold_lock(one), pytest.raises(LockedError, match="running server"), hold_lock(other):
        pass


def test_a_server_waits_for_a_command_that_is_done_in_a_moment(settings: Settings) -> None:
    with hold_lock(settings, "command"):
        order: list[str] = []

        def start() -> None:
            with hold_lock(settings):
                order.append("server")

        thread = threading.Thread(target=start)
        thread.start()
        thread.join(0.2)
        order.append("command")
    thread.join(10)
    assert order == ["command", "server"]


def test_a_command_gives_up_on_a_server_that_never_listens(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "PATIENCE", 0.2)
    with hold_lock(settings), pytest.raises(LockedError, match="running server"):
        perform(settings, "create_account", CREATE)


def test_a_killed_holder_leaves_the_directory_free(settings: Settings) -> None:
    code = (
        "import sys, time; from pathlib import Path; from metrion.config import Settings;"
        "from metrion.datadir import hold_lock; held = hold_lock(Settings(data_dir=Path(sys.argv[1])));"
        "held.__enter__(); print('held', flush=True); time.sleep(60)"
    )
    holder = subprocess.Popen([sys.executable, "-c", code, str(settings.data_dir)], stdout=subprocess.PIPE)
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"
    assert lock_holder(settings) == f"serve {holder.pid}"
    holder.kill()
    holder.communicate()
    assert lock_holder(settings) is None
    perform(settings, "create_account", CREATE)


def test_readers_make_what_is_not_there_and_wait_for_nobody(settings: Settings) -> None:
    assert emails(settings) == []
    with hold_lock(settings):
        assert emails(settings) == []


def test_a_reader_waits_for_a_server_that_makes_the_database(settings: Settings) -> None:
    seen: list[list[str]] = []
    with hold_lock(settings):
        reader = threading.Thread(target=lambda: seen.append(emails(settings)))
        reader.start()
        reader.join(0.2)
        assert seen == []
        database = open_writer(settings)
        migrate(database)
        reader.join(10)
        database.close()
    assert seen == [[]]


def a_call(number: int, outcome: Outcome | None) -> Call:
    return Call(
        first_id(1_793_534_400_000 + number),
        1,
        1_793_534_400_000,
        "openai",
        "files",
        "",
        "stored",
        outcome=outcome or "",
    )


def test_what_a_killed_server_left_in_the_journal_is_recovered_before_it_is_read(settings: Settings) -> None:
    perform(settings, "create_account", CREATE)
    segment = settings.data_dir / "journal" / "0000000001.journal"
    segment.parent.mkdir()
    ended, open_call = a_call(1, Outcome.OK), a_call(2, None)
    segment.write_bytes(frame(INTENT, ended) + frame(INTENT, open_call) + frame(COMPLETION, ended))
    assert has_journal(settings)
    # A running server's journal is its own affair.
    with hold_lock(settings), open_for_reading(settings) as engine, engine.connect() as connection:
        assert list(stream_calls(connection, 1, None, None)) == []
    with open_for_reading(settings) as engine, engine.connect() as connection:
        outcomes = [row.outcome for row in stream_calls(connection, 1, None, None)]
    assert outcomes == ["ok", "interrupted"]
    assert not has_journal(settings)


def test_a_segment_that_goes_while_it_is_looked_at_is_no_error(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not has_journal(settings)
    segment = settings.data_dir / "journal" / "0000000001.journal"
    segment.parent.mkdir(parents=True)
    segment.write_bytes(b"x")
    entries = list(os.scandir(segment.parent))
    segment.unlink()
    monkeypatch.setattr(os, "scandir", lambda path: entries)
    assert not has_journal(settings)
