"""The commands as a person runs them: what they print, where, and with which exit code."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import pytest

from metrion.__main__ import COMMANDS, main
from metrion.accounts import plans
from metrion.commands.common import money, parse_time
from metrion.config import TYPES, Settings
from metrion.datadir import hold_lock, open_for_writing
from metrion.errors import InputError
from metrion.kit.clock import now_ms
from metrion.storage.rows import Row
from tests.storage.samples import call_row, write_rows

NOON = 1_793_534_400_000  # 2026-11-01T12:00:00Z
EMAIL = "a@example.com"
USAGE_KEYS = ["key", "requests", "refused", "errors", "input_tokens", "output_tokens", "total_tokens", "cost_usd"]


class Done(NamedTuple):
    code: int
    out: str
    err: str


Metrion = Callable[..., Done]


@pytest.fixture
def metrion(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Metrion:
    for name in TYPES:
        monkeypatch.delenv(f"METRION_{name.upper()}", raising=False)
    monkeypatch.setenv("METRION_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(plans, "now_ms", lambda: NOON)  # or the plan would hide that day's rows one day

    def run(*arguments: str, given: str = "") -> Done:
        monkeypatch.setattr(sys, "argv", ["metrion", *arguments])
        monkeypatch.setattr(sys, "stdin", io.StringIO(given))
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        code = ended.value.code
        assert isinstance(code, int)
        said = capsys.readouterr()
        return Done(code, said.out, said.err)

    return run


@pytest.fixture
def account(metrion: Metrion) -> dict[str, Any]:
    made: dict[str, Any] = json.loads(metrion("account", "create", EMAIL, "--json").out)
    return made


def record(tmp_path: Path, *rows: Row) -> None:
    with open_for_writing(Settings(data_dir=tmp_path / "data")) as database:
        write_rows(database, rows)


def jsonl(done: Done) -> list[dict[str, Any]]:
    assert done.code == 0, done.err
    return [json.loads(line) for line in done.out.splitlines()]


# ── accounts and keys ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_account_is_created_and_its_key_printed(metrion: Metrion) -> None:
    made = json.loads(metrion("account", "create", "Ada@Example.com", "--plan", "pro", "--json").out)
    assert list(made) == ["account_id", "email", "token"]
    assert made["email"] == "ada@example.com"
    assert re.fullmatch(r"sk-metrion-[0-9a-f]{32}", made["token"])
    said = metrion("account", "create", "b@example.com")
    assert re.search(r"^ +sk-metrion-[0-9a-f]{32}$", said.out, re.MULTILINE)


def test_the_plan_is_the_operators_default(metrion: Metrion, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    metrion("account", "create", "a@b.c")
    monkeypatch.setenv("METRION_DEFAULT_PLAN", "free")
    metrion("account", "create", "b@b.c")
    metrion("account", "create", "c@b.c", "--plan", "pro")
    with open_for_writing(Settings(data_dir=tmp_path / "data")) as database, database.begin() as connection:
        plans = connection.exec_driver_sql("SELECT plan FROM accounts ORDER BY id").scalars().all()
    assert plans == ["pro", "free", "pro"]


def test_a_provider_key_is_set_listed_and_deleted_and_never_printed(
    metrion: Metrion, account: dict[str, Any], tmp_path: Path
) -> None:
    key = "sk-proj-abcdefgh12345678"
    said = metrion("key", "set", "openai", "--account", EMAIL, given=f"{key}\n")
    listed = metrion("key", "list", "--account", EMAIL)
    assert said.code == listed.code == 0
    assert "ending in 5678" in said.out
    assert listed.out.splitlines()[1].split()[:2] == ["openai", "5678"]
    assert "abcdefgh" not in said.out + said.err + listed.out
    assert metrion("key", "delete", "openai", "--account", EMAIL).code == 0
    assert metrion("key", "delete", "openai", "--account", EMAIL) == Done(
        1, "", "metrion: There is no OpenAI key to delete.\n"
    )
    for path in (tmp_path / "data").iterdir():
        assert key.encode() not in path.read_bytes()
        assert account["token"].encode() not in path.read_bytes()


@pytest.mark.parametrize(
    ("arguments", "given", "said"),
    [
        (("key", "set", "openai"), "sk-ant-abcdefgh12345678", "This looks like an Anthropic key. You chose OpenAI."),
        (("key", "set", "openai"), "", "No key was given"),
        (("key", "set", "opnai"), "sk-abcdefgh12345678", "unknown provider 'opnai'; use one of anthropic, openai"),
        (("logs", "--since", "soon"), "", "--since: 'soon' is no time"),
        (("usage", "--to", "2026-13-01"), "", "--to: '2026-13-01' is no time"),
        (("usage", "--from", "2026-11-02", "--to", "2026-11-01"), "", "--to must be later than --from"),
        (("logs", "--since", "2h", "--until", "3h"), "", "--until must be later than --since"),
    ],
)
@pytest.mark.usefixtures("account")
def test_what_cannot_be_done_is_one_line_on_standard_error(
    metrion: Metrion, arguments: tuple[str, ...], given: str, said: str
) -> None:
    done = metrion(*arguments, "--account", EMAIL, given=given)
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith("metrion: ") and done.err.count("\n") == 1 and said in done.err
    assert "abcdefgh" not in done.err


def test_before_there_is_anything_it_is_said(metrion: Metrion, account: dict[str, Any]) -> None:
    assert metrion("logs", "--account", EMAIL).out == "No calls yet.\n"
    assert metrion("logs", "--account", EMAIL, "--since", "2h").out == "No calls in that time.\n"
    assert metrion("account", "delete", EMAIL, "--yes").code == 0
    assert metrion("account", "list").out == "No accounts yet. Make one with: metrion account create EMAIL\n"


@pytest.mark.parametrize("command", [["logs"], ["usage"], ["key", "list"], ["key", "set", "openai"]])
def test_an_unknown_account_says_how_to_make_one(metrion: Metrion, command: list[str]) -> None:
    done = metrion(*command, "--account", "no@example.com", given="sk-x")
    assert done.code == 1
    assert done.err == "metrion: there is no account 'no@example.com'; make one with: metrion account create EMAIL\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["logs"], "Missing option '--account'; see: metrion logs --help"),
        (["logs", "--account"], "Option '--account' requires an argument"),
        (["logs", "--from", "2h"], "No such option: --from"),
        (["nonsense"], "No such command 'nonsense'; see: metrion --help"),
        (["account"], "Missing command; see: metrion account --help"),
        (["usage", "--by", "moon", "--account", "a@b.c"], "Invalid value for '--by': 'moon' is not one of 'day', "),
        (["serve", "--port", "x"], "Invalid value for '--port': not a whole number; see: metrion serve --help"),
    ],
)
def test_wrong_use_exits_with_2(metrion: Metrion, arguments: list[str], said: str) -> None:
    done = metrion(*arguments)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith(f"metrion: {said}") and done.err.count("\n") == 1


@pytest.mark.parametrize(
    "command", [["logs", "--account", EMAIL], ["account", "create", EMAIL], ["migrate"], ["serve"]]
)
def test_a_wrong_setting_stops_any_command_with_2(
    metrion: Metrion, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    monkeypatch.setenv("METRION_PROT", "1")
    done = metrion(*command)
    assert done == Done(
        2, "", "metrion: unknown setting METRION_PROT (did you mean METRION_PORT?); unset it or correct its name\n"
    )


def test_a_fault_of_ours_is_one_line_too_and_masks_what_it_quotes(
    metrion: Metrion, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(**_: object) -> None:
        raise RuntimeError("a\nfault with sk-ant-abcdefgh12345678")

    monkeypatch.setattr("metrion.commands.migrate.load_settings", fail)
    assert metrion("migrate") == Done(1, "", "metrion: unexpected RuntimeError: a fault with sk-ant-***\n")


def test_the_data_directory_may_be_given_to_each_command(metrion: Metrion, tmp_path: Path) -> None:
    other = str(tmp_path / "other")
    token = metrion("account", "create", EMAIL, "--data-dir", other).out
    assert "sk-metrion-" in token
    assert metrion("logs", "--account", EMAIL, "--data-dir", other).code == 0
    assert metrion("logs", "--account", EMAIL).code == 1


# ── logs ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.usefixtures("account")
def test_jsonl_streams_every_row_oldest_first(metrion: Metrion, tmp_path: Path) -> None:
    record(tmp_path, *(call_row(NOON + n, n) for n in range(700)))
    rows = jsonl(metrion("logs", "--account", EMAIL, "--format", "jsonl"))
    assert len(rows) == 700
    assert [row["started_at"] for row in rows] == sorted(row["started_at"] for row in rows)
    assert rows[0]["tool_calls"] == {}
    assert rows[0]["usage_raw"] is None
    assert jsonl(metrion("logs", "--account", EMAIL.upper(), "--since", "2h", "--format", "jsonl")) == []


@pytest.mark.usefixtures("account")
def test_jsonl_holds_the_providers_usage_verbatim_on_one_line(metrion: Metrion, tmp_path: Path) -> None:
    raw = '{\r\n  "total": 1.10e2,\n "big": 123456789012345678901234567890, "text": "a\\nb\u2028" }'
    record(tmp_path, call_row(NOON, usage_raw=raw, cost_nano=123_456_789))
    done = metrion("logs", "--account", EMAIL, "--format", "jsonl")
    assert done.out.count("\n") == 1
    assert "1.10e2" in done.out and "123456789012345678901234567890" in done.out
    row = json.loads(done.out)
    assert row["usage_raw"] == json.loads(raw)
    assert row["cost_usd"] == "0.123456789"


@pytest.mark.usefixtures("account")
def test_csv_holds_the_same_and_no_formula(metrion: Metrion, tmp_path: Path) -> None:
    record(
        tmp_path,
        call_row(NOON, 1, model='=HYPERLINK("x")', requester="@cmd", error_message="a,\nb", cost_nano=None),
        call_row(NOON, 2, requester="-1", requested_model="+1", usage_raw='{"a": 1}', stream=1, input_tokens=7),
    )
    done = metrion("logs", "--account", EMAIL, "--format", "csv")
    first, second = csv.DictReader(io.StringIO(done.out))
    assert list(first) == list(jsonl(metrion("logs", "--account", EMAIL, "--format", "jsonl"))[0])
    assert (first["model"], first["requester"], first["error_message"]) == ('\'=HYPERLINK("x")', "'@cmd", "a,\nb")
    assert (first["cost_usd"], first["stream"], first["tool_calls"]) == ("", "false", "")
    assert (second["requester"], second["requested_model"], second["input_tokens"]) == ("'-1", "'+1", "7")
    assert (second["usage_raw"], second["stream"], second["cost_usd"]) == ('{"a": 1}', "true", "0")


@pytest.mark.usefixtures("account")
def test_an_empty_csv_still_has_its_head(metrion: Metrion) -> None:
    done = metrion("logs", "--account", EMAIL, "--format", "csv")
    assert done.out.startswith("request_id,started_at,provider,")
    assert done.out.count("\n") == 1


@pytest.mark.usefixtures("account")
def test_the_table_shows_the_latest_fifty_newest_first(metrion: Metrion, tmp_path: Path) -> None:
    record(tmp_path, *(call_row(NOON + n * 1000, n, latency_us=n * 1000) for n in range(60)))
    lines = metrion("logs", "--account", EMAIL).out.splitlines()
    assert " ".join(lines[0].split()) == "STATUS TIME (UTC) MODEL PROVIDER INPUT OUTPUT TOTAL COST LATENCY"
    assert len(lines) == 51
    assert "12:00:59" in lines[1] and lines[1].endswith("59 ms")
    assert "12:00:10" in lines[-1]


@pytest.mark.usefixtures("account")
def test_the_table_says_what_a_cost_is_and_obeys_no_escape_sequence(metrion: Metrion, tmp_path: Path) -> None:
    record(
        tmp_path,
        call_row(NOON, 1, cost_nano=None, cost_source="unpriced"),
        call_row(NOON, 2, cost_nano=1_500_000_000, cost_source="estimated", latency_us=1_500_000),
        call_row(NOON, 3, requester="bot", model="\x1b[31mred\x9b\u202e", status=0, outcome="timeout"),
        call_row(NOON, 4, model="m" * 100),
    )
    out = metrion("logs", "--account", EMAIL).out
    lines = out.splitlines()
    assert "REQUESTER" in lines[0]
    assert "unpriced" in lines[4]
    assert "~$1.50" in lines[3] and "1.50 s" in lines[3]
    assert "– timeout" in lines[2] and "bot" in lines[2]
    assert "m" * 39 + "…" in lines[1]
    assert not any(char in out for char in "\x1b\x9b\u202e")


@pytest.mark.usefixtures("account")
def test_since_and_until_bound_the_rows(metrion: Metrion, tmp_path: Path) -> None:
    day = 86_400_000
    midnight = NOON - day // 2
    record(tmp_path, *(call_row(ms) for ms in (midnight - 1, midnight, midnight + day - 1, midnight + day)))

    def count(*bounds: str) -> int:
        return len(jsonl(metrion("logs", "--account", EMAIL, "--format", "jsonl", *bounds)))

    assert count("--since", "2026-11-01") == 3
    assert count("--until", "2026-11-01") == 3  # a whole day is included
    assert count("--since", "2026-11-01", "--until", "2026-11-01") == 2
    assert count("--since", "2026-11-01T02:00:00+02:00", "--until", "2026-11-01T00:00:00.001Z") == 1


def test_times_as_people_write_them() -> None:
    assert parse_time(None, "--since") is None
    assert parse_time("1970-01-02", "--since") == 86_400_000
    assert parse_time("1970-01-02", "--until", end=True) == 2 * 86_400_000
    assert parse_time("1970-01-02T00:00", "--until", end=True) == 86_400_000
    assert parse_time("1960-01-01", "--since") == 0
    for text, seconds in (("90s", 90), ("5m", 300), ("2h", 7200), ("1d", 86_400), ("1w", 604_800)):
        found = parse_time(text, "--since")
        assert found is not None
        assert abs(now_ms() - seconds * 1000 - found) < 5000
    for wrong in ("", "2", "h", "-2h", "2y", "now", "2026", "2026-02-30", "٢h٢"):
        with pytest.raises(InputError):
            parse_time(wrong, "--since")


@pytest.mark.parametrize(
    ("nano", "shown"),
    [
        (0, "$0.00"),
        (1, "$0.000000001"),
        (37_500, "$0.000038"),
        (1_234_567, "$0.0012"),
        (9_994_999, "$0.01"),
        (10_000_000, "$0.01"),
        (994_999_999, "$0.99"),
        (995_000_000, "$1.00"),
        (1_999_000_000_000, "$1,999.00"),
    ],
)
def test_money_for_people(nano: int, shown: str) -> None:
    assert money(nano) == shown


# ── usage ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.usefixtures("account")
def test_usage_prints_the_documented_shape(metrion: Metrion, tmp_path: Path) -> None:
    record(
        tmp_path,
        call_row(NOON, 1, input_tokens=10, output_tokens=5, cost_nano=2_000_000_000, requester="bot"),
        call_row(NOON, 2, outcome="rejected", status=429),
        call_row(NOON, 3, outcome="timeout", status=504, cost_nano=None, cost_source="unknown"),
    )
    found = json.loads(metrion("usage", "--account", EMAIL, "--format", "json").out)
    assert list(found) == ["from", "to", "currency", "groups", "total"]
    assert (found["from"], found["currency"]) == ("2026-11-01T00:00:00.000Z", "USD")
    assert [list(group) for group in found["groups"]] == [[*USAGE_KEYS, "confidence"]]
    confidence = {"provider": "0", "computed": "2", "estimated": "0", "unpriced_rows": 0, "unknown_rows": 1}
    figures = dict(zip(USAGE_KEYS[1:], [2, 1, 1, 10, 5, 15, "2"], strict=True)) | {"confidence": confidence}
    assert found["groups"] == [{"key": "2026-11-01", **figures}]
    assert found["total"] == figures
    for by, keys in (("model", {"gpt-4o-mini"}), ("provider", {"openai"}), ("requester", {"", "bot"})):
        grouped = json.loads(metrion("usage", "--account", EMAIL, "--by", by, "--format", "json").out)
        assert {group["key"] for group in grouped["groups"]} == keys
        assert grouped["total"] == figures


@pytest.mark.usefixtures("account")
def test_usage_prints_the_range_it_used(metrion: Metrion, tmp_path: Path) -> None:
    record(tmp_path, call_row(NOON))
    bounds = ("--from", "2026-11-01T12:30:00Z", "--to", "2026-11-01T12:31:00Z")
    found = json.loads(metrion("usage", "--account", EMAIL, *bounds, "--format", "json").out)
    assert (found["from"], found["to"]) == ("2026-11-01T12:00:00.000Z", "2026-11-01T13:00:00.000Z")
    assert found["total"]["requests"] == 1
    day = json.loads(
        metrion("usage", "--account", EMAIL, "--from", "2026-11-01", "--to", "2026-11-01", "--format", "json").out
    )
    assert (day["to"], day["total"]["requests"]) == ("2026-11-02T00:00:00.000Z", 1)


@pytest.mark.usefixtures("account")
def test_the_usage_table_marks_what_its_cost_leaves_out(metrion: Metrion, tmp_path: Path) -> None:
    record(
        tmp_path,
        call_row(NOON, 1, model="known", input_tokens=12_345, cost_nano=1_000_000_000),
        call_row(NOON, 2, model="new", cost_nano=None, cost_source="unpriced"),
    )
    out = metrion("usage", "--account", EMAIL, "--by", "model").out
    rows = {line.split()[0]: line.split() for line in out.splitlines() if line}
    assert rows["known"] == ["known", "1", "0", "0", "12,345", "0", "12,345", "$1.00"]
    assert rows["new"][-2:] == ["–", "*"]
    assert rows["total"][-2:] == ["$1.00", "*"]
    assert "* Not in the cost: 1 without a known price, 0 without known usage." in out


# ── migrate, doctor, and the program itself ───────────────────────────────────────────────────────────────────────────


def test_migrate_makes_the_database_and_may_be_run_again(metrion: Metrion, tmp_path: Path) -> None:
    first, second = metrion("migrate"), metrion("migrate")
    assert first == second
    assert first.code == 0
    assert (tmp_path / "data" / "metrion.db").exists()


@pytest.fixture
def upstream(metrion: Metrion, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A loopback listener in the place of each provider, and no proxy variables."""
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        for name in ("ANTHROPIC", "OPENAI", "GEMINI", "MISTRAL", "GROK"):
            monkeypatch.setenv(f"METRION_UPSTREAM_{name}", f"http://127.0.0.1:{listener.getsockname()[1]}")
        yield


