"""The database: one writes, others only read; its schema comes from migrations that agree with tables.py."""

from __future__ import annotations

import sqlite3
import stat
from pathlib import Path

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, insert, select

import metrion.storage.migrations
from metrion.config import Settings
from metrion.errors import StorageError
from metrion.storage.database import migrate, open_reader, open_writer, quick_check, stored_revision
from metrion.storage.migrations import REVISIONS
from metrion.storage.tables import accounts, metadata
from tests.storage.samples import new_database


def schema(path: Path) -> dict[str, object]:
    """What SQLite itself says of each table: strictness, rowid, columns with type, default and key; indexes."""
    with sqlite3.connect(path) as raw:
        tables = raw.execute("SELECT name, wr, strict FROM pragma_table_list WHERE schema = 'main'").fetchall()
        found: dict[str, object] = {}
        for name, without_rowid, strict in tables:
            if name.startswith("sqlite_") or name == "alembic_version":
                continue
            # By name: a column that a later revision adds stands last, wherever tables.py has it.
            columns = raw.execute(
                'SELECT name, type, "notnull", dflt_value, pk FROM pragma_table_xinfo(?) ORDER BY name', (name,)
            ).fetchall()
            indexes = raw.execute('SELECT name, "unique", origin FROM pragma_index_list(?)', (name,)).fetchall()
            on = {row[0]: raw.execute("SELECT name FROM pragma_index_info(?)", (row[0],)).fetchall() for row in indexes}
            found[name] = (without_rowid, strict, columns, sorted(indexes), on)
        return found


def test_the_migrations_make_what_tables_py_says(tmp_path: Path) -> None:
    new_database(tmp_path).close()
    drawn = create_engine(f"sqlite:///{tmp_path / 'drawn.db'}")
    metadata.create_all(drawn)
    drawn.dispose()
    assert schema(tmp_path / "metrion.db") == schema(tmp_path / "drawn.db")


def test_the_list_of_revisions_is_alembics() -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(metrion.storage.migrations.__file__).parent))
    known = [script.revision for script in ScriptDirectory.from_config(config).walk_revisions()]
    assert tuple(reversed(known)) == REVISIONS


def test_migrating_twice_does_nothing(tmp_path: Path) -> None:
    database = open_writer(Settings(data_dir=tmp_path / "new" / "dir"))
    assert stored_revision(database.connection) is None
    assert migrate(database)
    assert not migrate(database)
    assert stored_revision(database.connection) == REVISIONS[-1]
    database.close()


def test_a_failed_migration_leaves_the_database_as_it_was(tmp_path: Path) -> None:
    database = open_writer(Settings(data_dir=tmp_path))
    with database.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE calls (x INTEGER)")  # in the way of the first revision
    with pytest.raises(StorageError, match="already exists"):
        migrate(database)
    database.close()
    assert list(schema(tmp_path / "metrion.db")) == ["calls"]


def test_a_database_of_a_newer_metrion_is_left_alone(tmp_path: Path) -> None:
    database = new_database(tmp_path)
    with database.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(StorageError, match="newer version"):
        migrate(database)
    database.close()


def test_the_file_is_private_and_safe_to_write(tmp_path: Path) -> None:
    database = new_database(tmp_path)
    assert stat.S_IMODE((tmp_path / "metrion.db").stat().st_mode) == 0o600
    with database.begin() as connection:
        for pragma, value in (("journal_mode", "wal"), ("synchronous", 1), ("foreign_keys", 1)):
            assert connection.exec_driver_sql(f"PRAGMA {pragma}").scalar() == value
    database.close()


def test_an_error_rolls_the_whole_transaction_back(tmp_path: Path) -> None:
    database = new_database(tmp_path)
    with pytest.raises(RuntimeError), database.begin() as connection:
        connection.execute(insert(accounts).values(email="a@b.c", plan="pro"))
        raise RuntimeError
    with database.begin() as connection:
        assert connection.execute(select(accounts)).all() == []
    database.close()


