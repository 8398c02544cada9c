"""`metrion serve` as tests start it: forked from a process that has loaded it already.

A server is otherwise as an operator starts it, with a process, an environment, a log and signals of its own. To load it
takes a second of CPU, and tests start hundreds.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path

from metrion.__main__ import main

LOADED = [
    "metrion.commands.serve",
    "metrion.billing.stripe",
    "httpcore2",
    __name__,
]  # also what loads late


def new_server(environment: dict[str, str], log: Path) -> ForkServerProcess:
    """A server, started; what it says is added to `log`. Its `exitcode` is that of a command."""
    context: ForkServerContext = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(LOADED)  # heeded once, by the first server
    process = context.Process(target=_serve, args=(environment, log), name="metrion serve")
    process.start()
    return process


def _serve(environment: dict[str, str], log: Path) -> None:
    os.environ.clear()
    os.environ.update(environment)
    said = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    for stream in (sys.stdout, sys.stderr):
        os.dup2(said, stream.fileno())
    os.close(said)
    sys.argv = ["metrion", "serve"]
    main()
