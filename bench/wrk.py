"""Load of small requests, by wrk (Debian's package of that name)."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

from bench.sides import Side

BODY = {
    "model": "gpt-4o",
    "messages": [
        {"role": "system", "content": "You are a helpful assistant."},
        {"role": "user", "content": "How long is the coast of Norway, and how would you measure it? " * 5},
    ],
    "max_tokens": 512,
}

# wrk's own report is for people; its script interface hands over the numbers (wrk's SCRIPTING file: latency in µs).
SCRIPT = """
wrk.method = "POST"
wrk.body = [[{body}]]
wrk.headers["content-type"] = "application/json"
wrk.headers["authorization"] = "Bearer {token}"
wrk.headers["x-metrion-user"] = "bench"
function done(summary, latency)
  io.write(string.format('\\n{{"requests":%d,"refused":%d,"broken":%d,"p50":%f,"p99":%f}}\\n', summary.requests,
    summary.errors.status, summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout,
    latency:percentile(50) / 1000, latency:percentile(99) / 1000))
end
"""


@dataclass
class Load:
    """What one run of wrk saw; latencies in milliseconds."""

    requests: int  # answered
    refused: int  # of those: not 2xx or 3xx
    broken: int  # connections that failed
    p50: float
    p99: float


def load(side: Side, folder: Path, connections: int, seconds: float) -> Load:
    script = folder / f"{side.name}.lua"
    script.write_text(SCRIPT.format(body=json.dumps(BODY), token=side.token))
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds:.0f}s", "--timeout", "30s", "-s", str(script), side.url]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return Load(**json.loads(done.stdout.splitlines()[-1]))
