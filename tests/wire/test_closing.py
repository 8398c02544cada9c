"""A stream's closing event is known as soon as it is whole, and nothing else is taken for it."""

from __future__ import annotations

import gzip
import json
import re

import pytest

from metrion.wire.tap import open_tap
from tests.fake_provider import samples

CHAT = samples.chat_stream().text.encode()
RESPONSES = samples.responses_stream().text.encode()
ANTHROPIC = samples.anthropic_stream().text.encode()
PADDED = ANTHROPIC.replace(b'"message_stop"}', b'"message_stop"' + b" " * 60 + b"}")
STREAMS = [
    ("openai_chat", CHAT),
    ("openai_chat", CHAT.replace(b"\n\n", b"\r\n\r\n")),
    ("openai_chat", CHAT.replace(b"data: ", b"data:")),
    ("openai_responses", RESPONSES),
    ("anthropic_messages", ANTHROPIC),
    ("anthropic_messages", PADDED),
    ("anthropic_messages", PADDED.replace(b"\n", b"\r\n")),
]
OPEN_ENDED = [
    ("gemini_generate", samples.gemini_stream().text.encode()),
    ("openai_images", b'data: {"type":"image_generation.completed","usage":{"total_tokens":1}}\n\n'),
]


def events_of(stream: bytes) -> list[bytes]:
    return re.findall(rb"(?s).+?(?:\r\n\r\n|\n\n)", stream)


@pytest.mark.parametrize(("format", "stream"), STREAMS)
@pytest.mark.parametrize("size", [1, 7, 70, 100_000])
def test_closed_once_the_closing_event_is_whole(format: str, stream: bytes, size: int) -> None:
    tap = open_tap(format, 200, "text/event-stream", "")
    assert tap is not None
    body = stream[:-1]  # without the line end that makes the last event whole
    for at in range(0, len(body), size):
        assert not tap.feed(body[at : at + size])
    assert tap.feed(stream[-1:])


@pytest.mark.parametrize(("format", "stream"), STREAMS)
def test_closed_with_the_closing_event_where_each_comes_by_itself(format: str, stream: bytes) -> None:
    tap = open_tap(format, 200, "text/event-stream", "")
    assert tap is not None
    *earlier, closing = events_of(stream)
    for event in earlier + [earlier[1]] * 40:
        assert tap.keeps(event) or not tap.feed(event)
    assert tap.keeps(earlier[1])  # what holds nothing may be looked at later, but not what closes
    assert not tap.keeps(closing)
    assert tap.feed(closing)


def test_closed_is_seen_through_compression() -> None:
    tap = open_tap("openai_chat", 200, "text/event-stream", "gzip")
    assert tap is not None
    assert tap.feed(gzip.compress(CHAT))


@pytest.mark.parametrize(("format", "stream"), OPEN_ENDED)
def test_a_format_whose_body_ends_the_stream_is_never_closed(format: str, stream: bytes) -> None:
    tap = open_tap(format, 200, "text/event-stream", "")
    assert tap is not None
    assert not tap.feed(stream)
    assert tap.reading.done


@pytest.mark.parametrize("text", ["[DONE]", "data: [DONE]\n\n", "message_stop"])
def test_what_a_model_says_closes_nothing(text: str) -> None:
    event = json.dumps({"type": "content_block_delta", "model": "m", "choices": [{"delta": {"content": text}}]})
    for format, stream in STREAMS:
        tap = open_tap(format, 200, "text/event-stream", "")
        assert tap is not None
        for _ in range(5):
            assert not tap.feed(f"data: {event}\n\n".encode())
        assert tap.feed(stream)


@pytest.mark.parametrize("status", [400, 503])
def test_an_error_is_not_a_stream(status: int) -> None:
    tap = open_tap("openai_chat", status, "text/event-stream", "")
    assert tap is not None
    assert not tap.feed(CHAT)


def test_the_closing_event_costs_no_figure() -> None:
    for format, stream in STREAMS:
        tap = open_tap(format, 200, "text/event-stream", "")
        assert tap is not None
        tap.feed(stream)
        early = list(map(bytes, tap.reading.usage))
        assert early
        assert list(map(bytes, tap.finish().usage)) == early
