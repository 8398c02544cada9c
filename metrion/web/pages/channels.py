"""`/settings/alerts`: where alerts are sent, by mail and to webhooks, and what came of it."""

from __future__ import annotations

from typing import Any

from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse, Response

from metrion.accounts.plans import PLANS
from metrion.alerts import webhooks
from metrion.alerts.bodies import trial_news
from metrion.alerts.failing import Failing, failing_webhooks
from metrion.alerts.webhooks import KINDS, MOST_WEBHOOKS
from metrion.errors import InputError, VaultError
from metrion.kit.clock import now_ms
from metrion.storage import webhooks as stored
from metrion.storage.database import Connection
from metrion.storage.webhooks import Webhook
from metrion.web.pages.alerts import allowed, id_in
from metrion.web.visit import TooMany, Visit, refused

_LOG = 50
_NOTES = {
    "made": "The webhook is made. Send a test to see whether it works.",
    "saved": "Saved.",
    "on": "The webhook is on. What waited for it is sent now.",
    "off": "The webhook is off: nothing is sent to it until it is on again.",
    "tested": "The test is on its way. What comes of it stands in the deliveries.",
    "again": "It is on its way again. What comes of it stands in the deliveries.",
    "waits": "That delivery is already waiting to be sent.",
    "replaced": "The secret is replaced. What is sent from now on is signed with the new one.",
    "deleted": "The webhook is deleted.",
}


async def show(visit: Visit) -> Response:
    """Mail, and the account's webhooks with what came of the latest delivery."""
    account_id = visit.account.id

    def read(connection: Connection) -> tuple[list[Webhook], dict[int, Any], list[Failing]]:
        hooks = stored.webhooks_of(connection, account_id)
        return hooks, stored.latest_deliveries(connection, account_id), failing_webhooks(connection, account_id)

    hooks, latest, failing = await visit.site.read(read)
    return visit.render(
        "alerts/channels.html",
        said=visit.take_note(_NOTES),
        hooks=hooks,
        latest=latest,
        failing={one.webhook.id for one in failing},
        kinds=KINDS,
        may_have=PLANS[visit.account.plan].alerts,
        most=MOST_WEBHOOKS,
    )


# ── making and changing ───────────────────────────────────────────────────────────────────────────────────────────────


def _allows_private(visit: Visit) -> bool:
    return visit.site.settings.allow_private_webhooks == "on"


async def show_new(visit: Visit) -> Response:
    """The form of a new webhook."""
    allowed(visit)
    return _new(visit, {"kind": visit.request.query_params.get("kind", "signed"), "name": ""})


def _new(visit: Visit, typed: dict[str, str], status: int = 200, errors: dict[str, str] | None = None) -> Response:
    return visit.render("alerts/new_webhook.html", status, errors=errors, said="", kinds=KINDS, typed=typed)


async def create(visit: Visit) -> Response:
    """Make a webhook."""
    form, site, account_id = await visit.form(), visit.site, visit.account.id
    allowed(visit)

    def act(connection: Connection) -> int:
        given = {name: form[name] for name in ("kind", "name", "url")}
        return webhooks.add(connection, site.vault, account_id, **given, allow_private=_allows_private(visit))

    try:
        webhook_id = await site.change(act)
    except InputError as problem:  # the address, which may be a secret, is typed again
        return _new(visit, {name: form[name] for name in ("kind", "name")}, *refused(problem, "url"))
    visit.note("made")
    return visit.redirect(_path(webhook_id))


def _path(webhook_id: int) -> str:
    return f"/settings/alerts/webhooks/{webhook_id}"


def _find(visit: Visit, connection: Connection) -> Webhook:
    webhook = stored.find_webhook(connection, visit.account.id, id_in(visit, "webhook_id"))
    if webhook is None:
        raise HTTPException(404)
    return webhook


async def show_one(visit: Visit) -> Response:
    """A webhook: its form, its secret, and its deliveries."""
    return await _one(visit)


