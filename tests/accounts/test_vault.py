"""The vault: what it seals opens only where it belongs, and a wrong master key is found at once."""

from __future__ import annotations

import hashlib
import hmac
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from hypothesis import given
from hypothesis import strategies as st

from metrion.accounts.vault import Vault, open_vault
from metrion.config import Settings
from metrion.errors import VaultError
from metrion.kit.secrets import Secret
from metrion.storage.database import Database
from tests.storage.samples import new_database

MASTER = bytes(range(32))
HEX = MASTER.hex()


@pytest.fixture
def vault() -> Vault:
    return Vault(Secret(MASTER))


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = new_database(tmp_path)
    yield database
    database.close()


def test_what_is_sealed_opens_for_the_same_account_and_purpose(vault: Vault) -> None:
    sealed = vault.seal(7, "openai", b"sk-secret")
    assert b"sk-secret" not in sealed
    assert vault.open(7, "openai", sealed) == Secret("sk-secret")
    assert vault.seal(7, "openai", b"sk-secret") != sealed  # a nonce is used once


@pytest.mark.parametrize(("account", "purpose"), [(8, "openai"), (7, "anthropic"), (77, "openai")])
def test_a_row_copied_elsewhere_does_not_open(vault: Vault, account: int, purpose: str) -> None:
    sealed = vault.seal(7, "openai", b"sk-secret")
    with pytest.raises(VaultError) as caught:
        vault.open(account, purpose, sealed)
    assert "sk-secret" not in str(caught.value)


@given(st.integers(0, 41), st.integers(1, 255))
def test_a_changed_byte_anywhere_does_not_open(at: int, flip: int) -> None:
    vault = Vault(Secret(MASTER))
    sealed = bytearray(vault.seal(7, "openai", b"sk-secret"))
    sealed[at] ^= flip
    with pytest.raises(VaultError):
        vault.open(7, "openai", bytes(sealed))


@given(st.binary(max_size=60))
def test_arbitrary_bytes_do_not_open(junk: bytes) -> None:
    with pytest.raises(VaultError):
        Vault(Secret(MASTER)).open(1, "openai", junk)


def test_another_master_key_is_told_apart_from_a_changed_row(vault: Vault) -> None:
    sealed = vault.seal(7, "openai", b"sk-secret")
    with pytest.raises(VaultError, match="another master key"):
        Vault(Secret(bytes(32))).open(7, "openai", sealed)


def test_a_token_is_found_by_plain_hmac_sha256_under_a_derived_key(vault: Vault) -> None:
    key = HKDF(SHA256(), 32, salt=None, info=b"metrion/token-lookup").derive(MASTER)
    for token in (b"", b"sk-metrion-" + b"0" * 32, b"x" * 1000):
        assert vault.token_digest(token) == hmac.new(key, token, hashlib.sha256).digest()


def test_a_digest_is_bound_to_its_purpose_and_the_master_key(vault: Vault) -> None:
    key = HKDF(SHA256(), 32, salt=None, info=b"metrion/digest").derive(MASTER)
    assert vault.digest("code", b"1") == hmac.new(key, b"code\x001", hashlib.sha256).digest()
    others = {vault.digest("csrf", b"1"), vault.digest("code", b"2"), Vault(Secret(bytes(32))).digest("code", b"1")}
    assert vault.digest("code", b"1") not in others
    assert len(others) == 3


def test_the_vault_shows_no_key(vault: Vault) -> None:
    assert HEX not in repr(vault)
    assert not hasattr(vault, "__dict__")


def test_the_first_start_makes_a_master_key_only_its_owner_can_read(tmp_path: Path, database: Database) -> None:
    settings = Settings(data_dir=tmp_path)
    sealed = open_vault(settings, database).seal(1, "openai", b"k")
    path = tmp_path / "master.key"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(path.read_text()) == 65
    assert path.read_bytes().strip() not in (tmp_path / "metrion.db").read_bytes()
    assert open_vault(settings, database).open(1, "openai", sealed) == Secret("k")


def test_a_missing_master_key_is_never_replaced_by_a_new_one(tmp_path: Path, database: Database) -> None:
    settings = Settings(data_dir=tmp_path)
    open_vault(settings, database)
    (tmp_path / "master.key").unlink()
    with pytest.raises(VaultError, match="missing: restore"):
        open_vault(settings, database)
    assert not (tmp_path / "master.key").exists()


def test_a_wrong_master_key_is_found_at_start(tmp_path: Path, database: Database) -> None:
    open_vault(Settings(data_dir=tmp_path, master_key=Secret(HEX)), database)
    open_vault(Settings(data_dir=tmp_path, master_key=Secret(HEX.upper())), database)
    with pytest.raises(VaultError, match="not the one this database was sealed under") as caught:
        open_vault(Settings(data_dir=tmp_path, master_key=Secret("00" * 32)), database)
    assert "0000" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "abc", "zz" * 32, "00" * 31, "00" * 33])
def test_a_malformed_master_key_file_says_what_one_is(tmp_path: Path, database: Database, text: str) -> None:
    path = tmp_path / "key"
    path.write_text(text)
    with pytest.raises(VaultError, match="must be 64 hex digits"):
        open_vault(Settings(data_dir=tmp_path, master_key_file=path), database)


def test_a_named_master_key_file_must_be_there(tmp_path: Path, database: Database) -> None:
    with pytest.raises(VaultError, match="there is no file"):
        open_vault(Settings(data_dir=tmp_path, master_key_file=tmp_path / "none"), database)


def test_a_crash_while_the_key_was_made_leaves_nothing_in_the_way(tmp_path: Path, database: Database) -> None:
    (tmp_path / "master.key.new").write_text("half")
    open_vault(Settings(data_dir=tmp_path), database)
    assert not (tmp_path / "master.key.new").exists()