def findings(done: Done) -> dict[str, str]:
    """Level by subject; the worst where a subject has two."""
    order = {"OK": 0, "WARN": 1, "FAIL": 2}
    found: dict[str, str] = {}
    for line in done.out.splitlines():
        level, subject = line.split(":")[0].split(maxsplit=1)
        found[subject] = max(found.get(subject, "OK"), level, key=order.__getitem__)
    return found


@pytest.mark.usefixtures("upstream")
def test_doctor_finds_a_fresh_directory_healthy(metrion: Metrion) -> None:
    done = metrion("doctor")
    assert done.code == 0
    assert set(findings(done).values()) == {"OK"}, done.out
    assert {"configuration", "data directory", "database", "master key", "mail", "clock", "server"} < set(
        findings(done)
    )
    assert "not running" in done.out


@pytest.mark.usefixtures("upstream", "account")
def test_doctor_says_that_a_server_runs(metrion: Metrion, tmp_path: Path) -> None:
    with hold_lock(Settings(data_dir=tmp_path / "data")):
        done = metrion("doctor")
    assert f"running (pid {os.getpid()})" in done.out
    assert done.code == 0


@pytest.mark.usefixtures("upstream", "account")
def test_doctor_fails_for_another_master_key_and_shows_none(metrion: Metrion, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METRION_MASTER_KEY", "ab" * 32)
    done = metrion("doctor")
    assert (done.code, findings(done)["master key"]) == (1, "FAIL")
    assert "abab" not in done.out


@pytest.mark.usefixtures("upstream", "account")
def test_doctor_warns_of_rights_that_are_too_wide(metrion: Metrion, tmp_path: Path) -> None:
    (tmp_path / "data" / "master.key").chmod(0o644)
    (tmp_path / "data").chmod(0o755)
    found = findings(metrion("doctor"))
    assert (found["master key"], found["data directory"]) == ("WARN", "WARN")


@pytest.mark.usefixtures("upstream", "account")
def test_doctor_fails_for_a_lost_master_key_and_a_broken_database(metrion: Metrion, tmp_path: Path) -> None:
    (tmp_path / "data" / "master.key").unlink()
    assert findings(metrion("doctor"))["master key"] == "FAIL"
    for path in (tmp_path / "data").glob("metrion.db*"):
        path.unlink()
    (tmp_path / "data" / "metrion.db").write_bytes(b"x" * 5000)
    done = metrion("doctor")
    assert (done.code, findings(done)["database"]) == (1, "FAIL")


def test_doctor_only_warns_of_an_upstream_that_is_not_there_and_of_proxy_variables(
    metrion: Metrion, monkeypatch: pytest.MonkeyPatch, upstream: None
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    monkeypatch.setenv("METRION_UPSTREAM_GROK", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("HTTPS_PROXY", "http://u:hunter2@127.0.0.1:1")
    done = metrion("doctor")
    found = findings(done)
    assert (done.code, found["upstream grok"], found["upstream openai"], found["upstreams"]) == (
        0,
        "WARN",
        "OK",
        "WARN",
    )
    assert "HTTPS_PROXY is set and ignored" in done.out
    assert "hunter2" not in done.out


def test_doctor_names_a_directory_that_cannot_be_made(metrion: Metrion, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = metrion("doctor", "--data-dir", str(tmp_path / "file" / "data"))
    assert done.code == 1
    assert f"data directory: {tmp_path}/file/data: Not a directory\n" in done.out


def test_doctor_fails_for_a_wrong_setting(metrion: Metrion, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METRION_PORT", "none")
    done = metrion("doctor")
    assert (done.code, findings(done)) == (1, {"configuration": "FAIL"})


def test_help_names_every_command_and_version_the_version(metrion: Metrion) -> None:
    for arguments in ((), ("--help",)):
        done = metrion(*arguments)
        assert done.code == 0
        assert all(re.search(rf"^  {name} ", done.out, re.MULTILINE) for name in COMMANDS)
    assert re.fullmatch(r"metrion \d+\.\d+\.\d+\n", metrion("--version").out)


def test_a_reader_that_leaves_early_ends_the_command_quietly(account: dict[str, Any], tmp_path: Path) -> None:
    record(tmp_path, *(call_row(now_ms(), n, usage_raw=orjson.dumps({"pad": "x" * 500}).decode()) for n in range(2000)))
    command = [sys.executable, "-m", "metrion", "logs", "--account", EMAIL, "--format", "jsonl"]
    environment = os.environ | {
        "METRION_DATA_DIR": str(tmp_path / "data"),
        "PYTHONPATH": str(Path(__file__).parents[1]),
    }
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline().startswith(b'{"request_id"')
        process.stdout.close()
        assert process.stderr.read() == b""
