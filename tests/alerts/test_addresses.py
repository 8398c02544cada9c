"""Webhooks never reach into private networks, whatever their host is called and whatever its name server says."""

from __future__ import annotations

import ssl
import threading
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from metrion.alerts.addresses import is_public, resolve
from metrion.alerts.webhooks import check_url
from metrion.errors import InputError
from tests.alerts.post_room import PostRoom
from tests.alerts.receiver import Receiver

PRIVATE = (
    "0.0.0.0",  # noqa: S104 (compared, not bound)
    "10.1.2.3",
    "100.64.0.1",
    "100.127.255.255",
    "127.0.0.1",
    "127.9.9.9",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.1",
    "192.168.1.1",
    "198.18.0.1",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:8.8.8.8",
    "64:ff9b::a00:1",
    "64:ff9b:1::1",
    "100::1",
    "2001::1",
    "2001:db8::1",
    "2002:a00:1::1",
    "fc00::1",
    "fd12:3456::1",
    "fe80::1",
    "fe80::1%1",
    "fec0::1",
    "ff02::1",
)
PUBLIC = ("1.1.1.1", "9.9.9.9", "100.63.255.255", "100.128.0.0", "172.32.0.0", "2606:4700::1111", "2a00:1450::1")


@pytest.fixture(params=[("asyncio", {"use_uvloop": True})], ids=["uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    """The loop that the server runs on."""
    return request.param


@pytest.mark.parametrize("address", PRIVATE)
def test_a_private_address(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address(address: str) -> None:
    assert is_public(address)


@given(st.ip_addresses().map(str))
def test_whatever_the_library_holds_for_private_is(address: str) -> None:
    found = ip_address(address)
    if found.is_private or found.is_loopback or found.is_link_local or found.is_multicast or found.is_reserved:
        assert not is_public(address)


# ── as typed ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "url",
    [
        "",
        "hooks.example.com",
        "ftp://hooks.example.com/",
        "javascript:alert(1)",
        "file:///etc/passwd",
        "https://",
        "https:///path",
        "https://user:password@hooks.example.com/",
        "https://@hooks.example.com/",
        "https://hooks.example.com/#part",
        "https://hooks.example.com:0/",
        "https://hooks.example.com:99999/",
        "https://hooks.example.com:port/",
        "https://hooks.example.com/a b",
        "https://hooks.example.com/\r\nHost: other",
        "https://hooks.exämple.com/",
        "https://[::1/",
        "https://" + "a" * 2000 + ".example.com/",
        "http://localhost/",
        "http://api.localhost:8000/",
        "http://127.0.0.1/",
        "http://[::1]/",
        "http://169.254.169.254/latest/meta-data/",
        "https://[::ffff:10.0.0.1]/",
    ],
)
def test_what_is_not_taken_for_an_address(url: str) -> None:
    with pytest.raises(InputError) as raised:
        check_url(url, allow_private=False)
    assert raised.value.field == "url"


@pytest.mark.parametrize(
    "url", ["https://hooks.example.com", " http://hooks.example.com:8080/a?b=c ", "https://1.1.1.1/"]
)
def test_what_is(url: str) -> None:
    assert check_url(url, allow_private=False).geturl() == url.strip()


def test_an_operator_may_allow_private_ones() -> None:
    assert check_url("http://10.0.0.5:9000/hook", allow_private=True).hostname == "10.0.0.5"


# ── as sent ───────────────────────────────────────────────────────────────────────────────────────────────────────────


class Names:
    """A name server that has another answer each time; the last one again and again."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    def __call__(self, host: str, port: int) -> list[str]:
        self.asked.append(host)
        return self.answers[min(len(self.asked), len(self.answers)) - 1]


@pytest.fixture
def receiver() -> Any:
    with Receiver() as receiver:
        yield receiver


@pytest.fixture
async def real(tmp_path: Path) -> AsyncIterator[PostRoom]:
    async with PostRoom(tmp_path, private=False, pauses_ms=(20,)) as room:
        yield room


@pytest.mark.anyio
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "127.1", "0"])
async def test_this_machine_is_not_reached_however_it_is_written(real: PostRoom, receiver: Receiver, host: str) -> None:
    hook = await real.add(f"http://{host}:{receiver.port}/")
    await real.send(hook)
    row = await real.ended(hook)
    assert (row.delivered, row.status, row.tries) == (0, 0, 1)
    assert "private network" in row.problem
    assert receiver.connections == 0


