"""What many tests share: a real Metrion in a process of its own, and a client that sends bytes as told."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import h11
from typer.testing import CliRunner

from metrion.__main__ import app
from tests.serving import new_server

ROOT = Path(__file__).parents[1]
PROVIDERS = ("anthropic", "openai", "gemini", "mistral", "grok")
EMAIL = "tests@example.com"
QUIET = {  # no limit gets in a test's way, and nothing goes beyond this machine
    "METRION_RATE_LIMIT_PER_MINUTE": "0",
    "METRION_FREE_MONTHLY_REQUESTS": "0",
    "METRION_RATES_REFRESH": "off",
}

Headers = Sequence[tuple[str, str]]


def provider_key(provider: str) -> str:
    """The stored key of that provider: no prefix that any real one has."""
    return f"provider-key-of-{provider}-0123456789"


def _environment() -> dict[str, str]:
    """Ours without settings; with compiled modules kept, for without them each command compiles its libraries anew."""
    bare = {name: value for name, value in os.environ.items() if not name.startswith("METRION_")}
    bare.pop("PYTHONDONTWRITEBYTECODE", None)
    return bare | {"PYTHONPYCACHEPREFIX": str(ROOT / ".pytest_cache" / "pycache")}


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port: int = s.getsockname()[1]
        return port


class Metrion:
    """`metrion serve` on a free loopback port with a data directory of its own, all through its commands.

    `origins` maps providers to where they are; `settings` are further METRION_* variables.
    """

    def __init__(self, data_dir: Path, origins: Mapping[str, str], settings: Mapping[str, str] | None = None) -> None:
        self.data_dir = data_dir
        self.port = free_port()
        self.token = ""
        self.log = data_dir.with_name(data_dir.name + ".log")
        self._process: ForkServerProcess | None = None
        upstreams = {f"METRION_UPSTREAM_{provider.upper()}": origin for provider, origin in origins.items()}
        ours = {"METRION_DATA_DIR": str(data_dir), "METRION_PORT": str(self.port), "METRION_HOST": "127.0.0.1"}
        self.environment = _environment() | ours | QUIET | upstreams | dict(settings or {})

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        assert self._process is not None
        assert self._process.pid is not None
        return self._process.pid

    def run(self, *arguments: str, given: str = "", check: bool = True) -> subprocess.CompletedProcess[str]:
        """One command; with `check`, raises with what it said if it fails."""
        done = subprocess.run(
            [sys.executable, "-m", "metrion", *arguments],
            env=self.environment,
            input=given,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        if check and done.returncode:
            raise RuntimeError(f"metrion {' '.join(arguments)} failed: {done.stderr.strip()}")
        return done

    def call(self, *arguments: str, given: str = "") -> str:
        """What a command prints; run in this process, since starting one takes longer than most tests."""
        settings = {name: value for name, value in self.environment.items() if name.startswith("METRION_")}
        done = CliRunner().invoke(app, arguments, input=given, env=settings)
        if done.exception is not None:
            raise RuntimeError(f"metrion {' '.join(arguments)} failed") from done.exception
        return done.stdout

    def create_account(self, email: str = EMAIL, *, plan: str = "pro", keys: Sequence[str] = PROVIDERS) -> str:
        """An account with keys for those providers; its Metrion key."""
        token: str = json.loads(self.call("account", "create", email, "--plan", plan, "--json"))["token"]
        for provider in keys:
            self.call("key", "set", provider, "--account", email, given=provider_key(provider) + "\n")
        return token

    def start(self) -> None:
        """Returns when it is ready; raises with its log if it ends before."""
        self._process = new_server(self.environment, self.log)
        end = time.monotonic() + 20
        while time.monotonic() < end and self._process.is_alive():
            if self._is_ready():
                return
            time.sleep(0.02)
        raise RuntimeError(f"metrion serve did not get ready: {self.log.read_text()[-2000:]}")

    def _is_ready(self) -> bool:
        try:
            return exchange(self.port, "GET", "/readyz", timeout=2).status == 200
        except (OSError, h11.RemoteProtocolError):
            return False

    def stop(self) -> int:
        """Ends it as an operator would (SIGTERM); its exit status."""
        assert self._process is not None
        self._process.terminate()
        return self._wait(40)

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._wait(10)

    def _wait(self, seconds: float) -> int:
        assert self._process is not None
        self._process.join(seconds)
        if self._process.exitcode is None:
            raise TimeoutError(f"metrion serve still runs after {seconds} s")
        return self._process.exitcode

    def is_running(self) -> bool:
        return self._process is not None and self._process.is_alive()

    def rows(
        self, count: int, *, requester: str | None = None, email: str = EMAIL, seconds: float = 10.0
    ) -> list[dict[str, Any]]:
        """The account's rows (of one requester) once there are `count`; raises TimeoutError with what there was."""
        end = time.monotonic() + seconds
        while True:
            lines = filter(None, self.call("logs", "--account", email, "--format", "jsonl").split("\n"))
            rows = [row for row in map(json.loads, lines) if requester is None or row["requester"] == requester]
            if len(rows) >= count:
                return sorted(rows, key=lambda row: str(row["request_id"]))
            if time.monotonic() > end:
                raise TimeoutError(f"{len(rows)} rows of {count}: {rows}")
            time.sleep(0.05)


