"""The engine: each limit told once, to its owner alone, by mail that exists exactly if the alert does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from metrion.accounts import people
from metrion.accounts.moves import grant
from metrion.accounts.vault import Vault, open_vault
from metrion.alerts import engine, webhooks
from metrion.alerts.engine import PAUSE_MS, TEST_PAUSE_MS, Engine
from metrion.config import Settings
from metrion.kit.clock import HOUR_MS
from metrion.ledger.writer import write_calls
from metrion.mail.message import Message
from metrion.mail.outbox import open_mail
from metrion.rates.daily import DailyRates
from metrion.storage import accounts, outbox
from metrion.storage import alerts as stored
from metrion.storage import webhooks as stored_webhooks
from metrion.storage.alerts import Rule
from metrion.storage.database import Database
from metrion.storage.webhooks import Webhook
from tests.alerts.rules import add_rule
from tests.ledger.samples import NOON, make_call, usage_of
from tests.ledger.test_fold import LIST, house
from tests.storage.samples import call_row, write_rows


class House:
    """Two accounts on pro, and the engine that looks at them."""

    def __init__(self, folder: Path) -> None:
        self.database: Database = house(folder)
        self.vault: Vault = open_vault(Settings(data_dir=folder), self.database)
        self.woken = 0
        self.engine = Engine(self.vault, DailyRates(folder), "https://m.example.com", mail=True, wake=self._wake)

    def _wake(self) -> None:
        self.woken += 1

    def send(self, count: int, at_ms: int = NOON, **values: Any) -> None:
        write_calls(self.database, LIST, [make_call(at_ms, **values) for _ in range(count)], fresh=True)

    def evaluate(self, at_ms: int = NOON, account_id: int = 1) -> bool:
        with self.database.begin() as connection:
            return self.engine.evaluate(connection, account_id, at_ms)

    def fired(self, account_id: int = 1) -> list[tuple[str, int | None]]:
        with self.database.begin() as connection:
            return [(row.level, row.value) for row in reversed(stored.alerts_of(connection, account_id, 99))]

    def letters(self) -> list[Message]:
        with self.database.begin() as connection:
            return [open_mail(self.vault, row).message for row in outbox.due_mail(connection, 1 << 60, 99)]


@pytest.fixture
def home(tmp_path: Path) -> Iterator[House]:
    home = House(tmp_path)
    yield home
    home.database.close()


def test_a_warning_then_an_alert_each_once(home: House) -> None:
    add_rule(home.database, name="Calls", threshold=1000)
    home.send(899)
    assert not home.evaluate()
    home.send(1)
    assert home.evaluate()
    home.send(99)
    assert not home.evaluate()
    home.send(1)
    assert home.evaluate()
    home.send(50)
    assert not home.evaluate()
    assert home.fired() == [("warning", 900), ("alert", 1000)]
    warning, alert = home.letters()
    assert warning.to == alert.to == "1@b.c"
    assert warning.subject == "Calls is near its limit: 900 requests of 1,000 requests"
    assert alert.subject == "Calls has reached its limit: 1,000 requests of 1,000 requests"
    assert "100 % of the limit" in alert.text
    assert "https://m.example.com/dashboard?range=24h" in alert.text
    assert home.fired(2) == []


def test_who_jumps_over_the_limit_is_alerted_and_not_warned_too(home: House) -> None:
    add_rule(home.database, threshold=10)
    home.send(12)
    assert home.evaluate()
    assert home.fired() == [("alert", 12)]


@pytest.mark.parametrize(("after_ms", "again"), [(PAUSE_MS - 1, False), (PAUSE_MS, True)])
def test_a_day_between_two_alerts(home: House, after_ms: int, again: bool) -> None:
    add_rule(home.database, threshold=10, span="since", from_ms=NOON)
    home.send(10)
    assert home.evaluate()
    assert home.evaluate(NOON + after_ms) is again


@pytest.mark.parametrize(("after_ms", "again"), [(PAUSE_MS - 1, False), (PAUSE_MS, True)])
def test_a_day_between_two_warnings(home: House, after_ms: int, again: bool) -> None:
    add_rule(home.database, threshold=10, span="since", from_ms=NOON)
    home.send(9)
    assert home.evaluate()
    assert home.evaluate(NOON + after_ms) is again


@pytest.mark.parametrize(("after_ms", "again"), [(TEST_PAUSE_MS - 1, False), (TEST_PAUSE_MS, True)])
def test_half_a_day_between_two_tests(home: House, after_ms: int, again: bool) -> None:
    rule = add_rule(home.database, kind="budget", currency="USD", span="month", threshold=5_000_000_000)
    home.send(1, reading=usage_of(1_000_000, 0))  # 15 cents
    with home.database.begin() as connection:
        assert home.engine.test(connection, rule, NOON)
        assert home.engine.test(connection, rule, NOON + after_ms) is again
    assert home.letters()[0].subject == "Test of Budget"
    assert "$0.15" in home.letters()[0].text


@pytest.mark.parametrize("columns", [{"paused_ms": NOON}, {"span": "since", "to_ms": NOON - 60_000}])
def test_a_rule_that_is_paused_or_over_tells_nothing(home: House, columns: dict[str, Any]) -> None:
    add_rule(home.database, threshold=1, **columns)
    home.send(5, NOON - HOUR_MS)
    assert not home.evaluate()


def test_free_accounts_are_told_nothing_until_they_are_on_pro_again(home: House) -> None:
    add_rule(home.database, threshold=5)
    with home.database.begin() as connection:
        accounts.update_account(connection, 1, plan="free")
    home.send(5)
    assert not home.evaluate()
    with home.database.begin() as connection:
        accounts.update_account(connection, 1, plan="pro")
    home.send(1)
    assert home.evaluate()
    assert home.fired() == [("alert", 6)]


def test_only_own_calls_count_and_only_those_that_reached_a_provider(home: House) -> None:
    add_rule(home.database, kind="error_count", threshold=3)
    home.send(3, account_id=2, status=500, outcome="provider_error")
    home.send(3, status=429, outcome="rejected")
    home.send(2, status=404, outcome="provider_error")
    assert not home.evaluate()
    home.send(1, status=500, outcome="provider_error")
    assert home.evaluate()


def test_accounts_without_rules_are_never_due(home: House) -> None:
    home.send(3)
    with home.database.begin() as connection:
        assert stored.due_accounts(connection) == []
    add_rule(home.database)
    home.send(3, account_id=2)
    home.engine.look(home.database)
    home.send(3)
    with home.database.begin() as connection:
        assert stored.due_accounts(connection) == [1]


def test_who_waits_longest_is_looked_at_first(home: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "_LOOK_SECONDS", -1.0)  # time for one
    monkeypatch.setattr(engine, "_AGAIN_SECONDS", 0.0)
    monkeypatch.setattr(engine, "_REST", 0)
    for account_id in (1, 2):
        add_rule(home.database, account_id=account_id)
    looked = []
    for _ in range(4):
        for account_id in (1, 2):  # both are always busy
            home.send(1, account_id=account_id)
        home.engine.look(home.database)
        with home.database.begin() as connection:
            [waits] = stored.due_accounts(connection)
        looked.append(3 - waits)
    assert looked == [1, 2, 1, 2]


def test_an_account_rests_after_a_look(home: House) -> None:
    add_rule(home.database)
    for left in ([], [1]):
        home.send(1)
        home.engine.look(home.database)
        with home.database.begin() as connection:
            assert stored.due_accounts(connection) == left


def test_a_look_stopped_before_its_end_is_taken_up_by_the_next(home: House) -> None:
    add_rule(home.database, threshold=1)
    home.send(1)
    with pytest.raises(RuntimeError), home.database.begin() as connection:
        assert home.engine.evaluate(connection, 1, NOON)
        raise RuntimeError("killed")
    assert home.fired() == []
    assert home.letters() == []
    assert home.evaluate()
    assert len(home.letters()) == 1


def test_two_that_look_at_once_tell_once(home: House) -> None:
    rule = add_rule(home.database, threshold=1)
    home.send(1)
    with home.database.begin() as connection:
        assert stored.claim(connection, 1, rule.id, "alerted_ms", NOON, PAUSE_MS)
    assert not home.evaluate()


def test_who_is_disabled_is_told_nothing_until_that_ends(home: House) -> None:
    add_rule(home.database, threshold=5)
    with home.database.begin() as connection:
        people.set_disabled(connection, 1, disabled=True)
    home.send(5)
    assert not home.evaluate()
    with home.database.begin() as connection:
        people.set_disabled(connection, 1, disabled=False)
        assert stored.due_accounts(connection) == [1]  # no further call is needed
        assert home.engine.evaluate(connection, 1, NOON)
    assert home.fired() == [("alert", 5)]


def test_rules_go_on_at_once_when_an_account_is_on_pro_again(home: House) -> None:
    add_rule(home.database, threshold=5)
    with home.database.begin() as connection:
        assert grant(connection, 1, "free").is_down
    home.send(4)
    home.engine.look(home.database)
    home.send(1)
    home.engine.look(home.database)
    assert home.fired() == []
    with home.database.begin() as connection:
        grant(connection, 1, "pro")
        assert stored.due_accounts(connection) == [1]
        assert home.engine.evaluate(connection, 1, NOON)
    assert home.fired() == [("alert", 5)]


# ── channels ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def add_webhook(home: House, kind: str = "signed", account_id: int = 1, **columns: Any) -> Webhook:
    url = "https://hooks.example.com/x"
    with home.database.begin() as connection:
        number = webhooks.add(connection, home.vault, account_id, kind=kind, name="", url=url, allow_private=False)
        if columns:
            stored_webhooks.update_webhook(connection, account_id, number, **columns)
        webhook = stored_webhooks.find_webhook(connection, account_id, number)
    assert webhook is not None
    return webhook


def put_down(home: House, *hooks: Webhook) -> list[list[str]]:
    """The titles of what is to be delivered to each."""
    with home.database.begin() as connection:
        logs = [stored_webhooks.deliveries_of(connection, hook.account_id, hook.id, 9) for hook in hooks]
    return [[row.title for row in log] for log in logs]


def test_an_alert_goes_to_mail_and_every_webhook_that_is_on(home: House) -> None:
    add_rule(home.database, name="Calls", threshold=10)
    signed, slack = add_webhook(home), add_webhook(home, "slack")
    off, foreign = add_webhook(home, disabled_ms=5), add_webhook(home, account_id=2)
    home.send(9)
    assert home.evaluate()
    near = ["Calls is near its limit"]
    assert put_down(home, signed, slack, off, foreign) == [near, near, [], []]
    assert len(home.letters()) == 1


@pytest.mark.parametrize(
    ("muted", "mails", "told"),
    [(("mail",), 0, [1, 1]), (("1",), 1, [0, 1]), (("mail", "1", "2"), 0, [0, 0]), (("77",), 1, [1, 1])],
)
def test_a_rule_tells_by_the_channels_it_has(home: House, muted: tuple[str, ...], mails: int, told: list[int]) -> None:
    hooks = [add_webhook(home), add_webhook(home, "slack")]
    rule = add_rule(home.database, threshold=10, muted=muted)
    home.send(10)
    assert home.evaluate()
    with home.database.begin() as connection:
        assert home.engine.test(connection, rule, NOON)
    assert len(home.letters()) == 2 * mails
    assert [len(titles) for titles in put_down(home, *hooks)] == [2 * one for one in told]
    assert [level for level, _ in home.fired()] == ["alert", "test"]  # its history has it whatever the channels


def test_a_delivery_exists_exactly_if_its_alert_does(home: House) -> None:
    hook = add_webhook(home)
    add_rule(home.database, threshold=1)
    home.send(1)
    with pytest.raises(RuntimeError), home.database.begin() as connection:
        assert home.engine.evaluate(connection, 1, NOON)
        raise RuntimeError("killed")
    assert put_down(home, hook) == [[]]
    assert home.evaluate()
    assert not home.evaluate()
    assert put_down(home, hook) == [["Request volume has reached its limit"]]


def test_days_follow_the_time_zone(home: House) -> None:
    rule = add_rule(home.database, kind="budget", currency="USD", span="month", threshold=100)
    write_rows(home.database, [call_row(NOON - 12 * HOUR_MS - 1, cost_nano=100)])  # October, in UTC
    assert not home.evaluate()
    with home.database.begin() as connection:
        accounts.update_account(connection, 1, time_zone="Asia/Tokyo")
    assert home.evaluate()  # November in Tokyo
    with home.database.begin() as connection:
        found = stored.find_rule(connection, 1, rule.id)
        assert isinstance(found, Rule)
        assert found.zone == "Asia/Tokyo"


def test_a_budget_keeps_its_rates(home: House) -> None:
    add_rule(home.database, kind="budget", currency="EUR", span="month", threshold=10**12)
    home.send(1, reading=usage_of(1_000_000, 0))
    rule = stored_rule(home)
    with home.database.begin() as connection:
        before = home.engine.measure(connection, rule, NOON)
    with home.database.begin() as connection:
        connection.exec_driver_sql("UPDATE alert_rates SET per_usd = '1/2'")
        after = home.engine.measure(connection, rule, NOON)
    assert before.figure is not None
    assert after.figure == 75_000_000
    assert 0 < before.figure != after.figure


def stored_rule(home: House) -> Rule:
    with home.database.begin() as connection:
        [rule] = stored.rules_of(connection, [1])
    return rule
