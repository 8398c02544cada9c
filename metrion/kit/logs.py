"""Logs: one line an event, to standard error; a command's standard output is for its answer."""

from __future__ import annotations

import contextlib
import logging
import sys
from typing import TextIO, cast

import structlog


class _Stream:
    """Standard error as far as a logger uses it, but it never fails: the disk that is full may be the log's too."""

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError):
            sys.stderr.write(text)
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError):
            sys.stderr.flush()


def configure_logs(level: str) -> None:
    """Log events of `level` ("debug", "info", "warning", "error") and above: JSON, or coloured text on a terminal."""
    terminal = sys.stderr.isatty()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.dev.ConsoleRenderer() if terminal else structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.WriteLoggerFactory(file=cast(TextIO, _Stream())),
        cache_logger_on_first_use=True,
    )


def place_of(problem: BaseException) -> str:
    """Where it was raised: the last six file:line, innermost last. For what may quote a secret in its message."""
    lines = []
    trace = problem.__traceback__
    while trace is not None:
        lines.append(f"{trace.tb_frame.f_code.co_filename.rpartition('/')[2]}:{trace.tb_lineno}")
        trace = trace.tb_next
    return " > ".join(lines[-6:])
