"""Who asks, in which mode, and with which provider key. Spec §2.2."""

from __future__ import annotations

import re
from typing import NamedTuple, Protocol
from urllib.parse import unquote_to_bytes

from metrion.accounts.registry import Account
from metrion.kit.secrets import Secret
from metrion.providers.provider import Credential
from metrion.proxy.headers import Named
from metrion.proxy.refusal import Refusal
from metrion.proxy.target import Target, query_key

_METRION = b"sk-metrion-"
_OAUTH = b"sk-ant-oat"  # Anthropic's OAuth access tokens, which it takes as Bearer alone
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_REQUESTER_BYTES = 256


class Accounts(Protocol):
    @property
    def version(self) -> int:
        """Counts up with every change of an account."""

    def find(self, token: bytes) -> Account | None:
        """The account of a Metrion key (without label)."""


class Identity(NamedTuple):
    """An authenticated request: the account, how it pays the provider, and the header that does."""

    account: Account
    mode: str  # "stored" or "pass_through"
    requester: str
    credential: bytes  # a header line for the provider; secret


def authenticate(
    accounts: Accounts, target: Target, named: Named, query: bytes
) -> Identity | tuple[Refusal, Account | None]:
    """Find the account and the provider's credential; else the refusal, with the account where it is known."""
    sent = _credentials(target, named, query)
    ours = [value for _, value in sent if value.startswith(_METRION)]
    stored = bool(ours)
    ours += [value for value in named.get(b"x-metrion-token", ()) if value]
    if not ours:
        return _missing(target, bool(sent)), None
    keys = {value.partition(b".")[0] for value in ours}
    if len(keys) > 1:
        return Refusal(401, "two_keys", "this request carries two different Metrion keys. Send one."), None
    key, _, label = ours[0].partition(b".")
    account = accounts.find(key)
    if account is None:
        return Refusal(
            401, "unknown_key", "this Metrion key is not known, or was replaced. Copy the current one from Metrion."
        ), None
    if account.disabled:
        return Refusal(403, "account_disabled", "this account is disabled. Ask the operator of this Metrion."), account
    requester = _requester(named.get(b"x-metrion-user"), label)
    if isinstance(requester, Refusal):
        return requester, account
    if not stored:
        credential = _pass_through(target, sent)
        if credential is None:
            return _missing(target, False), account
        return Identity(account, "pass_through", requester, credential)
    secret = account.provider_keys.get(target.provider.name)
    if secret is None:
        return _no_provider_key(target), account
    return Identity(account, "stored", requester, _line(target.api.credential, secret))


def known_account(accounts: Accounts, named: Named) -> Account | None:
    """Whose request this is by any Metrion key in its headers, where it leads nowhere but shall be seen in the log."""
    for name in (b"authorization", b"x-api-key", b"x-goog-api-key", b"x-metrion-token"):
        for value in named.get(name, ()):
            account = accounts.find(value.rpartition(b" ")[2].partition(b".")[0])
            if account is not None:
                return account
    return None


def _credentials(target: Target, named: Named, query: bytes) -> list[tuple[str, bytes]]:
    """(form, value) of every credential that came, the target's documented form first."""
    sent: list[tuple[str, bytes]] = []
    for value in named.get(b"authorization", ()):
        scheme, _, rest = value.partition(b" ")
        if scheme.lower() == b"bearer" and rest.strip():
            sent.append((Credential.BEARER, rest.strip()))
    for form, name in ((Credential.X_API_KEY, b"x-api-key"), (Credential.X_GOOG_API_KEY, b"x-goog-api-key")):
        sent += [(form, value) for value in named.get(name, ()) if value]
    if query and target.api is target.provider.native and (key := query_key(query)):
        # A Metrion key goes no further, and its label may be escaped. Another's is passed on as it stands.
        sent.append((Credential.X_GOOG_API_KEY, unquote_to_bytes(key) if key.startswith(_METRION) else key))
    if len(sent) > 1:
        sent.sort(key=lambda one: one[0] != target.api.credential)
    return sent


def _requester(headers: list[bytes] | None, label: bytes) -> str | Refusal:
    value = (headers[0] if headers else b"") or label
    if not value:
        return ""
    try:
        text = value.decode("utf-8")
    except UnicodeDecodeError:
        text = "\x00"
    if len(value) > _REQUESTER_BYTES or _CONTROL.search(text):
        return Refusal(
            400,
            "requester",
            f"x-metrion-user must be at most {_REQUESTER_BYTES} bytes of UTF-8 without control characters.",
        )
    return text


def _pass_through(target: Target, sent: list[tuple[str, bytes]]) -> bytes | None:
    if not sent:
        return None
    form, value = sent[0]
    for other, bearer in sent:
        if target.api.credential is Credential.X_API_KEY and other == Credential.BEARER and bearer.startswith(_OAUTH):
            form, value = Credential.BEARER, bearer
            return _line(form, Secret(value))
    return _line(target.api.credential, Secret(value))


def _line(form: str, secret: Secret) -> bytes:
    if form == Credential.BEARER:
        return b"authorization: Bearer " + secret.reveal()
    return form.encode() + b": " + secret.reveal()


def _missing(target: Target, has_credential: bool) -> Refusal:
    if has_credential:
        return Refusal(
            401,
            "no_metrion_key",
            "no Metrion key in this request. Use your Metrion key (sk-metrion-…) as the API key, or keep your"
            f" {target.provider.label} key and send the Metrion key in the header x-metrion-token.",
        )
    return Refusal(
        401,
        "no_credential",
        f"no API key in this request. Use your Metrion key (sk-metrion-…) as the {target.provider.label} API key.",
    )


def _no_provider_key(target: Target) -> Refusal:
    name, label = target.provider.name, target.provider.label
    return Refusal(
        401,
        "no_provider_key",
        f"no {label} key is stored for this account. Add one with `metrion key set {name} --account EMAIL`"
        " or on the Integrate page, or send your own with x-metrion-token.",
    )
