"""Posting: one HTTP request to a webhook, to the very address that was checked; whatever comes of it is an Answer.

The name is resolved once. A second look-up, by the HTTP client, could have another answer than the one that was checked
(DNS rebinding); so the client is given the address, and the name for TLS and the Host header.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from time import perf_counter
from typing import NamedTuple

import httpx2

from metrion.alerts.addresses import Place, Refused, check, resolve
from metrion.alerts.resolver import Resolve, Resolver

SECONDS = 10.0  # for all of it
_MOST_BYTES = 1024  # of an answer
_PROBLEM_LENGTH = 200


class Answer(NamedTuple):
    """What came of a request. `status`: 0 where there was no answer; `final`: it would be the same another time."""

    status: int
    took_ms: int
    problem: str
    final: bool = False

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300


class Poster:
    """Posts for all webhooks; keeps no connection, for the next one may be to another host at the same address."""

    def __init__(self, *, allow_private: bool, seconds: float = SECONDS, resolve: Resolve = resolve) -> None:
        self._allow_private = allow_private
        self._seconds = seconds
        self._resolver = Resolver(resolve)
        # Not a client, which would keep one receiver's cookies for the next and read whole answers. Certificates are
        # checked against the system's store; proxy variables are ignored.
        self._transport = httpx2.AsyncHTTPTransport(
            verify=ssl.create_default_context(),
            trust_env=False,
            limits=httpx2.Limits(max_connections=None, max_keepalive_connections=0),
        )

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        """Send `body` to `url`; never raises for what the other side does."""
        began = perf_counter()

        def answer(problem: str, status: int = 0, *, final: bool = False) -> Answer:
            return Answer(status, round((perf_counter() - began) * 1000), problem[:_PROBLEM_LENGTH], final)

        try:
            async with asyncio.timeout(self._seconds):
                status, said = await self._post(httpx2.URL(url), body, headers)
        except TimeoutError:
            return answer(f"No answer within {self._seconds:g} seconds")
        except Refused as problem:
            return answer(str(problem), final=True)
        except ssl.SSLCertVerificationError as problem:
            return answer(f"Its certificate does not verify: {problem.verify_message}")
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError, UnicodeError, RuntimeError) as problem:
            return answer(_explain(problem))
        if 200 <= status < 300:
            return answer("", status)
        if 300 <= status < 400:
            return answer("It redirects, which is not followed: enter the address that it leads to", status)
        return answer(said, status)

    async def _post(self, url: httpx2.URL, body: bytes, headers: Mapping[str, str]) -> tuple[int, str]:
        place = await self._find(url)
        problem: httpx2.ConnectError | None = None
        for address in place.addresses:
            request = httpx2.Request(
                "POST",
                url.copy_with(host=address),
                headers={"host": url.netloc.decode("ascii"), **headers},
                content=body,
                extensions={"sni_hostname": place.host},
            )
            try:
                return await self._ask(request)
            except httpx2.ConnectError as failed:  # nothing was sent: the next address may do
                problem = failed
        raise problem or OSError("no such host")

    async def _find(self, url: httpx2.URL) -> Place:
        port = url.port or (443 if url.scheme == "https" else 80)
        place = Place(url.host, await self._resolver.find(url.host, port))
        if not self._allow_private:
            check(place)
        return place

    async def _ask(self, request: httpx2.Request) -> tuple[int, str]:
        """The status, and the beginning of what is said with it."""
        response = await self._transport.handle_async_request(request)
        said = b""
        try:
            async for piece in response.aiter_raw():
                said += piece
                if len(said) >= _MOST_BYTES:
                    break
        finally:
            await response.aclose()
        text = said[:_MOST_BYTES].decode("utf-8", "replace")
        return response.status_code, " ".join("".join(c if c.isprintable() else " " for c in text).split())

    async def close(self) -> None:
        """Ask nothing more."""
        await self._resolver.close()
        await self._transport.aclose()


def _explain(problem: BaseException) -> str:
    """What went wrong, in a few words."""
    cause: BaseException | None = problem
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"Its certificate does not verify: {cause.verify_message}"
        cause = cause.__cause__ or cause.__context__
    if isinstance(problem, httpx2.ConnectError):
        return "It cannot be reached"
    if isinstance(problem, httpx2.HTTPError):
        return "It hangs up, or what it answers is not HTTP"
    return "There is no such host"
