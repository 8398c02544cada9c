"""Every page in every state: axe-core finds nothing serious, nothing sticks out or jumps, nothing is complained of."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser as Chromium
from playwright.sync_api import Page

from tests.browser.house import PHONE, WHO, House, open_context
from tests.browser.states import STATES, State, Windows, opened
from tests.chromium import needs_chromium

pytestmark = needs_chromium

AXE = Path(__file__).parent / "node" / "node_modules" / "axe-core" / "axe.min.js"
RUN_AXE = """async (rules) => {
  const options = rules ? {runOnly: {type: "rule", values: rules}} : {};
  const found = await axe.run({exclude: ["optgroup"]}, {resultTypes: ["violations"], ...options});
  return found.violations.map(({id, impact, nodes}) => [id, impact, nodes.map((node) => node.target.join(" "))]);
}"""
COLOURS = ["color-contrast", "link-in-text-block"]  # the rules that may judge another theme differently
# What moved though nobody had asked for it. Where something was done, only from the moment on when all should be still.
JUMPS = """(acted) => new Promise((tell) => {
  const observer = new PerformanceObserver((list) => seen.push(...list.getEntries()));
  const seen = [], from = window.still ?? (acted ? Infinity : 0);
  observer.observe({type: "layout-shift", buffered: true});
  requestAnimationFrame(() => setTimeout(() => {
    seen.push(...observer.takeRecords());
    tell(seen.filter((one) => one.startTime >= from && one.value > 0.00001).map((one) => [
      one.value, one.sources.map((source) => source.node?.outerHTML?.slice(0, 80) ?? "")]));
  }));
})"""
SETTLE = "document.getAnimations().forEach((one) => one instanceof CSSTransition && one.finish())"  # colours that fade
STICKS_OUT = "document.documentElement.scrollWidth - document.documentElement.clientWidth"


@pytest.fixture(scope="module")
def axe() -> str:
    if not AXE.is_file():
        words = "axe-core is not installed: npm ci --ignore-scripts, in tests/browser/node (scripts/test does it)"
        pytest.fail(words) if os.environ.get("CI") else pytest.skip(words)
    return AXE.read_text()


def judge(page: Page, axe: str, rules: list[str] | None = None) -> list[Any]:
    """What axe-core finds that is serious."""
    if not page.evaluate("() => 'axe' in window"):
        page.evaluate(axe)
    return [one for one in page.evaluate(RUN_AXE, rules) if one[1] in ("serious", "critical")]


@pytest.mark.parametrize("state", STATES, ids=lambda state: state.name)
def test_nothing_is_wrong_with_it(state: State, windows: Windows, house: House, axe: str) -> None:
    with opened(windows, house, state) as look:
        page = look.page
        wrong = {"sticks out": page.evaluate(STICKS_OUT), "jumps": page.evaluate(JUMPS, state.act is not None)}
        wrong["light"] = judge(page, axe)
        page.emulate_media(color_scheme="dark")
        page.evaluate(SETTLE)
        wrong["dark"] = judge(page, axe, COLOURS)
        page.set_viewport_size(PHONE)
        wrong["phone"] = judge(page, axe)
        wrong["out of the phone"] = page.evaluate(STICKS_OUT)
        wrong["browser"] = look.complaints
    assert not any(wrong.values()), {name: found for name, found in wrong.items() if found}


@pytest.mark.parametrize("who", ["", *WHO])
def test_nothing_jumps_on_a_phone(who: str, chromium: Chromium, house: House) -> None:
    metrion = house.server(who)
    with open_context(chromium, metrion, house.cookies.get(who, {}), viewport=PHONE) as context:
        page = context.new_page()
        for state in STATES:
            if state.who == who and not state.act and not state.mail:
                page.goto(metrion.origin + state.path)
                assert (state.name, page.evaluate(JUMPS, False), page.evaluate(STICKS_OUT)) == (state.name, [], 0)
