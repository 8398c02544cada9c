"""Kills Metrion (SIGKILL) at random moments under load, starts it again, compares its rows with what was seen outside.

What must hold, at any moment of the kill:
- a call that reached the provider has exactly one row, and reached it once;
- a call that was answered whole to its client is `ok`, with its tokens.

    bench/soak-kill [--rounds 50] [--rate 300] [--seed 1]

Client and provider live in this process; Metrion and its commands are the real ones. A call's number travels to the
provider in the header `x-call`, and into the row as its requester.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import random
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.sides import EMAIL, Metrion

MODEL = "gpt-4o-mini-2024-07-18"
LONGEST_ROUND = 2.0  # seconds of load before the kill
ROWS_WITHIN = 10.0  # seconds after the start in which all rows must be readable
DRAIN_SECONDS = 10.0  # for the last clients to notice the end of their connection
EVENTS = 8  # of a stream, beside the usage event and [DONE]

JSON_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
STREAM_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
REQUEST_HEAD = """POST /api/proxy/openai/v1/chat/completions HTTP/1.1\r
host: 127.0.0.1\r
authorization: Bearer {token}\r
content-type: application/json\r
content-length: {length}\r
x-metrion-user: {number}\r
x-call: {number}\r
connection: close\r
\r
"""

Row = dict[str, Any]


@dataclass
class Sent:
    """One call as its client saw it."""

    number: int
    stream: bool
    answered: bool = False  # a 200 and its whole body arrived


def usage_of(number: int) -> dict[str, int]:
    """What the provider says call `number` used: another figure for each, so that no row can pass for another's."""
    prompt, completion = 10 + number % 997, 1 + number % 101
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


@dataclass
class Report:
    """What was sent and what was found. The lists hold a line for each broken promise: all empty when all is well."""

    kills: int = 0
    sent: int = 0
    reached: int = 0  # calls the provider saw
    answered: int = 0  # whole, to the client
    interrupted: int = 0  # rows of calls that a kill cut
    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    sent_twice: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return not (self.lost or self.doubled or self.wrong or self.sent_twice)

    def __str__(self) -> str:
        findings = (
            ("reached the provider, no row", self.lost),
            ("more than one row", self.doubled),
            ("answered whole, not ok with its tokens", self.wrong),
            ("sent to the provider more than once", self.sent_twice),
        )
        lines = [
            f"{self.kills} kills, {self.sent} calls: {self.reached} reached the provider, "
            f"{self.answered} were answered whole, {self.interrupted} rows are interrupted"
        ]
        for title, found in findings:
            lines += [f"{title}: {len(found)}", *(f"  {line}" for line in found[:20])]
        return "\n".join(lines)


def compare(calls: list[Sent], seen: Counter[int], rows: list[Row]) -> Report:
    """Compares rows with what the clients and the provider saw. Pure."""
    by_number: dict[int, list[Row]] = {}
    for row in rows:
        by_number.setdefault(int(row["requester"]), []).append(row)
    report = Report(sent=len(calls), interrupted=sum(row["outcome"] == "interrupted" for row in rows))
    for call in calls:
        found = by_number.get(call.number, [])
        report.reached += call.number in seen
        report.answered += call.answered
        if call.number in seen and not found:
            report.lost.append(f"call {call.number}, stream={call.stream}, answered={call.answered}")
        if len(found) > 1:
            report.doubled.append(f"call {call.number}: {[row['outcome'] for row in found]}")
        if seen[call.number] > 1:
            report.sent_twice.append(f"call {call.number}: {seen[call.number]} times")
        if call.answered and found and not _is_whole(call, found[0]):
            told = {name: found[0][name] for name in ("outcome", "status", "input_tokens", "output_tokens")}
            report.wrong.append(f"call {call.number}, stream={call.stream}: {told}, not {usage_of(call.number)}")
    return report


def _is_whole(call: Sent, row: Row) -> bool:
    usage = usage_of(call.number)
    tokens = (row["input_tokens"], row["output_tokens"])
    return row["outcome"] == "ok" and tokens == (usage["prompt_tokens"], usage["completion_tokens"])


class Provider:
    """An OpenAI on loopback that counts each request it sees, by number, and answers after a random while."""

    def __init__(self, chance: random.Random) -> None:
        self.seen: Counter[int] = Counter()
        self.chance = chance

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                while True:
                    await self._answer(reader, writer)
        finally:
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        fields = (line.partition(":") for line in head.split("\r\n")[1:])
        headers = {name.lower(): value.strip() for name, _, value in fields}
        number = int(headers["x-call"])
        self.seen[number] += 1
        request = json.loads(await reader.readexactly(int(headers["content-length"])))
        await asyncio.sleep(self.chance.expovariate(20))
        if request["stream"]:
            await self._stream(number, writer)
        else:
            body = json.dumps(_completion(number, choices=[])).encode()
            writer.write(JSON_HEAD % len(body) + body)
        await writer.drain()

    async def _stream(self, number: int, writer: asyncio.StreamWriter) -> None:
        writer.write(STREAM_HEAD)
        for index in range(EVENTS):
            delta = {"index": 0, "delta": {"content": f" token{index}"}, "finish_reason": None}
            _send_event(writer, json.dumps(_completion(number, choices=[delta], usage=None)))
            await writer.drain()
            await asyncio.sleep(self.chance.expovariate(50))
        _send_event(writer, json.dumps(_completion(number, choices=[])))
        _send_event(writer, "[DONE]")
        await writer.drain()
        await asyncio.sleep(self.chance.expovariate(50))  # clients have gone by now: the kill may come here
        writer.write(b"0\r\n\r\n")


