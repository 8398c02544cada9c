"""The house rules that no linter knows: who may import whom, where SQL and outgoing HTTP live, what is locked.

Each rule is a function from sources (or text) to problems. The first half runs them on this tree and expects none; the
second half runs them on small trees that break them.
"""

from __future__ import annotations

import ast
import re
import subprocess
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from metrion.config import Settings

ROOT = Path(__file__).parents[1]

# What a room (a folder or file of metrion/) may import beside itself and EVERYONE. `app` puts the rooms together,
# `demo` and `commands` use what it made; nobody imports these three from below.
EVERYONE = {"call", "config", "errors", "kit"}
ROOMS: dict[str, set[str]] = {
    "kit": set(),
    "errors": set(),
    "call": set(),
    "config": set(),
    "wire": set(),
    "providers": {"wire"},
    "prices": {"wire"},
    "storage": {"wire"},
    "accounts": {"providers", "storage"},
    "mail": {"accounts", "storage"},
    "alerts": {"accounts", "mail", "rates", "storage"},
    "billing": {"accounts", "mail", "storage"},
    "ledger": {"accounts", "alerts", "prices", "storage", "wire"},
    "proxy": {"accounts", "ledger", "providers", "wire"},
    "web": {"accounts", "alerts", "billing", "ledger", "mail", "prices", "providers", "rates", "storage"},
    "sandbox": set(),
    "datadir": {"ledger", "storage"},
    "control": {"accounts", "datadir", "storage"},
    "changes": {"accounts", "ledger", "proxy", "storage"},
    "app": {
        "accounts",
        "alerts",
        "billing",
        "changes",
        "control",
        "datadir",
        "ledger",
        "mail",
        "prices",
        "proxy",
        "rates",
        "storage",
        "web",
    },
    "demo": {"accounts", "app", "datadir", "ledger", "prices", "sandbox", "storage"},
    "rates": set(),
    "commands": {
        "accounts",
        "app",
        "billing",
        "control",
        "datadir",
        "demo",
        "ledger",
        "mail",
        "prices",
        "providers",
        "rates",
        "storage",
        "wire",
    },
    "__main__": {"commands"},
    "__init__": set(),
}
# Who stands below EVERYONE, and so may not use all of it.
BELOW = {"kit": {"errors"}, "errors": set[str](), "call": {"kit"}, "config": {"errors", "kit"}}

DRIVERS = {"alembic", "psycopg", "sqlalchemy", "sqlite3"}
CLIENTS = {
    "aiohttp",
    "aiosmtplib",
    "http.client",
    "httpcore",
    "httpcore2",
    "httpx",
    "httpx2",
    "niquests",
    "requests",
    "smtplib",
    "stripe",
    "urllib.request",
}
DIALS = {"create_connection", "open_connection", "sock_connect"}
# Who may open a connection: the proxy to providers; the demo's traffic and Integrate's checks to Metrion itself;
# `doctor`, which only tries; the currency rates' daily fetch from the central bank; mail to the operator's mail server;
# Stripe, where it is configured; alerts to webhooks, wherever accounts say.
DIALLERS = {
    "metrion/proxy/upstream.py",
    "metrion/sandbox/traffic.py",
    "metrion/web/probe.py",
    "metrion/commands/doctor.py",
    "metrion/rates/refresh.py",
    "metrion/mail/server.py",
    "metrion/billing/stripe.py",
    "metrion/alerts/post.py",
}
# Who may import by name at run time, so that commands start fast: a command when it is called, Alembic when the
# database is out of date, recovery when there is a journal, Stripe's SDK where it is configured.
LAZY = {
    "metrion/__main__.py",
    "metrion/storage/database.py",
    "metrion/datadir.py",
    "metrion/billing/connect.py",
}

LONGEST_FUNCTION = 80
LONGEST_FILE = 600


class Source(NamedTuple):
    path: str  # from the top, with forward slashes
    text: str

    @property
    def tree(self) -> ast.Module:
        return ast.parse(self.text)

    @property
    def room(self) -> str:
        return self.path.split("/")[1].removesuffix(".py")


