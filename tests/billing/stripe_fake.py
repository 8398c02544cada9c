"""A Stripe of our own on loopback: the endpoints that Metrion uses, the pages people pay on, and webhooks it signs.

`with StripeFake() as stripe: … Metrion(settings=stripe.settings()) …`. What people do at Stripe and what time does to a
subscription are methods; each makes the events that Stripe would make. They are sent to `endpoint` at once where one is
set, else when `deliver` is called: as often and in any order one likes.
"""

from __future__ import annotations

import hmac
import http.client
import itertools
import json
import random
import re
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit

from tests.billing import stripe_shapes as shapes
from tests.billing.stripe_shapes import Object

API_VERSION = "2026-10-28.endive"
MONTH = 30 * 86_400
KEY = "sk_test_" + "fake" * 6
WEBHOOK_SECRET = "whsec_" + "fake" * 8
PRICE = "price_pro"


@dataclass(frozen=True)
class Asked:
    """A request to the API: its parameters nested, and its headers by small names."""

    method: str
    path: str
    params: Object
    headers: dict[str, str]


class ApiError(Exception):
    """What the API refuses."""

    def __init__(self, status: int, code: str, param: str = "") -> None:
        super().__init__(code)
        self.status, self.code, self.param = status, code, param

    def body(self) -> Object:
        kind = {401: "authentication_error"}.get(self.status, "invalid_request_error")
        kind = "api_error" if self.status >= 500 else kind
        said = f"No such thing: 'x' of {KEY[:12]}" if self.code == "resource_missing" else f"Refused: {self.code}"
        return {"error": {"type": kind, "code": self.code, "param": self.param or None, "message": said}}


