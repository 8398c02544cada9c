"""The commands. Each lives in its own module of `metrion.commands`, loaded when it is called."""

from __future__ import annotations

import importlib
import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup
from typer.exceptions import Abort, TyperException

from metrion import __version__
from metrion.errors import MetrionError
from metrion.kit.secrets import mask_credentials

COMMANDS = (
    "serve",
    "demo",
    "account",
    "key",
    "logs",
    "usage",
    "price",
    "reprice",
    "what-if",
    "billing",
    "migrate",
    "doctor",
)

_PLAINER = {  # what Typer quotes of Pydantic
    "Value error, ": "",
    "Input should be a valid integer, unable to parse string as an integer": "not a whole number",
}


class Commands(TyperGroup):
    """Loads a command's module when it is called: `serve` brings the server along, `logs` should start at once."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in COMMANDS:
            return None
        return typer.main.get_command(importlib.import_module(f"metrion.commands.{cmd_name.replace('-', '_')}").app)


# No completion: it would edit the shell's files. No pretty errors: they may show the variables of a traceback.
app = typer.Typer(cls=Commands, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


@app.callback(invoke_without_command=True)
def metrion(ctx: typer.Context, show_version: Annotated[bool, typer.Option("--version")] = False) -> None:
    """A drop-in proxy for LLM APIs that records what every call cost."""
    if show_version:
        typer.echo(f"metrion {__version__}")
    elif ctx.invoked_subcommand is None:
        typer.echo(ctx.get_help())


def main() -> None:
    """Run a command. Errors are one line on standard error; exit code 2 for wrong use and settings, 1 for failures."""
    try:
        code = app(prog_name="metrion", standalone_mode=False)
    except Abort:
        _fail("stopped", 130)
    except (MetrionError, TyperException) as error:
        _fail(_misuse(error) if isinstance(error, TyperException) else str(error), error.exit_code)
    except Exception as error:  # a fault of ours; its traceback would hold what must not be shown
        _fail(f"unexpected {type(error).__name__}: {error}", 1)
    sys.exit(code if isinstance(code, int) else 0)


def _misuse(error: TyperException) -> str:
    """What is wrong with a command line, in plain words, and where its help is."""
    text = error.format_message()
    for theirs, ours in _PLAINER.items():
        text = text.replace(theirs, ours)
    context = getattr(error, "ctx", None)
    return f"{text.rstrip('.')}; see: {context.command_path} --help" if context else text


def _fail(text: str, code: int) -> None:
    line = " ".join(mask_credentials(text).split())
    print(f"metrion: {line}", file=sys.stderr)
    sys.exit(code)


if __name__ == "__main__":
    main()
