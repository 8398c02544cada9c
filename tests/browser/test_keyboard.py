"""Everything by keyboard: Tab reaches each control and shows where it is; dialogs hold the focus and give it back."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Browser as Chromium
from playwright.sync_api import Locator, Page, expect

from tests.browser.house import PHONE, House, open_context
from tests.browser.states import STATES, State, Windows, opened
from tests.chromium import needs_chromium, watch
from tests.web.people import PASSWORD

pytestmark = needs_chromium

# Of each path one state, the one with the most in it: a page is the same for keys whatever it says.
EACH = tuple({state.path.partition("?")[0]: state for state in STATES if state.act is None}.values())
FILLED = next(state for state in EACH if state.name == "general-filled")
DIALOGS = [state for state in EACH if state.name in ("token-filled", "providers-filled", "profile-filled")]

START = """() => {
  const wanted = "a[href], button, input, select, textarea, summary, [tabindex]";
  window.stops = [...document.querySelectorAll(wanted)].filter((one) =>
    one.tabIndex >= 0 && !one.disabled && one.type !== "hidden" && one.checkVisibility({visibilityProperty: true}));
  document.body.tabIndex = -1;  // from the top, also where a field has the focus
  document.body.focus();
  document.body.removeAttribute("tabindex");
  return window.stops.map((one) => one.outerHTML.slice(0, 90));
}"""
WHERE = """() => {
  const here = document.activeElement, style = getComputedStyle(here), box = here.getBoundingClientRect();
  const seen = document.elementFromPoint(box.x + box.width / 2, box.y + box.height / 2);
  return {
    stop: window.stops.indexOf(here),
    parts: here.type === "date",
    ring: (style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 1) || style.boxShadow !== "none",
    covered: !(seen && (here.contains(seen) || seen.contains(here) || seen.closest("label")?.control === here)),
  };
}"""


def walk(page: Page) -> list[str]:
    """What is wrong with going through a page by Tab."""
    stops = page.evaluate(START)
    wrong: list[str] = []
    for number, stop in enumerate(stops):
        page.keyboard.press("Tab")
        found: dict[str, Any] = page.evaluate(WHERE)
        while found["stop"] == number - 1 and found["parts"]:  # a date's day, month, year and calendar
            page.keyboard.press("Tab")
            found = page.evaluate(WHERE)
        if found["stop"] != number:
            return [*wrong, f"instead of {stop}: {stops[found['stop']] if found['stop'] >= 0 else 'nothing'}"]
        wrong += [
            f"{what}: {stop}" for what, bad in (("unseen", not found["ring"]), ("covered", found["covered"])) if bad
        ]
    return wrong


@pytest.mark.parametrize("state", EACH, ids=lambda state: state.name)
def test_tab_goes_through_all_of_it(state: State, windows: Windows, house: House) -> None:
    with opened(windows, house, state) as look:
        wrong = walk(look.page)
        look.page.set_viewport_size(PHONE)
        assert (wrong, walk(look.page)) == ([], [])


def focused(page: Page, within: str) -> bool:
    """Whether the focus is in there, or outside of the page (the browser's own controls come after the last)."""
    return bool(
        page.evaluate(f"document.activeElement === document.body || !!document.activeElement.closest('{within}')")
    )


@pytest.mark.parametrize("state", DIALOGS, ids=lambda state: state.name)
def test_a_dialog_holds_the_focus_and_gives_it_back(state: State, windows: Windows, house: House) -> None:
    with opened(windows, house, state) as look:
        page = look.page
        for opener in page.locator("main [data-open]").all():
            opener.focus()
            page.keyboard.press("Enter")
            dialog = page.locator("dialog[open]")
            expect(dialog).to_be_visible()
            for _ in range(6):
                assert focused(page, "dialog[open]")
                page.keyboard.press("Tab")
            page.keyboard.press("Escape")
            expect(dialog).to_have_count(0)
            expect(opener).to_be_focused()


def test_the_menu_opens_help_and_gives_the_focus_back(windows: Windows, house: House) -> None:
    with opened(windows, house, FILLED) as look:
        page = look.page
        summary = page.get_by_label("Account menu")
        to(page, summary)
        page.keyboard.press("Enter")
        opener = page.get_by_role("button", name="Keyboard shortcuts")
        to(page, opener)
        page.keyboard.press("Enter")
        expect(page.get_by_role("dialog")).to_be_visible()
        page.keyboard.press("Escape")
        expect(opener).to_be_focused()
        page.keyboard.press("Escape")
        expect(opener).to_be_hidden()
        expect(summary).to_be_focused()


# ── all the way ───────────────────────────────────────────────────────────────────────────────────────────────────────


def to(page: Page, target: Locator) -> None:
    """Press Tab until `target` has the focus."""
    for _ in range(100):
        if target.evaluate("one => one === document.activeElement"):
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"Tab does not reach {target}")


def test_the_whole_way_by_keyboard(chromium: Chromium, house: House) -> None:
    metrion = house.silent
    with open_context(chromium, metrion) as context:
        page = context.new_page()
        complaints = watch(page)

        def press(name: str, *, role: Any = "button") -> None:
            place = page.get_by_role("dialog") if page.locator("dialog[open]").count() else page
            to(page, place.get_by_role(role, name=name, exact=True))
            page.keyboard.press("Enter")

        def type_into(label: str, text: str) -> None:
            to(page, page.get_by_label(label, exact=True))
            page.keyboard.type(text)

        page.goto(metrion.origin)
        press("Create an account", role="link")
        page.wait_for_url("**/signup")
        type_into("E-mail", "by-keyboard@example.com")
        type_into("Password", PASSWORD)
        page.keyboard.press("Enter")  # in a field, it sends the form
        page.wait_for_url("**/integrate")
        press("Skip to content", role="link")
        expect(page.locator("#main")).to_be_focused()
        press("Anthropic", role="link")
        page.wait_for_url("**provider=anthropic**")
        type_into("Anthropic API key", "sk-ant-by-keyboard")
        press("Save key")
        expect(page.get_by_text("Saved. Anthropic accepts this key.")).to_be_visible()
        press("Show Metrion key")
        expect(page.locator("#metrion-key")).not_to_contain_text("…")
        to(page, page.get_by_role("tab", name="Python"))
        page.keyboard.press("ArrowLeft")
        expect(page.get_by_role("tab", name="curl")).to_be_focused()
        to(page, page.get_by_role("tabpanel", name="curl").get_by_role("button", name="Copy Shell"))
        page.keyboard.press("Enter")
        page.wait_for_function("navigator.clipboard.readText().then((text) => text.includes('x-api-key: sk-metrion-'))")
        press("Send a test request")
        expect(page.get_by_text("Anthropic answered your test request.")).to_be_visible()
        press("Settings", role="link")
        press("Metrion key", role="link")
        page.wait_for_url("**/token")
        press("Regenerate key")
        press("Regenerate key")
        expect(page.get_by_text("Your key was replaced.")).to_be_visible()
        press("Profile", role="link")
        press("Delete account", role="link")
        page.wait_for_url("**/delete")
        type_into("Your password", PASSWORD)
        press("Delete account for good")
        expect(page.get_by_role("heading", name="Your account is deleted")).to_be_visible()
        assert complaints == []