def _completion(number: int, **fields: object) -> dict[str, object]:
    return {"id": f"chatcmpl-{number}", "object": "chat.completion", "model": MODEL, "usage": usage_of(number)} | fields


def _send_event(writer: asyncio.StreamWriter, data: str) -> None:
    event = f"data: {data}\n\n".encode()
    writer.write(b"%x\r\n%s\r\n" % (len(event), event))


async def ask(port: int, token: str, call: Sent) -> None:
    """Sends one call on a connection of its own and reads until that ends."""
    messages = [{"role": "user", "content": "hello"}]
    body = json.dumps({"model": MODEL, "stream": call.stream, "messages": messages}).encode()
    head = REQUEST_HEAD.format(token=token, length=len(body), number=call.number)
    answer = b""
    with contextlib.suppress(OSError):  # refused, reset: what a killed server looks like
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            writer.write(head.encode() + body)
            while data := await reader.read(65536):
                answer += data
        finally:
            # Also on a reset: what came before it may have been the whole answer.
            call.answered = whole(answer)
            writer.close()


def whole(answer: bytes) -> bool:
    """Whether these bytes are a 200 with all of its body; of a stream, with its closing event, where clients stop."""
    head, blank, body = answer.partition(b"\r\n\r\n")
    if not blank or not head.startswith(b"HTTP/1.1 200"):
        return False
    for line in head.lower().split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name == b"content-length":
            return len(body) == int(value)
        if name == b"transfer-encoding":
            return b"data: [DONE]\n\n" in body
    return False


class Soak:
    """The rounds of one run, on one data directory."""

    def __init__(self, metrion: Metrion, provider: Provider, rate: float, chance: random.Random) -> None:
        self.metrion = metrion
        self.provider = provider
        self.rate = rate
        self.chance = chance
        self.calls: list[Sent] = []

    async def run(self, rounds: int) -> Report:
        token = await asyncio.to_thread(self.metrion.create_account)
        process = await asyncio.to_thread(self.metrion.start)
        kills = 0
        try:
            report = Report()
            while kills < rounds and report.ok:  # at a broken promise, more rounds would only bury it
                first, since = len(self.calls), time.time()
                load = asyncio.create_task(self._load(token))
                await asyncio.sleep(self.chance.uniform(0.05, LONGEST_ROUND))
                process.kill()
                kills += 1
                load.cancel()
                await asyncio.gather(load, return_exceptions=True)
                await asyncio.to_thread(process.wait)
                process = await asyncio.to_thread(self.metrion.start)
                report = await self._settled(self.calls[first:], since)
                print(
                    f"kill {kills} of {rounds}: {report.sent} calls, {'ok' if report.ok else 'BROKEN'}", file=sys.stderr
                )
            # All rounds once more: a later recovery may have written an older round's rows again.
            report = await self._settled(self.calls, 0.0)
        finally:
            process.kill()
            await asyncio.to_thread(process.wait)
        report.kills = kills
        return report

    async def _load(self, token: str) -> None:
        """Starts calls at the rate until cancelled; then waits for those under way to end by themselves."""
        clients: list[asyncio.Task[None]] = []
        due = time.monotonic()  # by the clock, not one after another: a slow machine must not mean fewer calls
        try:
            while True:
                call = Sent(len(self.calls) + 1, stream=self.chance.random() < 0.5)
                self.calls.append(call)
                clients.append(asyncio.create_task(ask(self.metrion.port, token, call)))
                due += self.chance.expovariate(self.rate)
                await asyncio.sleep(max(0.0, due - time.monotonic()))
        finally:
            _, stuck = await asyncio.wait(clients, timeout=DRAIN_SECONDS)
            for client in stuck:
                client.cancel()

    async def _settled(self, calls: list[Sent], since: float) -> Report:
        """Compares until all is well or the time in which rows must appear is over."""
        deadline = time.monotonic() + ROWS_WITHIN
        while True:
            rows = await asyncio.to_thread(self._rows, since)
            report = compare(calls, self.provider.seen, rows)
            if report.ok or time.monotonic() > deadline:
                return report
            await asyncio.sleep(0.2)

    def _rows(self, since: float) -> list[Row]:
        moment = datetime.fromtimestamp(since, UTC).isoformat(timespec="milliseconds")
        lines = self.metrion.command("logs", "--account", EMAIL, "--format", "jsonl", "--since", moment)
        return [json.loads(line) for line in lines.splitlines()]


async def _soak(rounds: int, rate: float, seed: int, folder: Path) -> Report:
    chance = random.Random(seed)  # noqa: S311 - repeatable, not secret
    provider = Provider(chance)
    async with await asyncio.start_server(provider.serve, "127.0.0.1", 0) as server:
        metrion = Metrion(folder, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        return await Soak(metrion, provider, rate, chance).run(rounds)


def run(rounds: int, rate: float, seed: int) -> Report:
    """Kills `rounds` times under `rate` calls a second, half of them streams; stops at the first broken promise."""
    with tempfile.TemporaryDirectory(prefix="metrion-kill-") as folder:
        return asyncio.run(_soak(rounds, rate, seed, Path(folder)))


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="bench/soak-kill", description="Kills Metrion under load and checks its rows."
    )
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--rate", type=float, default=300, help="calls a second")
    parser.add_argument("--seed", type=int, default=1)
    wanted = parser.parse_args()
    report = run(wanted.rounds, wanted.rate, wanted.seed)
    print(report)
    raise SystemExit(not report.ok)


if __name__ == "__main__":
    main()
