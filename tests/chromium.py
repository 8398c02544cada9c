"""Chromium: Debian's, headless, told to call nobody. Shared by the tests of pages that need scripts and styles."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, sync_playwright

_PROGRAM = shutil.which("chromium") or ""
_ARGUMENTS = [
    "--no-sandbox",  # which it refuses to use as root
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

needs_chromium = pytest.mark.skipif(not _PROGRAM, reason="Chromium is not installed")


@contextmanager
def open_chromium() -> Iterator[Browser]:
    """A browser; each test opens a context of its own in it."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=_PROGRAM, args=_ARGUMENTS)
        yield browser
        browser.close()
