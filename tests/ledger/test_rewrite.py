"""A journal without an account's records is, byte for byte, the same journal else; whenever the process dies."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from metrion.call import Call
from metrion.ledger.journal import Journal, segment_paths
from metrion.ledger.record import COMPLETION, INTENT, frame, records
from metrion.ledger.rewrite import drop_drafts, put_in_place, write_without
from tests.ledger.samples import make_call

NOT_UNDERSTOOD = frame(COMPLETION, make_call(status="what?"))


def rewritten(segment: Path, gone: int = 1) -> bytes | None:
    """What the segment holds without that account's records; None where it holds none of them."""
    draft = write_without(segment, lambda account: account == gone)
    if draft is None:
        return None
    put_in_place(draft, segment)
    assert list(segment.parent.glob("*.rewritten")) == []
    return segment.read_bytes()


@given(owners=st.lists(st.integers(1, 3), max_size=12), tail=st.sampled_from([b"", b"half a record", bytes(9)]))
def test_others_records_stay_as_they_are(
    tmp_path_factory: pytest.TempPathFactory, owners: list[int], tail: bytes
) -> None:
    segment = tmp_path_factory.mktemp("journal") / "0000000001.journal"
    framed = [(owner, frame(INTENT if owner == 2 else COMPLETION, make_call(account_id=owner))) for owner in owners]
    segment.write_bytes(b"".join(record for _, record in framed) + tail)
    with structlog.testing.capture_logs():
        found = rewritten(segment)
    kept = b"".join(record for owner, record in framed if owner != 1) + tail
    assert found == (kept if 1 in owners else None)
    assert segment.read_bytes() == kept


def test_a_record_that_is_not_understood_stays(tmp_path: Path) -> None:
    segment = tmp_path / "0000000001.journal"
    segment.write_bytes(frame(INTENT, make_call()) + NOT_UNDERSTOOD + frame(COMPLETION, make_call()))
    with structlog.testing.capture_logs():
        assert rewritten(segment) == NOT_UNDERSTOOD


def test_a_segment_that_is_gone_is_nothing_to_rewrite(tmp_path: Path) -> None:
    assert write_without(tmp_path / "0000000001.journal", lambda account: True) is None


def test_a_segment_that_goes_meanwhile_does_not_come_back(tmp_path: Path) -> None:
    segment = tmp_path / "0000000001.journal"
    segment.write_bytes(frame(COMPLETION, make_call()))
    draft = write_without(segment, lambda account: True)
    assert draft is not None
    segment.unlink()
    put_in_place(draft, segment)
    assert list(tmp_path.iterdir()) == []


def test_a_draft_is_no_segment_and_goes_with_the_next_start(tmp_path: Path) -> None:
    segment = tmp_path / "0000000001.journal"
    segment.write_bytes(frame(COMPLETION, make_call()))
    before = segment.read_bytes()
    assert write_without(segment, lambda account: True) is not None  # and then the process was killed
    assert segment_paths(tmp_path) == [segment]
    drop_drafts(tmp_path)
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [before]


# ── the open segment ──────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
async def journal(tmp_path: Path) -> AsyncIterator[Journal]:
    journal = Journal(tmp_path / "journal", asyncio.get_running_loop())
    yield journal
    journal.close(rows_durable=False)


def held(paths: list[Path]) -> list[bytes]:
    return [call.id for path in paths for _, call in records(path.read_bytes())]


def nobody(kept: bool) -> None:
    """For records nobody waits for."""


@pytest.mark.anyio
async def test_sealed_segments_hold_all_that_was_appended_and_get_no_more(journal: Journal, tmp_path: Path) -> None:
    calls = [make_call() for _ in range(4)]
    first = journal.append(partial(frame, INTENT, calls[0]), nobody)
    journal.append(partial(frame, INTENT, calls[1]), nobody)
    sealed = await journal.seal()
    assert held(sealed) == [call.id for call in calls[:2]]
    assert journal.append(partial(frame, INTENT, calls[2]), nobody) > first
    await journal.drain()
    assert held(sealed) == [call.id for call in calls[:2]]
    assert held(await journal.seal()) == [call.id for call in calls[:3]]


@pytest.mark.anyio
async def test_it_seals_under_load_and_loses_no_record(journal: Journal, tmp_path: Path) -> None:
    """Records that are appended while others are told of their end come to the segment they were told of."""
    calls: list[tuple[Call, int]] = []

    def again(kept: bool) -> None:
        assert kept
        for then in (nobody, again) if len(calls) < 1000 else ():
            call = make_call()
            calls.append((call, journal.append(partial(frame, INTENT, call), then)))

    again(True)
    for _ in range(20):
        await asyncio.wait_for(journal.seal(), 10)
    assert len({segment for _, segment in calls}) > 10
    while len(calls) < 1000:
        await journal.drain()
    await journal.drain()
    for call, segment in calls:
        assert call.id in held([tmp_path / "journal" / f"{segment:010d}.journal"])
