"""`/alerts`: rules that watch an account's calls, how near to their limits they are, and what they told."""

from __future__ import annotations

from typing import Any, NamedTuple

from starlette.exceptions import HTTPException
from starlette.responses import Response

from metrion.accounts.plans import PLANS
from metrion.alerts.engine import TEST_PAUSE_MS
from metrion.alerts.failing import Failing, failing_webhooks
from metrion.alerts.kinds import KINDS, SPANS, ended
from metrion.alerts.sums import refill
from metrion.alerts.typed import MAIL, MOST_RULES, rule_columns, typed_at_first, typed_from
from metrion.alerts.values import Value, level_of
from metrion.alerts.webhooks import label
from metrion.alerts.words import amount, share, span_words, title, watched
from metrion.errors import InputError
from metrion.kit.clock import now_ms
from metrion.providers import PROVIDERS
from metrion.rates.table import CURRENCIES
from metrion.storage import alerts as stored
from metrion.storage.alerts import Rule
from metrion.storage.database import Connection
from metrion.storage.webhooks import webhooks_of
from metrion.web.visit import Visit, refused

_HISTORY = 50
_LOOKS_AT = ("providers", "models", "requesters", "span", "from_ms", "to_ms", "zone")
_NOTES = {
    "made": "The rule is made. It watches from now on.",
    "saved": "Saved.",
    "paused": "Paused: this rule tells nothing until it goes on.",
    "resumed": "The rule watches again.",
    "tested": "The test is on its way, and stands in the history.",
    "waits": "This rule was tested within the last 12 hours. Try again later.",
    "deleted": "The rule is deleted. What it told stays in the history.",
}
_STATES = {"": ("good", "Fine"), "warning": ("warn", "Near its limit"), "alert": ("bad", "Reached its limit")}


class _Shown(NamedTuple):
    """A rule as the list tells of it."""

    rule: Rule
    title: str
    watched: str
    span: str
    value: str
    limit: str
    part: int | None  # percent of the limit
    state: tuple[str, str]  # the kind of a badge, and its text
    testable: bool


async def show(visit: Visit) -> Response:
    """All rules with their values, and what fired; on free, what there would be."""
    at_ms, account_id = now_ms(), visit.account.id
    if not PLANS[visit.account.plan].alerts:
        waiting = await visit.site.read(lambda connection: len(stored.rules_of(connection, [account_id])))
        return visit.render("alerts/free.html", kinds=KINDS, waiting=waiting)

    def read(connection: Connection) -> tuple[list[_Shown], list[Any], list[Failing]]:
        rules = [rule for rule in stored.rules_of(connection, [account_id]) if rule.kind in KINDS]
        fired = [one for one in stored.alerts_of(connection, account_id, _HISTORY) if one.kind in KINDS]
        filled = [rule for rule in rules if rule.filled is None]
        values = visit.site.alerts.measure_all(connection, filled, at_ms, keep=False)
        known = {rule.id: value for rule, value in zip(filled, values, strict=True)}
        shown = [_shown(rule, known.get(rule.id), at_ms) for rule in rules]
        return shown, fired, failing_webhooks(connection, account_id)

    shown, fired, failing = await visit.site.read(read)
    said = visit.take_note(_NOTES)
    context: dict[str, Any] = {
        "kinds": KINDS,
        "amount": amount,
        "name_of": title,
        "full": len(shown) >= MOST_RULES,
        "counting": any(one.rule.filled is not None for one in shown),
    }
    return visit.render("alerts/page.html", said=said, shown=shown, fired=fired, failing=failing, **context)


def _shown(rule: Rule, known: Value | None, at_ms: int) -> _Shown:
    """A rule with its value; None: its sums are still being made."""
    value = known or Value(None, 0)
    state = _STATES[level_of(value, rule.threshold)]
    if value.figure is None:
        state = ("neutral", "Too few requests") if known else ("info", "Counting your calls")
    if ended(rule, at_ms):
        state = ("neutral", "Over")
    if rule.paused_ms is not None:
        state = ("neutral", "Paused")
    return _Shown(
        rule,
        title(rule.kind, rule.name),
        watched(rule),
        span_words(rule),
        amount(rule.kind, value.rounded, rule.currency),
        amount(rule.kind, rule.threshold, rule.currency),
        share(value.rounded, rule.threshold),
        state,
        rule.tested_ms is None or at_ms - rule.tested_ms >= TEST_PAUSE_MS,
    )


# ── the form ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def _channels(visit: Visit, connection: Connection) -> dict[str, str]:
    """What a rule of the account may tell by, with labels."""
    hooks = {str(one.id): label(one) for one in webhooks_of(connection, visit.account.id)}
    return {MAIL: f"Mail to {visit.account.email}"} | hooks if visit.site.mail_on else hooks


def _form(
    visit: Visit,
    channels: dict[str, str],
    kind: str,
    typed: dict[str, str],
    rule_id: int,
    status: int = 200,
    errors: dict[str, str] | None = None,
) -> Response:
    context: dict[str, Any] = {
        "channels": channels,
        "providers": PROVIDERS,
        "spans": SPANS,
        "currencies": CURRENCIES,
        "typed": typed,
        "rule_id": rule_id,
    }
    return visit.render("alerts/form.html", status, errors=errors, kind=kind, told=KINDS[kind], **context)


