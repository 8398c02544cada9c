"""Registry: every account in memory, found by its Metrion key in a microsecond or two, for the hot path."""

from __future__ import annotations

import structlog

from metrion.accounts.vault import Vault
from metrion.errors import VaultError
from metrion.kit.secrets import Secret
from metrion.storage import accounts as stored
from metrion.storage.database import Connection

log = structlog.get_logger("metrion.accounts")


class Account:
    """An account as the proxy needs it. Never changed: a reload puts another in its place."""

    __slots__ = ("disabled", "email", "id", "plan", "provider_keys")

    def __init__(self, id: int, email: str, plan: str, *, disabled: bool, provider_keys: dict[str, Secret]) -> None:
        self.id = id
        self.email = email
        self.plan = plan
        self.disabled = disabled
        self.provider_keys = provider_keys

    def __repr__(self) -> str:
        return f"Account({self.id}, {self.plan!r}, keys={sorted(self.provider_keys)})"


class Registry:
    """Accounts by Metrion key. `find` may run on one thread while `reload_account` runs on another."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault
        self._digest_of = vault.token_digest
        self._by_digest: dict[bytes, Account] = {}
        self._digests: dict[int, set[bytes]] = {}
        self.version = 0  # counts up with every change: who remembers an account asks whether it is still so

    @classmethod
    def load(cls, connection: Connection, vault: Vault) -> Registry:
        """A registry of every account in the database."""
        registry = cls(vault)
        registry._take(connection, None)
        return registry

    def find(self, token: bytes) -> Account | None:
        """The account whose Metrion key this is (without a label)."""
        return self._by_digest.get(self._digest_of(token))

    def reload_account(self, connection: Connection, account_id: int) -> None:
        """Make what is stored of one account effective at once; a Metrion key that is gone is refused from here on."""
        self._take(connection, account_id)

    def _take(self, connection: Connection, account_id: int | None) -> None:
        keys: dict[int, dict[str, Secret]] = {}
        for row in stored.list_provider_keys(connection, account_id):
            try:
                keys.setdefault(row.account_id, {})[row.provider] = self._vault.open(
                    row.account_id, row.provider, row.sealed
                )
            except VaultError as error:  # one damaged row must not keep all others from starting
                log.error("provider_key_unreadable", account_id=row.account_id, provider=row.provider, why=str(error))
        accounts = {
            row.id: Account(
                row.id, row.email, row.plan, disabled=row.disabled_ms is not None, provider_keys=keys.get(row.id, {})
            )
            for row in stored.list_accounts(connection, account_id)
        }
        digests: dict[int, set[bytes]] = {id: set() for id in accounts}
        for row in stored.list_tokens(connection, account_id):
            if row.account_id in accounts:
                digests[row.account_id].add(row.digest)
                self._by_digest[row.digest] = accounts[row.account_id]
        for id in accounts if account_id is None else (account_id,):
            for gone in self._digests.pop(id, set()) - digests.get(id, set()):
                self._by_digest.pop(gone, None)
        self._digests |= digests
        self.version += 1
