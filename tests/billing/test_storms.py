"""Webhook storms at two processes that share a database: one effect of each event, and the state that Stripe has."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from metrion.accounts.vault import open_vault
from metrion.config import Settings
from metrion.mail.outbox import open_mail
from metrion.storage import accounts, billing, outbox
from metrion.storage.database import Database, migrate, open_writer
from tests.billing import stripe_shapes as shapes
from tests.billing.stripe_fake import Asked, StripeFake
from tests.support import ROOT

SECONDS = 60
TIMES = 5


@pytest.fixture
def shared(tmp_path: Path) -> Iterator[Database]:
    """One account on free that Stripe knows as cus_ada."""
    settings = Settings(data_dir=tmp_path)
    database = open_writer(settings)
    migrate(database)
    open_vault(settings, database)
    with database.begin() as connection:
        account_id = accounts.add_account(connection, "ada@example.com", "free", 1)
        billing.set_customer(connection, account_id, "cus_ada")
    yield database
    database.close()


@contextmanager
def handlers(folder: Path, stripe: StripeFake, seed: int) -> Iterator[list[subprocess.Popen[str]]]:
    with ExitStack() as held:
        command = [sys.executable, "-m", "tests.billing.handler", str(folder), stripe.origin]
        yield [
            held.enter_context(subprocess.Popen([*command, str(seed + at)], cwd=ROOT, stdin=subprocess.PIPE, text=True))
            for at in range(2)
        ]


def tell(process: subprocess.Popen[str], *lines: str) -> None:
    assert process.stdin is not None
    process.stdin.write("".join(f"{line}\n" for line in lines))
    process.stdin.flush()


def storm(both: list[subprocess.Popen[str]], events: list[shapes.Object], rng: random.Random) -> None:
    """Each event five times, shuffled, by turns of chance."""
    told = [json.dumps(one) for one in events for _ in range(TIMES)]
    rng.shuffle(told)
    for line in told:
        tell(rng.choice(both), line)


@pytest.mark.parametrize("seed", range(2))
def test_a_life_told_to_two_at_once(tmp_path: Path, shared: Database, seed: int) -> None:
    """Paid twice, failed, recovered, cancelled, ended and perhaps paid again, while both ask and answers overtake."""
    rng = random.Random(seed)
    with StripeFake() as stripe, handlers(tmp_path, stripe, seed) as both:
        stripe._keep({**shapes.customer("cus_ada", 1, "ada@example.com", {}), "id": "cus_ada"})
        stripe.late = lambda asked: rng.choice((0, 0, 0.05, 0.2)) if asked.path.startswith("/v1/invoices") else 0.0
        first = stripe.subscribe("cus_ada")
        second = stripe.subscribe("cus_ada")
        steps: list[Callable[[], object]] = [
            lambda: stripe.fail(first),
            lambda: stripe.dispute(second),
            lambda: stripe.recover(first),
            lambda: stripe.cancel_at_period_end(first),
            lambda: stripe.end_period(first),
        ]
        told = 0
        for step in steps:
            with stripe.lock:
                new, told = stripe.events[told:], len(stripe.events)
            storm(both, new, rng)
            time.sleep(rng.random() * 0.4)  # somewhere in the middle of it
            step()
        third = stripe.subscribe("cus_ada") if seed % 2 else ""
        with stripe.lock:
            rest = stripe.events[told:]
        storm(both, rest, rng)
        for process in both:
            tell(process, "end")
            assert process.wait(SECONDS) == 0
        check(shared, tmp_path, stripe, second, third)


def check(database: Database, folder: Path, stripe: StripeFake, second: str, third: str) -> None:
    vault = open_vault(Settings(data_dir=folder), database)
    with database.begin() as connection:
        (account,) = accounts.list_accounts(connection, None)
        row = billing.find_billing(connection, account.id)
        letters = [open_mail(vault, one).message.subject for one in outbox.due_mail(connection, 1 << 60, 99)]
        reversals = sorted(one.kind for one in billing.list_reversals(connection, 9))
        invoices = {one.id: one.status for one in billing.list_invoices(connection, account.id, 99)}
        events = connection.exec_driver_sql("SELECT count(*), count(DISTINCT id), max(tries) FROM stripe_events").one()
    assert row is not None
    assert (account.plan, row.status) == (("pro", "active") if third else ("free", "canceled"))
    assert row.subscription_id == third or not third
    assert stripe.things[second]["status"] == "canceled"
    assert [one["reason"] for one in stripe.all("refund")] == ["duplicate"]
    assert "dispute" in reversals
    assert invoices == {one["id"]: one["status"] for one in stripe.all("invoice")}
    assert events[0] == events[1]
    assert len(letters) <= 1  # one way down at most was seen, and told once
    assert not third or account.free_since_ms is None
    assert third or letters == ["Your Metrion account is on the free plan now"]


def test_an_older_answer_does_not_win_in_another_process(tmp_path: Path, shared: Database) -> None:
    """One asks, and gets what was so; meanwhile it ends, and the other is told and takes that over."""
    with StripeFake() as stripe, handlers(tmp_path, stripe, 1) as (slow, quick):
        stripe._keep({**shapes.customer("cus_ada", 1, "ada@example.com", {}), "id": "cus_ada"})
        subscription = stripe.subscribe("cus_ada")
        held: list[Asked] = []

        def late(asked: Asked) -> float:
            if asked.path != "/v1/invoices" or held:
                return 0.0
            held.append(asked)
            return 2.0

        stripe.late = late
        tell(slow, json.dumps(stripe.events[0]), "end")
        until(lambda: held)
        stripe.cancel(subscription)
        tell(quick, json.dumps(stripe.events[-1]), "end")
        assert quick.wait(SECONDS) == 0
        assert plan(shared) == ("free", "canceled")
        assert slow.wait(SECONDS) == 0
        assert plan(shared) == ("free", "canceled")


def plan(database: Database) -> tuple[str, str]:
    with database.begin() as connection:
        (account,) = accounts.list_accounts(connection, None)
        row = billing.find_billing(connection, account.id)
    return account.plan, row.status if row is not None else ""


def until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)
