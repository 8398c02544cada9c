"""`kill -9`: no call is lost, none is counted twice, and what a client has whole is `ok` with its tokens."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from bench.kill import run
from tests.conftest import NewMetrion
from tests.fake_provider import samples
from tests.support import ROOT, Metrion

ROUNDS, CALLS_A_SECOND = 4, 300
SECRET = "sk-proj-quoted-by-the-provider-0123456789"
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
CHAT = samples.chat_stream().text.encode()
STREAMS = {
    "openai": ("/api/proxy/openai/v1/chat/completions", CHAT),
    "anthropic": ("/api/proxy/v1/messages", samples.anthropic_stream().text.encode()),
    "responses": ("/api/proxy/openai/v1/responses", samples.responses_stream().text.encode()),
}
REQUEST = json.dumps({"model": "m", "max_tokens": 9, "messages": [], "input": "hi", "stream": True}).encode()


def test_killed_at_random_moments_under_load_it_loses_and_doubles_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)  # it starts too often to be compiled anew each time
    monkeypatch.setenv("PYTHONPYCACHEPREFIX", str(ROOT / ".pytest_cache" / "pycache"))
    report = run(ROUNDS, CALLS_A_SECOND, seed=7)
    assert report.ok, str(report)
    assert report.kills == ROUNDS
    assert report.answered > 0
    assert report.interrupted > 0  # or no kill came while calls were open


class Hesitant:
    """A provider that sends a stream's events, and the end of the body only when told."""

    def __init__(self) -> None:
        self.events = CHAT
        self.may_end = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.origin = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:  # closed: the test is over
                return
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with connection:
            request = b""
            while not request.endswith(REQUEST):
                request += connection.recv(65536)
            connection.sendall(HEAD + b"%x\r\n%b\r\n" % (len(self.events), self.events))
            if self.may_end.wait(30):
                connection.sendall(b"0\r\n\r\n")

    def close(self) -> None:
        self.may_end.set()
        self._listener.close()


@pytest.fixture
def provider() -> Iterator[Hesitant]:
    provider = Hesitant()
    yield provider
    provider.close()


class Client:
    """A client that stops reading at the closing event, as SDKs do."""

    def __init__(self, metrion: Metrion, path: str) -> None:
        self.socket = socket.create_connection(("127.0.0.1", metrion.port), timeout=10)
        head = f"POST {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {metrion.token}\r\n"
        self.socket.sendall(f"{head}content-length: {len(REQUEST)}\r\n\r\n".encode() + REQUEST)

    def read_until(self, end: bytes) -> bytes:
        answer = b""
        while end not in answer:
            piece = self.socket.recv(65536)
            assert piece, answer
            answer += piece
        return answer


@pytest.mark.parametrize("durability", ["normal", "strict"])
def test_a_stream_whose_closing_event_its_client_has_is_ok_after_a_kill(
    new_metrion: NewMetrion, provider: Hesitant, durability: str
) -> None:
    origins = {"openai": provider.origin, "anthropic": provider.origin}
    metrion = new_metrion({"METRION_DURABILITY": durability}, origins=origins)
    for path, events in STREAMS.values():
        provider.events = events
        Client(metrion, path).read_until(events[-20:])
    metrion.kill()
    metrion.start()
    rows = metrion.rows(3)
    assert [(row["outcome"], row["input_tokens"], row["output_tokens"]) for row in rows] == [("ok", 40, 12)] * 3
    assert all(row["latency_ms"] > 0 and row["response_bytes"] > 0 for row in rows)


def test_a_stream_without_its_closing_event_is_interrupted_by_a_kill(
    new_metrion: NewMetrion, provider: Hesitant
) -> None:
    provider.events = CHAT.removesuffix(b"data: [DONE]\n\n")
    metrion = new_metrion(origins={"openai": provider.origin})
    client = Client(metrion, STREAMS["openai"][0])  # held, or it would hang up before the kill
    client.read_until(provider.events[-20:])
    metrion.kill()
    metrion.start()
    (row,) = metrion.rows(1)
    assert (row["outcome"], row["cost_source"], row["total_tokens"]) == ("interrupted", "unknown", 0)


Leave = Callable[[Metrion, Client, Hesitant], object]
LEAVES: dict[str, Leave] = {
    "the client hangs up": lambda metrion, client, provider: client.socket.close(),
    "the body ends": lambda metrion, client, provider: provider.may_end.set(),
    "the server stops": lambda metrion, client, provider: metrion.stop(),
    "the provider falls silent": lambda metrion, client, provider: client.socket.recv(1),
}


@pytest.mark.parametrize("leave", LEAVES.values(), ids=LEAVES.keys())
def test_what_happens_after_the_closing_event_is_no_part_of_the_call(
    new_metrion: NewMetrion, provider: Hesitant, leave: Leave
) -> None:
    settings = {"METRION_SHUTDOWN_GRACE": "1", "METRION_UPSTREAM_TIMEOUT": "1", "METRION_ON_CLIENT_GONE": "drain"}
    metrion = new_metrion(settings, origins={"openai": provider.origin})
    client = Client(metrion, STREAMS["openai"][0])
    client.read_until(b"data: [DONE]\n\n")
    with suppress(ConnectionResetError):  # it may cut the client, who has it all
        leave(metrion, client, provider)
    (row,) = metrion.rows(1)
    assert (row["outcome"], row["status"], row["error_message"]) == ("ok", 200, None)
    assert (row["input_tokens"], row["output_tokens"], row["cost_source"]) == (40, 12, "computed")


def test_what_a_provider_quotes_stands_masked_in_journal_and_row(new_metrion: NewMetrion, provider: Hesitant) -> None:
    error = {"error": {"message": f"Incorrect API key provided: {SECRET}"}}
    provider.events = f"data: {json.dumps(error)}\n\ndata: [DONE]\n\n".encode()
    metrion = new_metrion(origins={"openai": provider.origin})
    Client(metrion, STREAMS["openai"][0]).read_until(b"data: [DONE]\n\n")
    metrion.kill()
    assert SECRET.encode() not in b"".join(journal(metrion.data_dir))
    metrion.start()
    (row,) = metrion.rows(1)
    assert row["error_message"] == "Incorrect API key provided: sk-proj-***"


def journal(data_dir: Path) -> list[bytes]:
    found = [path.read_bytes() for path in (data_dir / "journal").iterdir()]
    assert any(found)
    return found
