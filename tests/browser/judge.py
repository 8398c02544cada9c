"""Judge: what is wrong with an open page: what axe-core finds serious, what sticks out, jumps or is complained of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from playwright.sync_api import Page

from tests.browser.house import PHONE

AXE = Path(__file__).parent / "node" / "node_modules" / "axe-core" / "axe.min.js"
RUN_AXE = """async (rules) => {
  const options = rules ? {runOnly: {type: "rule", values: rules}} : {};
  const found = await axe.run({exclude: ["optgroup"]}, {resultTypes: ["violations"], ...options});
  return found.violations.map(({id, impact, nodes}) => [id, impact, nodes.map((node) => node.target.join(" "))]);
}"""
COLOURS = ["color-contrast", "link-in-text-block"]  # the rules that may judge another theme differently
# What moved though nobody had asked for it, more than by a rounded pixel (https://web.dev/articles/cls calls 0.1 good).
# Where something was done, only from the moment on when all should be still.
JUMPS = """(acted) => new Promise((tell) => {
  const observer = new PerformanceObserver((list) => seen.push(...list.getEntries()));
  const seen = [], from = window.still ?? (acted ? Infinity : 0);
  observer.observe({type: "layout-shift", buffered: true});
  requestAnimationFrame(() => setTimeout(() => {
    seen.push(...observer.takeRecords());
    tell(seen.filter((one) => one.startTime >= from && one.value > 0.0005).map((one) => [
      one.value, one.sources.map((source) => source.node?.outerHTML?.slice(0, 80) ?? "")]));
  }));
})"""
SETTLE = "document.getAnimations().forEach((one) => one instanceof CSSTransition && one.finish())"  # colours that fade
STICKS_OUT = "document.documentElement.scrollWidth - document.documentElement.clientWidth"


def judge(page: Page, axe: str, rules: list[str] | None = None) -> list[Any]:
    """What axe-core finds that is serious."""
    if not page.evaluate("() => 'axe' in window"):
        page.evaluate(axe)
    return [one for one in page.evaluate(RUN_AXE, rules) if one[1] in ("serious", "critical")]


def all_wrong(page: Page, axe: str, complaints: list[str], *, acted: bool) -> dict[str, Any]:
    """By name, in both themes, on a desktop and a phone; `acted`: something was done on the page (see JUMPS)."""
    wrong = {"sticks out": page.evaluate(STICKS_OUT), "jumps": page.evaluate(JUMPS, acted)}
    page.evaluate(SETTLE)
    wrong["light"] = judge(page, axe)
    page.emulate_media(color_scheme="dark")
    page.evaluate(SETTLE)
    wrong["dark"] = judge(page, axe, COLOURS)
    page.set_viewport_size(PHONE)
    wrong["phone"] = judge(page, axe)
    wrong["out of the phone"] = page.evaluate(STICKS_OUT)
    wrong["browser"] = complaints
    return {name: found for name, found in wrong.items() if found}