def tracked_paths(*patterns: str) -> list[Path]:
    """The files git knows or would add."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z", "--", *patterns]
    names = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
    return [ROOT / name for name in names if name and (ROOT / name).is_file()]


def tracked(*patterns: str) -> list[Source]:
    """The same, as text; binary ones are left out."""
    contents = [(path, path.read_bytes()) for path in tracked_paths(*patterns)]
    return [
        Source(path.relative_to(ROOT).as_posix(), content.decode("utf-8", "replace"))
        for path, content in contents
        if b"\0" not in content
    ]


def imports(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Every imported name with its line: `from a import b` gives a.b; a relative import begins with a dot."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = "." * node.level + (node.module or "")
            yield from ((node.lineno, f"{base}.{alias.name}") for alias in node.names)


def matches(name: str, packages: Iterable[str]) -> bool:
    return any(name == package or name.startswith(package + ".") for package in packages)


def upward_imports(sources: Iterable[Source]) -> Iterator[str]:
    for source in sources:
        if source.room not in ROOMS:
            yield f"{source.path}: a new room; say in ROOMS what it may import"
            continue
        allowed = ROOMS[source.room] | BELOW.get(source.room, EVERYONE) | {source.room}
        for line, name in imports(source.tree):
            parts = name.split(".")
            if name.startswith("."):
                yield f"{source.path}:{line}: relative import; say from which room"
            elif parts[0] == "metrion" and len(parts) > 1 and parts[1] not in allowed and parts[1] != "__version__":
                yield f"{source.path}:{line}: {source.room} may not import {parts[1]}"


def stray_drivers(sources: Iterable[Source]) -> Iterator[str]:
    for source in sources:
        for line, name in imports(source.tree):
            if source.room != "storage" and matches(name, DRIVERS):
                yield f"{source.path}:{line}: {name} belongs into storage"


def stray_connections(sources: Iterable[Source]) -> Iterator[str]:
    for source in sources:
        if source.path in DIALLERS:
            continue
        for line, name in imports(source.tree):
            if matches(name, CLIENTS):
                yield f"{source.path}:{line}: {name}: only those in DIALLERS talk to others"
        for node in ast.walk(source.tree):
            if isinstance(node, ast.Attribute) and node.attr in DIALS:
                yield f"{source.path}:{node.lineno}: {node.attr}: only proxy/upstream.py opens connections"


def late_imports(sources: Iterable[Source]) -> Iterator[str]:
    for source in sources:
        for function in functions(source.tree):
            for line, name in imports(function):
                yield f"{source.path}:{line}: {name} is imported inside {function.name}"
        for node in ast.walk(source.tree):
            called = node.func if isinstance(node, ast.Call) else None
            name = (
                called.attr if isinstance(called, ast.Attribute) else called.id if isinstance(called, ast.Name) else ""
            )
            if name in ("__import__", "import_module") and source.path not in LAZY and isinstance(node, ast.Call):
                yield f"{source.path}:{node.lineno}: {name}: imports stand at the top"


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def too_long(sources: Iterable[Source]) -> Iterator[str]:
    for source in sources:
        lines = source.text.count("\n")
        if lines > LONGEST_FILE:
            yield f"{source.path}: {lines} lines, at most {LONGEST_FILE}"
        for function in functions(source.tree):
            length = (function.end_lineno or function.lineno) - function.lineno + 1
            if length > LONGEST_FUNCTION:
                yield f"{source.path}:{function.lineno}: {function.name} has {length} lines, at most {LONGEST_FUNCTION}"


def locked(text: str) -> dict[str, str]:
    """Name → version of a lock file's entries. Raises ValueError at an entry that is not pinned and hashed."""
    found = {}
    for entry in re.sub(r"\\\n", " ", re.sub(r"^\s*#.*\n", "", text, flags=re.MULTILINE)).splitlines():
        pinned = re.match(r"([a-z0-9-]+)==([^\s;]+)( ;[^\\]*?)?((\s+--hash=sha256:[0-9a-f]{64})+)\s*$", entry)
        if not pinned:
            raise ValueError(f"not pinned with hashes: {entry[:80]!r}")
        found[pinned[1]] = pinned[2]
    return found


def names(requirements: Iterable[str]) -> set[str]:
    """The packages that requirement lines name, as the lock spells them."""
    lines = (line.partition("#")[0].strip() for line in requirements)
    return {re.split(r"[^A-Za-z0-9._-]", line)[0].lower().replace("_", "-") for line in lines if line}


