"""Adding to the operator's prices: entries are appended, so that comments and what held before stay as they are."""

from __future__ import annotations

import json
import os
from datetime import date
from pathlib import Path
from typing import Any

import msgspec

from metrion.errors import ConfigError
from metrion.prices.rules import OPERATOR, Entry, Rule, parse

_HEAD = """# Your own prices. They win over Metrion's, each from its valid_from on. docs/costs.md describes the form;
# `metrion price set` adds entries at the end, `metrion price reload` tells a running server of changes made by hand.
"""


def add_price(file: Path, entry: Entry) -> list[Rule]:
    """Append an entry to the operator's file, made if need be, and return all its rules.

    The file is replaced as a whole or, with a ConfigError, left as it was.
    """
    file = file.resolve()  # a link stays a link
    try:
        text = file.read_text("utf-8") if file.exists() else _HEAD
        text = f"{text.rstrip()}\n\n{entry_text(entry)}"
        rules = parse(text, file, OPERATOR)
        _replace(file, text)
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file}: this is not TOML: {error}") from error
    except OSError as error:
        raise ConfigError(f"{file}: cannot write the prices: {error.strerror}") from error
    return rules


def entry_text(entry: Entry) -> str:
    """Return an entry as TOML, one line for each field that is set."""
    given = {name: value for name, value in msgspec.structs.asdict(entry).items() if value or _is_every_id(name, value)}
    return "\n".join(["[[price]]", *(f"{name} = {_value(value)}" for name, value in given.items())]) + "\n"


def _is_every_id(name: str, value: Any) -> bool:
    return name == "prefix" and value == ""


def _value(value: Any) -> str:
    match value:
        case date():
            return value.isoformat()
        case dict():
            return "{ " + ", ".join(f"{_key(name)} = {_value(one)}" for name, one in value.items()) + " }"
        case list():
            return "[" + ", ".join(map(_value, value)) + "]"
    return _quoted(str(value))


def _key(name: str) -> str:
    return name if name.replace("_", "").isalnum() and name.isascii() else _quoted(name)


def _quoted(text: str) -> str:
    # JSON's escapes are TOML's too, but for this one character, which JSON leaves as it is.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _replace(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    draft = file.with_name(f".{file.name}.new")
    mode = file.stat().st_mode & 0o777 if file.exists() else 0o644
    with draft.open("w", encoding="utf-8") as out:
        out.write(text)
        out.flush()
        os.fsync(out.fileno())
    draft.chmod(mode)
    draft.replace(file)