async def _one(visit: Visit, status: int = 200, errors: dict[str, str] | None = None, name: str = "") -> Response:
    def read(connection: Connection) -> tuple[Webhook, Any]:
        webhook = _find(visit, connection)
        return webhook, stored.deliveries_of(connection, visit.account.id, webhook.id, _LOG)

    webhook, log = await visit.site.read(read)
    context: dict[str, Any] = {
        "hook": webhook,
        "log": log,
        "path": _path(webhook.id),
        "title": webhooks.label(webhook),
        "name": name or webhook.name,
        "may_have": PLANS[visit.account.plan].alerts,
    }
    return visit.render("alerts/webhook.html", status, errors=errors, said=visit.take_note(_NOTES), **context)


async def save(visit: Visit) -> Response:
    """Set the name of a webhook, and its address where one is given."""
    form, site = await visit.form(), visit.site
    allowed(visit)

    def act(connection: Connection) -> int:
        webhook = _find(visit, connection)
        given = {name: form[name] for name in ("name", "url")}
        webhooks.change(connection, site.vault, webhook, **given, allow_private=_allows_private(visit))
        return webhook.id

    try:
        webhook_id = await site.change(act)
    except InputError as problem:
        return await _one(visit, *refused(problem, "url"), name=form["name"])
    visit.note("saved")
    return visit.redirect(_path(webhook_id))


async def switch(visit: Visit) -> Response:
    """Turn a webhook off, or on again."""
    await visit.form()
    allowed(visit)

    def act(connection: Connection) -> Webhook:
        webhook = _find(visit, connection)
        disabled_ms = now_ms() if webhook.disabled_ms is None else None
        stored.update_webhook(connection, webhook.account_id, webhook.id, disabled_ms=disabled_ms)
        return webhook

    was = await visit.site.change(act)
    visit.note("off" if was.disabled_ms is None else "on")
    return visit.redirect(_path(was.id))


async def delete(visit: Visit) -> Response:
    """Delete a webhook with its deliveries; on every plan."""
    await visit.form()

    def act(connection: Connection) -> None:
        webhook = _find(visit, connection)
        stored.delete_webhook(connection, webhook.account_id, webhook.id)

    await visit.site.change(act)
    visit.note("deleted")
    return visit.redirect("/settings/alerts")


# ── the secret ────────────────────────────────────────────────────────────────────────────────────────────────────────


async def reveal(visit: Visit) -> Response:
    """The secret that a webhook is signed with, as text: what Show and Copy ask for."""
    await visit.form()

    def read(connection: Connection) -> str:
        webhook = _find(visit, connection)
        return webhooks.reveal(visit.site.vault, webhook.account_id, webhook.sealed).secret.reveal().decode()

    try:
        secret = await visit.site.read(read)
    except VaultError:
        raise HTTPException(404) from None
    return visit.finish(PlainTextResponse(secret))


async def replace(visit: Visit) -> Response:
    """Give a webhook a new secret."""
    await visit.form()
    allowed(visit)

    def act(connection: Connection) -> int:
        webhook = _find(visit, connection)
        if webhook.kind != "signed":
            raise HTTPException(404)
        webhooks.replace_secret(connection, visit.site.vault, webhook)
        return webhook.id

    webhook_id = await visit.site.change(act)
    visit.note("replaced")
    return visit.redirect(_path(webhook_id))


# ── sending ───────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test(visit: Visit) -> Response:
    """Send a test to a webhook."""
    await visit.form()
    allowed(visit)
    try:
        visit.limit("webhook_account", str(visit.account.id))
    except TooMany as problem:
        return await _one(visit, *refused(problem, "send"))

    def act(connection: Connection) -> int:
        webhook = _find(visit, connection)
        webhooks.put_down(connection, webhook, trial_news(now_ms(), visit.site.public_url))
        return webhook.id

    webhook_id = await visit.site.change(act)
    visit.note("tested")
    return visit.redirect(_path(webhook_id))


async def again(visit: Visit) -> Response:
    """Send a delivery once more."""
    form = await visit.form()
    allowed(visit)
    delivery_id = int(form["delivery"]) if form["delivery"].isdecimal() and len(form["delivery"]) < 18 else 0
    try:
        visit.limit("webhook_account", str(visit.account.id))
    except TooMany as problem:
        return await _one(visit, *refused(problem, "send"))

    def act(connection: Connection) -> tuple[int, bool]:
        webhook = _find(visit, connection)
        return webhook.id, webhooks.send_again(connection, webhook, delivery_id)

    webhook_id, sent = await visit.site.change(act)
    visit.note("again" if sent else "waits")
    return visit.redirect(_path(webhook_id))
