"""The engine: looks at the rules of accounts whose sums changed, and tells when a limit is near or crossed.

Whom to look at stands in the database, written with the sums; so does when a rule fired, with the mail that tells of
it. Whatever stops us in between, the next look finds the one or the other.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import date, timedelta
from fractions import Fraction

import structlog

from metrion.accounts.plans import PLANS
from metrion.accounts.vault import Vault
from metrion.alerts import letters as told
from metrion.alerts.bodies import alert_news
from metrion.alerts.kinds import KINDS, begin, ended
from metrion.alerts.sums import refill
from metrion.alerts.typed import MAIL
from metrion.alerts.values import Value, level_of, measure
from metrion.alerts.webhooks import put_down
from metrion.kit.clock import DAY_MS, HOUR_MS, now_ms
from metrion.mail.letters import Letters
from metrion.mail.outbox import post
from metrion.rates.daily import DailyRates
from metrion.storage import alerts as stored
from metrion.storage.alerts import Rule
from metrion.storage.database import Connection, Database
from metrion.storage.webhooks import webhooks_of

PAUSE_MS = DAY_MS  # between two warnings, or two alerts, of a rule
TEST_PAUSE_MS = 12 * HOUR_MS
_AGAIN_SECONDS = 1.0  # between two looks at one account, at least
_REST = 100  # times what a look took, so that looking takes no more than a hundredth of the writer's time
_LONGEST_REST_SECONDS = 2.0  # whatever it takes: a line that is crossed is told within 5 s
_LOOK_SECONDS = 0.2  # for all of them; the rest waits for the next look
log = structlog.get_logger("metrion.alerts")


class Engine:
    """Works on the writer's thread. `wake`: called there when something is to be sent; `mail`: whether mail is on."""

    def __init__(
        self, vault: Vault, rates: DailyRates, public_url: str, *, mail: bool, wake: Callable[[], None]
    ) -> None:
        self._vault = vault
        self._rates = rates
        self._url = public_url
        self._letters = Letters(public_url)
        self._mail = mail
        self._wake = wake
        self._rests: dict[int, float] = {}  # until when (monotonic) an account that was looked at is left alone

    def look(self, database: Database) -> None:
        """Look at the accounts that are due, each at most once a second, who waits longest first."""
        now = time.monotonic()
        with database.begin() as connection:
            due = set(stored.due_accounts(connection))
        self._rests = {account_id: at for account_id, at in self._rests.items() if account_id in due or at > now}
        fired = False
        for account_id in sorted(due, key=lambda one: self._rests.get(one, 0.0)):
            began = time.monotonic()
            if self._rests.get(account_id, 0.0) > now:
                break
            with database.begin() as connection:
                fired |= self.evaluate(connection, account_id, now_ms())
            took = time.monotonic() - began
            self._rests[account_id] = began + min(max(took * _REST, _AGAIN_SECONDS), _LONGEST_REST_SECONDS)
            if began + took - now > _LOOK_SECONDS:
                break
        if fired:
            self._wake()

    def evaluate(self, connection: Connection, account_id: int, at_ms: int) -> bool:
        """Look at an account's rules, in the caller's transaction; whether one fired."""
        stored.clear_due(connection, account_id)
        owner = stored.owner(connection, account_id)
        if owner is None or owner.disabled_ms is not None or not PLANS[owner.plan].alerts:
            return False  # `set_due` tells when that changes
        rules = [
            self._in_zone(connection, rule, owner.time_zone, at_ms)
            for rule in stored.rules_of(connection, [account_id])
            if rule.kind in KINDS and rule.paused_ms is None and not ended(rule, at_ms)
        ]
        rules = [rule for rule in rules if rule.filled is None]  # of the others, `fill` tells when they have a value
        stored.clear_old_sums(connection, account_id, {rule.id: begin(rule, at_ms) for rule in rules})
        fired = False
        for rule, value in zip(rules, self.measure_all(connection, rules, at_ms), strict=True):
            level = level_of(value, rule.threshold)
            if level and self._claim(connection, rule, level, at_ms):
                self._tell(connection, rule, owner.email, level, value, at_ms)
                fired = True
        return fired

    def _in_zone(self, connection: Connection, rule: Rule, zone: str, at_ms: int) -> Rule:
        if rule.zone != zone:  # its days begin at other times now
            rule = rule._replace(zone=zone)
            stored.update_rule(connection, rule.account_id, rule.id, zone=zone)
            rule = refill(connection, rule, at_ms)
            stored.clear_due(connection, rule.account_id)
        return rule

    def measure(self, connection: Connection, rule: Rule, at_ms: int, *, keep: bool = True) -> Value:
        """A rule's value. `keep`: the rates that it is converted at are those of its days from now on."""
        return self.measure_all(connection, [rule], at_ms, keep=keep)[0]

    def measure_all(
        self, connection: Connection, rules: Sequence[Rule], at_ms: int, *, keep: bool = True
    ) -> list[Value]:
        """The same of several rules of one account, in their order."""
        fixed: dict[str, dict[date, Fraction]] = {}

        def on(currency: str, day: date) -> Fraction:
            if currency not in fixed:
                first = min(begin(rule, at_ms) for rule in rules if rule.currency == currency)
                since = date.fromtimestamp(first / 1000) - timedelta(days=2)
                fixed[currency] = stored.fixed_rates(connection, currency, since)
            rates = fixed[currency]
            if day not in rates:
                rates[day] = self._rates.on(currency, day)
                if keep:
                    stored.fix_rate(connection, currency, day, rates[day])
            return rates[day]

        return measure(connection, rules, at_ms, on)

    def _claim(self, connection: Connection, rule: Rule, level: str, at_ms: int) -> bool:
        key = (connection, rule.account_id, rule.id)
        if level == "warning":
            recent = rule.alerted_ms is not None and at_ms - rule.alerted_ms < PAUSE_MS
            return not recent and stored.claim(*key, "warned_ms", at_ms, PAUSE_MS)
        return stored.claim(*key, "alerted_ms", at_ms, PAUSE_MS)

    def test(self, connection: Connection, rule: Rule, at_ms: int) -> bool:
        """Send the test of a rule; False where the last one is less than TEST_PAUSE_MS ago."""
        owner = stored.owner(connection, rule.account_id)
        if owner is None or not stored.claim(connection, rule.account_id, rule.id, "tested_ms", at_ms, TEST_PAUSE_MS):
            return False
        self._tell(connection, rule, owner.email, "test", self.measure(connection, rule, at_ms), at_ms)
        return True

    def _tell(self, connection: Connection, rule: Rule, to: str, level: str, value: Value, at_ms: int) -> None:
        stored.add_alert(connection, rule, level, value.rounded, at_ms)
        if self._mail and MAIL not in rule.muted:
            message = told.fired(self._letters, self._url, to, rule, level, value.rounded)
            post(connection, self._vault, rule.account_id, message)
        news = alert_news(rule, level, value.rounded, at_ms, self._url)
        for webhook in webhooks_of(connection, rule.account_id):
            if webhook.disabled_ms is None and str(webhook.id) not in rule.muted:
                put_down(connection, webhook, news)
        log.info("alert_fired", level=level, kind=rule.kind, rule_id=rule.id, account_id=rule.account_id)