class StripeFake:
    """One Stripe account. Thread-safe: everything happens under one lock."""

    def __init__(self, *, amount: int = 2900, currency: str = "eur", name: str = "Metrion Pro") -> None:
        self.lock = threading.RLock()
        self.asked: list[Asked] = []
        self.events: list[Object] = []
        self.endpoint = ""  # where webhooks go at once
        self.refuse: Callable[[Asked], ApiError | None] = lambda asked: None  # set to have trouble
        self.slow = 0.0  # seconds before each answer
        self.late: Callable[[Asked], float] = lambda asked: 0.0  # seconds from finding an answer to giving it
        self.things: dict[str, Object] = {}
        self.payments: dict[str, Object] = {}  # invoice payments by invoice
        self._numbers = itertools.count(1)
        self._replies: dict[str, tuple[int, Object]] = {}  # by idempotency key
        self._senders: list[threading.Thread] = []
        now = int(time.time())
        self._keep(shapes.product("prod_pro", now, name))
        self._keep(shapes.price(PRICE, now, "prod_pro", amount, currency, "month"))
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, e: BaseException | None, t: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def settings(self) -> dict[str, str]:
        """What Metrion must be set to."""
        return {
            "METRION_STRIPE_SECRET_KEY": KEY,
            "METRION_STRIPE_WEBHOOK_SECRET": WEBHOOK_SECRET,
            "METRION_STRIPE_PRICE_ID": PRICE,
            "METRION_STRIPE_API_ORIGIN": self.origin,
        }

    # ── what people do ────────────────────────────────────────────────────────────────────────────────────────────

    def subscribe(self, customer: str, *, status: str = "active", at: int | None = None, ours: bool = True) -> str:
        """Pay for the price as Checkout does, or let its first payment be under way (incomplete); the subscription."""
        with self.lock:
            now = at or int(time.time())
            metadata = {"metrion_account": self.things[customer]["metadata"].get("metrion_account", "")} if ours else {}
            made = shapes.subscription(self._id("sub"), now, now + MONTH, customer, self.things[PRICE], metadata)
            made["status"] = status
            if status == "trialing":
                made |= {"trial_start": now, "trial_end": now + MONTH}
            self._keep(made)
            self._bill(made, now, "open" if status == "incomplete" else "paid", 0 if status == "trialing" else None)
            self._tell("customer.subscription.created", made)
            return str(made["id"])

    def pay(self, url: str, *, status: str = "active") -> str:
        """Fill in the Checkout page at `url`; the subscription."""
        with self.lock:
            session = self.things[urlsplit(url).path.rsplit("/", 1)[1]]
            assert session["status"] == "open", f"this Checkout is {session['status']}"
            session |= {"status": "complete", "payment_status": "paid" if status == "active" else "unpaid", "url": None}
            session["subscription"] = self.subscribe(session["customer"], status=status)
            self._tell("checkout.session.completed", session)
            return str(session["subscription"])

    def cancel_at_period_end(self, subscription: str) -> None:
        self._set(subscription, cancel_at_period_end=True, cancel_at=self.period_end(subscription))

    def cancel(self, subscription: str) -> None:
        """At once."""
        with self.lock:
            now = int(time.time())
            self._set(subscription, told=False, status="canceled", canceled_at=now, ended_at=now, cancel_at=None)
            self._tell("customer.subscription.deleted", self.things[subscription])

    def delete_customer(self, customer: str) -> None:
        with self.lock:
            for one in self._of("subscription", customer=customer):
                if one["status"] not in ("canceled", "incomplete_expired"):
                    self.cancel(one["id"])
            whole = self.things[customer]
            self.things[customer] = {"id": customer, "object": "customer", "deleted": True}
            self._tell("customer.deleted", whole)

    def refund(self, subscription: str) -> str:
        """Give the latest payment back, as the operator does in Stripe's dashboard."""
        with self.lock:
            return str(self._refund(self._charge_of(subscription), "requested_by_customer")["id"])

    def dispute(self, subscription: str) -> str:
        """The bank takes the latest payment back."""
        with self.lock:
            made = self._keep(
                shapes.dispute(self._id("dp"), int(time.time()), self._charge_of(subscription), "fraudulent")
            )
            self._tell("charge.dispute.created", made)
            return str(made["id"])

    # ── what time does ────────────────────────────────────────────────────────────────────────────────────────────

    def fail(self, subscription: str, *, at: int | None = None) -> None:
        """The next period's payment fails, for the first time at `at` (seconds)."""
        with self.lock:
            invoice = self._bill(self.things[subscription], at or int(time.time()), "open")
            self._tell("invoice.payment_failed", invoice)
            self._set(subscription, status="past_due")

    def recover(self, subscription: str) -> None:
        """What is owed is paid."""
        with self.lock:
            for invoice in self._of("invoice", status="open"):
                if invoice["parent"]["subscription_details"]["subscription"] == subscription:
                    self._settle(invoice)
            self._set(subscription, status="active")

    def end_period(self, subscription: str) -> None:
        """A period ends: what was cancelled ends, what was not is paid again."""
        with self.lock:
            if self.things[subscription]["cancel_at_period_end"]:
                self.cancel(subscription)
                return
            self._bill(self.things[subscription], int(time.time()), "paid")
            self.things[subscription]["items"]["data"][0]["current_period_end"] += MONTH
            self._set(subscription, status="active")

    def set_status(self, subscription: str, status: str) -> None:
        """Any other state, with the event that tells of it."""
        with self.lock:
            self._set(subscription, told=False, status=status)
            kind = {"paused": "paused", "canceled": "deleted"}.get(status, "updated")
            self._tell(f"customer.subscription.{kind}", self.things[subscription])

    def period_end(self, subscription: str) -> int:
        return int(self.things[subscription]["items"]["data"][0]["current_period_end"])

    # ── what is so ────────────────────────────────────────────────────────────────────────────────────────────────

    def all(self, kind: str, **where: Any) -> list[Object]:
        """Copies of all things of a kind, the oldest first."""
        with self.lock:
            return deepcopy(self._of(kind, **where))

    def count(self, method: str, path: str) -> int:
        """How often that was asked; `path` is a pattern."""
        with self.lock:
            return sum(one.method == method and re.fullmatch(path, one.path) is not None for one in self.asked)

    # ── webhooks ──────────────────────────────────────────────────────────────────────────────────────────────────

    def deliver(self, endpoint: str, events: Iterable[Object] | None = None, *, at: int | None = None) -> list[int]:
        """Send events (all that were ever made) one after the other; the statuses of the answers."""
        return [send(endpoint, *sign(one, at=at)) for one in (self.events if events is None else events)]

    def storm(self, endpoint: str, *, times: int = 5, seed: int = 1, senders: int = 2) -> list[int]:
        """Send each event that was ever made `times` times, shuffled, from several senders at once."""
        with self.lock:
            every = list(self.events) * times
        random.Random(seed).shuffle(every)
        statuses: list[int] = []

        def work(part: Sequence[Object]) -> None:
            statuses.extend(self.deliver(endpoint, part))

        threads = [threading.Thread(target=work, args=(every[at::senders],)) for at in range(senders)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return statuses

    def settle(self) -> None:
        """Returns when what was sent by itself has arrived."""
        while self._senders:
            self._senders.pop().join(10)

    # ── inside ────────────────────────────────────────────────────────────────────────────────────────────────────

    def _id(self, prefix: str) -> str:
        return f"{prefix}_{next(self._numbers):024d}"

    def _keep(self, thing: Object) -> Object:
        self.things[thing["id"]] = thing
        return thing

    def _of(self, kind: str, **where: Any) -> list[Object]:
        found = (one for one in self.things.values() if one["object"] == kind and not one.get("deleted"))
        return [one for one in found if all(one.get(name) == value for name, value in where.items())]

    def _set(self, subscription: str, *, told: bool = True, **fields: Any) -> None:
        with self.lock:
            self.things[subscription] |= fields
            if told:
                self._tell("customer.subscription.updated", self.things[subscription])

    def _tell(self, kind: str, about: Object) -> None:
        made = shapes.event(self._id("evt"), int(time.time()), kind, deepcopy(about), API_VERSION)
        self.events.append(made)
        if self.endpoint:
            sender = threading.Thread(target=send, args=(self.endpoint, *sign(made)), daemon=True)
            sender.start()
            self._senders.append(sender)

    def _bill(self, subscription: Object, now: int, status: str, amount: int | None = None) -> Object:
        total = subscription["items"]["data"][0]["price"]["unit_amount"] if amount is None else amount
        made = shapes.invoice(self._id("in"), now, f"MTR-{next(self._numbers):04d}", subscription, total, "open")
        self._keep(made)
        subscription["latest_invoice"] = made["id"]
        if total:
            self.payments[made["id"]] = shapes.invoice_payment(self._id("inpay"), now, made, self._id("pi"))
        if status == "paid":
            self._settle(made)
        return made

    def _settle(self, invoice: Object) -> None:
        now, total = int(time.time()), invoice["total"]
        invoice |= {"status": "paid", "amount_paid": total, "amount_remaining": 0, "auto_advance": False}
        invoice["status_transitions"]["paid_at"] = now
        if total:
            payment = self.payments[invoice["id"]]
            payment |= {"status": "paid", "amount_paid": total}
            self._keep(shapes.charge(self._id("ch"), now, invoice, payment["payment"]["payment_intent"]))
        self._tell("invoice.paid", invoice)

    def _charge_of(self, subscription: str) -> Object:
        intent = self.payments[self.things[subscription]["latest_invoice"]]["payment"]["payment_intent"]
        return self._of("charge", payment_intent=intent)[-1]

    def _refund(self, charge: Object, reason: str | None) -> Object:
        if charge["refunded"]:
            raise ApiError(400, "charge_already_refunded")
        charge |= {"refunded": True, "amount_refunded": charge["amount"]}
        made = self._keep(shapes.refund(self._id("re"), int(time.time()), charge, reason))
        self._tell("refund.created", made)
        return made

    # ── the API ───────────────────────────────────────────────────────────────────────────────────────────────────

    def answer(self, asked: Asked) -> tuple[int, Object]:
        """Status and body of a request to the API."""
        if self.slow:
            time.sleep(self.slow)
        with self.lock:
            self.asked.append(asked)
            key = asked.headers.get("idempotency-key", "")
            if key in self._replies:
                return self._replies[key]
            try:
                if asked.headers.get("authorization") != f"Bearer {KEY}":
                    raise ApiError(401, "invalid_api_key")
                if asked.headers.get("stripe-version") != API_VERSION:
                    raise ApiError(400, "invalid_version")
                if problem := self.refuse(asked):
                    raise problem
                reply = 200, deepcopy(self._route(asked))
            except ApiError as problem:
                reply = problem.status, problem.body()
            if key and reply[0] not in (409, 500, 503):
                self._replies[key] = reply
            return reply

    def _route(self, asked: Asked) -> Object:
        parts = asked.path.removeprefix("/v1/").split("/")
        params = asked.params
        match asked.method, *parts:
            case "POST", "customers":
                return self._keep(
                    shapes.customer(self._id("cus"), int(time.time()), params["email"], params.get("metadata", {}))
                )
            case "GET", "customers", id:
                return self._find(id, "customer", deleted=True)
            case "DELETE", "customers", id:
                self._find(id, "customer")
                self.delete_customer(id)
                return self.things[id]
            case "GET", "prices", id:
                found = dict(self._find(id, "price"))
                return found | {"product": self.things[found["product"]]} if "expand" in params else found
            case "POST", "checkout", "sessions":
                return self._new_checkout(params)
            case "GET", "checkout", "sessions":
                return self._list("checkout.session", params, "customer", "status")
            case "POST", "checkout", "sessions", id, "expire":
                return self._expire(id)
            case "POST", "billing_portal", "sessions":
                self._find(params["customer"], "customer")
                id = self._id("bps")
                return self._keep(shapes.portal_session(id, int(time.time()), params, f"{self.origin}/p/session/{id}"))
            case "GET", "subscriptions":
                return self._subscriptions(params)
            case "DELETE", "subscriptions", id:
                if self._find(id, "subscription")["status"] in ("canceled", "incomplete_expired"):
                    raise ApiError(404, "resource_missing", "id")
                self.cancel(id)
                return self.things[id]
            case _:
                return self._route_money(asked.method, parts, params)

    def _route_money(self, method: str, parts: Sequence[str], params: Object) -> Object:
        match method, *parts:
            case "GET", "invoices":
                return self._invoices(params)
            case "POST", "invoices", id, "void":
                invoice = self._find(id, "invoice")
                if invoice["status"] != "open":
                    raise ApiError(400, "invoice_not_editable")
                invoice["status"] = "void"
                self._tell("invoice.voided", invoice)
                return invoice
            case "POST", "refunds":
                charges = self._of("charge", payment_intent=params["payment_intent"])
                if not charges:
                    raise ApiError(400, "payment_intent_unexpected_state")
                return self._refund(charges[-1], params.get("reason"))
            case "GET", ("refunds" | "disputes") as kind, id:
                found = dict(self._find(id, kind.removesuffix("s")))
                return found | {"charge": self.things[found["charge"]]} if "expand" in params else found
            case "GET", "events":
                since = int(params.get("created", {}).get("gte", 0))
                kinds = params.get("types")
                events = [one for one in self.events if one["created"] >= since and (not kinds or one["type"] in kinds)]
                return self._page(events, params, "/v1/events")
            case _:
                raise ApiError(404, "unknown_url")

    def _find(self, id: str, kind: str, *, deleted: bool = False) -> Object:
        found = self.things.get(id)
        if found is None or found["object"] != kind or (found.get("deleted") and not deleted):
            raise ApiError(404, "resource_missing", "id")
        return found

    def _new_checkout(self, params: Object) -> Object:
        self._find(params["customer"], "customer")
        self._find(params["line_items"][0]["price"], "price")
        tax = params.get("automatic_tax", {}).get("enabled") == "true"
        if tax and params.get("customer_update", {}).get("address") != "auto":
            raise ApiError(400, "customer_tax_location_invalid", "automatic_tax")
        id = self._id("cs_test")
        return self._keep(shapes.checkout_session(id, int(time.time()), params, f"{self.origin}/c/pay/{id}"))

    def _expire(self, id: str) -> Object:
        session = self._find(id, "checkout.session")
        if session["status"] != "open":
            raise ApiError(400, "resource_not_open", "session")
        session |= {"status": "expired", "url": None}
        return session

    def _subscriptions(self, params: Object) -> Object:
        found = self._of("subscription", customer=params["customer"])
        if "status" not in params:
            found = [one for one in found if one["status"] != "canceled"]
        elif params["status"] != "all":
            found = [one for one in found if one["status"] == params["status"]]
        return self._page(found, params, "/v1/subscriptions")

    def _invoices(self, params: Object) -> Object:
        found = self._of("invoice")
        if "customer" in params:
            found = [one for one in found if one["customer"] == params["customer"]]
        if "subscription" in params:
            which = params["subscription"]
            found = [one for one in found if one["parent"]["subscription_details"]["subscription"] == which]
        if "data.payments" in params.get("expand", ()):
            payments = [[self.payments[one["id"]]] if one["id"] in self.payments else [] for one in found]
            lists = [shapes.listed(one, "/v1/invoice_payments") for one in payments]
            found = [one | {"payments": paid} for one, paid in zip(found, lists, strict=True)]
        return self._page(found, params, "/v1/invoices")

    def _list(self, kind: str, params: Object, *names: str) -> Object:
        where = {name: params[name] for name in names if name in params}
        return self._page(self._of(kind, **where), params, f"/v1/{kind.replace('.', '/')}s")

    def _page(self, found: Sequence[Object], params: Object, url: str) -> Object:
        """The latest first, from behind `starting_after`."""
        ordered = sorted(found, key=lambda one: (one["created"], one["id"]), reverse=True)
        ids = [one["id"] for one in ordered]
        start = ids.index(params["starting_after"]) + 1 if "starting_after" in params else 0
        limit = int(params.get("limit", 10))
        return shapes.listed(ordered[start : start + limit], url, more=len(ordered) > start + limit)


# ── webhooks and HTTP ─────────────────────────────────────────────────────────────────────────────────────────────────


def sign(event: Object, *, at: int | None = None, secret: str = WEBHOOK_SECRET) -> tuple[bytes, str]:
    """An event as it is sent, and its `Stripe-Signature` (docs.stripe.com/webhooks#verify-manually)."""
    payload, moment = json.dumps(event, indent=2).encode(), at or int(time.time())
    digest = hmac.new(secret.encode(), b"%d.%b" % (moment, payload), sha256).hexdigest()
    return payload, f"t={moment},v1={digest},v0={'0' * 64}"


def send(endpoint: str, payload: bytes, signature: str) -> int:
    """Post it as Stripe does; the status of the answer."""
    at = urlsplit(endpoint)
    connection = http.client.HTTPConnection(str(at.hostname), at.port, timeout=30)
    headers = {"content-type": "application/json; charset=utf-8", "user-agent": "Stripe/1.0"}
    if signature:
        headers["stripe-signature"] = signature
    try:
        connection.request("POST", at.path, payload, headers)
        answer = connection.getresponse()
        answer.read()
        return answer.status
    finally:
        connection.close()


def nested(encoded: str) -> Object:
    """Stripe's parameters: a[b][0][c]=d as {"a": {"b": [{"c": "d"}]}}."""
    found: Object = {}
    for name, value in parse_qsl(encoded, keep_blank_values=True):
        at = found
        *path, last = re.findall(r"[^\[\]]+", name)
        for part in path:
            at = at.setdefault(part, {})
        at[last] = value
    return dict(_with_lists(found))


def _with_lists(found: Any) -> Any:
    if not isinstance(found, dict):
        return found
    if found and all(name.isdigit() for name in found):
        return [_with_lists(found[name]) for name in sorted(found, key=int)]
    return {name: _with_lists(value) for name, value in found.items()}


_PAGE = """<!doctype html><html lang="en"><title>Stripe (fake)</title><h1>{title}</h1>
<form method="post">{buttons}</form></html>"""


def _handler(fake: StripeFake) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _serve(self) -> None:
            at = urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("content-length") or 0)).decode()
            if not at.path.startswith("/v1/"):
                self._page(at.path, dict(parse_qsl(body)))
                return
            headers = {name.lower(): value for name, value in self.headers.items()}
            asked = Asked(self.command, at.path, nested(at.query or body), headers)
            status, reply = fake.answer(asked)
            time.sleep(fake.late(asked))
            self._send(status, json.dumps(reply).encode(), {"content-type": "application/json", "request-id": "req_1"})

        do_GET = do_POST = do_DELETE = _serve  # noqa: N815

        def _page(self, path: str, form: dict[str, str]) -> None:
            """What people see: Checkout at /c/pay/…, the portal at /p/session/…."""
            session = fake.things.get(path.rsplit("/", 1)[1])
            if session is None:
                self._send(404, b"", {})
                return
            if self.command == "POST":
                self._send(303, b"", {"location": _act(fake, path, session, form.get("do", ""))})
                return
            checkout = path.startswith("/c/")
            names = ("pay", "back") if checkout else ("cancel", "keep", "pay what is owed", "back")
            buttons = "".join(f'<button name="do" value="{name}">{name.capitalize()}</button>' for name in names)
            text = _PAGE.format(title="Subscribe" if checkout else "Your subscription", buttons=buttons)
            self._send(200, text.encode(), {"content-type": "text/html; charset=utf-8"})

        def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            return

    return Handler


def _act(fake: StripeFake, path: str, session: Object, do: str) -> str:
    """Do what somebody pressed; where the browser goes then."""
    if path.startswith("/c/"):
        back = str(session["success_url"] if do == "pay" else session["cancel_url"])
        if do == "pay":
            fake.pay(path)
        return back
    alive = [one["id"] for one in fake.all("subscription", customer=session["customer"]) if one["status"] != "canceled"]
    for one in alive:
        match do:
            case "cancel":
                fake.cancel_at_period_end(one)
            case "keep":
                fake._set(one, cancel_at_period_end=False, cancel_at=None)
            case "pay what is owed":
                fake.recover(one)
    return str(session["return_url"])
