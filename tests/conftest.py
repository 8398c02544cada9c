"""Fixtures for every test: the misbehaving provider, and a real Metrion in front of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from uuid import uuid4

import pytest

from metrion.prices.catalog import PriceBook
from tests.fake_provider import FakeProvider
from tests.support import PROVIDERS, Metrion

NewMetrion = Callable[..., Metrion]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def book() -> PriceBook:
    """The built-in prices."""
    return PriceBook.load()


@pytest.fixture(scope="session")
def fake() -> Iterator[FakeProvider]:
    """One misbehaving provider for all; tests tell their requests apart by `mark`."""
    with FakeProvider.threaded() as provider:
        yield provider


@pytest.fixture
def mark() -> str:
    """A name of this test's own, to send as `x-metrion-user` and `x-mark`."""
    return f"test-{uuid4().hex[:12]}"


@pytest.fixture(scope="session")
def metrion(fake: FakeProvider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Metrion]:
    """One running Metrion for all tests that need no settings of their own; `token` has all five keys."""
    server = Metrion(tmp_path_factory.mktemp("metrion") / "data", dict.fromkeys(PROVIDERS, fake.origin))
    server.token = server.create_account()
    server.start()
    yield server
    server.stop()


@pytest.fixture
def new_metrion(fake: FakeProvider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[NewMetrion]:
    """Starts a Metrion with settings of the test's own: `new_metrion({"METRION_…": "…"}, plan="free")`."""
    servers: list[Metrion] = []

    def make(
        settings: Mapping[str, str] | None = None, *, origins: Mapping[str, str] | None = None, plan: str = "pro"
    ) -> Metrion:
        upstreams = dict.fromkeys(PROVIDERS, fake.origin) | dict(origins or {})
        server = Metrion(tmp_path_factory.mktemp("metrion") / "data", upstreams, settings)
        servers.append(server)
        server.token = server.create_account(plan=plan)
        server.start()
        return server

    yield make
    for server in servers:
        if server.is_running():
            server.stop()
