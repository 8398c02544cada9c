"""What the proxy has left while somebody reloads the dashboard: small answers as in `json`, with and without.

Pages are made in the proxy's own process. So their CPU is measured by itself, without calls, and taken off what the
process used for calls and pages together; how many calls were answered, and how soon, needs no such reckoning.
"""

from __future__ import annotations

import contextlib
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import NamedTuple

from bench import proc, sides, wrk
from bench.client import Visitor
from bench.measure import ANSWER, CONNECTIONS, WARM_SECONDS
from bench.sides import EMAIL, Metrion, Side

_EVERY = 1.0  # seconds between two reloads
_ROUNDS = 3


class Measured(NamedTuple):
    """One load: calls a second, CPU seconds of the process, reloads, and one client's latency in milliseconds."""

    rate: float
    calls: int
    cpu: float
    reloads: int
    p50: float
    p99: float


class Reloading:
    """Somebody who loads the dashboard, with its styles and scripts, once a second."""

    def __init__(self, port: int, cookie: str) -> None:
        self._visitor = Visitor(port, cookie)
        self._over = threading.Event()
        self.times = 0
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        following = time.monotonic()
        while not self._over.wait(max(following - time.monotonic(), 0)):
            following += _EVERY
            for part in self._visitor.get("/dashboard").parts:
                self._visitor.get(part)
            self.times += 1

    def __enter__(self) -> Reloading:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self._visitor.close()


def beside_pages(folder: Path, data: Path, cookie: str, seconds: float) -> None:
    """Load by turns without and with somebody reloading the dashboard of `cookie`'s account; print both."""
    with contextlib.ExitStack() as stack:
        provider = stack.enter_context(sides.nginx_answer(folder / "provider", ANSWER))
        product = Metrion(folder, f"http://127.0.0.1:{provider.port}", data=data)
        side = stack.enter_context(_calling(product))
        wrk.load(side, folder, CONNECTIONS, WARM_SECONDS)
        a_reload = _cost_of_reload(side, cookie, seconds)
        without, beside = [], []
        for _ in range(_ROUNDS):
            without.append(_measure(side, folder, "", seconds))
            beside.append(_measure(side, folder, cookie, seconds))
    _show("calls a second", [one.rate for one in without], [one.rate for one in beside])
    _show("one client's p50, ms", [one.p50 for one in without], [one.p50 for one in beside])
    _show("one client's p99, ms", [one.p99 for one in without], [one.p99 for one in beside])
    of_calls = [(one.cpu - one.reloads * a_reload) / one.calls * 1e6 for one in beside]
    _show("CPU a call, µs", [one.cpu / one.calls * 1e6 for one in without], of_calls)
    print(f"a reload with all its parts takes {a_reload * 1000:.0f} ms of CPU by itself")


def _measure(side: Side, folder: Path, cookie: str, seconds: float) -> Measured:
    proc.settle(side.pid)
    with Reloading(side.port, cookie) if cookie else contextlib.nullcontext() as reloading:
        start = proc.cpu_seconds(side.pid)
        load = wrk.load(side, folder, CONNECTIONS, seconds)
    reloads = reloading.times if reloading else 0
    proc.settle(side.pid)
    cpu = proc.cpu_seconds(side.pid) - start
    with Reloading(side.port, cookie) if cookie else contextlib.nullcontext():
        one = wrk.load(side, folder, 1, seconds)
    return Measured(load.requests / seconds, load.requests, cpu, reloads, one.p50, one.p99)


def _cost_of_reload(side: Side, cookie: str, seconds: float) -> float:
    """CPU seconds of the process for one reload, where nobody calls."""
    proc.settle(side.pid)
    start = proc.cpu_seconds(side.pid)
    with Reloading(side.port, cookie) as reloading:
        time.sleep(seconds)
    return (proc.cpu_seconds(side.pid) - start) / max(reloading.times, 1)


@contextlib.contextmanager
def _calling(product: Metrion) -> Iterator[Side]:
    """A server with an account that calls, which is deleted at the end: the database is to be used again."""
    with contextlib.suppress(RuntimeError):
        product.command("account", "delete", EMAIL, "--yes")  # of a run that was broken off
    token = product.create_account()
    process: subprocess.Popen[bytes] = product.start()
    try:
        yield Side("metrion", product.port, "/api/proxy/openai/v1/chat/completions", token, process)
    finally:
        sides.stop(process)
        product.command("account", "delete", EMAIL, "--yes")


def _show(name: str, without: list[float], beside: list[float]) -> None:
    one, other = median(without), median(beside)
    print(f"{name:24}{one:12,.2f}{other:12,.2f}{other / one:8.2f} x")