def allowed(visit: Visit) -> None:
    """403 where the account's plan has no alerts."""
    if not PLANS[visit.account.plan].alerts:
        raise HTTPException(403, "Alerts are part of Pro. Your plan is shown under Settings, Plan.")


async def show_new(visit: Visit) -> Response:
    """The form of a new rule, of the kind that the address names."""
    allowed(visit)
    kind = visit.request.query_params.get("kind", "budget")
    if kind not in KINDS:
        raise HTTPException(404)
    channels = await visit.site.read(lambda connection: _channels(visit, connection))
    return _form(visit, channels, kind, typed_at_first(kind, visit.account.currency, channels), 0)


async def create(visit: Visit) -> Response:
    """Make a rule, with the sums of what there was."""
    form, account, at_ms = await visit.form(), visit.account, now_ms()
    allowed(visit)
    kind = form["kind"]
    if kind not in KINDS:
        raise HTTPException(404)
    channels = await visit.site.read(lambda connection: _channels(visit, connection))

    def act(connection: Connection) -> None:
        if len(stored.rules_of(connection, [account.id])) >= MOST_RULES:
            raise InputError(f"An account has at most {MOST_RULES} rules. Delete one first.", field="name")
        columns = rule_columns(kind, form, PROVIDERS, channels, account.time_zone, at_ms)
        rule = Rule(id=0, account_id=account.id, created_ms=at_ms, **columns)
        refill(connection, rule._replace(id=stored.add_rule(connection, rule)), at_ms)

    try:
        await visit.site.change(act)
    except InputError as problem:
        return _form(visit, channels, kind, _typed(form), 0, *refused(problem, "name"))
    visit.note("made")
    return visit.redirect("/alerts")


def _typed(form: Any) -> dict[str, str]:
    fields = ("name", "limit", "currency", "span", "least", "models", "requesters", "first", "last")
    return {name: form[name] for name in fields} | {
        name: "yes" for name in form if name.startswith(("provider_", "channel_"))
    }


async def show_one(visit: Visit) -> Response:
    """The form of a rule."""
    allowed(visit)
    rule, channels = await visit.site.read(lambda connection: _found(visit, connection))
    return _form(visit, channels, rule.kind, typed_from(rule, channels), rule.id)


def _found(visit: Visit, connection: Connection) -> tuple[Rule, dict[str, str]]:
    return _find(visit, connection), _channels(visit, connection)


def id_in(visit: Visit, name: str) -> int:
    """The number that the address names; 0, which nothing has, where it is none."""
    text = visit.request.path_params[name]
    return int(text) if text.isascii() and text.isdigit() and len(text) < 18 else 0


def _find(visit: Visit, connection: Connection) -> Rule:
    rule = stored.find_rule(connection, visit.account.id, id_in(visit, "rule_id"))
    if rule is None or rule.kind not in KINDS:
        raise HTTPException(404)
    return rule


async def save(visit: Visit) -> Response:
    """Change a rule: sums are made anew if it looks at something else, and another limit may be told of at once."""
    form, account, at_ms = await visit.form(), visit.account, now_ms()
    allowed(visit)
    rule, channels = await visit.site.read(lambda connection: _found(visit, connection))

    def act(connection: Connection) -> None:
        columns = rule_columns(rule.kind, form, PROVIDERS, channels, account.time_zone, at_ms)
        again = {"warned_ms": None, "alerted_ms": None} if columns["threshold"] != rule.threshold else {}
        if not stored.update_rule(connection, account.id, rule.id, **columns, **again):
            return
        if any(columns[name] != getattr(rule, name) for name in _LOOKS_AT):
            refill(connection, rule._replace(**columns), at_ms)
        stored.set_due(connection, [account.id])

    try:
        await visit.site.change(act)
    except InputError as problem:
        return _form(visit, channels, rule.kind, _typed(form), rule.id, *refused(problem, "name"))
    visit.note("saved")
    return visit.redirect("/alerts")


# ── pause, test, delete ───────────────────────────────────────────────────────────────────────────────────────────────


async def pause(visit: Visit) -> Response:
    """Pause a rule, or let it go on."""
    await visit.form()
    allowed(visit)

    def act(connection: Connection) -> bool:
        rule = _find(visit, connection)
        pausing = rule.paused_ms is None
        stored.update_rule(connection, rule.account_id, rule.id, paused_ms=now_ms() if pausing else None)
        stored.set_due(connection, [rule.account_id])
        return pausing

    visit.note("paused" if await visit.site.change(act) else "resumed")
    return visit.redirect("/alerts")


async def test(visit: Visit) -> Response:
    """Send the message of a rule now, at most every 12 hours."""
    await visit.form()
    allowed(visit)
    sent = await visit.site.change(
        lambda connection: visit.site.alerts.test(connection, _find(visit, connection), now_ms())
    )
    visit.note("tested" if sent else "waits")
    return visit.redirect("/alerts")


async def delete(visit: Visit) -> Response:
    """Delete a rule."""
    await visit.form()
    allowed(visit)

    def act(connection: Connection) -> None:
        rule = _find(visit, connection)
        stored.delete_rule(connection, rule.account_id, rule.id)

    await visit.site.change(act)
    visit.note("deleted")
    return visit.redirect("/alerts")
