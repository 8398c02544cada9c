"""Chromium: Debian's, headless, told to call nobody. Shared by the tests of pages that need scripts and styles."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

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


@contextmanager
def opened(
    chromium: Browser, url: str, cookies: Mapping[str, str] | None = None, *, scripts: bool = True, zone: str = "UTC"
) -> Iterator[Page]:
    """A page in a context of its own; whatever the browser complains of fails the test."""
    complaints: list[str] = []
    context = chromium.new_context(java_script_enabled=scripts, timezone_id=zone)
    context.add_cookies([{"name": name, "value": value, "url": url} for name, value in (cookies or {}).items()])
    page = context.new_page()
    page.on("console", lambda said: complaints.append(said.text) if said.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(url)
    yield page
    context.close()
    assert complaints == []