MACHINE_PATH = re.compile(r"(?<![\w.~/-])/(?:root|home|work|opt|Users)/[\w.-]+")
REGISTRY = re.compile(
    r"registry\.(?:npmjs|yarnpkg)\.\w+|files\.pythonhosted\.org|pypi\.org/simple|--(?:extra-)?index-url|--find-links"
)


def machine_traces(sources: Iterable[Source]) -> Iterator[str]:
    for source in sources:
        for number, line in enumerate(source.text.splitlines(), 1):
            for trace in (*MACHINE_PATH.findall(line), *REGISTRY.findall(line)):
                yield f"{source.path}:{number}: {trace}"


def dead_references(sources: Iterable[Source], exists: Iterable[str]) -> Iterator[str]:
    """Links between documents, and files of ours that they name, which do not exist."""
    known = set(exists)
    known |= {parent.as_posix() for path in known for parent in Path(path).parents}
    for source in sources:
        for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", source.text):
            if Path(ROOT, source.path).parent.joinpath(link).resolve().relative_to(ROOT).as_posix() not in known:
                yield f"{source.path}: links to {link}, which does not exist"
        for name in re.findall(r"\b(?:metrion|tests|bench|docs)/[\w/.-]+\.(?:py|toml|md|html)\b", source.text):
            if name not in known:
                yield f"{source.path}: names {name}, which does not exist"


def undocumented(fields: Iterable[str], text: str) -> Iterator[str]:
    """Settings that the page does not tell of, and names on the page that are no settings."""
    told = set(re.findall(r"`METRION_([A-Z0-9_]+)`", text))
    real = {field.upper() for field in fields}
    yield from (f"METRION_{name} is not in docs/settings.md" for name in sorted(real - told))
    yield from (f"METRION_{name} is no setting" for name in sorted(told - real - {"CONFIG"}))


# This tree keeps the rules.

RULES = [upward_imports, stray_drivers, stray_connections, late_imports, too_long]


@pytest.mark.parametrize("rule", RULES)
def test_the_product_keeps(rule: object) -> None:
    assert callable(rule)
    assert list(rule(tracked("metrion/**/*.py", "metrion/*.py"))) == []


def test_tests_and_bench_are_as_short() -> None:
    assert list(too_long(tracked("tests/**/*.py", "tests/*.py", "bench/*.py"))) == []


def test_every_requirement_is_locked_with_hashes() -> None:
    run = locked((ROOT / "requirements/run.txt").read_text())
    dev = locked((ROOT / "requirements/dev.txt").read_text())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    build = (ROOT / "requirements/build.in").read_text().splitlines()
    assert names([*project["project"]["dependencies"], *build]) <= run.keys()
    assert names((ROOT / "requirements/dev.in").read_text().splitlines()) <= dev.keys()
    assert run.items() <= dev.items()
    assert f"hatchling=={run['hatchling']}" in project["build-system"]["requires"]


def test_no_trace_of_a_machine() -> None:
    others = [source for source in tracked() if source.path != "tests/test_structure.py"]
    assert list(machine_traces(others)) == []


def test_documents_name_what_exists() -> None:
    every = [path.relative_to(ROOT).as_posix() for path in tracked_paths()]
    assert list(dead_references(tracked("*.md"), every)) == []


def test_every_setting_is_documented() -> None:
    assert list(undocumented(Settings.__struct_fields__, (ROOT / "docs/settings.md").read_text())) == []


def test_the_readme_has_two_commands_and_ci_runs_the_second() -> None:
    commands = re.findall(r"```sh\n(.*?)\n```", (ROOT / "README.md").read_text(), flags=re.DOTALL)
    assert commands == ["scripts/demo", "scripts/test"]
    assert commands[1] in (ROOT / ".ci/run").read_text()


# The rules find what breaks them.


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("metrion/proxy/handler.py", "from metrion.web import routes"),
        ("metrion/web/routes.py", "import metrion.proxy.handler"),
        ("metrion/wire/sse.py", "from metrion.providers.openai import OPENAI"),
        ("metrion/kit/ids.py", "from metrion.config import Settings"),
        ("metrion/storage/tables.py", "from metrion import ledger"),
        ("metrion/ledger/writer.py", "from ..proxy import handler"),
        ("metrion/newroom/x.py", ""),
    ],
)
def test_an_upward_import_is_found(path: str, text: str) -> None:
    assert len(list(upward_imports([Source(path, text)]))) == 1


