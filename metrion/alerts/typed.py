"""What people type into the form of a rule, and the rule that is meant."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import date, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

from metrion.alerts.kinds import KINDS, MINUTE_MS, SPANS
from metrion.errors import InputError
from metrion.kit.zones import local_date, midnight
from metrion.rates.table import CURRENCIES
from metrion.storage.alerts import Rule

MOST_RULES = 50  # of an account
MAIL = "mail"  # the channel beside the webhooks, which have their ids
_LONGEST_NAME = 60
_MOST_NAMES = 20  # models, or requesters
_LONGEST_DAYS = 366


def rule_columns(
    kind: str, typed: Mapping[str, str], providers: Collection[str], channels: Iterable[str], zone: str, now_ms: int
) -> dict[str, Any]:
    """Columns of a rule of that kind; `providers` and `channels`: those there are. Raises InputError with the field."""
    told = KINDS.get(kind)
    if told is None:
        raise InputError("Choose what to watch.", field="kind")
    name = typed["name"].strip()
    if len(name) > _LONGEST_NAME or not name.isprintable():
        raise InputError(f"A name has at most {_LONGEST_NAME} characters, in one line.", field="name")
    span = typed["span"]
    if span not in SPANS:
        raise InputError("Choose a time.", field="span")
    currency = typed["currency"] if kind == "budget" else ""
    if kind == "budget" and currency not in CURRENCIES:
        raise InputError("Choose one of the currencies.", field="currency")
    return {
        "kind": kind,
        "name": name,
        "providers": tuple(one for one in sorted(providers) if typed.get(f"provider_{one}")),
        "models": _names(typed, "models"),
        "requesters": _names(typed, "requesters") if told.of_requesters else (),
        "span": span,
        "threshold": _threshold(typed["limit"], told.scale, told.most),
        "currency": currency,
        "least": _least(typed["least"]) if told.least else 0,
        "zone": zone,
        "muted": tuple(one for one in channels if not typed.get(f"channel_{one}")),
        **_bounds(span, typed, zone, now_ms),
    }


def _threshold(text: str, scale: int, most: int) -> int:
    try:
        amount = Decimal(text.strip().replace(",", ""))
    except InvalidOperation:
        raise InputError("Enter a number, as 50 or 2.5.", field="limit") from None
    if not amount.is_finite() or not 0 < amount <= most:
        raise InputError(f"Enter a number above 0, at most {most:,}.", field="limit")
    threshold = amount * scale
    if threshold != int(threshold):
        raise InputError("Enter fewer decimals.", field="limit")
    return int(threshold)


def _least(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 8):
        raise InputError("Enter a whole number.", field="least")
    return int(text)


def _names(typed: Mapping[str, str], field: str) -> tuple[str, ...]:
    found = tuple(dict.fromkeys(name.strip() for name in typed[field].split(",") if name.strip()))
    if len(found) > _MOST_NAMES or not all(name.isprintable() and len(name) <= 256 for name in found):
        raise InputError(f"Enter at most {_MOST_NAMES} names, with commas between them.", field=field)
    return found


def _bounds(span: str, typed: Mapping[str, str], zone: str, now_ms: int) -> dict[str, Any]:
    """From and to, as days of the account's zone, the last one included; without a first day from now on."""
    if span != "since":
        return {"from_ms": 0, "to_ms": None}
    first, last = _day(typed["first"], "first"), _day(typed["last"], "last")
    today = local_date(zone, now_ms)
    if first is not None and not today - timedelta(_LONGEST_DAYS) <= first <= today + timedelta(_LONGEST_DAYS):
        raise InputError("Choose a day within a year of today.", field="first")
    if last is not None and not max(first or today, today) <= last <= today + timedelta(2 * _LONGEST_DAYS):
        raise InputError("Choose a day that is yet to come, not before the first.", field="last")
    return {
        "from_ms": midnight(zone, first) if first is not None else now_ms // MINUTE_MS * MINUTE_MS,
        "to_ms": midnight(zone, last + timedelta(1)) if last is not None else None,
    }


def _day(text: str, field: str) -> date | None:
    try:
        return date.fromisoformat(text) if text else None
    except ValueError:
        raise InputError("Enter a day as 2026-11-21.", field=field) from None


def typed_from(rule: Rule, channels: Iterable[str]) -> dict[str, str]:
    """A rule as its form shows it."""
    amount = Decimal(rule.threshold) / KINDS[rule.kind].scale
    days = {"first": "", "last": ""}
    if rule.span == "since":
        days["first"] = local_date(rule.zone, rule.from_ms).isoformat()
        days["last"] = local_date(rule.zone, rule.to_ms - 1).isoformat() if rule.to_ms is not None else ""
    return {
        "name": rule.name,
        "limit": f"{amount:f}",
        "currency": rule.currency,
        "span": rule.span,
        "least": str(rule.least),
        "models": ", ".join(rule.models),
        "requesters": ", ".join(rule.requesters),
        **days,
        **{f"provider_{one}": "yes" for one in rule.providers},
        **{f"channel_{one}": "yes" for one in channels if one not in rule.muted},
    }


def typed_at_first(kind: str, currency: str, channels: Iterable[str]) -> dict[str, str]:
    """The form of a new rule, which uses all channels."""
    told = KINDS[kind]
    empty = dict.fromkeys(("name", "models", "requesters", "first", "last"), "")
    chosen = {f"channel_{one}": "yes" for one in channels}
    return empty | {"limit": told.limit, "currency": currency, "span": told.span, "least": str(told.least)} | chosen
