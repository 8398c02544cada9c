"""`metrion demo`: one command, no key, and calls appear."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from metrion.demo import EMAIL
from metrion.kit.clock import iso, now_ms
from tests.support import Metrion, exchange
from tests.web.browser import Browser

CHAT = b'{"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hello"}]}'


class Demo:
    """A running `metrion demo`."""

    def __init__(self, data_dir: Path) -> None:
        self.metrion = Metrion(data_dir, {})
        port = str(self.metrion.port)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "metrion", "demo", "--port", port, "--data-dir", str(data_dir)],
            env=self.metrion.environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.said = self._read_welcome()

    def _read_welcome(self) -> str:
        assert self.process.stdout is not None
        lines = []
        for line in self.process.stdout:
            lines.append(line)
            if "Ctrl-C" in line:
                break
        return "".join(lines)

    @property
    def token(self) -> str:
        found = re.search(r"sk-metrion-[0-9a-f]{32}", self.said)
        assert found is not None, self.said
        return found[0]

    def stop(self) -> float:
        """How long it took to stop, in seconds."""
        began = time.monotonic()
        self.process.send_signal(signal.SIGINT)
        self.process.communicate(timeout=40)
        return time.monotonic() - began


def rows_since(demo: Demo, since: str, count: int) -> list[dict[str, Any]]:
    """What was recorded since then, once there are so many rows."""
    end = time.monotonic() + 20
    while True:
        said = demo.metrion.call("logs", "--account", EMAIL, "--since", since, "--format", "jsonl")
        if len(said.splitlines()) >= count:
            return [json.loads(line) for line in said.splitlines()]
        assert time.monotonic() < end, said
        time.sleep(0.05)


def test_the_demo_shows_calls_and_keeps_its_account(tmp_path: Path) -> None:
    began = iso(now_ms())
    first = Demo(tmp_path / "demo")
    try:
        assert f"curl http://127.0.0.1:{first.metrion.port}/api/proxy/openai/v1/chat/completions" in first.said
        headers = [("Authorization", f"Bearer {first.token}"), ("X-Metrion-User", "me")]
        answer = exchange(first.metrion.port, "POST", "/api/proxy/openai/v1/chat/completions", headers, CHAT)
        assert answer.json()["model"] == "gpt-4o-mini-2024-07-18" or answer.status >= 400  # it errs now and then
        rows = rows_since(first, began, 8)
        assert [row["requester"] for row in rows].count("me") == 1
        assert {row["mode"] for row in rows} == {"stored"}
        assert len({row["provider"] for row in rows}) > 1
        assert 15_000 < len(first.metrion.call("logs", "--account", EMAIL, "--format", "jsonl").splitlines()) < 25_000
        link = re.search(r"http://\S+(/link/\S+)", first.said)
        assert link is not None
        browser = Browser(first.metrion.origin)
        browser.get(link[1])
        assert browser.submit().path == "/dashboard"  # there is something to see at once
        assert "a sandbox plays OpenAI. Keys here are sandbox keys" in browser.get("/integrate").text
    finally:
        assert first.stop() < 20
    assert first.process.returncode == 0
    second = Demo(tmp_path / "demo")
    try:
        assert second.token == first.token
    finally:
        second.stop()
