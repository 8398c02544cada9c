"""No secret stands in the log or in the data directory, whatever went wrong. Spec §7."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from tests.conftest import NewMetrion
from tests.fake_provider import FakeProvider, Script
from tests.proxy.talk import CHAT, CHAT_BODY, GENERATE, MESSAGES, UPLOAD, call, connect, head, marked, post, say
from tests.support import PROVIDERS, Metrion, exchange, free_port, provider_key

OWN_KEY = "own-provider-key-7f3a9c"
UNKNOWN = "sk-metrion-" + "e" * 32
OAUTH = "sk-ant-oat01-5e1f0b"


def everything_that_goes_wrong(server: Metrion, mark: str) -> None:
    echo = '{"error":{"message":"bad key %s","type":"t"}}'
    key = provider_key("openai")
    scripts = [
        Script(status=401, text=echo % key),
        Script(status=401, text=echo % f"{key[:12]}...{key[-4:]}"),
        Script(status=500, text=f"<html>{key}</html>"),
        Script(raw=f"{key}\r\n\r\n"),
        Script(raw=f"HTTP/1.1 200 OK\r\n{key}\r\n\r\n"),
        Script(act="reset"),
        Script(act="silent"),
        Script(text="x" * 100, framing="chunked", cut_at=150),
        Script(text=f'data: {{"error":{{"message":"{key}"}}}}\n\n', headers=[("Content-Type", "text/event-stream")]),
    ]
    for script in scripts:
        call(server, mark, script)
    own = [("Authorization", f"Bearer {OWN_KEY}"), ("X-Metrion-Token", server.token)]
    exchange(server.port, "POST", CHAT, own, CHAT_BODY)
    exchange(server.port, "POST", CHAT, [*own, ("X-Fake", Script(status=401, text=echo % OWN_KEY).header())], CHAT_BODY)
    exchange(server.port, "POST", CHAT, own[:1], CHAT_BODY)
    exchange(server.port, "POST", MESSAGES, [("Authorization", f"Bearer {OAUTH}"), own[1]], CHAT_BODY)
    exchange(server.port, "POST", f"{GENERATE}?key={server.token}", [], CHAT_BODY)
    exchange(server.port, "POST", f"{GENERATE}?key={OWN_KEY}&alt=sse", own[1:], CHAT_BODY)
    exchange(server.port, "POST", CHAT, [("x-api-key", UNKNOWN)], CHAT_BODY)
    exchange(server.port, "POST", CHAT, [("x-api-key", UNKNOWN), *marked(server.token, mark)], CHAT_BODY)
    exchange(server.port, "POST", "/api/proxy/nobody/x", marked(server.token, mark), CHAT_BODY)
    exchange(server.port, "POST", "/api/proxy/mistral/v1/files", marked(server.token, mark), CHAT_BODY)  # nobody there
    exchange(server.port, "GET", f"/readyz?key={server.token}", marked(server.token, mark))
    call(server, mark, body=f'{{"model": {server.token}'.encode())
    call(server, mark, body=b"x" * 2_000_000, path=UPLOAD)
    bare = head("POST", CHAT, marked(server.token, mark))
    for broken in (
        bare.replace(b"Host:", b"Host :"),
        bare + b"x" * 70_000,
        bare.replace(b"\r\n\r\n", b"\r\nX:" + b"y" * 70_000),
    ):
        with connect(server.port) as connection:
            connection.sendall(broken[:60_000])
    say(server.port, head("POST", CHAT, [("Content-Length", "x"), *marked(server.token, mark)]))
    say(server.port, post([*marked(server.token, mark), ("Connection", "close")]).replace(b"HTTP/1.1", b"HTTP/9"))


def where(secret: bytes, folder: Path, log: Path) -> list[str]:
    """The files in which a secret stands in clear."""
    files = [path for path in folder.rglob("*") if path.is_file()] + [log]
    return [str(path.name) for path in files if secret in path.read_bytes()]


def test_no_secret_is_written_anywhere(new_metrion: NewMetrion, fake: FakeProvider, mark: str) -> None:
    settings = {"METRION_LOG_LEVEL": "debug", "METRION_UPSTREAM_TIMEOUT": "0.5", "METRION_MAX_BODY_BYTES": "1000000"}
    server = new_metrion(settings, origins={"mistral": f"http://127.0.0.1:{free_port()}"})
    everything_that_goes_wrong(server, mark)
    rows = server.rows(19)
    secrets = [server.token, OWN_KEY, UNKNOWN, OAUTH, *map(provider_key, PROVIDERS)]
    assert any(provider_key("openai") in dict(seen.headers).values().__str__() for seen in fake.seen)
    with connect(server.port) as connection:  # with a call under way, so that the journal holds it
        connection.sendall(post(marked(server.token, mark, Script(act="silent"))))
        fake.wait(lambda: len(fake.named(mark)) > len(rows) // 3)
        for secret in secrets:
            assert where(secret.encode(), server.data_dir, server.log) == [], secret
            assert secret not in str(rows)
        os.kill(server.pid, signal.SIGKILL)
    server.kill()
    server.start()
    server.stop()
    for secret in secrets:
        assert where(secret.encode(), server.data_dir, server.log) == [], secret
    assert mark.encode() in b"".join(
        path.read_bytes() for path in server.data_dir.glob("metrion.db*")
    )  # it looks right
