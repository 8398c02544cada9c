"""An account's end: `/settings/profile/delete`, and the page after it, which needs no account any more.

What that page tells stands sealed in its address, for nothing of the account is kept.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode

import msgspec
from starlette.responses import Response

from metrion.accounts.codes import check_code, issue_code, pending_subject
from metrion.accounts.deletion import Deleted, begin_deletion
from metrion.errors import InputError, VaultError
from metrion.kit.clock import DAY_MS, now_ms
from metrion.storage.database import Connection
from metrion.storage.deletions import calls_left
from metrion.web.pages.profile import check_own_password
from metrion.web.visit import Form, TooMany, Visit, refused

_PURPOSE = "deleted"
_TOLD_MS = DAY_MS  # how long the page after can be opened
_COUNTED = 10_000  # calls that are left are counted up to here: more would take long


class _Told(msgspec.Struct, frozen=True):
    """What the page after tells."""

    account_id: int
    facts: list[tuple[str, str]]
    provider_keys: int
    at_ms: int


async def show(visit: Visit) -> Response:
    """What will be deleted, and the form that proves who asks for it."""
    return await _page(visit)


async def _page(visit: Visit, status: int = 200, errors: dict[str, str] | None = None) -> Response:
    account_id = visit.account.id
    sent = await visit.site.read(lambda connection: pending_subject(connection, account_id, "delete"))
    return visit.render(
        "settings/delete.html", status, errors=errors, said="", proof=_proof(visit), sent=sent is not None
    )


def _proof(visit: Visit) -> str:
    """What is asked for: a mailed code, the password, or where there is neither the address."""
    if visit.site.mail_on:
        return "code"
    return "password" if visit.account.has_password else "address"


async def send_code(visit: Visit) -> Response:
    """Mail a code to delete the account by."""
    await visit.form()
    account, site = visit.account, visit.site

    def act(connection: Connection) -> None:
        code = issue_code(connection, site.vault, account.id, "delete")
        site.post(connection, account.id, site.letters.delete_code(account.email, code, visit.occasion))

    try:
        if not site.mail_on:
            raise InputError("Mail is off here, so no code can be sent.")
        visit.limit("send_address")
        visit.limit("send_account", str(account.id))
    except (InputError, TooMany) as problem:
        return await _page(visit, *refused(problem, "code"))
    await site.change(act)
    return visit.redirect("/settings/profile/delete")


async def delete(visit: Visit) -> Response:
    """Delete the account: at once what lets anybody in, then what it recorded."""
    form, site = await visit.form(), visit.site
    try:
        await _check_proof(visit, form)
        deleted, problem = await site.change(lambda connection: _delete(visit, connection, form), of=visit.account.id)
    except (InputError, TooMany) as refusal:
        return await _page(visit, *refused(refusal, "code"))
    if deleted is None:
        return await _page(visit, 422, {"code": problem})
    visit.sign_out()
    told = msgspec.json.encode(_Told(deleted.account_id, deleted.facts(), deleted.provider_keys, now_ms()))
    return visit.redirect(f"/deleted/{urlsafe_b64encode(site.vault.seal(0, _PURPOSE, told)).decode()}")


async def _check_proof(visit: Visit, form: Form) -> None:
    """Of a code only that it is not tried too often: it is checked in the transaction that uses it."""
    match _proof(visit):
        case "code":
            visit.limit("code_address")
            visit.limit("code_account", str(visit.account.id))
        case "password":
            await check_own_password(visit, form["password"], "password")
        case _:
            if form["address"].strip().lower() != visit.account.email:
                raise InputError("This is not your address. Type it as it stands above.", "address")


def _delete(visit: Visit, connection: Connection, form: Form) -> tuple[Deleted | None, str]:
    """What was deleted; None and why not where the code is not accepted, which counts as a try."""
    account, site = visit.account, visit.site
    if _proof(visit) == "code":
        result = check_code(connection, site.vault, account.id, "delete", form["code"])
        if not result.ok:
            return None, result.problem
    deleted = begin_deletion(connection, site.vault, account.id)
    site.post(connection, 0, site.letters.account_deleted(deleted.email, deleted.facts(), visit.occasion))
    return deleted, ""


# ── afterwards ────────────────────────────────────────────────────────────────────────────────────────────────────────


async def show_deleted(visit: Visit) -> Response:
    """What was deleted, and what of it still goes."""
    return await _deleted(visit, "settings/deleted.html")


async def show_left(visit: Visit) -> Response:
    """The part of it that changes."""
    return await _deleted(visit, "settings/deleted_left.html")


async def _deleted(visit: Visit, template: str) -> Response:
    told = _open(visit)
    if told is None:
        problem = "This page told what was deleted with an account. It is shown for a day."
        return visit.render("entry/gone.html", 404, problem=problem, how="Nothing of the account is kept.")
    left = await visit.site.read(lambda connection: calls_left(connection, told.account_id, _COUNTED + 1))
    link = str(visit.request.path_params["token"])
    return visit.render(template, **msgspec.structs.asdict(told), left=left, counted=_COUNTED, link=link)


def _open(visit: Visit) -> _Told | None:
    """What the address holds; None where it was not made here or has grown old."""
    try:
        sealed = urlsafe_b64decode(visit.request.path_params["token"])
        told = msgspec.json.decode(visit.site.vault.open(0, _PURPOSE, sealed).reveal(), type=_Told)
    except (ValueError, VaultError):
        return None
    return told if now_ms() - told.at_ms < _TOLD_MS else None
