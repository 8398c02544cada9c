"""A running Metrion with mail and one without, for all tests of pages."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import uuid4

import pytest

from tests.fake_provider import FakeProvider
from tests.mail_server import MailServer
from tests.support import PROVIDERS, Metrion

TRUST = {"METRION_TRUSTED_PROXIES": "127.0.0.1"}  # so that each browser is a client of its own


@pytest.fixture(scope="session")
def mail() -> Iterator[MailServer]:
    with MailServer() as server:
        yield server


@pytest.fixture(scope="session")
def mailing(mail: MailServer, fake: FakeProvider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Metrion]:
    yield from _serve(fake, tmp_path_factory, {"METRION_SMTP_URL": mail.url, **TRUST})


@pytest.fixture(scope="session")
def silent(fake: FakeProvider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Metrion]:
    """A Metrion without mail."""
    yield from _serve(fake, tmp_path_factory, TRUST)


def _serve(fake: FakeProvider, folders: pytest.TempPathFactory, settings: dict[str, str]) -> Iterator[Metrion]:
    server = Metrion(folders.mktemp("metrion") / "data", dict.fromkeys(PROVIDERS, fake.origin), settings)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def email() -> str:
    return f"ada-{uuid4().hex[:10]}@example.com"