def test_a_downward_import_is_fine() -> None:
    text = "from metrion.providers import PROVIDERS\nfrom metrion.call import Call\nfrom metrion import __version__\n"
    assert list(upward_imports([Source("metrion/proxy/target.py", text)])) == []


def test_a_driver_outside_storage_is_found() -> None:
    text = "from sqlalchemy.engine import Connection"
    assert list(stray_drivers([Source("metrion/storage/rows.py", text)])) == []
    assert len(list(stray_drivers([Source("metrion/ledger/rows.py", text)]))) == 1
    assert list(stray_drivers([Source("metrion/ledger/rows.py", "import sqlite3extra")])) == []


@pytest.mark.parametrize(
    "text",
    [
        "import httpx2",
        "from urllib import request",
        "from http.client import HTTPConnection",
        "loop.create_connection()",
    ],
)
def test_another_way_to_a_provider_is_found(text: str) -> None:
    assert list(stray_connections([Source("metrion/proxy/upstream.py", text)])) == []
    assert len(list(stray_connections([Source("metrion/proxy/handler.py", text)]))) == 1


@pytest.mark.parametrize(
    "text",
    ["def f():\n    import json", "class A:\n    async def f(self):\n        from a import b", "import_module('json')"],
)
def test_a_late_import_is_found(text: str) -> None:
    assert len(list(late_imports([Source("metrion/proxy/handler.py", text)]))) == 1


def test_the_named_files_may_load_late() -> None:
    assert (
        list(late_imports([Source("metrion/__main__.py", "importlib.import_module('metrion.commands.serve')")])) == []
    )


@pytest.mark.parametrize(("statements", "problems"), [(LONGEST_FUNCTION - 1, 0), (LONGEST_FUNCTION, 1)])
def test_the_longest_function(statements: int, problems: int) -> None:
    text = "def f():\n" + "    pass\n" * statements
    assert len(list(too_long([Source("metrion/x.py", text)]))) == problems


@pytest.mark.parametrize(("lines", "problems"), [(LONGEST_FILE, 0), (LONGEST_FILE + 1, 1)])
def test_the_longest_file(lines: int, problems: int) -> None:
    assert len(list(too_long([Source("metrion/x.py", "pass\n" * lines)]))) == problems


HASH = "--hash=sha256:" + "0" * 64


def test_a_locked_requirement() -> None:
    text = f"# by hand\na-b==1.0 ; sys_platform == 'win32' \\\n    {HASH} \\\n    {HASH}\nc==2 \\\n    {HASH}\n"
    assert locked(text) == {"a-b": "1.0", "c": "2"}


@pytest.mark.parametrize("entry", ["a==1.0", f"a>=1.0 {HASH}", f"a==1.0 {HASH[:-1]}", f"--index-url x {HASH}"])
def test_a_requirement_that_is_not_locked(entry: str) -> None:
    with pytest.raises(ValueError, match="not pinned"):
        locked(entry)


@pytest.mark.parametrize(
    "text",
    [
        "/home/ann/metrion",
        'x = "/root/.cache"',
        "see /work/notes",
        "https://registry.npmjs.org/x",
        "pip --index-url http://x",
    ],
)
def test_a_trace_of_a_machine_is_found(text: str) -> None:
    assert len(list(machine_traces([Source("docs/x.md", text)]))) == 1


def test_other_paths_are_no_trace() -> None:
    assert (
        list(machine_traces([Source("x", "~/work/x ./opt/y /tmp/z https://example.com/home/page /var/lib/metrion")]))
        == []
    )


def test_a_dead_reference_is_found() -> None:
    text = "[a](../README.md) [b](gone.md) `metrion/call.py` `metrion/gone.py` [c](https://example.com) [d](how-to)"
    known = ["README.md", "metrion/call.py", "docs/how-to/x.md"]
    assert len(list(dead_references([Source("docs/x.md", text)], known))) == 2


def test_an_undocumented_setting_is_found() -> None:
    assert list(undocumented(["port", "host"], "`METRION_PORT` and `METRION_PROT`, in `METRION_CONFIG`")) == [
        "METRION_HOST is not in docs/settings.md",
        "METRION_PROT is no setting",
    ]
