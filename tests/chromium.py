"""Chromium: Debian's, headless, told to call nobody. Shared by the tests of pages that need scripts and styles."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, Response, sync_playwright

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
    context = chromium.new_context(java_script_enabled=scripts, timezone_id=zone)
    context.add_cookies([{"name": name, "value": value, "url": url} for name, value in (cookies or {}).items()])
    page = context.new_page()
    complaints = watch(page)
    page.goto(url)
    yield page
    context.close()
    assert complaints == []


def watch(page: Page) -> list[str]:
    """What the browser complains of from now on: violations of the policy, errors, warnings, files that are not there.

    A page that comes with an error's status is none: it is what some tests ask for.
    """
    complaints: list[str] = []

    def on_console(message: ConsoleMessage) -> None:
        told_elsewhere = message.text.startswith("Failed to load resource: the server responded")
        if message.type in ("error", "warning") and not told_elsewhere:
            complaints.append(message.text)

    def on_response(response: Response) -> None:
        if response.status >= 400 and response.request.resource_type != "document":
            complaints.append(f"{response.status} {response.url}")

    page.on("console", on_console)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("response", on_response)
    return complaints
