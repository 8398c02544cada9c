"""Look-ups of hosts: as many at a time as there is room for, and none that anybody has to wait for at the end."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from metrion.alerts.resolver import MOST, Resolver

pytestmark = pytest.mark.anyio


@pytest.fixture(params=[("asyncio", {"use_uvloop": True})], ids=["uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    """The loop that the server runs on."""
    return request.param


async def test_those_who_ask_for_a_host_at_once_share_its_answer() -> None:
    asked, go = list[str](), threading.Event()

    def resolve(host: str, port: int) -> list[str]:
        asked.append(host)
        go.wait(20)
        return [host, str(port)]

    resolver = Resolver(resolve)
    waiting = [asyncio.create_task(resolver.find("a", 80)) for _ in range(5)]
    other = asyncio.create_task(resolver.find("a", 443))
    while len(asked) < 2:  # noqa: ASYNC110 (threads set no event of the loop's)
        await asyncio.sleep(0.005)
    go.set()
    assert await asyncio.gather(*waiting) == [["a", "80"]] * 5
    assert await other == ["a", "443"]
    assert asked == ["a", "a"]
    assert await resolver.find("a", 80) == ["a", "80"]  # and nobody is told an old one
    assert asked == ["a", "a", "a"]


async def test_there_is_an_end_to_its_threads() -> None:
    busy, most, lock, go = 0, 0, threading.Lock(), threading.Event()

    def resolve(host: str, port: int) -> list[str]:
        nonlocal busy, most
        with lock:
            busy += 1
            most = max(most, busy)
        go.wait(20)
        with lock:
            busy -= 1
        return [host]

    resolver = Resolver(resolve)
    waiting = [asyncio.create_task(resolver.find(f"host-{number}", 80)) for number in range(MOST + 9)]
    while busy < MOST:  # noqa: ASYNC110
        await asyncio.sleep(0.005)
    go.set()
    assert await asyncio.gather(*waiting) == [[f"host-{number}"] for number in range(MOST + 9)]
    assert most == MOST


async def test_it_ends_though_a_name_server_does_not_answer() -> None:
    go = threading.Event()

    def resolve(host: str, port: int) -> list[str]:
        go.wait(20)
        return []

    resolver = Resolver(resolve)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await resolver.find("slow", 80)
    async with asyncio.timeout(5):
        await resolver.close()
    go.set()


async def test_what_it_raises_comes_back_and_is_forgotten() -> None:
    answers: list[Any] = [OSError("no"), UnicodeError("label too long"), ["1.1.1.1"]]

    def resolve(host: str, port: int) -> list[str]:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return list(answer)

    resolver = Resolver(resolve)
    for problem in (OSError, UnicodeError):
        with pytest.raises(problem):
            await resolver.find("a", 80)
    assert await resolver.find("a", 80) == ["1.1.1.1"]
