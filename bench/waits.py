"""How long the writer is held up by what the server does beside it: deleting old rows, another time zone, erasing.

A small account sends a form that changes something, again and again. What that takes is what a batch of rows would wait
for, and the way there: both stand in the same queue.
"""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from bench import sides
from bench.client import Visitor
from metrion.config import Settings
from metrion.kit.clock import iso
from metrion.storage.database import open_reader
from metrion.storage.folding import next_row
from metrion.storage.totals import find_folds

_PAUSE = 0.02  # seconds between two forms
_ZONES = ("Asia/Tokyo", "Asia/Kolkata")  # whose hours begin with UTC's, and half an hour later


class Watch:
    """What each form took, in milliseconds."""

    def __init__(self, port: int, cookie: str) -> None:
        self._visitor = Visitor(port, cookie)
        self.taken: list[float] = []

    @contextmanager
    def on(self) -> Iterator[None]:
        """Send forms all the while."""
        self.taken, over = [], threading.Event()

        def send() -> None:
            while not over.wait(_PAUSE):
                self.taken.append(self._visitor.send("/settings/token/reads", reads="1").seconds * 1000)

        thread = threading.Thread(target=send)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def __str__(self) -> str:
        taken = sorted(self.taken)
        p99 = taken[max(-(-len(taken) * 99 // 100) - 1, 0)]
        return f"{len(taken):6} forms: p50 {median(taken):7.1f}  p99 {p99:7.1f}  most {taken[-1]:7.1f} ms"


def longest_waits(
    folder: Path, data: Path, account_id: int, email: str, cookies: tuple[str, str], seconds: float
) -> None:
    """Watch each kind of work for so long, on a copy. `cookies`: of the account it is about, and of a small one."""
    copy = folder / "copy"
    shutil.copytree(data, copy, ignore=shutil.ignore_patterns("*.sock", "*.lock"))
    days = {"METRION_RETENTION_PRO_DAYS": "87"}
    _watch(folder, copy, cookies, {}, {"nothing": lambda product, visitor: None}, account_id, seconds)
    _watch(folder, copy, cookies, days, {"rows too old": lambda product, visitor: None}, account_id, seconds)
    zones = {f"time zone {zone}": _move(zone) for zone in _ZONES}
    _watch(folder, copy, cookies, {}, {**zones, "erasing": _erase(email)}, account_id, seconds)


Act = Callable[[sides.Metrion, Visitor], None]


def _move(zone: str) -> Act:
    def act(product: sides.Metrion, visitor: Visitor) -> None:
        visitor.send("/settings", name="", currency="USD", time_zone=zone)

    return act


def _erase(email: str) -> Act:
    def act(product: sides.Metrion, visitor: Visitor) -> None:
        product.command("account", "delete", email, "--yes")

    return act


def _watch(
    folder: Path,
    data: Path,
    cookies: tuple[str, str],
    settings: dict[str, str],
    acts: dict[str, Act],
    account_id: int,
    seconds: float,
) -> None:
    product = sides.Metrion(folder, "http://127.0.0.1:9", data=data, settings=settings)
    process = product.start()
    try:
        visitor, watch = Visitor(product.port, cookies[0]), Watch(product.port, cookies[1])
        for name, act in acts.items():
            with watch.on():
                act(product, visitor)
                time.sleep(seconds)
            print(f"{name:24}{watch}; {_standing(data, account_id)}", flush=True)
        visitor.close()
    finally:
        sides.stop(process)


def _standing(data: Path, account_id: int) -> str:
    """How far the work is."""
    engine = open_reader(Settings(data_dir=data))
    with engine.connect() as connection:
        fold = find_folds(connection, [account_id])[account_id]
        first = next_row(connection, account_id, 0)
    engine.dispose()
    oldest = "no rows" if first is None else f"rows since {iso(first)[:16]}"
    clearing = ", clearing" if fold.clearing else ""
    return f"{oldest}, folded to {iso(fold.folded_ms)[:16]}, paired to {iso(fold.paired_ms)[:16]}{clearing}"
