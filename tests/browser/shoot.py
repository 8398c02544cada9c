"""Shoot: a picture of every state of every page, on a desktop and a phone, light and dark. Run by scripts/shoot."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Literal

from tests.browser.house import DESKTOP, PHONE, open_house
from tests.browser.states import STATES, Windows, opened
from tests.chromium import open_chromium
from tests.fake_provider import FakeProvider

THEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")


def shoot(folder: Path, part: str = "") -> int:
    """How many pictures were taken."""
    folder.mkdir(parents=True, exist_ok=True)
    taken = 0
    with (
        tempfile.TemporaryDirectory() as data,
        FakeProvider.threaded() as fake,
        open_house(Path(data), fake) as house,
        open_chromium() as chromium,
    ):
        windows = Windows(chromium)
        for state in (state for state in STATES if part in state.name):
            with opened(windows, house, state) as look:
                for device, size in (("desktop", DESKTOP), ("phone", PHONE)):
                    look.page.set_viewport_size(size)
                    if state.act is None:
                        look.page.reload()
                    look.page.evaluate("scrollTo(0, 0)")
                    for theme in THEMES:
                        look.page.emulate_media(color_scheme=theme)
                        path = folder / f"{state.name}.{device}.{theme}.png"
                        look.page.screenshot(path=path, full_page=True, animations="disabled")
                        taken += 1
    return taken


if __name__ == "__main__":
    print(shoot(Path(sys.argv[1]), *sys.argv[2:3]), "pictures in", sys.argv[1])
