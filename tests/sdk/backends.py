"""What stands behind Metrion in these tests: our sandbox, or a fake that we did not write."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

NODE_DIR = Path(__file__).parent / "node"


def node() -> str:
    """The path of Node with the packages installed; without them a test fails in CI and is skipped elsewhere."""
    found = shutil.which("node") or shutil.which("nodejs")
    if found is None:
        _missing("Node is not installed: apt-get install nodejs npm (or scripts/test as root)")
    if not (NODE_DIR / "node_modules").is_dir():
        _missing("the Node SDKs are not installed: npm ci --ignore-scripts, in tests/sdk/node (scripts/test does it)")
    assert found is not None
    return found


def _missing(what: str) -> None:
    if os.environ.get("CI"):
        pytest.fail(what)
    pytest.skip(what)


@contextmanager
def serve_aimock() -> Iterator[str]:
    """Runs npm's @copilotkit/aimock; its origin."""
    process = subprocess.Popen(
        [node(), "aimock.cjs"], cwd=NODE_DIR, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin is not None and process.stdout is not None
    try:
        yield process.stdout.readline().strip()
    finally:
        process.stdin.close()
        process.wait(10)
