"""The code of docs/how-to/alerts.md tells our signatures from others'."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from metrion.alerts.bodies import signature
from metrion.kit.secrets import Secret
from tests.support import ROOT

SECRET = "whsec_of-the-how-to"
BODY = '{"text":"€45.50 \\u0000"}'.encode()
PAGE = (ROOT / "docs/how-to/alerts.md").read_text()


def code(language: str) -> str:
    (found,) = re.findall(rf"```{language}\n(.*?)```", PAGE, flags=re.DOTALL)
    return str(found)


def signed(at: int, secret: str = SECRET, body: bytes = BODY) -> str:
    return f"t={at},v1={signature(Secret(secret), at, body)}"


def cases() -> list[tuple[str, bool]]:
    now = int(time.time())
    return [
        (signed(now), True),
        (signed(now - 240), True),
        (signed(now - 400), False),
        (signed(now + 400), False),
        (signed(now, "whsec_other"), False),
        (signed(now, body=b"{}"), False),
        (signed(now)[:-1], False),
        (signed(now).replace("v1", "v0"), False),
        (f"t={now}", False),
        ("t=x,v1=y", False),
        ("", False),
    ]


def test_python() -> None:
    names: dict[str, Any] = {}
    exec(code("python"), names)  # noqa: S102  our own page
    assert [names["is_from_metrion"](SECRET, header, BODY) for header, _ in cases()] == [good for _, good in cases()]


@pytest.mark.skipif(shutil.which("node") is None, reason="there is no Node here")
def test_node(tmp_path: Path) -> None:
    headers = json.dumps([header for header, _ in cases()])
    calls = f"const body = Buffer.from({json.dumps(BODY.hex())}, 'hex');\nconst headers = {headers};\n"
    calls += f"console.log(JSON.stringify(headers.map((one) => isFromMetrion({json.dumps(SECRET)}, one, body))));\n"
    script = tmp_path / "check.mjs"
    script.write_text(code("javascript") + calls)
    done = subprocess.run(["node", str(script)], capture_output=True, text=True, timeout=30, check=True)
    assert json.loads(done.stdout) == [good for _, good in cases()]


def test_the_example_is_json_with_every_field() -> None:
    assert list(json.loads(code("json")))[:6] == ["id", "event", "created_at", "title", "text", "url"]
