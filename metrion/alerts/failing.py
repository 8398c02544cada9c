"""Failing webhooks: one that takes nothing for long. Its owner is mailed once, and `/alerts` says so while it lasts.

Nothing is kept of it but the deliveries: a webhook fails from the delivery on that was tried `LONG_TRIES` times in vain
or given up, until one is delivered. The mail is posted with what came of the try that makes it so; as that is settled
once, in whichever process, so is the mail.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from metrion.accounts.vault import Vault
from metrion.alerts import letters as told
from metrion.alerts.webhooks import label
from metrion.mail.letters import Letters
from metrion.mail.outbox import post
from metrion.storage import alerts as rules
from metrion.storage import webhooks as stored
from metrion.storage.database import Connection
from metrion.storage.webhooks import Delivery, Outcome, Webhook

LONG_TRIES = 6  # of one delivery: about 80 minutes, by `courier.PAUSES_MS`


class Failing(NamedTuple):
    """A webhook that fails."""

    webhook: Webhook
    title: str
    since_ms: int  # when the first delivery was put down that it has not taken
    said: str  # what came of the latest try


def failing_webhooks(connection: Connection, account_id: int) -> list[Failing]:
    """Those of an account that are on, the oldest first."""
    hooks = [one for one in stored.webhooks_of(connection, account_id) if one.disabled_ms is None]
    if not hooks:
        return []
    found = stored.failed_deliveries(connection, account_id, LONG_TRIES)
    return [
        Failing(one, label(one), min(row.created_ms for row in failed), _said(failed[-1].status, failed[-1].problem))
        for one in hooks
        if (failed := [row for row in found if row.webhook_id == one.id])
    ]


def _said(status: int, problem: str) -> str:
    """What came of a try, in our words alone."""
    return f"It answers {status}" if status else problem


class Failures:
    """Mails to owners of webhooks that fail. `wake`: called on the event loop when a mail is posted."""

    def __init__(self, vault: Vault, public_url: str, wake: Callable[[], None]) -> None:
        self._vault = vault
        self._url = public_url
        self._letters = Letters(public_url)
        self.wake = wake

    def settle(self, connection: Connection, delivery: Delivery, outcome: Outcome) -> bool:
        """Tell of a webhook if this try, which is settled, makes it one that fails; whether a mail is posted."""
        account_id = delivery.account_id
        over = outcome.next_ms is None or delivery.tries + 1 == LONG_TRIES
        if outcome.delivered or not over or delivery.tries >= LONG_TRIES:
            return False
        failed = stored.failed_deliveries(connection, account_id, LONG_TRIES)
        if {row.id for row in failed if row.webhook_id == delivery.webhook_id} != {delivery.id}:
            return False  # another made it so before, or one was delivered since this one was tried
        webhook = stored.find_webhook(connection, account_id, delivery.webhook_id)
        owner = rules.owner(connection, account_id)
        if webhook is None or webhook.disabled_ms is not None or owner is None or owner.disabled_ms is not None:
            return False
        said = _said(outcome.status, outcome.problem)
        post(connection, self._vault, account_id, told.failing(self._letters, self._url, owner.email, webhook, said))
        return True
