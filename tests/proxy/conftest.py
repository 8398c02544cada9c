"""One Metrion with low limits for the tests of what goes wrong: silence takes a second there, not half a minute."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from uuid import uuid4

import pytest

from tests.fake_provider import FakeProvider
from tests.support import PROVIDERS, Metrion

ORIGIN = "https://app.example"
BODY_LIMIT = 3_000_000
SHORT = {
    "METRION_UPSTREAM_TIMEOUT": "1",
    "METRION_UPSTREAM_CONNECT_TIMEOUT": "1",
    "METRION_CLIENT_HEAD_TIMEOUT": "1",
    "METRION_CLIENT_BODY_TIMEOUT": "1",
    "METRION_CLIENT_STALL_TIMEOUT": "1",
    "METRION_MAX_BODY_BYTES": str(BODY_LIMIT),
    "METRION_CORS_ORIGINS": ORIGIN,
}
NewAccount = Callable[..., tuple[str, str]]


@pytest.fixture(scope="session")
def short(fake: FakeProvider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Metrion]:
    """A Metrion that waits for nobody longer than a second; its account has all five keys."""
    server = Metrion(tmp_path_factory.mktemp("short") / "data", dict.fromkeys(PROVIDERS, fake.origin), SHORT)
    server.token = server.create_account()
    server.start()
    yield server
    server.stop()


@pytest.fixture
def new_account() -> NewAccount:
    """`new_account(server, plan=…, keys=…)`: (e-mail, Metrion key). Refusals count by account."""

    def make(server: Metrion, *, plan: str = "pro", keys: tuple[str, ...] = ("openai",)) -> tuple[str, str]:
        email = f"{uuid4().hex[:12]}@example.com"
        return email, server.create_account(email, plan=plan, keys=keys)

    return make
