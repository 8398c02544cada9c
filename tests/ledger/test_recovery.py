"""After a crash, the journal and the database together hold every call once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
import structlog
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from sqlalchemy import delete

from metrion.call import Call, Reading
from metrion.config import Settings
from metrion.errors import StorageError
from metrion.ledger.record import COMPLETION, INTENT, frame
from metrion.ledger.recovery import recover
from metrion.ledger.writer import write_calls
from metrion.prices.catalog import PriceBook
from metrion.storage import tables
from metrion.storage.database import Database, migrate, open_reader, open_writer
from tests.ledger.samples import intent_of, make_call, rows_of, sums_of, usage_of
from tests.ledger.straight import TOTALS


class Machine:
    """One data directory that survives its processes."""

    def __init__(self, folder: Path) -> None:
        self.settings = Settings(data_dir=folder)
        self.database = open_writer(self.settings)
        migrate(self.database)
        self.journal = folder / "journal"
        self.journal.mkdir()

    def leave(self, segment: int, *records: tuple[bytes, Call], cut: int = 0) -> None:
        """What a killed process left in a segment, less its last `cut` bytes."""
        data = b"".join(frame(kind, call) for kind, call in records)
        (self.journal / f"{segment:010d}.journal").write_bytes(data[: len(data) - cut])

    def recover(self) -> int:
        with structlog.testing.capture_logs():
            return recover(self.settings, self.database)

    def outcomes(self) -> dict[bytes, str]:
        return {row["request_id"]: row["outcome"] for row in rows_of(self.database)}


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    machine = Machine(tmp_path / "data")
    yield machine
    machine.database.close()


def test_a_completion_becomes_its_row_with_tokens_and_cost(machine: Machine) -> None:
    call = make_call(reading=usage_of(1000, 100))
    machine.leave(1, (INTENT, intent_of(call)), (COMPLETION, call))
    assert machine.recover() == 1
    (row,) = rows_of(machine.database)
    assert (row["outcome"], row["input_tokens"], row["output_tokens"]) == ("ok", 1000, 100)
    assert (row["cost_nano"], row["cost_source"]) == (1000 * 150 + 100 * 600, "computed")
    assert list(machine.journal.iterdir()) == []


def test_an_intent_alone_becomes_an_interrupted_row_of_unknown_cost(machine: Machine) -> None:
    call = make_call()
    machine.leave(1, (INTENT, intent_of(call)))
    assert machine.recover() == 1
    (row,) = rows_of(machine.database)
    assert (row["request_id"], row["outcome"], row["status"]) == (call.id, "interrupted", 0)
    assert (row["cost_nano"], row["cost_source"], row["input_tokens"]) == (None, "unknown", 0)


def test_a_completion_may_stand_in_a_later_segment_than_its_intent(machine: Machine) -> None:
    whole, cut = make_call(), make_call()
    machine.leave(3, (INTENT, intent_of(whole)), (INTENT, intent_of(cut)))
    machine.leave(4, (COMPLETION, whole))
    assert machine.recover() == 2
    assert machine.outcomes() == {whole.id: "ok", cut.id: "interrupted"}


def test_a_completion_is_enough_where_its_intents_segment_is_gone(machine: Machine) -> None:
    call = make_call()
    machine.leave(4, (COMPLETION, call))
    assert machine.recover() == 1
    assert machine.outcomes() == {call.id: "ok"}


def test_of_two_completions_the_second_counts_and_it_counts_once(machine: Machine) -> None:
    """A stream has one at its closing event, and one at its end."""
    closing = make_call(reading=usage_of(10, 5))
    end = msgspec.structs.replace(closing, reading=usage_of(10, 7), response_bytes=99)
    machine.leave(1, (INTENT, intent_of(closing)), (COMPLETION, closing), (COMPLETION, end))
    assert machine.recover() == 1
    (row,) = rows_of(machine.database)
    assert (row["output_tokens"], row["response_bytes"]) == (7, 99)
    sums = sums_of(machine.database)
    assert (sum_of(sums, "requests"), sum_of(sums, "output_tokens")) == ([1] * 2, [7] * 2)


def test_a_cut_last_record_is_as_if_it_had_not_been_begun(machine: Machine) -> None:
    whole, cut = make_call(), make_call()
    machine.leave(
        1, (INTENT, intent_of(whole)), (INTENT, intent_of(cut)), (COMPLETION, whole), (COMPLETION, cut), cut=1
    )
    assert machine.recover() == 2
    assert machine.outcomes() == {whole.id: "ok", cut.id: "interrupted"}


def test_what_was_committed_before_the_crash_is_left_as_it_is(machine: Machine, book: PriceBook) -> None:
    """Killed between the commit and the segment's removal, or with the completion's segment removed already."""
    calls = [make_call() for _ in range(5)]
    write_calls(machine.database, book, calls[:4], fresh=True)
    before, sums = rows_of(machine.database), sums_of(machine.database)
    machine.leave(1, *((INTENT, intent_of(call)) for call in calls[:4]))
    machine.leave(2, *((COMPLETION, call) for call in calls[:3]))
    assert machine.recover() == 0
    assert (rows_of(machine.database), sums_of(machine.database)) == (before, sums)


def test_a_reader_that_holds_the_wal_keeps_the_segments_and_nothing_is_doubled(machine: Machine) -> None:
    call = make_call()
    machine.leave(1, (COMPLETION, call))
    reader = open_reader(machine.settings)
    with reader.connect() as connection:
        connection.execute(tables.calls.select()).all()
        assert machine.recover() == 1
        assert len(list(machine.journal.iterdir())) == 1  # its row is not on the disk for sure
        sums = sums_of(machine.database)
    reader.dispose()
    assert machine.recover() == 0
    assert sums_of(machine.database) == sums
    assert list(machine.journal.iterdir()) == []


def test_more_calls_than_one_transaction_takes(machine: Machine) -> None:
    calls = [make_call() for _ in range(2500)]
    records = [(INTENT, intent_of(call)) for call in calls] + [(COMPLETION, call) for call in calls[:1700]]
    machine.leave(1, *records)
    assert machine.recover() == 2500
    outcomes = list(machine.outcomes().values())
    assert (outcomes.count("ok"), outcomes.count("interrupted")) == (1700, 800)


def test_a_call_the_database_does_not_take_stops_neither_the_start_nor_its_neighbours(machine: Machine) -> None:
    before, poison, after = make_call(), make_call(latency_us=0), make_call()
    poison.reading = Reading(model="m", usage=[msgspec.Raw(b'{"prompt_tokens":5}')])
    with machine.database.begin() as connection:
        connection.exec_driver_sql(
            "CREATE TRIGGER poison BEFORE INSERT ON calls WHEN new.model = 'm' BEGIN SELECT RAISE(ABORT, 'no'); END"
        )
    machine.leave(1, *((COMPLETION, call) for call in (before, poison, after)))
    assert machine.recover() == 3
    rows = {row["request_id"]: row for row in rows_of(machine.database)}
    assert [rows[call.id]["input_tokens"] for call in (before, poison, after)] == [10, 0, 10]
    assert (rows[poison.id]["outcome"], rows[poison.id]["cost_source"]) == ("ok", "unknown")


def test_a_database_that_takes_nothing_leaves_the_journal_alone(machine: Machine) -> None:
    call = make_call()
    machine.leave(1, (COMPLETION, call))
    with machine.database.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE calls RENAME TO elsewhere")
    with pytest.raises(StorageError):
        machine.recover()
    assert len(list(machine.journal.iterdir())) == 1
    with machine.database.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE elsewhere RENAME TO calls")
    assert machine.recover() == 1


# ── any history ───────────────────────────────────────────────────────────────────────────────────────────────────────

FATES = ["open", "ended", "ended twice", "committed", "committed, completion gone"]


@hypothesis_settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(fates=st.lists(st.sampled_from(FATES), max_size=12), data=st.data())
def test_whatever_was_left_every_call_has_its_one_row_and_the_sums_are_theirs(
    machine: Machine, book: PriceBook, fates: list[str], data: st.DataObject
) -> None:
    start_anew(machine.database)
    calls = [make_call(reading=usage_of(number, 1)) for number in range(len(fates))]
    records = []
    for call, fate in zip(calls, fates, strict=True):
        records.append((INTENT, intent_of(call)))
        if fate in ("ended", "ended twice", "committed"):
            records.append((COMPLETION, call))
        if fate == "ended twice":
            records.append((COMPLETION, call))
    committed = [call for call, fate in zip(calls, fates, strict=True) if fate.startswith("committed")]
    write_calls(machine.database, book, committed, fresh=True)
    border = data.draw(st.integers(0, len(records)))
    machine.leave(1, *records[:border])
    machine.leave(2, *records[border:])
    expected = {c.id: "interrupted" if fate == "open" else "ok" for c, fate in zip(calls, fates, strict=True)}
    assert machine.recover() == len(calls) - len(committed)
    assert machine.outcomes() == expected
    sums = sums_of(machine.database)
    assert sum_of(sums, "requests") == [len(calls)] * 2
    machine.leave(1, *records)
    assert machine.recover() == 0
    assert sums_of(machine.database) == sums


def start_anew(database: Database) -> None:
    with database.begin() as connection:
        for table in (tables.calls, *TOTALS, tables.folds):
            connection.execute(delete(table))


def sum_of(sums: dict[str, list[tuple[int, ...]]], name: str) -> list[int]:
    """The sum of a column over each of the totals tables."""
    found = []
    for table, rows in sums.items():
        at = [column.name for column in tables.metadata.tables[table].columns].index(name)
        found.append(sum(row[at] for row in rows))
    return found