@pytest.mark.parametrize("writer_is_open", [True, False])
def test_a_reader_sees_what_was_committed_and_cannot_write(tmp_path: Path, writer_is_open: bool) -> None:
    database = new_database(tmp_path)
    with database.begin() as connection:
        connection.execute(insert(accounts).values(email="a@b.c", plan="pro"))
    if not writer_is_open:
        database.close()  # the last writer takes the WAL with it; a reader must open the file all the same
    reader = open_reader(Settings(data_dir=tmp_path))
    with reader.connect() as connection:
        assert [row.email for row in connection.execute(select(accounts))] == ["a@b.c"]
        assert quick_check(connection) == ""
        with pytest.raises(StorageError, match="readonly"):
            connection.execute(insert(accounts).values(email="b@b.c", plan="pro"))
    reader.dispose()
    if writer_is_open:
        database.close()


def test_a_reader_sees_one_moment(tmp_path: Path) -> None:
    database = new_database(tmp_path)
    reader = open_reader(Settings(data_dir=tmp_path))
    with reader.connect() as connection:
        assert connection.execute(select(accounts)).all() == []
        with database.begin() as writing:
            writing.execute(insert(accounts).values(email="a@b.c", plan="pro"))
        assert connection.execute(select(accounts)).all() == []
        connection.rollback()
        assert len(connection.execute(select(accounts)).all()) == 1
    reader.dispose()
    database.close()


def test_a_checkpoint_says_whether_everything_moved(tmp_path: Path) -> None:
    database = new_database(tmp_path)
    reader = open_reader(Settings(data_dir=tmp_path))
    assert database.checkpoint()
    with reader.connect() as connection:
        connection.execute(select(accounts)).all()
        with database.begin() as writing:
            writing.execute(insert(accounts).values(email="a@b.c", plan="pro"))
        assert not database.checkpoint()  # the reader still looks at the moment before
    assert database.checkpoint()
    reader.dispose()
    database.close()


def test_a_missing_or_foreign_file_is_one_clear_error(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    with pytest.raises(StorageError, match="there is no database"):
        open_reader(settings)
    settings.database_path.write_bytes(b"not a database, surely" * 100)
    with pytest.raises(StorageError, match="not a database"):
        open_writer(settings)
    with pytest.raises(StorageError, match="not a database"), open_reader(settings).connect() as connection:
        stored_revision(connection)


def test_a_path_with_special_characters_is_only_a_path(tmp_path: Path) -> None:
    odd = tmp_path / "50% of a?b#c &mode=rw"
    new_database(odd).close()
    reader = open_reader(Settings(data_dir=odd))
    with reader.connect() as connection:
        assert connection.execute(select(accounts)).all() == []
    reader.dispose()
    assert {entry.name for entry in tmp_path.iterdir()} == {odd.name}


def test_a_damaged_file_is_noticed(tmp_path: Path) -> None:
    database = new_database(tmp_path)
    with database.begin() as connection:
        rows = [{"email": f"{n}@b.c", "plan": "pro"} for n in range(500)]
        connection.execute(insert(accounts), rows)
    database.close()
    path = tmp_path / "metrion.db"
    content = bytearray(path.read_bytes())
    content[-8192:-4096] = bytes(4096)
    path.write_bytes(content)
    reader = open_reader(Settings(data_dir=tmp_path))
    with reader.connect() as connection:
        assert quick_check(connection) != ""
    reader.dispose()


def test_a_reader_reads_what_a_killed_writer_left_and_does_not_checkpoint_it(tmp_path: Path) -> None:
    database = new_database(tmp_path / "alive")
    with database.begin() as connection:
        connection.execute(insert(accounts).values(email="a@b.c", plan="pro"))
    killed = tmp_path / "killed"
    killed.mkdir()
    for name in ("metrion.db", "metrion.db-wal"):  # without the index file, which is built again
        (killed / name).write_bytes((tmp_path / "alive" / name).read_bytes())
    database.close()
    before = {path.name: path.read_bytes() for path in killed.iterdir()}
    reader = open_reader(Settings(data_dir=killed))
    with reader.connect() as connection:
        assert len(connection.execute(select(accounts)).all()) == 1
    reader.dispose()
    assert {name: (killed / name).read_bytes() for name in before} == before
