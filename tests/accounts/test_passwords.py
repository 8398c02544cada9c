"""Passwords: which may be set, and that checking one costs the same whether there is one or not."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from argon2 import PasswordHasher, extract_parameters

from metrion.accounts import passwords as module
from metrion.accounts.passwords import Passwords, check_password
from metrion.errors import BusyError, InputError, StorageError

GOOD = "correct horse battery"


@pytest.fixture
def passwords() -> Iterator[Passwords]:
    passwords = Passwords()
    yield passwords
    passwords.close()


@pytest.mark.parametrize(
    "text",
    [
        GOOD,
        "zebra lamp",
        "x" * 300,
        "x" * 1000,
        "пароль-для-ады",
        "🐘🐫🐬🐮🐯🐰🐱🐲🐳🐴",
        "<script>alert(1)</script>",
        "tab\tand\nline",
    ],
)
def test_any_characters_are_welcome(text: str) -> None:
    check_password(text, "ada@example.com")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "at least 10"),
        ("abc", "at least 10"),
        ("x" * 9, "at least 10"),
        ("x" * 1001, "at most 1,000"),
        ("\ufdfa" * 60, "at most 1,000"),  # each is 18 characters once it is normalised
        ("ada.lovelace@example.com", "other than your e-mail"),
        ("Ada.Lovelace@Example.COM", "other than your e-mail"),
        ("ada.lovelace", "other than your e-mail"),
        ("1234567890", "most common"),
        ("1Q2w3E4r5T", "most common"),
        ("Password2026!", "most common"),
        ("iloveyou 1999", "most common"),
        ("\uff11\uff12\uff13\uff14\uff15\uff16\uff17\uff18\uff19\uff10", "most common"),  # full-width digits
    ],
)
def test_what_is_short_or_guessed_first_is_refused_and_not_quoted(text: str, said: str) -> None:
    with pytest.raises(InputError, match=said) as caught:
        check_password(text, "Ada.Lovelace@example.com ")
    assert caught.value.field == "password"
    assert not text or text not in str(caught.value)


def test_the_list_is_whole_and_a_damaged_one_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    common = module._common.__wrapped__
    assert len(common()) == 19_640
    damaged = tmp_path / "list.gz"
    damaged.write_bytes(b"")
    monkeypatch.setattr(module, "_COMMON_FILE", damaged)
    with pytest.raises(StorageError, match="damaged"):
        common()


@pytest.mark.anyio
async def test_only_the_password_itself_opens(passwords: Passwords) -> None:
    stored = await passwords.hash(GOOD)
    assert stored.startswith("$argon2id$") and GOOD not in stored
    assert stored != await passwords.hash(GOOD)
    assert await passwords.verify(stored, GOOD)
    for wrong in ("", GOOD + " ", GOOD.upper(), "x" * 5000):
        assert not await passwords.verify(stored, wrong)
    assert not await passwords.verify(None, GOOD)
    assert not await passwords.verify("", GOOD)
    assert not await passwords.verify("$argon2id$damaged", GOOD)


@pytest.mark.anyio
async def test_each_way_to_type_it_is_the_same_password(passwords: Passwords) -> None:
    assert await passwords.verify(await passwords.hash("cafe\u0301 au lait"), "caf\u00e9 au lait")
    longest = "x" * 1000
    stored = await passwords.hash(longest)
    assert await passwords.verify(stored, longest)
    assert not await passwords.verify(stored, longest + "x")


@pytest.mark.anyio
async def test_where_there_is_no_password_the_same_work_is_done(
    passwords: Passwords, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked: list[str] = []
    verify = PasswordHasher.verify

    def watched(self: PasswordHasher, hash: str, password: str) -> bool:
        checked.append(hash)
        return bool(verify(self, hash, password))

    monkeypatch.setattr(PasswordHasher, "verify", watched)
    stored = await passwords.hash(GOOD)
    await passwords.verify(stored, "wrong")
    await passwords.verify(None, "wrong")
    real, nobodys = checked
    assert real == stored
    assert extract_parameters(nobodys) == extract_parameters(stored)


@pytest.mark.anyio
async def test_beyond_a_short_queue_it_says_so_at_once_and_recovers(passwords: Passwords) -> None:
    stored = await passwords.hash(GOOD)
    room = module._WORKERS + module._WAITING
    asked = [asyncio.create_task(passwords.verify(stored, GOOD)) for _ in range(room + 3)]
    results = await asyncio.gather(*asked, return_exceptions=True)
    assert results[:room] == [True] * room
    assert [type(result) for result in results[room:]] == [BusyError] * 3
    assert "in a moment" in str(results[-1])
    assert await passwords.verify(stored, GOOD)


@pytest.mark.anyio
async def test_a_visitor_who_leaves_gives_the_place_back(passwords: Passwords) -> None:
    asked = [asyncio.create_task(passwords.hash(GOOD)) for _ in range(10)]
    await asyncio.sleep(0)
    for task in asked:
        task.cancel()
    await asyncio.gather(*asked, return_exceptions=True)
    room = module._WORKERS + module._WAITING
    assert len(await asyncio.gather(*(passwords.hash(GOOD) for _ in range(room)))) == room


@pytest.mark.anyio
async def test_a_hash_of_a_lower_cost_is_to_be_made_anew(passwords: Passwords) -> None:
    cheap = PasswordHasher(2, 19 * 1024, 1).hash(GOOD)
    assert await passwords.verify(cheap, GOOD)
    assert passwords.needs_rehash(cheap)
    assert not passwords.needs_rehash(await passwords.hash(GOOD))
