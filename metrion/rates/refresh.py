"""Fetching the day's rates while the server runs: on a thread of its own, so that nothing ever waits for it."""

from __future__ import annotations

import os
import ssl
import threading
import time
import urllib.request
from http.client import HTTPException
from pathlib import Path
from typing import IO, Any

import structlog

from metrion.rates.table import FILE_NAME, read

ORIGIN = "https://www.ecb.europa.eu"
PATH = "/stats/eurofxref/eurofxref-hist.zip"
FIRST_SECONDS = 120.0  # after the start, which has better things to do
AGAIN_SECONDS = 3600.0
FRESH_SECONDS = 20 * 3600.0  # the bank publishes once a day, at about 16:00 in Frankfurt
_TIMEOUT_SECONDS = 20.0
_MOST_BYTES = 8 * 1024 * 1024  # the file has 0.6 MB
log = structlog.get_logger("metrion.rates")


class Refresher:
    """Looks once an hour whether the fetched file is a day old, and then fetches it anew."""

    def __init__(
        self, data_dir: Path, origin: str, *, first: float = FIRST_SECONDS, again: float = AGAIN_SECONDS
    ) -> None:
        self._file = data_dir / FILE_NAME
        self._url = f"{origin or ORIGIN}{PATH}"
        self._first, self._again = first, again
        self._stop = threading.Event()
        # A daemon: a download that hangs must not keep the server from stopping.
        self._thread = threading.Thread(target=self._run, name="metrion-rates", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Begin no further download."""
        self._stop.set()

    def _run(self) -> None:
        wait = self._first
        while not self._stop.wait(wait):
            wait = self._again
            try:
                if not is_fresh(self._file):
                    fetch(self._url, self._file)
                    log.info("rates_refreshed", url=self._url)
            except (OSError, ValueError, HTTPException) as problem:  # urllib's errors are OSErrors
                log.warning("rates_not_refreshed", url=self._url, reason=str(problem), hint="the rates before hold")


def is_fresh(file: Path) -> bool:
    """Whether the file was fetched within the last day."""
    return file.exists() and 0 <= time.time() - file.stat().st_mtime < FRESH_SECONDS


def fetch(url: str, file: Path) -> None:
    """Put what `url` has into `file`; raises OSError, ValueError or HTTPException and leaves it as it was."""
    content = _download(url)
    read(content)
    draft = file.with_name(f".{file.name}.new")
    with draft.open("wb") as out:
        out.write(content)
        out.flush()
        os.fsync(out.fileno())
    draft.replace(file)


def _download(url: str) -> bytes:
    # Proxy variables are ignored and redirects not followed, as everywhere in Metrion.
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}),
        urllib.request.HTTPSHandler(context=ssl.create_default_context()),
        _NoRedirects,
    )
    with opener.open(url, timeout=_TIMEOUT_SECONDS) as answer:
        content: bytes = answer.read(_MOST_BYTES + 1)
    if len(content) > _MOST_BYTES:
        raise ValueError(f"more than {_MOST_BYTES} bytes")
    return content


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, req: Any, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str) -> None:
        return None
