"""`/settings`: how an account is shown, and its keys. Its plan stands in billing.py, its profile in profile.py."""

from __future__ import annotations

import asyncio
from functools import cache
from typing import NamedTuple

from starlette.responses import Response

from metrion.accounts import people
from metrion.accounts.provider_keys import delete_provider_key
from metrion.accounts.tokens import let_read, mask_token, may_read, replace_token, reveal_token
from metrion.errors import InputError
from metrion.providers import PROVIDERS
from metrion.rates.table import Rate
from metrion.storage import accounts as stored
from metrion.storage.database import Connection
from metrion.web.snippets import RECIPES
from metrion.web.visit import TooMany, Visit, refused

_NOTES = {
    "saved": "Saved.",
    "regenerated": "Your key was replaced. Put the new one into your apps: the old one is refused from now on.",
}

# ── general ───────────────────────────────────────────────────────────────────────────────────────────────────────────

# Where people live. Other names are older spellings of these, or offsets.
_REGIONS = ("Africa", "America", "Antarctica", "Asia", "Atlantic", "Australia", "Europe", "Indian", "Pacific")


@cache
def _zones() -> dict[str, list[str]]:
    """The zones to choose from, by region."""
    found: dict[str, list[str]] = {region: [] for region in _REGIONS}
    for zone in people.time_zones():
        region = zone.partition("/")[0]
        if region in found:
            found[region].append(zone)
    return found


async def show_general(visit: Visit) -> Response:
    """Name, currency and time zone; what the account is; what leaves this machine."""
    return await _general(visit)


async def _general(
    visit: Visit, status: int = 200, errors: dict[str, str] | None = None, typed: dict[str, str] | None = None
) -> Response:
    account = visit.account
    chosen = typed or {"name": account.name, "currency": account.currency, "time_zone": account.time_zone}
    rates = await asyncio.to_thread(_rates, visit)
    zones = await asyncio.to_thread(_zones)
    return visit.render(
        "settings/general.html",
        status,
        errors=errors,
        said=visit.take_note(_NOTES),
        chosen=chosen,
        currencies=people.CURRENCIES,
        rates=rates,
        zones=zones,
        listed=any(chosen["time_zone"] in of_region for of_region in zones.values()),
    )


def _rates(visit: Visit) -> list[Rate]:
    return [visit.site.rates.of(currency) for currency in people.CURRENCIES if currency != "USD"]


async def save_general(visit: Visit) -> Response:
    """Set name, currency and time zone."""
    form = await visit.form()
    typed = {name: form[name] for name in ("name", "currency", "time_zone")}
    try:
        await visit.site.change(lambda connection: people.set_profile(connection, visit.account.id, **typed))
    except InputError as problem:
        return await _general(visit, *refused(problem, "name"), typed=typed)
    visit.note("saved")
    return visit.redirect("/settings")


# ── Metrion key ───────────────────────────────────────────────────────────────────────────────────────────────────────


class _Key(NamedTuple):
    masked: str
    created_ms: int
    used_ms: int | None
    reads: bool  # whether it may read the JSON API


async def show_token(visit: Visit) -> Response:
    """The Metrion key, masked, and the way to replace it."""
    return await _token(visit)


async def _token(visit: Visit, status: int = 200, errors: dict[str, str] | None = None) -> Response:
    key = await visit.site.read(lambda connection: _key(visit, connection))
    return visit.render("settings/token.html", status, errors=errors, said=visit.take_note(_NOTES), key=key)


def _key(visit: Visit, connection: Connection) -> _Key | None:
    account_id = visit.account.id
    rows = stored.list_tokens(connection, account_id)
    if not rows:
        return None
    created_ms = rows[0].created_ms
    person = people.get_person(connection, account_id)
    used_ms = person.used_ms if person is not None else None
    return _Key(
        mask_token(reveal_token(connection, visit.site.vault, account_id)),
        created_ms,
        used_ms if used_ms is not None and used_ms >= created_ms else None,  # else the one before was used
        may_read(connection, account_id),
    )


async def set_reads(visit: Visit) -> Response:
    """Let the Metrion key read the JSON API, or no longer."""
    form, account_id = await visit.form(), visit.account.id
    await visit.site.change(lambda connection: let_read(connection, account_id, bool(form["reads"])))
    visit.note("saved")
    return visit.redirect("/settings/token")


async def regenerate(visit: Visit) -> Response:
    """Put a new Metrion key in the place of the old one, which is refused when this is answered."""
    await visit.form()
    account, site = visit.account, visit.site

    def act(connection: Connection) -> None:
        replace_token(connection, site.vault, account.id)
        site.post(connection, account.id, site.letters.key_regenerated(account.email, visit.occasion))

    try:
        visit.limit("key_account", str(account.id))
    except TooMany as problem:
        return await _token(visit, *refused(problem, "token"))
    await site.change(act, of=account.id)
    visit.note("regenerated")
    return visit.redirect("/settings/token")


# ── provider keys ─────────────────────────────────────────────────────────────────────────────────────────────────────


async def show_providers(visit: Visit) -> Response:
    """The stored provider keys, never more of one than its tail."""
    return await _providers(visit)


async def _providers(visit: Visit, status: int = 200, errors: dict[str, str] | None = None) -> Response:
    keys = await visit.site.read(lambda connection: stored.list_provider_keys(connection, visit.account.id))
    # Named in the address, so that the reminder is still there when the page is loaded again.
    deleted = visit.request.query_params.get("deleted", "")
    reminded = RECIPES.get(deleted) if deleted not in {key.provider for key in keys} else None
    return visit.render(
        "settings/providers.html", status, errors=errors, said="", keys=keys, providers=PROVIDERS, reminded=reminded
    )


async def delete_key(visit: Visit) -> Response:
    """Delete a stored provider key, and remind of revoking it at its provider."""
    form, account_id = await visit.form(), visit.account.id
    provider = form["provider"]
    try:
        await visit.site.change(lambda connection: delete_provider_key(connection, account_id, provider), of=account_id)
    except InputError as problem:
        return await _providers(visit, *refused(problem, "provider"))
    return visit.redirect(f"/settings/providers?deleted={RECIPES[provider].provider}")
