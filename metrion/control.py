"""Control: how a command asks the running server to change something, so that it is in its memory at once.

control.sock lies in the data directory, mode 0600; one JSON line goes in, one comes out.
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
import structlog

from metrion.accounts.operations import OPERATIONS
from metrion.accounts.vault import open_vault
from metrion.config import Settings
from metrion.datadir import PATIENCE, RETRY_SECONDS, hold_lock, open_for_writing
from metrion.errors import ConfigError, InputError, LockedError, MetrionError, StorageError, VaultError
from metrion.storage.database import Database

__all__ = ["ask", "hold_lock", "listen", "perform"]

Run = Callable[[str, dict[str, Any]], Awaitable[dict[str, Any]]]
Here = Callable[[Database], dict[str, Any]]

_REQUEST_BYTES = 64 * 1024
_ANSWER_BYTES = 1024 * 1024
_READ_SECONDS = 5.0  # for the line of a client that has connected
_ANSWER_SECONDS = 30.0
_SOCKET_PATH_BYTES = 100  # the kernel takes 107 on Linux, 103 elsewhere
_ERRORS: dict[str, type[MetrionError]] = {
    kind.__name__: kind for kind in (ConfigError, InputError, LockedError, StorageError, VaultError)
}
log = structlog.get_logger("metrion.control")


async def listen(settings: Settings, run: Run) -> asyncio.Server:
    """Answer commands on the control socket until the server is closed; the caller holds the data directory.

    `run` gets an operation's name and arguments, and returns when their effect is in memory and in the database; it
    raises InputError for an operation that it does not know.
    """

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            writer.write(orjson.dumps(await _answer(reader, run)) + b"\n")
            await asyncio.wait_for(writer.drain(), _READ_SECONDS)
        except OSError as error:  # a command that is gone, or reads nothing (TimeoutError is one)
            log.info("control_client_gone", why=type(error).__name__)
        finally:
            writer.close()

    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.setblocking(False)
    path = settings.data_dir / "control.sock"
    path.unlink(missing_ok=True)  # left by a server that was killed: whoever holds the lock is the only one
    try:
        with _short_name(path) as name:
            listener.bind(name)
    except OSError as error:
        listener.close()
        raise StorageError(f"the control socket {path} cannot be made: {error.strerror or error}") from None
    path.chmod(0o600)  # before anyone can connect: it does not listen yet
    return await asyncio.start_unix_server(answer, sock=listener, limit=_REQUEST_BYTES)


async def _answer(reader: asyncio.StreamReader, run: Run) -> dict[str, Any]:
    try:
        line = await asyncio.wait_for(reader.readline(), _READ_SECONDS)
        request = orjson.loads(line)
        operation, args = request["operation"], request["args"]
        if not isinstance(operation, str) or not isinstance(args, dict):
            raise TypeError("not an operation's name and arguments")
        return {"answer": await run(operation, args)}
    except MetrionError as error:
        return {"error": type(error).__name__, "message": str(error)}
    except (ValueError, KeyError, TypeError, TimeoutError):  # a line that is too long, late or no request
        return {"error": "InputError", "message": "malformed request on the control socket"}
    except Exception as error:
        # Only the kind: the arguments hold a provider key, and a message may quote them.
        log.error("operation_failed", why=type(error).__name__)
        return {"error": "StorageError", "message": f"the server could not do it ({type(error).__name__}); see its log"}


def perform(settings: Settings, operation: str, args: dict[str, Any], here: Here | None = None) -> dict[str, Any]:
    """Run an operation in the running server, or here if there is none; raises MetrionError.

    `here` does it with the writing connection; without one, the operation is one of an account's.
    """
    deadline = time.monotonic() + PATIENCE
    while True:
        answer = ask(settings, operation, args)
        if answer is not None:
            return answer
        try:
            with open_for_writing(settings) as database:
                if here is not None:
                    return here(database)
                vault = open_vault(settings, database)
                with database.begin() as connection:
                    return OPERATIONS[operation](connection, vault, args)
        except LockedError:  # a server that does not listen yet, or any more
            if time.monotonic() > deadline:
                raise
        time.sleep(RETRY_SECONDS)


def ask(settings: Settings, operation: str, args: dict[str, Any]) -> dict[str, Any] | None:
    """The running server's answer; None where no server listens. Raises MetrionError as the operation does."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(_ANSWER_SECONDS)
        try:
            with _short_name(settings.data_dir / "control.sock") as name:
                client.connect(name)
        except (FileNotFoundError, ConnectionRefusedError):
            return None
        except OSError as error:
            raise LockedError(f"the running server cannot be asked: {error.strerror or error}") from None
        try:
            client.sendall(orjson.dumps({"operation": operation, "args": args}) + b"\n")
            reply = orjson.loads(_read_line(client))
        except (OSError, ValueError):
            raise LockedError("the server stopped before it answered; see whether the change is there") from None
    if "error" in reply:
        raise _ERRORS.get(reply["error"], MetrionError)(reply["message"])
    answer: dict[str, Any] = reply["answer"]
    return answer


def _read_line(client: socket.socket) -> bytes:
    data = b""
    while not data.endswith(b"\n"):
        part = client.recv(65536)
        data += part
        if not part or len(data) > _ANSWER_BYTES:
            raise ValueError("no whole answer")
    return data


@contextmanager
def _short_name(path: Path) -> Iterator[str]:
    """A name of `path` that fits into a socket address; a long one goes through its directory's descriptor."""
    if len(os.fsencode(path)) <= _SOCKET_PATH_BYTES or not Path("/proc/self/fd").is_dir():
        yield str(path)
        return
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)
