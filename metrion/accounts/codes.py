"""Codes: six digits that go to an e-mail address and prove, typed back, that it was read.

A code is bound to its account, purpose and subject, lives 10 minutes, may be tried 5 times and is used once. An account
has one for each purpose; a new one takes its place. Only an HMAC is kept to check it by, and the sealed code itself for
an operator whose mail does not arrive.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from metrion.accounts.vault import Vault
from metrion.kit.clock import now_ms
from metrion.kit.secrets import Secret
from metrion.storage import people as stored
from metrion.storage.database import Connection

Purpose = Literal["confirm", "login", "reset", "email_old", "email_new", "delete"]
Verdict = Literal["ok", "wrong", "expired", "none", "spent"]

LIFETIME_MS = 10 * 60_000
TRIES = 5
_DIGITS = 6
_SEALED_FOR = "code"

# For forms of people who are not signed in: whichever reason it is, it would tell that the account exists.
NOT_ACCEPTED = "This code is wrong, expired or used. Check it, or ask for a new one."


class CodeResult(NamedTuple):
    """What came of checking a code. `subject`: what an accepted one confirms (the new address)."""

    verdict: Verdict
    subject: str = ""
    tries_left: int = 0

    @property
    def ok(self) -> bool:
        """Whether the code was accepted; it is used up then."""
        return self.verdict == "ok"

    @property
    def problem(self) -> str:
        """What to tell somebody who is signed in; "" for an accepted code."""
        left = "1 try left" if self.tries_left == 1 else f"{self.tries_left} tries left"
        return {
            "ok": "",
            "wrong": f"This code is wrong. {left}.",
            "expired": "This code has expired. Codes are valid for 10 minutes; ask for a new one.",
            "none": "There is no code to enter, or it was used. Ask for a new one.",
            "spent": f"This code was entered wrong {TRIES} times and is void. Ask for a new one.",
        }[self.verdict]


class PendingCode(NamedTuple):
    """A code that would be accepted now."""

    purpose: str
    subject: str
    code: Secret
    expires_ms: int


def issue_code(connection: Connection, vault: Vault, account_id: int, purpose: Purpose, subject: str = "") -> str:
    """A new code, in the place of the one before."""
    code, now = f"{secrets.randbelow(10**_DIGITS):0{_DIGITS}}", now_ms()
    stored.set_code(
        connection,
        account_id,
        purpose,
        digest=_digest(vault, account_id, purpose, subject, code),
        sealed=vault.seal(account_id, _SEALED_FOR, code.encode()),
        subject=subject,
        created_ms=now,
        expires_ms=now + LIFETIME_MS,
    )
    return code


def check_code(connection: Connection, vault: Vault, account_id: int, purpose: Purpose, code: str) -> CodeResult:
    """Try a code as it was typed: an accepted one is used up, a wrong one takes a try. Commit whatever the result.

    What is not six digits cannot be a code and takes no try.
    """
    return check_codes(connection, vault, account_id, {purpose: code})[purpose]


def check_codes(
    connection: Connection, vault: Vault, account_id: int, typed: Mapping[Purpose, str]
) -> dict[Purpose, CodeResult]:
    """Try codes that count together: none is used up unless all of them are accepted."""
    results = {purpose: _try(connection, vault, account_id, purpose, code) for purpose, code in typed.items()}
    if all(result.ok for result in results.values()):
        for purpose in typed:
            stored.delete_code(connection, account_id, purpose)
    return results


def would_accept(connection: Connection, vault: Vault, account_id: int, purpose: Purpose, code: str) -> bool:
    """Whether `check_code` would accept it now. It takes no try, so call that next, whatever this says."""
    row = stored.find_code(connection, account_id, purpose)
    typed = _digits(code)
    return bool(row is not None and _is_pending(row) and typed and _matches(vault, row, typed))


def _try(connection: Connection, vault: Vault, account_id: int, purpose: Purpose, code: str) -> CodeResult:
    row = stored.find_code(connection, account_id, purpose)
    if row is None:
        return CodeResult("none")
    if row.tries >= TRIES:
        return CodeResult("spent")
    if now_ms() >= row.expires_ms:
        return CodeResult("expired")
    typed = _digits(code)
    if not typed:
        return CodeResult("wrong", tries_left=TRIES - row.tries)
    if _matches(vault, row, typed):
        return CodeResult("ok", subject=row.subject)
    stored.count_try(connection, account_id, purpose)
    left = TRIES - row.tries - 1
    return CodeResult("wrong" if left else "spent", tries_left=left)


def _digits(code: str) -> str:
    """A code without what people type between its digits; "" for what cannot be one."""
    typed = "".join(code.split()).replace("-", "")
    return typed if len(typed) == _DIGITS and typed.isascii() and typed.isdigit() else ""


def _matches(vault: Vault, row: Any, typed: str) -> bool:
    return hmac.compare_digest(_digest(vault, row.account_id, row.purpose, row.subject, typed), row.digest)


def pending_subject(connection: Connection, account_id: int, purpose: Purpose) -> str | None:
    """What the code for a purpose confirms ("" where that is the purpose alone); None where none could be entered."""
    row = stored.find_code(connection, account_id, purpose)
    return row.subject if row is not None and _is_pending(row) else None


def pending_codes(connection: Connection, vault: Vault, account_id: int) -> list[PendingCode]:
    """The codes an account could enter now, the youngest first; for the operator."""
    return [
        PendingCode(row.purpose, row.subject, vault.open(account_id, _SEALED_FOR, row.sealed), row.expires_ms)
        for row in stored.list_codes(connection, account_id)
        if _is_pending(row)
    ]


def _is_pending(row: Any) -> bool:
    return bool(row.tries < TRIES and now_ms() < row.expires_ms)


def _digest(vault: Vault, account_id: int, purpose: str, subject: str, code: str) -> bytes:
    return vault.digest("code", f"{account_id}|{purpose}|{code}|{subject}".encode())