@dataclass(slots=True)
class Answer:
    """What came back. `complete` is False if the connection ended, or broke a rule of HTTP, before the body did."""

    status: int = 0
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""
    informational: list[int] = field(default_factory=list)
    trailers: list[tuple[str, str]] = field(default_factory=list)
    arrivals: list[tuple[float, int]] = field(default_factory=list)  # when body bytes came (monotonic), and how many
    complete: bool = False

    def get(self, name: str) -> str | None:
        return next((v for n, v in self.headers if n.lower() == name), None)

    def all(self, name: str) -> list[str]:
        return [v for n, v in self.headers if n.lower() == name]

    def json(self) -> Any:
        return json.loads(self.body)


def exchange(
    port: int,
    method: str,
    target: str,
    headers: Headers = (),
    body: bytes | Sequence[bytes] = b"",
    *,
    timeout: float = 30.0,
) -> Answer:
    """One request on a connection of its own, judged by h11. A body given in parts is sent as those chunks."""
    with socket.create_connection(("127.0.0.1", port), timeout) as connection:
        return Client(connection).exchange(method, target, headers, body)


class Client:
    """One client connection, kept alive between exchanges."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self.http = h11.Connection(h11.CLIENT, max_incomplete_event_size=1 << 24)

    def exchange(
        self,
        method: str,
        target: str,
        headers: Headers = (),
        body: bytes | Sequence[bytes] = b"",
        watch: Callable[[Answer], None] | None = None,
    ) -> Answer:
        """`watch` is called after each piece of the answer."""
        self._send(method, target, headers, body)
        answer = Answer()
        try:
            while self._step(answer):
                if watch is not None:
                    watch(answer)
        except h11.RemoteProtocolError:
            return answer
        return answer

    def _send(self, method: str, target: str, headers: Headers, body: bytes | Sequence[bytes]) -> None:
        if self.http.our_state is h11.DONE:
            self.http.start_next_cycle()
        named = {name.lower() for name, _ in headers}
        host = () if "host" in named else (("Host", "localhost"),)
        if isinstance(body, bytes):
            framing = (("Content-Length", str(len(body))),) if body or method in ("POST", "PUT", "PATCH") else ()
            parts: Sequence[bytes] = (body,) if body else ()
        else:
            framing, parts = (("Transfer-Encoding", "chunked"),), body
        lines = [(name.encode(), value.encode()) for name, value in (*host, *headers, *framing)]
        request = h11.Request(method=method, target=target, headers=lines)
        events: list[h11.Event] = [request, *(h11.Data(data=part) for part in parts), h11.EndOfMessage()]
        try:
            for event in events:
                self.socket.sendall(self.http.send(event) or b"")
        except (BrokenPipeError, ConnectionResetError):
            self.http.send_failed()  # refused while we sent: the answer may be there nonetheless

    def _step(self, answer: Answer) -> bool:
        event = self.http.next_event()
        if event is h11.NEED_DATA:
            try:
                data = self.socket.recv(1 << 16)
            except ConnectionResetError:
                return False
            self.http.receive_data(data)
        elif isinstance(event, h11.InformationalResponse):
            answer.informational.append(event.status_code)
        elif isinstance(event, h11.Response):
            answer.status = event.status_code
            answer.headers = [(n.decode("latin-1"), v.decode("latin-1")) for n, v in event.headers.raw_items()]
        elif isinstance(event, h11.Data):
            answer.body += bytes(event.data)
            answer.arrivals.append((time.monotonic(), len(event.data)))
        elif isinstance(event, h11.EndOfMessage):
            answer.trailers = [(n.decode(), v.decode()) for n, v in event.headers]
            answer.complete = True
            return False
        else:  # the connection is closed
            return False
        return True
