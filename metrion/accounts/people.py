"""What people do with their account, by pages; each runs inside one write transaction.

After what changes a Metrion key, a provider key, the plan or the state, the registry is to be reloaded for the account.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Literal, NamedTuple, get_args
from zoneinfo import available_timezones

import msgspec

from metrion.accounts import links, sessions
from metrion.accounts.emails import check_email
from metrion.accounts.moves import Move, grant
from metrion.accounts.plans import PLANS
from metrion.accounts.tokens import replace_token
from metrion.accounts.vault import Vault
from metrion.errors import InputError
from metrion.kit.clock import now_ms
from metrion.kit.secrets import Secret
from metrion.storage import accounts as stored
from metrion.storage import alerts
from metrion.storage import people as stored_people
from metrion.storage.database import Connection

Currency = Literal["USD", "EUR", "CHF"]
CURRENCIES: tuple[Currency, ...] = get_args(Currency)
LONGEST_NAME = 80  # characters


class AddressTaken(InputError):
    """The address is another account's. Where mail is configured, a page must not say so."""

    def __init__(self) -> None:
        super().__init__("There is an account with this address already. Log in, or use another address.", "email")


class Person(msgspec.Struct, frozen=True, kw_only=True):
    """An account as its pages see it."""

    id: int
    email: str
    name: str
    plan: str
    operator: bool
    currency: str
    time_zone: str
    created_ms: int
    used_ms: int | None  # its last call
    confirmed: bool
    disabled: bool
    password: Secret | None  # as stored; None: no log-in by password

    @property
    def password_hash(self) -> str | None:
        """What `Passwords.verify` takes."""
        return None if self.password is None else self.password.reveal().decode()


class SignedUp(NamedTuple):
    """A new account and its Metrion key."""

    account_id: int
    token: Secret


def find_person(connection: Connection, email: str) -> Person | None:
    """The account of an e-mail address as it was typed."""
    row = stored.find_account(connection, email.strip().lower())
    return None if row is None else _person(row)


def get_person(connection: Connection, account_id: int) -> Person | None:
    """The account of that number; None where there is none (any more)."""
    rows = stored.list_accounts(connection, account_id)
    return _person(rows[0]) if rows else None


def sign_up(
    connection: Connection,
    vault: Vault,
    email: str,
    password_hash: str | None,
    *,
    plan: str,
    name: str = "",
    confirmed: bool,
    invite: str | None = None,
    operator: bool = False,
) -> SignedUp:
    """Make an account with its Metrion key. Whether anybody may sign up is for the caller to ask (`signup_policy`).

    `invite`: the token of an invitation, which is used by it. Raises InputError with the field at fault, AddressTaken
    where the address has an account.
    """
    address, name = check_email(email), check_name(name)
    if invite is not None:
        accept_invitation(connection, invite, address)
    if stored.find_account(connection, address):
        raise AddressTaken
    account_id = stored.add_account(connection, address, plan, now_ms())
    stored.update_account(connection, account_id, name=name, password=password_hash)
    if confirmed:
        confirm(connection, account_id)
    if operator:
        make_operator(connection, account_id)
    return SignedUp(account_id, replace_token(connection, vault, account_id))


def accept_invitation(connection: Connection, invite: str, address: str) -> None:
    """Use an invitation to sign up with that address; InputError for one that is worth nothing, or another's."""
    found = links.use_link(connection, "invite", invite)
    if not found.ok:
        raise InputError(found.problem, "invite")
    if found.email and found.email != address:
        raise InputError(f"This invitation is for {found.email}. Sign up with that address.", "email")


def confirm(connection: Connection, account_id: int, name: str = "") -> None:
    """Note that the account's address was shown to be its owner's: a code that went there came back.

    `name`: what its owner wants to be called, "" for what the account has.
    """
    named = {"name": name} if name else {}
    stored.update_account(connection, account_id, confirmed_ms=now_ms(), **named)


def let_in(connection: Connection, account_id: int, agent: str, address: str, *, by: str | None = None) -> str:
    """Start a session and return its cookie. `by`: the hash of the password that was typed.

    InputError where the account or that password ended while it was checked, so that nobody comes in after them.
    """
    person = get_person(connection, account_id)
    if person is None or person.disabled or (by is not None and person.password_hash != by):
        raise InputError("The account was changed just now. Log in again.")
    return sessions.start_session(connection, account_id, agent, address)


