"""Five sandboxes on loopback ports, in a thread of their own."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
import uvloop

from metrion.sandbox.app import PROVIDERS, create_app


@contextmanager
def serve_sandboxes(
    *, seed: int | None = None, error_rate: float = 0.0, pace: float = 0.02
) -> Iterator[dict[str, str]]:
    """Serves every provider while the context lasts; their origins by name. The options are those of `create_app`."""
    listeners = {provider: socket.create_server(("127.0.0.1", 0)) for provider in PROVIDERS}
    apps = [create_app(provider, seed=seed, error_rate=error_rate, pace=pace) for provider in PROVIDERS]
    servers = [uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False)) for app in apps]

    async def serve_all() -> None:
        # In a thread that is not the main one, uvicorn leaves the signals alone.
        await asyncio.gather(*(s.serve([listener]) for s, listener in zip(servers, listeners.values(), strict=True)))

    thread = threading.Thread(target=lambda: uvloop.run(serve_all()), name="sandbox", daemon=True)
    thread.start()
    try:
        yield {provider: f"http://127.0.0.1:{one.getsockname()[1]}" for provider, one in listeners.items()}
    finally:
        for server in servers:
            server.should_exit = True
        thread.join(5)
