"""Provider keys as customers paste them: what is taken for one, and which are plainly another provider's."""

from __future__ import annotations

from metrion.errors import InputError

PROVIDERS = ("anthropic", "openai", "gemini", "mistral", "grok")
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
        raise InputError(f"unknown provider {name!r}; use one of {', '.join(PROVIDERS)}")
    return known


def check_provider_key(provider: str, text: str) -> str:
    """The key without blanks around it; raises InputError, which never quotes it."""
    key = text.strip()
    if not key:
        raise InputError(f"no key was given; pass the {provider} key on standard input")
    if len(key) > _LONGEST or not key.isascii() or not key.isprintable() or " " in key:
        raise InputError(f"this is not an API key: printable ASCII without blanks, at most {_LONGEST} bytes")
    if key.startswith("sk-metrion-"):
        raise InputError(f"this is a Metrion key; the {provider} key is wanted, from the provider's own console")
    for prefix, owner in _PREFIXES.items():
        if key.startswith(prefix) and owner != provider:
            raise InputError(f"this looks like a key of {owner} ({prefix}…), not of {provider}")
    return key
