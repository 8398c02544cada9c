"""The real Node SDKs as clients: what they say was used is what the row says."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import pytest

from metrion.sandbox.server import serve_sandboxes
from tests.sdk.backends import NODE_DIR, node, serve_aimock
from tests.support import PROVIDERS, Metrion

SDKS = (
    "openai chat",
    "openai responses",
    "openai for gemini",
    "openai for mistral",
    "openai for grok",
    "@anthropic-ai/sdk",
    "@google/genai",
    "ai openai",
    "ai openai chat",
    "ai anthropic",
    "ai google",
    "ai mistral",
    "ai xai",
)
NAMES = [f"{sdk} {way}" for sdk in SDKS for way in ("plain", "stream")]
UNFIT = {  # aimock has no OpenAI-compatible Gemini, and streams usage only when asked, unlike Mistral
    ("aimock", "openai for gemini plain"),
    ("aimock", "openai for gemini stream"),
    ("aimock", "ai mistral stream"),
}
CALLS = [(backend, name) for backend in ("sandbox", "aimock") for name in NAMES if (backend, name) not in UNFIT]


@dataclass(slots=True)
class Run:
    """What `calls.mjs` reported of one backend, and the rows it left, both by call."""

    reports: dict[str, dict[str, Any]]
    rows: dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Run]]:
    program = node()
    with ExitStack() as held:
        origins = {
            "sandbox": held.enter_context(serve_sandboxes(seed=1, pace=0)),
            "aimock": dict.fromkeys(PROVIDERS, held.enter_context(serve_aimock())),
        }
        servers = {}
        for backend, upstreams in origins.items():
            servers[backend] = Metrion(tmp_path_factory.mktemp(backend) / "data", upstreams)
            servers[backend].token = servers[backend].create_account()
            servers[backend].start()
            held.callback(servers[backend].stop)
        reports = _call(program, servers)
        yield {backend: Run(reports[backend], _rows(backend, metrion)) for backend, metrion in servers.items()}


def _call(program: str, servers: dict[str, Metrion]) -> dict[str, dict[str, dict[str, Any]]]:
    """What the SDKs said, by backend and call."""
    targets = [{"backend": b, "origin": m.origin, "token": m.token} for b, m in servers.items()]
    done = subprocess.run(
        [program, "calls.mjs", json.dumps(targets)],
        cwd=NODE_DIR,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    reports: dict[str, dict[str, dict[str, Any]]] = {backend: {} for backend in servers}
    for report in map(json.loads, done.stdout.splitlines()):
        reports[report["backend"]][report["name"]] = report
    return reports


def _rows(backend: str, metrion: Metrion) -> dict[str, dict[str, Any]]:
    rows = metrion.rows(len(NAMES))
    assert len({row["requester"] for row in rows}) == len(rows) == len(NAMES)
    return {row["requester"].removeprefix(f"{backend} "): row for row in rows}


@pytest.mark.parametrize(("backend", "name"), CALLS)
def test_the_sdks_own_usage_is_the_rows(backend: str, name: str, runs: dict[str, Run]) -> None:
    report, row = runs[backend].reports[name], runs[backend].rows[name]
    assert "error" not in report, report
    assert report["text"]
    assert (row["status"], row["outcome"], row["stream"]) == (200, "ok", name.endswith("stream"))
    usage = {side: report["usage"].get(side) for side in ("input", "output", "cached", "reasoning")}
    told = {side: count for side, count in usage.items() if count is not None}
    columns = {"input": "input_tokens", "output": "output_tokens", "cached": "cached_input_tokens"}
    columns["reasoning"] = "reasoning_tokens"
    recorded = {side: row[columns[side]] for side in told}
    if "for grok" in name:  # xAI counts reasoning beside completion_tokens; the row holds both together
        told["output"] += told["reasoning"] if backend == "sandbox" else 0
    if "for gemini" in name:  # thoughts stand in the total alone: the row adds what the SDK is not told
        assert recorded.pop("output") > told.pop("output")
    assert recorded == told
    assert recorded["input"] > 0
    assert row["cost_source"] in ("computed", "provider")