def set_password(connection: Connection, account_id: int, password_hash: str, *, but: bytes | None = None) -> None:
    """Set a password. Every session ends but the one of digest `but`, and so do codes and sign-in links under way."""
    stored.update_account(connection, account_id, password=password_hash)
    _end_ways_in(connection, account_id, but)


def renew_hash(connection: Connection, account_id: int, before: str, password_hash: str) -> None:
    """Store the same password at today's cost, unless it was changed since `before` was read."""
    person = get_person(connection, account_id)
    if person is not None and person.password_hash == before:
        stored.update_account(connection, account_id, password=password_hash)


def change_email(connection: Connection, account_id: int, email: str) -> None:
    """Make `email` the account's address, after a code from the old and one from the new; AddressTaken, InputError.

    Codes under way, which went to the old address, end.
    """
    address = check_email(email)
    other = stored.find_account(connection, address)
    if other is not None and other.id != account_id:
        raise AddressTaken
    stored.update_account(connection, account_id, email=address, confirmed_ms=now_ms())
    stored_people.delete_codes(connection, account_id)


def set_profile(connection: Connection, account_id: int, *, name: str, currency: str, time_zone: str) -> None:
    """Set what an account is called and how its figures are shown; InputError with the field at fault."""
    if currency not in CURRENCIES:
        raise InputError(f"Choose one of {', '.join(CURRENCIES)}.", "currency")
    if time_zone not in time_zones():
        raise InputError("Choose a time zone from the list, such as Europe/Zurich.", "time_zone")
    stored.update_account(connection, account_id, name=check_name(name), currency=currency, time_zone=time_zone)


@cache
def time_zones() -> tuple[str, ...]:
    """The names of all time zones, in order. Reads them once, which takes tens of milliseconds."""
    return tuple(sorted(available_timezones()))


def check_name(text: str) -> str:
    """A display name without blanks around it, "" for none; InputError. It may hold markup: pages escape it."""
    name = text.strip()
    if len(name) > LONGEST_NAME:
        raise InputError(f"Use at most {LONGEST_NAME} characters.", "name")
    if not name.isprintable():
        raise InputError("Use letters, digits, signs and blanks only.", "name")
    return name


def set_plan(connection: Connection, account_id: int, plan: str) -> Move:
    """Put an account on a plan, for its operator; InputError for an unknown one, or where it pays for another."""
    move = grant(connection, account_id, check_plan(plan))
    if move.after != plan:
        raise InputError("This account pays for pro. Cancel its subscription in Stripe first.", "plan")
    return move


def check_plan(plan: str) -> str:
    """The name of a plan; InputError for an unknown one."""
    if plan not in PLANS:
        raise InputError(f"unknown plan {plan!r}; use one of {', '.join(PLANS)}", "plan")
    return plan


def set_disabled(connection: Connection, account_id: int, *, disabled: bool) -> None:
    """Disable an account, which ends every way in and has the proxy refuse its calls; or enable it again."""
    stored.update_account(connection, account_id, disabled_ms=now_ms() if disabled else None)
    if disabled:
        _end_ways_in(connection, account_id, None)
    else:
        alerts.set_due(connection, [account_id])  # its rules, which told nothing meanwhile


def make_operator(connection: Connection, account_id: int) -> None:
    """Let an account see the operator's pages; claim links end, since there is an operator now."""
    stored.update_account(connection, account_id, operator=1)
    stored_people.delete_links(connection, None, "claim")


def claim_link(connection: Connection) -> str | None:
    """The token of a new claim link, which ends the one before; None once there is an operator."""
    if stored.has_operator(connection):
        return None
    return links.issue_link(connection, "claim")


def _end_ways_in(connection: Connection, account_id: int, but: bytes | None) -> None:
    sessions.end_sessions(connection, account_id, but)
    stored_people.delete_codes(connection, account_id)
    stored_people.delete_links(connection, account_id)


def _person(row: Any) -> Person:
    return Person(
        id=row.id,
        email=row.email,
        name=row.name,
        plan=row.plan,
        operator=bool(row.operator),
        currency=row.currency,
        time_zone=row.time_zone,
        created_ms=row.created_ms,
        used_ms=row.used_ms,
        confirmed=row.confirmed_ms is not None,
        disabled=row.disabled_ms is not None,
        password=None if row.password is None else Secret(row.password),
    )
