from __future__ import annotations

import itertools
import re

from hypothesis import given
from hypothesis import strategies as st

from metrion.call import Reading
from metrion.wire.format import Format
from metrion.wire.sse import SseReader


def stream(*pieces: bytes, at_once: bool = False) -> tuple[list[bytes], Reading]:
    """The documents that the reader hands to its format, and the reading; `at_once`: nothing is kept for later."""
    seen = []

    def read(document: bytes, reading: Reading) -> None:
        seen.append(document)
        if b"model" in document:
            reading.model = "known"

    reading = Reading()
    reader = SseReader(Format(re.compile(rb'"usage"\s*:\s*\{'), read), reading)
    for piece in pieces:
        if at_once or not reader.keeps(piece):
            reader.feed(piece)
    reader.finish()
    return seen, reading


def test_only_telling_events_are_read() -> None:
    seen, _ = stream(
        b"data: model\n\n",
        b"data: 2\n\n",
        b'data: {"usage":{}}\n\n',
        b"data: 4\n\n",
        b'data: "error"\n\n',
        b"data: 6\n\n",
    )
    assert seen == [b"model", b'{"usage":{}}', b'"error"', b"6"]


def test_each_is_read_once_however_they_come() -> None:
    events = b'data: model\n\ndata: 2\n\ndata: {"usage":{}}\n\ndata: 4\n\ndata: 5\n\n'
    assert stream(events)[0] == stream(events[:40], events[40:])[0] == [b"model", b'{"usage":{}}', b"5"]
    assert stream(b'data: model\n\ndata: {"usage":{}}\n\n')[0] == [b"model", b'{"usage":{}}']


def test_the_search_for_a_model_ends() -> None:
    assert stream(*[b"data: x\n\n"] * 40)[0] == [b"x"] * 33  # the 32 first ones and the last


def test_an_event_may_have_several_lines_and_fields() -> None:
    assert stream(b": c\nid: 1\nevent: e\nretry: 5\ndata: model\ndata:b\ndata\n\n")[0] == [b"model\nb"]


def test_line_ends_may_be_mixed() -> None:
    assert stream(b'data: model\r\n\r\ndata: "error"\n\r\ndata: "error" 2\r\rdata: 4\n\n')[0] == [
        b"model",
        b'"error"',
        b'"error" 2',
        b"4",
    ]


def test_a_last_event_without_its_blank_line_is_read() -> None:
    assert stream(b"data: model\n\n", b"data: 2\n\n", b"data: 3")[0] == [b"model", b"3"]


def test_comments_that_keep_the_line_open_are_no_last_event() -> None:
    assert stream(b"data: model\n\n", b"data: 2\n\n", b": .\n\n", b": .\n\n")[0] == [b"model", b"2"]
    assert stream(b"data: model\n\n", b"data: 2\n\ndata", b": 3")[0] == [b"model", b"3"]


def test_done_is_said_by_the_marker_alone() -> None:
    assert stream(b"data: model\n\n", b"data: [DONE]\n\n")[1].done
    assert not stream(b"data: model\n\n", b"data: said [DONE]\n\n")[1].done


@given(st.binary(max_size=200), st.lists(st.integers(0, 200), max_size=5))
def test_any_bytes_cut_anywhere_are_read_alike(body: bytes, cuts: list[int]) -> None:
    body = body.replace(b"\x00", b"\n").replace(b"\x01", b"\r").replace(b"\x02", b"data: x")
    edges = sorted({min(cut, len(body)) for cut in cuts} | {0, len(body)})
    pieces = [body[start:end] for start, end in itertools.pairwise(edges)]
    assert stream(*pieces)[0] == stream(*pieces, at_once=True)[0] == stream(body)[0]


EVENTS = [
    b"data: 1\n\n",
    b"event: e\ndata: 2\n\n",
    b": .\n\n",
    b'data: {"usage":null}\n\n',
    b'data: {"usage": null}\n\n',
    b'data: {"usage":{"a":1}}\n\n',
    b'data: {"usage":null,"x":{"usage":{"a":2}}}\n\n',
    b'data: "error"\n\n',
    b"data: 3\r\n\r\n",
    b"data: 4\n\ndata: 5\n\n",
    b"data: " + b"6" * 5000 + b"\n\n",
    b"data: 7",
]


@given(st.lists(st.sampled_from(EVENTS), max_size=50))
def test_events_that_were_kept_tell_what_they_tell_at_once(events: list[bytes]) -> None:
    pieces = [b"data: model\n\n", *events]
    assert stream(*pieces)[0] == stream(*pieces, at_once=True)[0] == stream(b"".join(pieces))[0]


def test_a_piece_of_a_busy_stream_is_kept_until_there_are_some() -> None:
    reader = SseReader(
        Format(re.compile(rb'"usage"\s*:\s*\{'), lambda _, reading: setattr(reading, "model", "m")), Reading()
    )
    assert not reader.keeps(b"data: model\n\n")
    reader.feed(b"data: model\n\n")
    kept = [reader.keeps(b"data: 1\n\n") for _ in range(20)]
    assert kept == [True] * 16 + [False] * 4
    reader.feed(b"data: 1\n\n")
    assert reader.keeps(b"data: 1\n\n")
    assert not reader.keeps(b"data: 1\n")  # an event that is cut
