"""Webhooks of an account: what is taken for an address, how it and its secret are kept, and what is put down to send.

A delivery is put down in the transaction of what it tells of, so it exists exactly if that does; the courier sends it.
"""

from __future__ import annotations

import secrets
from typing import NamedTuple
from urllib.parse import SplitResult, urlsplit
from uuid import uuid4

import msgspec

from metrion.accounts.vault import Vault
from metrion.alerts.addresses import is_public
from metrion.alerts.bodies import News, write_body
from metrion.config import is_loopback
from metrion.errors import InputError
from metrion.kit.clock import DAY_MS, now_ms
from metrion.kit.secrets import Secret
from metrion.storage import webhooks as stored
from metrion.storage.database import Connection
from metrion.storage.webhooks import Webhook

KINDS = {"signed": "Signed JSON", "slack": "Slack"}
MOST_WEBHOOKS = 5  # of an account
LONGEST_MS = DAY_MS  # after which a delivery is given up
_KEPT_MS = 30 * DAY_MS  # in the log
_LONGEST_NAME = 60
_LONGEST_URL = 2000
_PURPOSE = "webhook"


class _Kept(msgspec.Struct, frozen=True):
    """What is sealed."""

    url: str
    secret: str


class Target(NamedTuple):
    """Where a webhook goes, and what it is signed with."""

    url: Secret
    secret: Secret


def check_url(text: str, *, allow_private: bool) -> SplitResult:
    """The address, taken apart; raises InputError. Where its host really is, is looked at each time it is sent to."""
    text = text.strip()
    try:
        url = urlsplit(text)
        host, known = url.hostname or "", url.port != 0 and url.username is None
    except ValueError:
        raise InputError("This is not an address.", "url") from None
    if not text.isascii() or not text.isprintable() or " " in text or len(text) > _LONGEST_URL:
        raise InputError(f"An address has no blanks, signs of ASCII only, and at most {_LONGEST_URL}.", "url")
    if url.scheme not in ("http", "https") or not host or not known or url.fragment:
        raise InputError("Enter an address that begins with https://, without a user name or a # part.", "url")
    if not allow_private and (is_loopback(host) or not _may_be_public(host)):
        raise InputError("This address is inside a private network, where Metrion sends nothing.", "url")
    return url


def _may_be_public(host: str) -> bool:
    try:
        return is_public(host)
    except ValueError:  # a name
        return True


def _check_name(text: str) -> str:
    name = text.strip()
    if len(name) > _LONGEST_NAME or not name.isprintable():
        raise InputError(f"A name has at most {_LONGEST_NAME} characters, in one line.", "name")
    return name


def add(
    connection: Connection, vault: Vault, account_id: int, *, kind: str, name: str, url: str, allow_private: bool
) -> int:
    """Make a webhook with a secret of its own; returns its id. Raises InputError."""
    if kind not in KINDS:
        raise InputError("Choose what is sent.", "kind")
    if len(stored.webhooks_of(connection, account_id)) >= MOST_WEBHOOKS:
        raise InputError(f"An account has at most {MOST_WEBHOOKS} webhooks. Delete one first.", "url")
    split = check_url(url, allow_private=allow_private)
    sealed = _seal(vault, account_id, split, new_secret() if kind == "signed" else Secret(""))
    row = Webhook(0, account_id, kind, _check_name(name), _origin(split), sealed, now_ms())
    return stored.add_webhook(connection, row)


def change(connection: Connection, vault: Vault, webhook: Webhook, *, name: str, url: str, allow_private: bool) -> None:
    """Set name and, where one is given, address. Raises InputError."""
    columns = {"name": _check_name(name)}
    if not url.strip():
        stored.update_webhook(connection, webhook.account_id, webhook.id, **columns)
        return
    split = check_url(url, allow_private=allow_private)
    sealed = _seal(vault, webhook.account_id, split, reveal(vault, webhook.account_id, webhook.sealed).secret)
    stored.update_webhook(connection, webhook.account_id, webhook.id, origin=_origin(split), sealed=sealed, **columns)


def replace_secret(connection: Connection, vault: Vault, webhook: Webhook) -> None:
    """Give a webhook a new secret; what is sent from now on is signed with it."""
    url = urlsplit(reveal(vault, webhook.account_id, webhook.sealed).url.reveal().decode())
    sealed = _seal(vault, webhook.account_id, url, new_secret())
    stored.update_webhook(connection, webhook.account_id, webhook.id, sealed=sealed)


def new_secret() -> Secret:
    """256 bits, in a form that logs know to mask."""
    return Secret(f"whsec_{secrets.token_urlsafe(32)}")


def label(webhook: Webhook) -> str:
    """What a webhook is called."""
    return webhook.name or f"{KINDS[webhook.kind]} at {webhook.origin.partition('://')[2]}"


def _origin(url: SplitResult) -> str:
    return f"{url.scheme}://{url.netloc}"


def _seal(vault: Vault, account_id: int, url: SplitResult, secret: Secret) -> bytes:
    kept = _Kept(url.geturl(), secret.reveal().decode())
    return vault.seal(account_id, _PURPOSE, msgspec.json.encode(kept))


def reveal(vault: Vault, account_id: int, sealed: bytes) -> Target:
    """Address and secret of a webhook; raises VaultError."""
    kept = msgspec.json.decode(vault.open(account_id, _PURPOSE, sealed).reveal(), type=_Kept)
    return Target(Secret(kept.url), Secret(kept.secret))


# ── deliveries ────────────────────────────────────────────────────────────────────────────────────────────────────────


def put_down(connection: Connection, webhook: Webhook, news: News) -> None:
    """Have the courier send `news`, once the caller's transaction is committed: at least once, for about a day."""
    name, now = str(uuid4()), now_ms()
    stored.forget_deliveries(connection, webhook.account_id, webhook.id, now - _KEPT_MS)
    stored.add_delivery(
        connection,
        webhook.account_id,
        webhook.id,
        name=name,
        title=news.title,
        body=write_body(webhook.kind, name, news),
        now_ms=now,
        until_ms=now + LONGEST_MS,
    )


def send_again(connection: Connection, webhook: Webhook, delivery_id: int) -> bool:
    """Send a delivery once more, under the same name; False where there is none, or it waits to be sent."""
    now = now_ms()
    return stored.send_again(connection, webhook.account_id, webhook.id, delivery_id, now, now + LONGEST_MS)
