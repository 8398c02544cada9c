"""`metrion account delete` on a real data directory: nothing of the account is left in any file, whatever happens."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from metrion.accounts import people
from metrion.accounts.sessions import start_session
from metrion.config import Settings
from metrion.datadir import open_for_writing
from metrion.kit.clock import DAY_MS, now_ms
from metrion.storage.database import open_reader
from metrion.storage.deletions import unfinished
from tests.conftest import NewMetrion
from tests.fake_provider import FakeProvider, Script, samples
from tests.storage.everything import found_in, rows_in
from tests.storage.samples import call_row, write_rows
from tests.support import EMAIL, PROVIDERS, Answer, Metrion, exchange

LEAVER = "leaver@example.com"
LEAVES = ("leaver@", "Lea Ver", "leaver-bot", "leaver-model", "leaver's browser")
CHAT = "/api/proxy/openai/v1/chat/completions"


def send(metrion: Metrion, token: str, name: str, script: Script | None = None) -> Answer:
    """A call whose requester and model carry a name."""
    script = script or samples.chat_body()
    headers = [("Authorization", f"Bearer {token}"), ("x-metrion-user", f"{name}-bot"), ("x-fake", script.header())]
    return exchange(metrion.port, "POST", CHAT, headers, b'{"model":"%s-model","messages":[]}' % name.encode())


def move_in(metrion: Metrion) -> str:
    """An account with a key, a name and a session, before its server starts; its Metrion key."""
    token = metrion.create_account(LEAVER, keys=("openai",))
    with open_for_writing(Settings(data_dir=metrion.data_dir)) as database, database.begin() as connection:
        person = people.find_person(connection, LEAVER)
        assert person is not None
        people.set_profile(connection, person.id, name="Lea Ver", currency="EUR", time_zone="UTC")
        start_session(connection, person.id, "leaver's browser", "127.0.0.1")
    return token


def fill(metrion: Metrion, rows: int) -> None:
    """Rows of both accounts, as they come in."""
    moment = now_ms() - DAY_MS
    with open_for_writing(Settings(data_dir=metrion.data_dir)) as database:
        for first in range(0, rows, 2000):
            write_rows(
                database,
                [
                    call_row(
                        moment + n * 1000,
                        n,
                        account_id=1 + n % 2,
                        requester=f"{('keeper', 'leaver')[n % 2]}-bot-{n % 50}",
                        usage_raw='{"prompt_tokens":10}',
                    )
                    for n in range(first, first + 2000)
                ],
            )


def owned(metrion: Metrion, account_id: int) -> dict[str, int]:
    """How many rows an account has in each table."""
    engine = open_reader(Settings(data_dir=metrion.data_dir))
    with engine.connect() as connection:
        found = {name: len(rows) for name, rows in rows_in(connection, account_id).items()}
    engine.dispose()
    return found


def is_erased(metrion: Metrion) -> bool:
    engine = open_reader(Settings(data_dir=metrion.data_dir))
    with engine.connect() as connection:
        left = unfinished(connection)
    engine.dispose()
    return not left


def wait_until(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.fixture
def house(fake: FakeProvider, tmp_path: Path) -> Iterator[tuple[Metrion, str]]:
    """A Metrion with two accounts, not started yet, and the Metrion key of the one that will leave."""
    server = Metrion(tmp_path / "data", dict.fromkeys(PROVIDERS, fake.origin))
    server.token = server.create_account(keys=("openai",))
    yield server, move_in(server)
    if server.is_running():
        server.stop()


# ── beside a running server ───────────────────────────────────────────────────────────────────────────────────────────


def test_calls_are_refused_at_once_and_nothing_is_left(house: tuple[Metrion, str]) -> None:
    metrion, token = house
    metrion.start()
    for _ in range(5):
        assert send(metrion, token, "leaver").status == 200
        assert send(metrion, metrion.token, "keeper").status == 200
    metrion.rows(5, email=LEAVER)
    kept = metrion.rows(5)
    said = metrion.call("account", "delete", LEAVER, given=f"{LEAVER}\n")
    assert "Requests: 5\n" in said
    assert "Provider keys: 1\n" in said
    assert send(metrion, token, "leaver").status == 401
    assert send(metrion, metrion.token, "keeper").status == 200
    with pytest.raises(RuntimeError):
        metrion.call("logs", "--account", LEAVER)
    wait_until(lambda: is_erased(metrion))
    assert found_in(metrion.data_dir, *LEAVES) == []
    assert owned(metrion, 2) == {}
    assert metrion.rows(6)[:5] == kept
    assert metrion.stop() == 0
    assert found_in(metrion.data_dir, *LEAVES) == []
    assert not any(text in metrion.log.read_text() for text in LEAVES)


def test_an_open_stream_goes_to_its_end_and_is_not_recorded(house: tuple[Metrion, str]) -> None:
    metrion, token = house
    metrion.start()
    events = samples.chat_stream()
    slow = Script(text=events.text, headers=events.headers, framing="chunked", piece=100, drip=0.15)
    answers: list[Answer] = []
    client = threading.Thread(target=lambda: answers.append(send(metrion, token, "leaver", slow)))
    client.start()
    wait_until(lambda: found_in(metrion.data_dir / "journal", "leaver-model") != [])
    metrion.call("account", "delete", LEAVER, "--yes")
    wait_until(lambda: is_erased(metrion))
    assert found_in(metrion.data_dir, *LEAVES) == []  # the intent is gone from the journal
    assert answers == []  # it is still under way
    client.join(20)
    assert [(answer.status, answer.complete) for answer in answers] == [(200, True)]
    assert answers[0].body == events.text.encode()
    wait_until(lambda: found_in(metrion.data_dir, *LEAVES) == [])
    assert owned(metrion, 2) == {}


def test_a_stream_that_a_kill_cuts_comes_back_neither_as_row_nor_as_byte(
    house: tuple[Metrion, str], fake: FakeProvider
) -> None:
    metrion, token = house
    metrion.start()
    hanging = Script(size=10_000_000, framing="chunked", chunk=1000, drip=0.05)
    with socket.create_connection(("127.0.0.1", metrion.port), 10) as connection:
        head = f"POST {CHAT} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\nx-fake: {hanging.header()}\r\n"
        body = b'{"model":"leaver-model","messages":[]}'
        connection.sendall(head.encode() + b"content-length: %d\r\n\r\n%b" % (len(body), body))
        assert connection.recv(100).startswith(b"HTTP/1.1 200")
        before = [path.read_bytes() for path in (metrion.data_dir / "journal").iterdir()]
        metrion.call("account", "delete", LEAVER, "--yes")
        wait_until(lambda: is_erased(metrion))
        metrion.kill()
    # As if the intent had been synced to the disk, and its removal not.
    (metrion.data_dir / "journal" / "9999999999.journal").write_bytes(b"".join(before))
    metrion.start()
    assert found_in(metrion.data_dir, *LEAVES) == []
    assert owned(metrion, 2) == {}
    assert send(metrion, metrion.token, "keeper").status == 200


def test_a_kill_in_the_middle_of_it_is_made_up_for(house: tuple[Metrion, str]) -> None:
    metrion, _ = house
    fill(metrion, 60_000)
    metrion.start()
    metrion.call("account", "delete", LEAVER, "--yes")
    metrion.kill()
    assert not is_erased(metrion)
    assert found_in(metrion.data_dir, "leaver-bot") != []
    metrion.start()
    wait_until(lambda: is_erased(metrion))
    assert found_in(metrion.data_dir, *LEAVES) == []
    assert owned(metrion, 2) == {}
    assert owned(metrion, 1)["calls"] == 30_000


def test_rows_older_than_the_plan_keeps_go_with_the_start(new_metrion: NewMetrion) -> None:
    metrion = new_metrion(plan="free")
    metrion.stop()
    old = now_ms() - 8 * DAY_MS
    with open_for_writing(Settings(data_dir=metrion.data_dir)) as database:
        write_rows(database, [call_row(old, n) for n in range(300)])
    assert metrion.call("logs", "--account", EMAIL) == "No calls yet.\n"  # not deleted yet, but not shown either
    assert owned(metrion, 1)["calls"] == 300
    metrion.start()
    wait_until(lambda: "calls" not in owned(metrion, 1))
    assert '"requests":300' in metrion.call("usage", "--account", EMAIL, "--format", "json").replace(" ", "")


# ── without one ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_without_a_server_the_command_does_all_of_it(house: tuple[Metrion, str]) -> None:
    metrion, token = house
    metrion.start()
    for name, key in (("leaver", token), ("keeper", metrion.token)):
        assert send(metrion, key, name).status == 200
    metrion.kill()  # the journal still holds them
    said = metrion.call("account", "delete", LEAVER, "--yes")
    assert "Requests: 1\n" in said
    assert "running server" not in said
    assert found_in(metrion.data_dir, *LEAVES) == []
    assert owned(metrion, 2) == {}
    assert len(metrion.rows(1)) == 1


def test_another_address_than_asked_for_deletes_nothing(house: tuple[Metrion, str]) -> None:
    metrion, _ = house
    before = owned(metrion, 2)
    done = metrion.run("account", "delete", LEAVER, given=f"{EMAIL}\n", check=False)
    assert done.returncode == 1
    assert "nothing is deleted" in done.stderr
    assert metrion.run("account", "delete", "nobody@example.com", "--yes", check=False).returncode == 1
    assert owned(metrion, 2) == before


def test_where_the_master_key_is_lost_rows_can_still_be_read(house: tuple[Metrion, str]) -> None:
    """Though the calls in the journal wait for it: whose they are cannot be told."""
    metrion, _ = house
    metrion.call("account", "delete", LEAVER, "--yes")
    metrion.start()
    assert send(metrion, metrion.token, "keeper").status == 200
    metrion.rows(1)
    assert send(metrion, metrion.token, "keeper").status == 200
    metrion.kill()
    key = metrion.data_dir / "master.key"
    key.rename(metrion.data_dir / "elsewhere")
    assert "keeper-bot" in metrion.call("logs", "--account", EMAIL)
    assert any(path.stat().st_size for path in (metrion.data_dir / "journal").iterdir())
    (metrion.data_dir / "elsewhere").rename(key)
    assert len(metrion.rows(2)) == 2
