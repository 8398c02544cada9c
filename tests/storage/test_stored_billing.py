"""Events and closures as stored: each once, due when they are, and not again when they are done."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from metrion.storage import billing
from metrion.storage.accounts import add_account, update_account
from metrion.storage.database import Connection
from metrion.storage.deletions import delete_account
from tests.storage.samples import new_database


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[Connection]:
    database = new_database(tmp_path)
    with database.begin() as connection:
        for name in ("ada", "bob"):
            add_account(connection, f"{name}@example.com", "free", 1)
        yield connection
    database.close()


def event(id: str = "evt_1", **columns: Any) -> dict[str, Any]:
    known = {"type": "invoice.paid", "account_id": 1, "customer_id": "cus_1", "object_id": "in_1"}
    return {"id": id, **known, "created_ms": 5, "received_ms": 10, "next_ms": 10} | columns


def due(connection: Connection, now_ms: int) -> list[str]:
    return [one.id for one in billing.due_events(connection, now_ms, 9)]


def test_an_event_is_stored_once_and_handled_once(connection: Connection) -> None:
    assert billing.add_event(connection, event())
    assert not billing.add_event(connection, event(next_ms=3))
    assert (due(connection, 9), due(connection, 10)) == ([], ["evt_1"])
    billing.set_handled(connection, ["evt_1"])
    assert not billing.add_event(connection, event(next_ms=20))
    assert due(connection, 99) == []
    assert billing.waiting_events(connection) == (0, "")


def test_what_failed_waits_and_says_why(connection: Connection) -> None:
    billing.add_event(connection, event())
    billing.postpone_event(connection, "evt_1", 50, "Stripe cannot be reached")
    assert (due(connection, 49), due(connection, 50)) == ([], ["evt_1"])
    assert billing.next_event_ms(connection) == 50
    assert billing.waiting_events(connection) == (1, "Stripe cannot be reached")
    billing.hurry(connection, 20)
    assert due(connection, 20) == ["evt_1"]


def test_events_are_replayed_by_id_or_since_when(connection: Connection) -> None:
    for number in (1, 2, 3):
        billing.add_event(connection, event(f"evt_{number}", created_ms=number * 10))
    billing.set_handled(connection, ["evt_1", "evt_2", "evt_3"])
    assert billing.replay_events(connection, 70, "evt_1", 0) == 1
    assert due(connection, 70) == ["evt_1"]
    assert billing.replay_events(connection, 70, "", 20) == 2
    assert due(connection, 70) == ["evt_1", "evt_2", "evt_3"]
    assert billing.replay_events(connection, 70, "evt_4", 0) == 0


def test_old_events_go_once_they_are_handled(connection: Connection) -> None:
    billing.add_event(connection, event("evt_1"))
    billing.add_event(connection, event("evt_2"))
    billing.set_handled(connection, ["evt_1"])
    billing.delete_old_events(connection, 10)
    assert not billing.add_event(connection, event("evt_1"))
    billing.delete_old_events(connection, 11)
    assert billing.add_event(connection, event("evt_1"))
    assert not billing.add_event(connection, event("evt_2"))


def test_of_a_deleted_account_only_the_customer_stays_until_it_is_closed(connection: Connection) -> None:
    for account_id in (1, 2):
        billing.set_customer(connection, account_id, f"cus_{account_id}")
        billing.add_event(connection, event(f"evt_{account_id}", account_id=account_id))
        row = {
            "id": f"in_{account_id}",
            "number": "1",
            "status": "paid",
            "created_ms": 1,
            "amount": 5,
            "currency": "eur",
        }
        billing.save_invoices(connection, account_id, [row])
    delete_account(connection, 1, b"digest", 100)
    assert [row.customer_id for row in billing.due_closures(connection, 100, 9)] == ["cus_1"]
    assert billing.find_customer(connection, "cus_1") is None
    assert (due(connection, 100), billing.list_invoices(connection, 1, 9)) == (["evt_2"], [])
    assert [row.email for row in billing.list_customers(connection, 0)] == ["bob@example.com"]
    billing.postpone_closure(connection, "cus_1", 200, "Stripe cannot be reached")
    billing.add_closure(connection, "cus_1", 150)  # asked for once more: it waits as it did
    assert (billing.due_closures(connection, 199, 9), billing.next_closure_ms(connection)) == ([], 200)
    assert billing.waiting_closures(connection) == (1, 100)
    billing.delete_closure(connection, "cus_1")
    assert billing.waiting_closures(connection) == (0, 0)


def test_graces_that_end_are_those_of_who_pays(connection: Connection) -> None:
    update_account(connection, 1, paid=1, grace_ends_ms=50)
    update_account(connection, 2, paid=0, grace_ends_ms=40)
    assert (billing.ended_graces(connection, 49), billing.ended_graces(connection, 50)) == ([], [1])
    assert billing.next_grace_ms(connection) == 50


def test_a_reversal_and_an_invoice_are_told_as_they_are_now(connection: Connection) -> None:
    told = {"id": "dp_1", "kind": "dispute", "status": "needs_response", "reason": "fraudulent", "created_ms": 1}
    told |= {"amount": 5, "currency": "eur"}
    billing.save_reversal(connection, 1, told)
    billing.save_reversal(connection, 1, told | {"status": "won"})
    assert [(row.email, row.status) for row in billing.list_reversals(connection, 9)] == [("ada@example.com", "won")]


def test_who_was_never_asked_about_comes_first(connection: Connection) -> None:
    assert billing.oldest_answer_ms(connection) is None
    billing.set_customer(connection, 1, "cus_1")
    billing.update_billing(connection, 1, asked_ms=70)
    assert billing.oldest_answer_ms(connection) == 70
    billing.set_customer(connection, 2, "cus_2")
    assert billing.oldest_answer_ms(connection) == 0
