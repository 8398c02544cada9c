"""Records come back as they were written, up to the first damage and never beyond it."""

from __future__ import annotations

import struct
import zlib

import msgspec
import structlog
from hypothesis import given
from hypothesis import strategies as st

from metrion.call import Call, Reading
from metrion.ledger.record import COMPLETION, INTENT, frame, records
from tests.ledger.samples import calls, make_call

kinds = st.sampled_from([INTENT, COMPLETION])
written = st.lists(st.tuples(kinds, calls), max_size=6)


def plain(found: tuple[bytes, Call]) -> tuple[bytes, bytes]:
    """Something that compares: Raw does not."""
    return found[0], msgspec.json.encode(found[1])


@given(written)
def test_records_come_back_as_they_were_written(given_records: list[tuple[bytes, Call]]) -> None:
    data = b"".join(frame(kind, call) for kind, call in given_records)
    assert [plain(one) for one in records(data)] == [plain(one) for one in given_records]


@given(written, st.data())
def test_a_cut_segment_is_read_up_to_the_cut(given_records: list[tuple[bytes, Call]], data: st.DataObject) -> None:
    framed = [frame(kind, call) for kind, call in given_records]
    whole = b"".join(framed)
    cut = data.draw(st.integers(0, len(whole)))
    expected = sum(sum(map(len, framed[: n + 1])) <= cut for n in range(len(framed)))
    assert [plain(one) for one in records(whole[:cut])] == [plain(one) for one in given_records[:expected]]


@given(st.lists(st.tuples(kinds, calls), min_size=1, max_size=6), st.data())
def test_a_damaged_segment_is_read_up_to_the_damage(
    given_records: list[tuple[bytes, Call]], data: st.DataObject
) -> None:
    framed = [frame(kind, call) for kind, call in given_records]
    damaged = bytearray(b"".join(framed))
    at = data.draw(st.integers(0, len(damaged) - 1))
    damaged[at] ^= data.draw(st.integers(1, 255))
    intact = sum(sum(map(len, framed[: n + 1])) <= at for n in range(len(framed)))
    assert [plain(one) for one in records(bytes(damaged))] == [plain(one) for one in given_records[:intact]]


@given(st.binary(max_size=200))
def test_any_bytes_are_read_without_an_error(data: bytes) -> None:
    list(records(frame(INTENT, make_call()) + data))


def test_zeros_behind_the_last_record_are_its_end() -> None:
    """What a file system leaves of a file that grew before a power cut; a length of 0 has a CRC of 0."""
    with structlog.testing.capture_logs() as logs:
        assert len(list(records(frame(INTENT, make_call()) + bytes(4096)))) == 1
    assert [(entry["event"], entry["unread"]) for entry in logs] == [("journal_damaged", 4096)]


def test_a_whole_record_that_is_no_call_is_passed_over() -> None:
    """A later version's, or one a bug let through: the calls behind it must not be lost, nor the start fail."""
    broken = make_call(reading=Reading(usage=[msgspec.Raw(b"{not json")]))
    deep = make_call(reading=Reading(usage=[msgspec.Raw(b'{"a":' * 50_000 + b"1" + b"}" * 50_000)]))
    payload = b"C[1,2]"
    foreign = struct.pack("<II", len(payload), zlib.crc32(payload)) + payload
    neighbours = [make_call(), make_call(), make_call()]
    data = b"".join(frame(COMPLETION, call) for call in (neighbours[0], broken, neighbours[1], deep))
    with structlog.testing.capture_logs() as logs:
        found = [call.id for _, call in records(data + foreign + frame(COMPLETION, neighbours[2]))]
    assert found == [call.id for call in neighbours]
    assert [entry["event"] for entry in logs] == ["record_not_understood"] * 3


def test_a_large_record_is_a_record() -> None:
    """A batch of 100,000 items, each with its usage: some 30 MB, and nothing says that it cannot be more."""
    usage = msgspec.Raw(b'{"padding":"' + b"x" * (70 * 1024 * 1024) + b'"}')
    large, next_one = make_call(reading=Reading(usage=[usage])), make_call()
    data = frame(COMPLETION, large) + frame(COMPLETION, next_one)
    assert [call.id for _, call in records(data)] == [large.id, next_one.id]