@pytest.mark.anyio
@pytest.mark.parametrize(
    "answers", [["127.0.0.1"], ["1.1.1.1", "127.0.0.1"], ["::ffff:127.0.0.1"], ["64:ff9b::7f00:1"]]
)
async def test_a_name_that_leads_into_a_private_network_is_refused(
    tmp_path: Path, receiver: Receiver, answers: list[str]
) -> None:
    names = Names(answers, ["127.0.0.1"])
    async with PostRoom(tmp_path, private=False, resolve=names) as room:
        hook = await room.add(f"http://rebind.example.com:{receiver.port}/")
        await room.send(hook)
        assert "rebind.example.com is an address inside a private network" in (await room.ended(hook)).problem
    assert receiver.connections == 0
    assert names.asked == ["rebind.example.com"]


@pytest.mark.anyio
async def test_the_address_that_was_checked_is_the_one_that_is_dialled(tmp_path: Path) -> None:
    """A second look-up would lead elsewhere: there is none."""
    names = Names(["127.0.0.1"], ["127.0.0.2"])
    with Receiver() as first, Receiver(host="127.0.0.2", port=first.port) as second:
        async with PostRoom(tmp_path, resolve=names) as room:
            hook = await room.add(f"http://rebind.example.com:{first.port}/")
            await room.send(hook)
            assert (await room.ended(hook)).delivered
    assert names.asked == ["rebind.example.com"]
    assert first.received[0].headers["host"] == f"rebind.example.com:{first.port}"
    assert second.connections == 0


@pytest.mark.anyio
async def test_certificates_are_checked_for_the_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tls, called = self_signed(tmp_path, "hooks.example.com"), list[str | None]()
    tls.sni_callback = lambda _socket, name, _context: called.append(name)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "hooks.example.com.pem"))
    with Receiver(tls=tls) as receiver:
        async with PostRoom(tmp_path / "data", resolve=Names(["127.0.0.1"]), pauses_ms=(20,)) as room:
            good = await room.add(f"https://hooks.example.com:{receiver.port}/")
            await room.send(good)
            assert (await room.ended(good)).delivered
            other = await room.add(f"https://other.example.com:{receiver.port}/")
            await room.send(other)
            row = await room.until(other, lambda row: row.tries == 1)
            assert row.problem.startswith("Its certificate does not verify: Hostname mismatch")
    assert called[:2] == ["hooks.example.com", "other.example.com"]
    assert len(receiver.received) == 1


def self_signed(folder: Path, name: str) -> ssl.SSLContext:
    """A server's context with a certificate for that name, which is in `folder` to be trusted."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject, now = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]), datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, SHA256())
    )
    file, secret = folder / f"{name}.pem", folder / f"{name}.key"
    file.write_bytes(certificate.public_bytes(Encoding.PEM))
    secret.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file, secret)
    return context


@pytest.mark.anyio
async def test_the_next_address_is_tried_where_one_does_not_answer(tmp_path: Path, receiver: Receiver) -> None:
    async with PostRoom(tmp_path, resolve=Names(["127.0.0.9", "127.0.0.1"])) as room:
        hook = await room.add(f"http://two.example.com:{receiver.port}/")
        await room.send(hook)
        assert (await room.ended(hook)).delivered


@pytest.mark.anyio
async def test_a_name_that_has_no_address(tmp_path: Path) -> None:
    def nothing(host: str, port: int) -> list[str]:
        raise OSError("no such host")

    async with PostRoom(tmp_path, resolve=nothing, pauses_ms=(20,)) as room:
        hook = await room.add("https://gone.example.com/")
        await room.send(hook)
        row = await room.until(hook, lambda row: row.tries == 2)
        assert row.problem == "There is no such host"


@pytest.mark.anyio
async def test_a_name_server_that_never_answers_holds_one_thread_and_nobody_up(
    tmp_path: Path, receiver: Receiver
) -> None:
    asked, answered = list[str](), threading.Event()

    def resolve(host: str, port: int) -> list[str]:
        asked.append(host)
        if host == "slow.example.com":
            answered.wait(20)
            raise OSError("nothing")
        return ["127.0.0.1"]

    async with PostRoom(tmp_path, resolve=resolve, pauses_ms=(10,), seconds=0.2) as room:
        slow = await room.add(f"http://slow.example.com:{receiver.port}/")
        good = await room.add(f"http://good.example.com:{receiver.port}/")
        await room.send(slow, good)
        assert (await room.ended(good)).delivered
        row = await room.until(slow, lambda row: row.tries >= 3)
        assert row.problem == "No answer within 0.2 seconds"
        assert asked.count("slow.example.com") == 1
        held = [one for one in threading.enumerate() if one.name == "metrion-resolve"]
        assert [one.daemon for one in held] == [True]  # it keeps no server from stopping
        answered.set()
        await room.until(slow, lambda row: row.problem == "There is no such host")


def test_the_systems_resolver_tells_addresses() -> None:
    assert resolve("127.0.0.1", 80) == ["127.0.0.1"]
