"""Provider keys as customers paste them: what is taken for one, which are plainly another provider's, and how they are
kept.
"""

from __future__ import annotations

from metrion.accounts.vault import Vault
from metrion.errors import InputError
from metrion.kit.clock import now_ms
from metrion.providers import PROVIDERS
from metrion.storage import accounts as stored
from metrion.storage.database import Connection

_LONGEST = 512

# Only prefixes that no other provider or gateway uses; a bare "sk-" is anybody's.
_PREFIXES = {
    "sk-ant-": "anthropic",
    "sk-proj-": "openai",
    "sk-svcacct-": "openai",
    "sk-admin-": "openai",
    "AIza": "gemini",
    "xai-": "grok",
}


def check_provider(name: str) -> str:
    """`name` as Metrion writes it; raises InputError for an unknown provider."""
    known = name.strip().lower()
    if known not in PROVIDERS:
        raise InputError(f"unknown provider {name!r}; use one of {', '.join(PROVIDERS)}", "provider")
    return known


def check_provider_key(provider: str, text: str) -> str:
    """The key without blanks around it; raises InputError, which never quotes it."""
    key, label = text.strip(), PROVIDERS[provider].label
    if not key:
        raise InputError(f"No key was given. Paste your {label} key.", "key")
    if key.startswith("sk-metrion-"):
        raise InputError(f"This is a Metrion key. Paste your {label} key, from {label}'s own console.", "key")
    for prefix, owner in _PREFIXES.items():
        if key.startswith(prefix) and owner != provider:
            raise InputError(f"This looks like {_article(PROVIDERS[owner].label)} key. You chose {label}.", "key")
    if len(key) > _LONGEST or not key.isascii() or not key.isprintable() or " " in key:
        raise InputError(f"This is not an API key: it has blanks or strange characters, or over {_LONGEST}.", "key")
    return key


def set_provider_key(connection: Connection, vault: Vault, account_id: int, provider: str, key: str) -> str:
    """Seal and store a key in the place of the one before; returns its tail to tell it by, "" for a short key.

    InputError for what cannot be a key of that provider.
    """
    known = check_provider(provider)
    checked = check_provider_key(known, key)
    tail = checked[-4:] if len(checked) >= 16 else ""  # of a short key, four characters would be too much
    sealed = vault.seal(account_id, known, checked.encode())
    stored.set_provider_key(connection, account_id, known, sealed, tail, now_ms())
    return tail


def delete_provider_key(connection: Connection, account_id: int, provider: str) -> None:
    """Delete a stored key; InputError where there is none."""
    known = check_provider(provider)
    if not stored.delete_provider_key(connection, account_id, known):
        raise InputError(f"There is no {PROVIDERS[known].label} key to delete.", "provider")


def _article(label: str) -> str:
    return f"an {label}" if label[0] in "AEIOU" else f"a {label}"
