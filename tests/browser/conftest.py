"""A house for all tests that look at pages, and a browser for each module: two drivers in one process do not work."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser as Chromium

from tests.browser.house import House, open_house
from tests.browser.judge import AXE
from tests.browser.states import Windows
from tests.chromium import open_chromium
from tests.fake_provider import FakeProvider


@pytest.fixture(scope="module")
def chromium() -> Iterator[Chromium]:
    with open_chromium() as browser:
        yield browser


@pytest.fixture(scope="session")
def house(fake: FakeProvider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with open_house(tmp_path_factory.mktemp("house"), fake) as opened:
        yield opened


@pytest.fixture(scope="module")
def windows(chromium: Chromium) -> Windows:
    return Windows(chromium)


@pytest.fixture(scope="session")
def axe() -> str:
    """axe-core, to be run in a page."""
    if not AXE.is_file():
        words = "axe-core is not installed: npm ci --ignore-scripts, in tests/browser/node (scripts/test does it)"
        pytest.fail(words) if os.environ.get("CI") else pytest.skip(words)
    return AXE.read_text()
