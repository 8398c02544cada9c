"""The proxies under test, each started as its user starts it, and stopped by its own process id."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

EMAIL = "bench@example.com"
START_SECONDS = 60
STOP_SECONDS = 45  # longer than Metrion's own grace for open streams


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass
class Side:
    """One proxy under test. `path` is where it takes an OpenAI chat completion, `token` what it takes for a key."""

    name: str
    port: int
    path: str
    token: str
    process: subprocess.Popen[bytes]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}{self.path}"

    @property
    def pid(self) -> int:
        return self.process.pid


def stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def wait_for(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    """Waits until the URL answers below 500. Raises RuntimeError with the end of the log if it never does."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            urllib.request.urlopen(url, timeout=1).close()
            return
        except urllib.error.HTTPError as answer:
            answer.close()
            if answer.code < 500:
                return
        except OSError:
            pass
        time.sleep(0.02)
    raise RuntimeError(f"{url} did not answer; {log} ends with:\n{log.read_text(errors='replace')[-2000:]}")


@dataclass
class Metrion:
    """The `metrion` of this virtual environment, with an account and, unless `data` is given, a data directory."""

    folder: Path
    upstream: str  # an origin, takes the place of OpenAI's
    port: int = field(default_factory=free_port)
    data: Path | None = None
    settings: Mapping[str, str] = field(default_factory=dict)  # more METRION_* variables

    def __post_init__(self) -> None:
        mine = {
            "METRION_DATA_DIR": str(self.data or self.folder / "data"),
            "METRION_PORT": str(self.port),
            "METRION_UPSTREAM_OPENAI": self.upstream,
            "METRION_RATE_LIMIT_PER_MINUTE": "0",
            "METRION_FREE_MONTHLY_REQUESTS": "0",
            "METRION_RATES_REFRESH": "off",
            "METRION_LOG_LEVEL": "warning",
            **self.settings,
        }
        self.env = {name: value for name, value in os.environ.items() if not name.startswith("METRION_")} | mine
        self.log = self.folder / "metrion.log"

    def create_account(self) -> str:
        """Creates the account with a key for OpenAI; returns its Metrion key."""
        token: str = json.loads(self.command("account", "create", EMAIL, "--plan", "pro", "--json"))["token"]
        self.command("key", "set", "openai", "--account", EMAIL, stdin="sk-bench-upstream\n")
        return token

    def command(self, *arguments: str, stdin: str = "") -> str:
        """What the command printed. Raises RuntimeError with its error output if it failed."""
        done = subprocess.run([_metrion(), *arguments], env=self.env, input=stdin, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"metrion {' '.join(arguments)} failed:\n{done.stderr[-2000:]}")
        return done.stdout

    def start(self) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            process = subprocess.Popen([_metrion(), "serve"], env=self.env, stdout=log, stderr=log)
        wait_for(f"http://127.0.0.1:{self.port}/readyz", process, self.log)
        return process

    def counted(self) -> int:
        """How many calls its totals hold."""
        report = json.loads(self.command("usage", "--account", EMAIL, "--format", "json"))
        requests: int = report["total"]["requests"]
        return requests


def _metrion() -> str:
    return str(Path(sys.executable).with_name("metrion"))


@contextlib.contextmanager
def metrion(
    folder: Path, upstream: int, name: str = "metrion", prepare: Callable[[Metrion], None] | None = None
) -> Iterator[tuple[Side, Metrion]]:
    """A Metrion with its account; `prepare` puts more into its data directory before it starts."""
    folder.mkdir()
    product = Metrion(folder, f"http://127.0.0.1:{upstream}")
    token = product.create_account()
    if prepare is not None:
        prepare(product)
    process = product.start()
    try:
        yield Side(name, product.port, "/api/proxy/openai/v1/chat/completions", token, process), product
    finally:
        stop(process)


NGINX = """
daemon off; worker_processes 1; pid nginx.pid; error_log nginx.log;
events {{ worker_connections 8192; }}
http {{
    access_log off; client_body_buffer_size 1m;
    keepalive_timeout 600s; keepalive_requests 100000000;
    client_body_temp_path body; proxy_temp_path proxy;
    fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi; scgi_temp_path scgi;
    {http}
}}
"""
NGINX_PROXY = """
    upstream provider {{ server 127.0.0.1:{upstream}; keepalive 2048; keepalive_requests 100000000; }}
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location / {{
            proxy_pass http://provider; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off;
        }}
    }}
"""
NGINX_ANSWER = """
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location / {{ default_type application/json; return 200 '{answer}'; }}
    }}
"""


@contextlib.contextmanager
def nginx(folder: Path, http: str, port: int) -> Iterator[Side]:
    """nginx with this inside of `http {}`, in a folder of its own."""
    folder.mkdir()
    (folder / "nginx.conf").write_text(NGINX.format(http=http))
    log = folder / "nginx.log"
    with log.open("ab") as errors:
        command = ["nginx", "-p", str(folder), "-c", "nginx.conf", "-e", "nginx.log"]
        process = subprocess.Popen(command, stdout=errors, stderr=errors)
    try:
        wait_for(f"http://127.0.0.1:{port}/", process, log)
        yield Side("nginx", port, "/v1/chat/completions", "sk-none", process)
    finally:
        stop(process)


def nginx_proxy(folder: Path, upstream: int) -> contextlib.AbstractContextManager[Side]:
    port = free_port()
    return nginx(folder, NGINX_PROXY.format(port=port, upstream=upstream), port)


def nginx_answer(folder: Path, answer: str) -> contextlib.AbstractContextManager[Side]:
    """A provider that gives one fixed JSON answer, and costs next to nothing itself."""
    port = free_port()
    return nginx(folder, NGINX_ANSWER.format(port=port, answer=answer), port)


LITELLM = """
model_list:
  - model_name: gpt-4o
    litellm_params: {{model: openai/gpt-4o, api_base: "http://127.0.0.1:{upstream}/v1", api_key: sk-bench-upstream}}
general_settings: {{master_key: sk-bench}}
"""


@contextlib.contextmanager
def litellm(folder: Path, upstream: int) -> Iterator[Side | None]:
    """LiteLLM's proxy without a database, where its command is installed; else None."""
    if not shutil.which("litellm"):
        yield None
        return
    folder.mkdir()
    (folder / "config.yaml").write_text(LITELLM.format(upstream=upstream))
    port = free_port()
    log = folder / "litellm.log"
    command = ["litellm", "--config", str(folder / "config.yaml"), "--host", "127.0.0.1", "--port", str(port)]
    with log.open("ab") as output:
        # A group of its own: its command starts further processes that do not end with it.
        process = subprocess.Popen(command, stdout=output, stderr=output, start_new_session=True)
    try:
        wait_for(f"http://127.0.0.1:{port}/health/liveliness", process, log)
        yield Side("litellm", port, "/v1/chat/completions", "sk-bench", process)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        stop(process)
