"""What is counted from end to end where the answer does not simply tell it: estimates, and usage that comes again."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from tests.conftest import NewMetrion
from tests.fake_provider import Script
from tests.proxy.talk import OPENAI, call, connect, marked, one_row, post, read_until
from tests.support import Metrion

Json = dict[str, Any]
HEADERS = [("Content-Type", "text/event-stream; charset=utf-8")]
PROMPT = {"role": "user", "content": "Hello"}  # 3 + role + text, and 3 for the reply: 8 tokens
BODY = json.dumps({"model": "gpt-4o-mini", "stream": True, "messages": [PROMPT]}).encode()
COST = Decimal(8 * 150 + 6 * 600) / 10**9


def event(text: str) -> str:
    choice = {"index": 0, "delta": {"content": text}, "logprobs": None, "finish_reason": None}
    return f"data: {json.dumps({'id': 'c', 'model': 'gpt-4o-mini-2024-07-18', 'choices': [choice]})}\n\n"


def stream(*texts: str, **how: Any) -> Script:
    return Script(headers=HEADERS, text="".join(map(event, texts)) + "data: [DONE]\n\n", framing="chunked", **how)


ANSWER = ("t", "ikt", "oken", " is great!")  # six tokens
SLOWLY = {"piece": 200, "drip": 0.05}


def counted(row: Json) -> tuple[int, int, str]:
    return row["input_tokens"], row["output_tokens"], row["cost_source"]


@pytest.mark.parametrize("how", [{}, {"piece": 7}, {"encoding": "gzip"}, {"encoding": "br", "piece": 20}])
def test_a_stream_without_usage_is_estimated(metrion: Metrion, mark: str, how: Json) -> None:
    script = stream(*ANSWER, **how)
    answer = call(metrion, mark, script, body=BODY)
    assert (answer.complete, answer.body) == (True, script.body())
    row = one_row(metrion, mark)
    assert counted(row) == (8, 6, "estimated")
    assert Decimal(row["cost_usd"]) == COST


def test_a_client_that_leaves_pays_for_what_came(metrion: Metrion, mark: str) -> None:
    connection = connect(metrion.port)
    script = stream(*ANSWER, *["more"] * 100, **SLOWLY)
    connection.sendall(post(marked(metrion.token, mark, script), BODY))
    read_until(connection, b"more")
    connection.close()
    row = one_row(metrion, mark)
    assert row["outcome"] == "client_gone"
    assert row["input_tokens"] == 8 and 6 <= row["output_tokens"] < 50
    assert row["cost_source"] == "estimated"


def test_a_stream_that_breaks_off_is_estimated_as_far_as_it_came(metrion: Metrion, mark: str) -> None:
    text = "".join(map(event, ANSWER))
    broken = Script(headers=HEADERS, text=text + event("x" * 50), framing="chunked", cut_at=len(text) + 180)
    call(metrion, mark, broken, body=BODY)
    row = one_row(metrion, mark)
    assert row["outcome"] == "upstream_failed"
    assert counted(row) == (8, 6, "estimated")


def test_a_silent_provider_costs_what_it_said_before(short: Metrion, mark: str) -> None:
    text = "".join(map(event, ANSWER))
    script = Script(headers=HEADERS, text=text, length=len(text) + 100)
    call(short, mark, script, body=BODY)
    row = one_row(short, mark)
    assert (row["outcome"], counted(row)) == ("timeout", (8, 6, "estimated"))


def test_what_cannot_be_counted_is_unknown(metrion: Metrion, mark: str) -> None:
    call(metrion, mark, stream(*ANSWER), body=BODY.replace(b'"Hello"', b'[{"type":"image_url"}]'))
    row = one_row(metrion, mark)
    assert (counted(row), row["cost_usd"]) == ((0, 0, "unknown"), None)


def test_a_plain_answer_is_no_stream(metrion: Metrion, mark: str) -> None:
    call(metrion, mark, Script(text='{"model":"gpt-4o-mini","choices":[]}'), body=BODY)
    assert counted(one_row(metrion, mark)) == (0, 0, "unknown")


def test_after_a_kill_nothing_is_estimated_and_no_text_is_on_the_disk(new_metrion: NewMetrion, mark: str) -> None:
    server = new_metrion()
    secret = BODY.replace(b"Hello", b"a secret question")
    call(server, mark, stream("a secret", " answer", **SLOWLY), body=secret)
    connection = connect(server.port)
    connection.sendall(post(marked(server.token, mark, stream("a secret", *["x"] * 150, **SLOWLY)), secret))
    read_until(connection, b"secret")
    server.kill()
    for file in server.data_dir.rglob("*"):
        assert not file.is_file() or b"secret" not in file.read_bytes(), file
    server.start()
    rows = server.rows(2, requester=mark)
    assert rows[1]["outcome"] == "interrupted" and counted(rows[1]) == (0, 0, "unknown")


def test_texts_are_let_go_with_their_rows(new_metrion: NewMetrion, mark: str) -> None:
    """More than the shelf holds, one after the other."""
    server = new_metrion({"METRION_RATE_LIMIT_PER_MINUTE": "0"})
    long = BODY.replace(b"Hello", b"Hello " * 42_000)
    for _ in range(3):
        call(server, mark, stream(*ANSWER), body=long)
    rows = server.rows(3, requester=mark, seconds=30)
    assert {row["cost_source"] for row in rows} == {"estimated"}


RESPONSE = {
    "id": "resp_1",
    "object": "response",
    "model": "gpt-4o-mini-2024-07-18",
    "status": "completed",
    "output": [],
    "usage": {"input_tokens": 8, "output_tokens": 6, "total_tokens": 14},
}


def test_a_response_counts_once_however_often_it_is_fetched(metrion: Metrion, mark: str) -> None:
    own = RESPONSE | {"id": f"resp_{mark}"}
    queued = own | {"status": "queued", "usage": None}
    path = f"{OPENAI}/responses"
    call(metrion, mark, Script(text=json.dumps(queued)), path=path, body=b'{"model":"gpt-4o-mini","background":true}')
    for answer in (queued, own, own):
        call(metrion, mark, Script(text=json.dumps(answer)), path=f"{path}/resp_1", method="GET", body=b"")
    rows = metrion.rows(4, requester=mark)
    assert [counted(row) for row in rows] == [
        (0, 0, "unknown"),
        (0, 0, "computed"),
        (8, 6, "computed"),
        (0, 0, "computed"),
    ]
    assert [row["cost_usd"] and Decimal(row["cost_usd"]) for row in rows] == [None, 0, COST, 0]


def test_batch_results_count_once(metrion: Metrion, mark: str) -> None:
    def results(*names: str) -> Script:
        items = [
            {"id": name, "response": {"status_code": 200, "body": RESPONSE | {"id": f"{mark}{name}"}}} for name in names
        ]
        return Script(text="".join(json.dumps(item) + "\n" for item in items))

    for names in ("ab", "ab", "abc"):
        call(metrion, mark, results(*names), path=f"{OPENAI}/files/file-1/content", method="GET", body=b"")
    assert [counted(row)[0] for row in metrion.rows(3, requester=mark)] == [16, 0, 8]


@pytest.mark.parametrize(
    ("body", "characters"),
    [
        ({"model": "tts-1", "voice": "alloy", "input": "Grüezi ☕" * 100}, 800),
        ({"model": "tts-1", "voice": "alloy", "input": "x" * 2_000_000}, 0),  # longer than any that is spoken
        ({"model": "tts-1", "voice": "alloy", "input": ["x"]}, 0),
        ({"model": "tts-1", "voice": "alloy"}, 0),
    ],
)
def test_speech_is_counted_by_the_characters_of_its_text(
    metrion: Metrion, mark: str, body: Json, characters: int
) -> None:
    sound = Script(size=50_000, headers=[("Content-Type", "audio/mpeg")])
    answer = call(metrion, mark, sound, path=f"{OPENAI}/audio/speech", body=json.dumps(body).encode())
    assert answer.body == sound.body()
    row = one_row(metrion, mark)
    assert (row["model"], *counted(row)) == ("tts-1", 0, 0, "estimated" if characters else "unknown")
    assert Decimal(row["cost_usd"] or 0) == Decimal(characters * 15) / 10**6


@pytest.mark.parametrize("prefix", ["", "/download"])
def test_a_gemini_batch_counts_once_from_its_file_or_inline(metrion: Metrion, mark: str, prefix: str) -> None:
    usage = {"promptTokenCount": 8, "candidatesTokenCount": 6, "totalTokenCount": 14}
    results = [
        {"response": {"responseId": f"{mark}{n}", "modelVersion": "gemini-2.5-flash", "usageMetadata": usage}}
        for n in range(3)
    ]
    inline = {"name": "batches/b", "metadata": {"output": {"inlinedResponses": {"inlinedResponses": results}}}}
    running = {"name": "batches/b", "metadata": {"state": "BATCH_STATE_RUNNING"}}
    file = "".join(json.dumps(result) + "\n" for result in results)
    root = "/api/proxy/gemini"
    for path, text in (
        ("/v1beta/batches/b", json.dumps(running)),
        ("/v1beta/batches/b", json.dumps(inline)),
        (f"{prefix}/v1beta/files/f:download?alt=media", file),
    ):
        call(metrion, mark, Script(text=text), path=root + path, method="GET", body=b"")
    rows = metrion.rows(3, requester=mark)
    assert [counted(row) for row in rows] == [(0, 0, "computed"), (24, 18, "computed"), (0, 0, "computed")]
    assert Decimal(rows[1]["cost_usd"]) == Decimal(3 * (8 * 150 + 6 * 1250)) / 10**9


@pytest.mark.parametrize("after", [0, 100, 70_000, 3_000_000])
@pytest.mark.parametrize("before", [0, 5_000_000])
def test_an_upload_s_model_stands_before_its_file_or_after_it(
    metrion: Metrion, mark: str, before: int, after: int
) -> None:
    """The answer of a transcription does not name it."""

    def part(fields: str, content: bytes) -> bytes:
        return f"--x\r\nContent-Disposition: form-data; {fields}\r\n\r\n".encode() + content + b"\r\n"

    files = [part('name="file"; filename="a.wav"\r\nContent-Type: audio/wav', b"\r" * size) for size in (before, after)]
    body = files[0] + part('name="model"', b"gpt-4o-mini-transcribe") + files[1] + b"--x--\r\n"
    usage = {"type": "tokens", "input_tokens": 14, "output_tokens": 5, "total_tokens": 19}
    call(
        metrion,
        mark,
        Script(text=json.dumps({"text": "hello", "usage": usage})),
        path=f"{OPENAI}/audio/transcriptions",
        body=body,
        more=[("Content-Type", "multipart/form-data; boundary=x")],
    )
    row = one_row(metrion, mark)
    assert (row["model"], *counted(row)) == ("gpt-4o-mini-transcribe", 14, 5, "computed")
