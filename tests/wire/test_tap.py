from __future__ import annotations

import gzip
import re
import sys
import zlib
from collections.abc import Callable
from functools import partial

import brotli
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from metrion.call import Reading
from metrion.wire.format import LIMIT, Format
from metrion.wire.tap import FORMATS, open_tap
from metrion.wire.understand import understand
from tests.wire.answers import document, events, read
from tests.wire.samples import SAMPLES, Sample

every_sample = pytest.mark.parametrize("sample", SAMPLES.values(), ids=SAMPLES.keys())


def raw_deflate(body: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(body) + packer.flush()


def flushed_gzip(body: bytes) -> bytes:
    """As a server compresses a stream: a flush after every piece."""
    packer = zlib.compressobj(wbits=31)
    pieces = [packer.compress(body[i : i + 50]) + packer.flush(zlib.Z_SYNC_FLUSH) for i in range(0, len(body), 50)]
    return b"".join(pieces) + packer.flush()


def two_members(body: bytes) -> bytes:
    half = len(body) // 2
    return gzip.compress(body[:half]) + gzip.compress(body[half:])


def two_frames(body: bytes) -> bytes:
    half = len(body) // 2
    return zstandard.compress(body[:half]) + zstandard.compress(body[half:])


ENCODINGS: list[tuple[str, Callable[[bytes], bytes]]] = [
    ("identity", bytes),
    ("gzip", gzip.compress),
    ("GZIP", flushed_gzip),
    ("x-gzip", two_members),
    ("deflate", zlib.compress),
    ("deflate", raw_deflate),
    ("br", brotli.compress),
    ("zstd", zstandard.compress),
    ("zstd", two_frames),
]


@every_sample
def test_a_sample_tells_its_usage(sample: Sample) -> None:
    usage, raw = understand(sample.provider, sample.format, read(sample.format, sample.body))
    assert usage is not None
    assert raw is not None
    assert (usage.total_tokens, usage.problem) == (sample.total, "")


@every_sample
@given(data=st.data())
def test_no_cut_changes_what_is_read(sample: Sample, data: st.DataObject) -> None:
    cuts = data.draw(st.lists(st.integers(0, len(sample.body)), max_size=12))
    assert read(sample.format, sample.body, cuts=cuts) == read(sample.format, sample.body)


@every_sample
def test_neither_does_a_cut_after_every_byte(sample: Sample) -> None:
    assert read(sample.format, sample.body, cuts=range(len(sample.body))) == read(sample.format, sample.body)


@every_sample
@pytest.mark.parametrize(("encoding", "pack"), ENCODINGS)
@settings(max_examples=10)
@given(data=st.data())
def test_nor_an_encoding(sample: Sample, encoding: str, pack: Callable[[bytes], bytes], data: st.DataObject) -> None:
    body = pack(sample.body)
    cuts = data.draw(st.lists(st.integers(0, len(body)), max_size=6))
    assert read(sample.format, body, encoding=encoding, cuts=cuts) == read(sample.format, sample.body)


@every_sample
@settings(max_examples=50)
@given(data=st.data())
def test_a_body_broken_off_anywhere_is_no_trouble(sample: Sample, data: st.DataObject) -> None:
    end = data.draw(st.integers(0, len(sample.body)))
    usage, _ = understand(sample.provider, sample.format, read(sample.format, sample.body[:end]))
    assert usage is None or 0 <= usage.total_tokens <= sample.total


@pytest.mark.parametrize("format", [*FORMATS, ""])
@settings(max_examples=50)
@given(
    body=st.binary(max_size=300),
    status=st.sampled_from([200, 400]),
    prefix=st.sampled_from([b"", b"{", b"[{", b"data: {"]),
)
def test_no_body_whatever_raises(format: str, body: bytes, status: int, prefix: bytes) -> None:
    for encoding in ("", "gzip", "br", "zstd", "deflate"):
        tap = open_tap(format, status, "text/event-stream", encoding)
        if tap is not None:
            tap.feed(prefix + body)
            tap.feed(body)
            reading = tap.finish()
            assert "tap_failed" not in reading.facts
            understand("openai", format, reading)


def test_an_answer_without_a_known_format_is_only_read_for_its_error() -> None:
    assert open_tap("", 200, "application/json", "") is None
    assert read("", document({"error": "no"}), status=400).error == "no"
    assert open_tap("openai_audio", 200, "audio/mpeg", "") is None


def test_an_error_of_a_metered_endpoint_is_read_as_one() -> None:
    reading = read("openai_chat", document({"error": {"message": "no"}, "usage": {"prompt_tokens": 1}}), status=400)
    assert (reading.error, reading.usage) == ("no", [])


def test_what_the_body_begins_with_tells_how_it_is_framed() -> None:
    body = document({"model": "m", "usage": {"prompt_tokens": 1}})
    tap = open_tap("openai_chat", 200, "text/event-stream", "")
    assert tap is not None
    tap.feed(b"\xef\xbb")
    tap.feed(b"\xbf \r\n" + body)
    assert tap.finish().model == "m"


@pytest.mark.parametrize("encoding", ["compress", "gzip, br", "unknown"])
def test_an_unknown_encoding_reads_as_nothing(encoding: str) -> None:
    assert read("openai_chat", document({"model": "m"}), encoding=encoding) == Reading()


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd"])
def test_a_body_not_of_its_encoding_reads_as_nothing(encoding: str) -> None:
    assert read("openai_chat", document({"model": "m"}), encoding=encoding) == Reading()


def test_what_came_before_the_encoding_broke_is_kept() -> None:
    whole = flushed_gzip(events(*[{"model": "m", "usage": {"prompt_tokens": 7}}] * 3))
    reading = read("openai_chat", whole[:-20] + b"\xff" * 40, encoding="gzip", cuts=range(len(whole)))
    assert (reading.model, len(reading.usage)) == ("m", 1)


LARGE = [("gzip", gzip.compress), ("br", partial(brotli.compress, quality=1)), ("zstd", zstandard.compress)]


@pytest.mark.parametrize(("encoding", "pack"), LARGE)
def test_a_bomb_is_left_alone(encoding: str, pack: Callable[[bytes], bytes]) -> None:
    bomb = pack(b'{"model": "m",' + b" " * 40_000_000 + b'"usage": {"prompt_tokens": 1}}')
    reading = read("openai_chat", bomb, encoding=encoding, cuts=range(0, len(bomb), 16_384))
    assert (reading.usage, reading.facts) == ([], {})


@pytest.mark.parametrize(("encoding", "pack"), LARGE)
def test_a_large_honest_answer_is_no_bomb(encoding: str, pack: Callable[[bytes], bytes]) -> None:
    body = document({"data": [{"b64_json": "A" * 12_000_000}], "usage": {"input_tokens": 1, "output_tokens": 2}})
    assert len(read("openai_images", pack(body), encoding=encoding).usage) == 1


def test_nothing_of_a_long_stream_is_kept_where_its_blank_lines_are_cut() -> None:
    filling, usage = {"text": "A" * 200_000}, {"usage": {"prompt_tokens": 1}}
    body = events({"model": "m"}, *[filling] * 30, usage, *[filling] * 30)
    cuts = [found.end() - 1 for found in re.finditer(b"\n\n", body)]
    assert len(read("openai_chat", body, cuts=cuts).usage) == 1


def test_a_reading_does_not_keep_the_document_alive() -> None:
    body = document({"model": "m", "text": "A" * 1000, "usage": {"prompt_tokens": 1}})
    before = sys.getrefcount(body)
    reading = Reading()
    FORMATS["openai_chat"].read(body, reading)
    FORMATS["anthropic_messages"].read(body, reading)
    assert (len(reading.usage), sys.getrefcount(body)) == (2, before)


@pytest.mark.parametrize("size", [LIMIT - 1_000, LIMIT + 1_000, 3 * LIMIT])
@pytest.mark.parametrize("text", ["A", "0.123456,", "\\u00e9"])
def test_usage_at_the_end_of_a_huge_body_is_found(size: int, text: str) -> None:
    filling = text * (size // len(text))
    data = f"[{filling}0]" if "," in text else f'"{filling}"'
    body = f'{{"id": "x", "data": {data}, "model": "m", "usage": {{"prompt_tokens": 7, "note": "{{"}}}}'.encode()
    reading = read("openai_embeddings", body, cuts=range(0, len(body), 60_000))
    assert (reading.model, [bytes(one) for one in reading.usage]) == ("m", [b'{"prompt_tokens": 7, "note": "{"}'])


def test_usage_at_the_beginning_of_a_huge_body_is_found() -> None:
    body = document({"usage": {"prompt_tokens": 7}, "model": "m", "data": ["é" * 2_000_000]})
    reading = read("openai_embeddings", body, cuts=range(0, len(body), 60_001))
    assert (reading.model, len(reading.usage)) == ("m", 1)


def test_a_body_that_strict_json_refuses_is_searched() -> None:
    body = b'{"id": "x", "model": "m", "text": "\\ud83d", "usage": {"prompt_tokens": 3}}'
    reading = read("openai_chat", body)
    assert (reading.model, reading.response_id, len(reading.usage)) == ("m", "x", 1)


def test_a_field_of_another_type_costs_no_usage() -> None:
    reading = read("openai_chat", document({"id": 5, "model": "m", "usage": {"prompt_tokens": 3}}))
    assert (reading.model, [bytes(one) for one in reading.usage]) == ("m", [b'{"prompt_tokens": 3}'])


def test_a_megabyte_in_single_bytes_takes_linear_time() -> None:
    body = events({"model": "m"}, {"text": "A" * 200_000, "usage": {"prompt_tokens": 1}})
    assert len(read("openai_chat", body, cuts=range(len(body))).usage) == 1


def test_a_bug_of_ours_is_caught_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(document: bytes, reading: Reading) -> None:
        raise KeyError("secret")

    monkeypatch.setitem(FORMATS, "openai_chat", Format(FORMATS["openai_chat"].mark, broken))
    for body in (b"data: {}\n\n", b"{}"):
        assert read("openai_chat", body).facts == {"tap_failed": "KeyError"}
