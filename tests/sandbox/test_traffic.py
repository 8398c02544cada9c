"""Sample traffic is varied, repeatable, and stops on time whatever it meets."""

from __future__ import annotations

import json
import time
from collections import Counter
from random import Random

import pytest

from metrion.sandbox.traffic import REQUESTERS, draw_sample, send_traffic
from tests.fake_provider import FakeProvider, Script
from tests.support import free_port

pytestmark = pytest.mark.anyio


async def test_it_sends_many_kinds_by_many_requesters_with_one_key() -> None:
    async with FakeProvider() as metrion:
        metrion.default = Script(text="{}")
        await send_traffic(metrion.origin, "sk-metrion-x", seconds=1.0, rate=150, seed=1)
        seen = metrion.seen
    roots = {s.target.split("/")[3] for s in seen}
    assert roots == {"openai", "v1", "gemini", "mistral", "grok"}
    assert {s.get("x-metrion-user") for s in seen} == set(REQUESTERS)
    keys = [s.get("authorization") or s.get("x-api-key") or s.get("x-goog-api-key") for s in seen]
    assert set(keys) <= {"Bearer sk-metrion-x", "sk-metrion-x"}
    streams = Counter(json.loads(s.body).get("stream", False) for s in seen)
    assert streams[True] > 10 and streams[False] > 10
    assert 75 < len(seen) < 300


async def test_it_outlives_a_metrion_that_is_not_there() -> None:
    began = time.monotonic()
    await send_traffic(f"http://127.0.0.1:{free_port()}", "sk-metrion-x", seconds=0.3, rate=50, seed=1)
    assert time.monotonic() - began < 5


async def test_it_outlives_cuts_garbage_and_refusals() -> None:
    answers = [Script(act="reset"), Script(raw="nonsense"), Script(text="x" * 100, cut_at=90), Script(status=500)]
    for answer in answers:
        async with FakeProvider() as metrion:
            metrion.default = answer
            await send_traffic(metrion.origin, "sk-metrion-x", seconds=0.2, rate=50, seed=1)
            assert metrion.seen


def test_the_same_seed_draws_the_same() -> None:
    first, second = Random(3), Random(3)
    assert [draw_sample(first) for _ in range(50)] == [draw_sample(second) for _ in range(50)]
