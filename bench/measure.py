"""The three parts. Each starts its provider and the sides before it, loads one after another, and gives figures."""

from __future__ import annotations

import contextlib
import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from bench import proc, sides, sse, wrk
from bench.sides import Metrion, Side

CONNECTIONS = 32
WARM_SECONDS = 2
ROWS_WITHIN = 60.0  # seconds in which the rows of a load must be written
KIB = 1024

ANSWER = json.dumps(
    {
        "id": "chatcmpl-bench",
        "object": "chat.completion",
        "created": 1790000000,
        "model": "gpt-4o-2024-08-06",
        "choices": [
            {
                "index": 0,
                "message": {
                    "role": "assistant",
                    "content": "It depends on the length of your ruler. " * 4,
                    "refusal": None,
                },
                "finish_reason": "stop",
            }
        ],
        "usage": {
            "prompt_tokens": 90,
            "completion_tokens": 40,
            "total_tokens": 130,
            "prompt_tokens_details": {"cached_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 0},
        },
    }
)


@dataclass
class Figure:
    """One line of the table: a value for each side, by its name."""

    name: str
    unit: str
    values: dict[str, float] = field(default_factory=dict)


@dataclass
class Part:
    """What one part measured, and what went wrong while it did (figures of broken work mean nothing)."""

    figures: list[Figure]
    remarks: list[str]


@dataclass
class Bench:
    """Where and how long to measure: `seconds` for each load, the median of `rounds`."""

    folder: Path
    seconds: float
    rounds: int


def small_answers(bench: Bench) -> Part:
    """`json`: 32 connections as fast as they go, then one."""
    folder = bench.folder / "json"
    folder.mkdir()
    with contextlib.ExitStack() as stack:
        provider = stack.enter_context(sides.nginx_answer(folder / "provider", ANSWER))
        all_sides, product = _start_sides(stack, folder, provider.port)
        cpu, rate = Figure("json: CPU per request", "µs"), Figure("json: requests per second", "")
        p50, p99 = Figure("json: one client, p50", "ms"), Figure("json: one client, p99", "ms")
        remarks: list[str] = []
        for side in all_sides:
            before = product.counted()
            loads = [wrk.load(side, folder, CONNECTIONS, WARM_SECONDS)]
            proc.settle(side.pid)
            costs = []
            for _ in range(bench.rounds):
                start = proc.cpu_seconds(side.pid)
                loads.append(wrk.load(side, folder, CONNECTIONS, bench.seconds))
                proc.settle(side.pid)
                costs.append((proc.cpu_seconds(side.pid) - start) / max(1, loads[-1].requests) * 1e6)
            cpu.values[side.name] = median(costs)
            rate.values[side.name] = median(load.requests for load in loads[1:]) / bench.seconds
            loads.append(wrk.load(side, folder, 1, max(2, bench.seconds / 2)))
            p50.values[side.name], p99.values[side.name] = loads[-1].p50, loads[-1].p99
            failed = sum(load.refused + load.broken for load in loads)
            remarks += [f"json: {side.name} failed {failed} requests"] if failed else []
            if side.name == "metrion":
                remarks.append(compare_rows("json", product, before, sum(load.requests for load in loads)))
        return Part([cpu, rate, p50, p99], remarks)


def busy_streams(bench: Bench) -> Part:
    """`sse`: 200 streams of 100 events, 20 ms apart."""
    folder = bench.folder / "sse"
    folder.mkdir()
    with contextlib.ExitStack() as stack:
        port = stack.enter_context(sse.provider(folder, events=100, interval=0.02))
        all_sides, product = _start_sides(stack, folder, port)
        cpu = Figure("sse: CPU per event", "µs")
        p50, p99 = Figure("sse: first event, p50", "ms"), Figure("sse: first event, p99", "ms")
        remarks: list[str] = []
        for side in all_sides:
            before = product.counted()
            warm = sse.finish_load(sse.start_load(side, 200, WARM_SECONDS))
            proc.settle(side.pid)
            costs, firsts, streams = [], [], warm.streams
            for _ in range(bench.rounds):
                start = proc.cpu_seconds(side.pid)
                load = sse.finish_load(sse.start_load(side, 200, bench.seconds))
                proc.settle(side.pid)
                costs.append((proc.cpu_seconds(side.pid) - start) / max(1, load.events) * 1e6)
                firsts.append(load)
                streams += load.streams
            cpu.values[side.name] = median(costs)
            p50.values[side.name] = median(load.first_p50 for load in firsts)
            p99.values[side.name] = median(load.first_p99 for load in firsts)
            remarks += _failures("sse", side, [warm, *firsts])
            if side.name == "metrion":
                remarks.append(compare_rows("sse", product, before, streams))
        return Part([cpu, p50, p99], remarks)


def open_streams(bench: Bench) -> Part:
    """`open`: 2,000 streams of 20 events, half a second apart."""
    folder = bench.folder / "open"
    folder.mkdir()
    clients = 2000
    with contextlib.ExitStack() as stack:
        port = stack.enter_context(sse.provider(folder, events=20, interval=0.5))
        all_sides, product = _start_sides(stack, folder, port)
        memory = Figure("open: memory per stream", "KiB")
        p99 = Figure("open: first event, p99", "ms")
        remarks: list[str] = []
        for side in all_sides:
            before, empty = product.counted(), proc.resident_bytes(side.pid)
            running = sse.start_load(side, clients, bench.seconds)
            # All are open by then: a stream lasts 10 s.
            time.sleep(6)
            memory.values[side.name] = (proc.resident_bytes(side.pid) - empty) / clients / KIB
            load = sse.finish_load(running)
            p99.values[side.name] = load.first_p99
            remarks += _failures("open", side, [load])
            if side.name == "metrion":
                remarks.append(compare_rows("open", product, before, load.streams))
        return Part([memory, p99], remarks)


PARTS = {"json": small_answers, "sse": busy_streams, "open": open_streams}


def _start_sides(stack: contextlib.ExitStack, folder: Path, provider: int) -> tuple[list[Side], Metrion]:
    """nginx, Metrion and, where it is installed, LiteLLM, all before the same provider."""
    nginx = stack.enter_context(sides.nginx_proxy(folder / "nginx", provider))
    metrion, product = stack.enter_context(sides.metrion(folder / "metrion", provider))
    litellm = stack.enter_context(sides.litellm(folder / "litellm", provider))
    return [nginx, metrion, *([litellm] if litellm else [])], product


def _failures(part: str, side: Side, loads: list[sse.Load]) -> list[str]:
    failed = sum(load.refused + load.cut for load in loads)
    return [f"{part}: {side.name} failed {failed} streams"] if failed else []


def compare_rows(part: str, product: Metrion, before: int, answered: int) -> str:
    """Rows may be written late, and requests in flight when a load stops have rows nobody counted; none may lack."""
    deadline = time.monotonic() + ROWS_WITHIN
    rows = product.counted() - before
    while rows < answered and time.monotonic() < deadline:
        time.sleep(0.5)
        rows = product.counted() - before
    verdict = "" if rows >= answered else ": ROWS ARE MISSING"
    return f"{part}: metrion answered {answered:,} and wrote {rows:,} rows{verdict}"
