"""Background work: it rests, is woken, goes on after failures with growing pauses, and stops."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
import structlog

from metrion.errors import StorageError
from metrion.kit import background
from metrion.kit.background import Background

pytestmark = pytest.mark.anyio
LONG = 3600.0


class Worker(Background):
    """Does `step`, which gets how often it was done before; `times` says how often."""

    def __init__(self, step: Callable[[int], float]) -> None:
        super().__init__("test", failed="test_failed")
        self.step = step
        self.times = 0

    async def work(self) -> float:
        self.times += 1
        return self.step(self.times - 1)

    async def until(self, times: int) -> None:
        async with asyncio.timeout(10):
            while self.times < times:  # noqa: ASYNC110 (what is waited for is the work itself)
                await asyncio.sleep(0)


Start = Callable[[Callable[[int], float]], Worker]


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    workers: list[Worker] = []

    def begin(step: Callable[[int], float]) -> Worker:
        workers.append(Worker(step))
        workers[-1].start()
        return workers[-1]

    yield begin
    for worker in workers:
        await worker.stop()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "PAUSES", (0.001, 0.002, 0.003))


async def turns(count: int = 20) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_it_works_again_when_its_rest_is_over(start: Start) -> None:
    await start(lambda done: 0.0 if done < 3 else LONG).until(4)


async def test_it_rests_until_it_is_woken(start: Start) -> None:
    worker = start(lambda _: LONG)
    await worker.until(1)
    await turns()
    assert worker.times == 1
    worker.wake()
    await worker.until(2)
    await turns()
    assert worker.times == 2


async def test_what_comes_while_it_works_is_not_missed(start: Start) -> None:
    def wakes_itself_once(done: int) -> float:
        if not done:
            worker.wake()
        return LONG

    worker = start(wakes_itself_once)
    await worker.until(2)
    await turns()
    assert worker.times == 2


@pytest.mark.usefixtures("quick")
async def test_failures_are_told_and_pauses_grow_until_it_works_again(start: Start) -> None:
    def fails_five_times_then_once_more(done: int) -> float:
        if done < 5 or done == 6:
            raise StorageError("the disk is full; make room")
        return 0.0 if done == 5 else LONG

    with structlog.testing.capture_logs() as logs:
        await start(fails_five_times_then_once_more).until(8)
    assert {(log["event"], log["log_level"], log["reason"]) for log in logs} == {
        ("test_failed", "error", "the disk is full; make room")
    }
    assert [log["retry_in"] for log in logs] == [0.001, 0.002, 0.003, 0.003, 0.003, 0.001]


async def test_who_is_woken_does_not_wait_for_the_pause(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "PAUSES", (LONG,))

    def fails_once(done: int) -> float:
        if not done:
            raise StorageError("the disk is full; make room")
        return LONG

    with structlog.testing.capture_logs():
        worker = start(fails_once)
        await worker.until(1)
        await turns()
        worker.wake()
        await worker.until(2)


@pytest.mark.usefixtures("quick")
async def test_of_an_error_that_is_not_ours_only_kind_and_place_are_told(start: Start) -> None:
    def fails(done: int) -> float:
        if not done:
            raise ValueError("sk-secret")
        return LONG

    with structlog.testing.capture_logs() as logs:
        await start(fails).until(2)
    (log,) = logs
    assert log["reason"] == "ValueError"
    assert "test_background.py:" in log["at"]
    assert "sk-secret" not in str(log)


async def test_a_stop_breaks_off_and_is_the_end(start: Start) -> None:
    worker = start(lambda _: LONG)
    await worker.until(1)
    await worker.stop()
    worker.wake()
    await turns()
    assert worker.times == 1
    await worker.stop()  # once more changes nothing


async def test_what_never_started_can_be_stopped() -> None:
    await Worker(lambda _: LONG).stop()


async def test_work_that_swallows_a_cancellation_is_stopped_nonetheless() -> None:
    class Stubborn(Background):
        swallowed = 0

        async def work(self) -> float:
            try:
                await asyncio.sleep(LONG)
            except asyncio.CancelledError:
                self.swallowed += 1
                if self.swallowed > 1:
                    raise
            return LONG

    stubborn = Stubborn("test", failed="test_failed")
    stubborn.start()
    await turns()
    async with asyncio.timeout(10):
        await stubborn.stop()
    assert stubborn.swallowed == 1  # the second one met its rest
