"""Every page in every state: axe-core finds nothing serious, nothing sticks out or jumps, nothing is complained of."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser as Chromium

from tests.browser.house import PHONE, WHO, House, open_context
from tests.browser.judge import JUMPS, STICKS_OUT, all_wrong
from tests.browser.states import STATES, State, Windows, opened
from tests.chromium import needs_chromium

pytestmark = needs_chromium


@pytest.mark.parametrize("state", STATES, ids=lambda state: state.name)
def test_nothing_is_wrong_with_it(state: State, windows: Windows, house: House, axe: str) -> None:
    with opened(windows, house, state) as look:
        assert all_wrong(look.page, axe, look.complaints, acted=state.act is not None) == {}


@pytest.mark.parametrize("who", ["", *WHO])
def test_nothing_jumps_on_a_phone(who: str, chromium: Chromium, house: House) -> None:
    metrion = house.server(who)
    with open_context(chromium, metrion, house.cookies.get(who, {}), viewport=PHONE) as context:
        page = context.new_page()
        for state in STATES:
            if state.who == who and not state.act and not state.mail:
                page.goto(metrion.origin + state.path)
                assert (state.name, page.evaluate(JUMPS, False), page.evaluate(STICKS_OUT)) == (state.name, [], 0)
