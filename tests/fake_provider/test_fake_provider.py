"""The misbehaving provider does what its scripts say, by h11's judgement where the answer is valid HTTP."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import zlib

import brotli
import h11
import pytest
import zstandard

from tests.fake_provider import FakeProvider, Script
from tests.fake_provider.samples import FIGURES, chat_body, sample

pytestmark = pytest.mark.anyio


async def talk(provider: FakeProvider, script: Script, method: str = "GET", body: bytes = b"") -> bytes:
    """Everything that comes back on a connection of its own."""
    reader, writer = await asyncio.open_connection("127.0.0.1", provider.port)
    head = f"{method} /v1/x?a=1 HTTP/1.1\r\nHost: h\r\nX-Fake: {script.header()}\r\nConnection: close\r\n"
    writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
    writer.write_eof()
    try:
        return await asyncio.wait_for(reader.read(), 10)
    finally:
        writer.close()


def judged(wire: bytes, method: str = "GET") -> tuple[list[h11.Event], bytes]:
    """The events that h11 sees in an answer, and its body."""
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method=method, target="/", headers=[("Host", "h")]))
    client.send(h11.EndOfMessage())
    client.receive_data(wire)
    events, body = [], b""
    while True:
        event = client.next_event()
        if event is h11.NEED_DATA:
            client.receive_data(b"")
            continue
        if isinstance(event, h11.Data):
            body += bytes(event.data)
        assert isinstance(event, h11.Event)
        events.append(event)
        if isinstance(event, h11.EndOfMessage):
            return events, body


@pytest.mark.parametrize(
    "script",
    [
        Script(text="hello"),
        Script(text="hello", framing="chunked", chunk=1),
        Script(text="hello", framing="chunked", extension=";a=b", trailers=[("X-T", "1")]),
        Script(text="hello", framing="close"),
        Script(text="hello", framing="none"),
        Script(text="hello", informational=[100, 103]),
        Script(text="hello", piece=1),
        Script(size=200_000, framing="chunked", chunk=999),
        Script(text="hello", header_count=50, header_bytes=1000),
        Script(text="hello", delay=0.01, drip=0.001, piece=40),
    ],
)
async def test_valid_answers_are_valid(script: Script) -> None:
    async with FakeProvider() as provider:
        events, body = judged(await talk(provider, script))
    assert body == script.plain_body()
    statuses = [e.status_code for e in events if isinstance(e, h11.InformationalResponse)]
    assert statuses == script.informational
    last = events[-1]
    assert isinstance(last, h11.EndOfMessage)
    assert [v for _, v in last.headers] == [v.encode() for _, v in script.trailers]


@pytest.mark.parametrize("status", [204, 304])
async def test_some_answers_have_no_body(status: int) -> None:
    async with FakeProvider() as provider:
        wire = await talk(provider, Script(status=status, text="hello"))
        head = await talk(provider, Script(text="hello"), method="HEAD")
    assert wire.endswith(b"\r\n\r\n") and b"hello" not in wire
    assert b"Content-Length: 5" in head and head.endswith(b"\r\n\r\n")


@pytest.mark.parametrize(
    "script",
    [
        Script(text="hello", framing="both"),
        Script(text="hello", framing="twice"),
        Script(text="hello", framing="chunked", chunk=2, bad_chunk=True),
        Script(text="hello", length=9),
        Script(raw="220 mail.example.com ESMTP\r\n"),
    ],
)
async def test_wrong_framing_is_wrong(script: Script) -> None:
    async with FakeProvider() as provider:
        wire = await talk(provider, script)
    if script.framing == "both":  # h11 lets chunked win here; the two headers are what matters
        assert b"Content-Length" in wire and b"Transfer-Encoding" in wire
        return
    with pytest.raises(h11.RemoteProtocolError):
        judged(wire)


async def test_a_cut_is_exact() -> None:
    whole = Script(text="hello")
    async with FakeProvider() as provider:
        full = await talk(provider, whole)
        for at in (0, 1, 20, len(full) - 1):
            assert await talk(provider, Script(text="hello", cut_at=at)) == full[:at]
        with pytest.raises(ConnectionResetError):
            await talk(provider, Script(text="hello", cut_at=20, cut_by="reset"))
        assert await talk(provider, Script(act="close")) == b""
        with pytest.raises(ConnectionResetError):
            await talk(provider, Script(act="reset"))


async def test_bodies_are_compressed_as_asked() -> None:
    packed = {e: Script(text="hello " * 50, encoding=e) for e in ("gzip", "deflate", "raw-deflate", "br", "zstd")}
    async with FakeProvider() as provider:
        got = {e: judged(await talk(provider, script))[1] for e, script in packed.items()}
    plain = b"hello " * 50
    assert gzip.decompress(got["gzip"]) == plain
    assert zlib.decompress(got["deflate"]) == zlib.decompress(got["raw-deflate"], wbits=-15) == plain
    assert brotli.decompress(got["br"]) == zstandard.decompress(got["zstd"]) == plain


async def test_it_remembers_what_it_saw() -> None:
    body = b"x" * 3_000_000
    async with FakeProvider() as provider:
        await talk(provider, Script(), method="POST", body=body)
        (seen,) = provider.seen
    assert (seen.method, seen.target, seen.version) == ("POST", "/v1/x?a=1", "HTTP/1.1")
    assert [name for name, _ in seen.headers] == ["Host", "X-Fake", "Connection", "Content-Length"]
    assert (seen.body_bytes, seen.body_sha256) == (len(body), hashlib.sha256(body).hexdigest())
    assert seen.complete and len(seen.body) == 1 << 20


async def test_a_connection_ends_on_reuse_if_told() -> None:
    async with FakeProvider() as provider:
        reader, writer = await asyncio.open_connection("127.0.0.1", provider.port)
        ask = f"GET / HTTP/1.1\r\nHost: h\r\nX-Fake: {Script(text='hi', on_reuse='close').header()}\r\n\r\n".encode()
        writer.write(ask)
        assert (await reader.readuntil(b"hi")).startswith(b"HTTP/1.1 200")
        assert provider.open == 1
        writer.write(ask)
        assert await asyncio.wait_for(reader.read(), 5) == b""
        writer.close()


async def test_silence_holds_until_the_client_leaves() -> None:
    async with FakeProvider() as provider:
        reader, writer = await asyncio.open_connection("127.0.0.1", provider.port)
        writer.write(f"GET / HTTP/1.1\r\nHost: h\r\nX-Fake: {Script(act='silent').header()}\r\n\r\n".encode())
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(1), 0.1)
        assert provider.open == 1
        writer.close()
        await asyncio.to_thread(provider.wait, lambda: provider.open == 0)


def test_it_runs_in_a_thread() -> None:
    with FakeProvider.threaded() as provider:
        wire = asyncio.run(talk(provider, Script(text="hello")))
        provider.wait(lambda: provider.open == 0)
    assert wire.endswith(b"hello") and provider.connections == 1


def test_samples_hold_the_figures_they_promise() -> None:
    assert sample("POST", "/v1/chat/completions", []) == chat_body()
    assert FIGURES["total_tokens"] == FIGURES["input_tokens"] + FIGURES["output_tokens"]
