"""`/settings/profile`: password, address, sessions, and the download of all that is kept."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import NamedTuple

from starlette.responses import Response

from metrion.accounts import people
from metrion.accounts.codes import CodeResult, Purpose, check_codes, issue_code, pending_subject
from metrion.accounts.emails import check_email
from metrion.accounts.export import export_account
from metrion.accounts.passwords import check_password
from metrion.accounts.sessions import Listed, end_session, end_sessions, list_sessions
from metrion.errors import InputError
from metrion.kit.browsers import name_browser
from metrion.kit.clock import now_ms
from metrion.storage.database import Connection
from metrion.web.download import Download, SignedInReads
from metrion.web.visit import TooMany, Visit, refused

_FRESH_MS = 10 * 60_000  # how long after signing in a first password may be set
_NOTES = {
    "password": "Your password is set. All other sessions are logged out.",
    "email": "Your e-mail address was changed. Log in with it from now on.",
    "session": "That session is logged out.",
}
_NEED_PASSWORD = "Set a password first: without mail, it shows that a change comes from you."  # noqa: S105 (words)
_NOT_FRESH = "Sign in again first: a password is set within 10 minutes of signing in."


class _Kept(NamedTuple):
    sessions: list[Listed]
    pending: str | None  # the address that is to become the account's


def _read(visit: Visit, connection: Connection) -> _Kept:
    account_id = visit.account.id
    return _Kept(list_sessions(connection, account_id), pending_subject(connection, account_id, "email_new"))


async def show(visit: Visit) -> Response:
    """All of it."""
    return await _page(visit)


async def _page(visit: Visit, status: int = 200, errors: dict[str, str] | None = None, email: str = "") -> Response:
    kept = await visit.site.read(lambda connection: _read(visit, connection))
    return visit.render(
        "settings/profile.html",
        status,
        errors=errors,
        said=visit.take_note(_NOTES),
        sessions=kept.sessions,
        pending=kept.pending,
        email=email,
        fresh=_is_fresh(visit),
        browser=name_browser,
    )


def _is_fresh(visit: Visit) -> bool:
    return now_ms() - visit.account.started_ms < _FRESH_MS


# ── password ──────────────────────────────────────────────────────────────────────────────────────────────────────────


async def change_password(visit: Visit) -> Response:
    """Set a new password, for who knows the one before or has just signed in; every other session ends."""
    form, account, site = await visit.form(), visit.account, visit.site
    try:
        if account.has_password:
            await check_own_password(visit, form["current"], "current")
        elif not _is_fresh(visit):
            raise InputError(_NOT_FRESH, "password")
        check_password(form["password"], account.email)
        password_hash = await site.passwords.hash(form["password"])
    except (InputError, TooMany) as problem:
        return await _page(visit, *refused(problem, "current"))

    def act(connection: Connection) -> None:
        people.set_password(connection, account.id, password_hash, but=account.digest)
        site.post(connection, account.id, site.letters.password_changed(account.email, visit.occasion))

    await site.change(act)
    visit.note("password")
    return visit.redirect("/settings/profile")


async def check_own_password(visit: Visit, typed: str, field: str) -> None:
    """Pass whoever knows the account's password; else InputError, and TooMany for who keeps guessing."""
    account_id, site = visit.account.id, visit.site
    visit.limit("password_account", str(account_id))
    person = await site.read(lambda connection: people.get_person(connection, account_id))
    if person is None or not await site.passwords.verify(person.password_hash, typed):
        raise InputError("This is not your password.", field)
    site.limits.reset("password_account", str(account_id))


# ── e-mail address ────────────────────────────────────────────────────────────────────────────────────────────────────


async def change_email(visit: Visit) -> Response:
    """With mail, send a code to the address before and one to the new; without, take the password for a proof."""
    form = await visit.form()
    try:
        email = check_email(form["email"])
        if email == visit.account.email:
            raise InputError("This is your address already.", "email")
        if visit.site.mail_on:
            return await _send_codes(visit, email)
        if not visit.account.has_password:
            raise InputError(_NEED_PASSWORD, "email")
        await check_own_password(visit, form["email_password"], "email_password")
        await visit.site.change(lambda connection: _set_email(visit, connection, email), of=visit.account.id)
    except (InputError, TooMany) as problem:
        return await _page(visit, *refused(problem, "email"), email=form["email"])
    visit.note("email")
    return visit.redirect("/settings/profile")


async def _send_codes(visit: Visit, email: str) -> Response:
    account, site = visit.account, visit.site
    visit.limit("send_address")
    visit.limit("send_account", str(account.id))
    visit.limit("send_account", email)

    def act(connection: Connection) -> None:
        codes = {
            purpose: issue_code(connection, site.vault, account.id, purpose, email)
            for purpose in ("email_old", "email_new")
        }
        letters = site.letters
        old = letters.email_change_old(account.email, codes["email_old"], email, visit.occasion)
        new = letters.email_change_new(email, codes["email_new"], visit.occasion)
        if people.find_person(connection, email):  # which a page must not tell, but the address's owner may know
            new = letters.address_taken(email, visit.occasion)
        site.post(connection, account.id, old)
        site.post(connection, account.id, new)

    await site.change(act)
    return visit.redirect("/settings/profile/email")


def _set_email(visit: Visit, connection: Connection, email: str) -> None:
    people.change_email(connection, visit.account.id, email)
    letter = visit.site.letters.email_changed(visit.account.email, email, visit.occasion)
    visit.site.post(connection, visit.account.id, letter)


async def show_email(visit: Visit) -> Response:
    """The form for both codes."""
    pending = await visit.site.read(lambda connection: pending_subject(connection, visit.account.id, "email_new"))
    return _email_page(visit, pending) if pending else visit.redirect("/settings/profile")


def _email_page(visit: Visit, email: str, status: int = 200, errors: dict[str, str] | None = None) -> Response:
    return visit.render("settings/email.html", status, errors=errors, said="", email=email)


async def enter_codes(visit: Visit) -> Response:
    """Take both codes and change the address."""
    form, account_id = await visit.form(), visit.account.id

    def act(connection: Connection) -> tuple[str, dict[str, str]]:
        email = pending_subject(connection, account_id, "email_new") or form["email"]
        typed: dict[Purpose, str] = {"email_old": form["old"], "email_new": form["new"]}
        results = check_codes(connection, visit.site.vault, account_id, typed)
        if all(result.ok for result in results.values()):
            _set_email(visit, connection, results["email_new"].subject)
        return email, _problems(results)

    try:
        visit.limit("code_address")
        visit.limit("code_account", str(account_id))
        email, errors = await visit.site.change(act, of=account_id)
    except (InputError, TooMany) as problem:
        status, _ = refused(problem, "new")
        return _email_page(visit, form["email"], status, {"new": str(problem)})
    if errors:
        return _email_page(visit, email, 422, errors)
    visit.site.limits.reset("code_account", str(account_id))
    visit.note("email")
    return visit.redirect("/settings/profile")


def _problems(results: dict[Purpose, CodeResult]) -> dict[str, str]:
    fields = {"old": results["email_old"].problem, "new": results["email_new"].problem}
    return {field: problem for field, problem in fields.items() if problem}


# ── sessions ──────────────────────────────────────────────────────────────────────────────────────────────────────────


async def end_one(visit: Visit) -> Response:
    """End one of the account's sessions."""
    form, account = await visit.form(), visit.account
    digest = _digest(form["session"])
    ended = await visit.site.change(lambda connection: end_session(connection, account.id, digest))
    if not ended:
        return await _page(visit, 422, {"session": "This session has ended already."})
    if digest == account.digest:
        visit.sign_out()
        return visit.redirect("/login")
    visit.note("session")
    return visit.redirect("/settings/profile")


def _digest(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        return b""


async def end_all(visit: Visit) -> Response:
    """End every session of the account, this one too."""
    await visit.form()
    account_id = visit.account.id
    await visit.site.change(lambda connection: end_sessions(connection, account_id))
    visit.sign_out()
    return visit.redirect("/login")


# ── data ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


async def download(visit: Visit) -> Response:
    """Everything that is kept of the account, as one JSON file."""
    day = datetime.now(UTC).date().isoformat()
    pieces = export_account(SignedInReads(visit), visit.site.settings, visit.account.id)
    headers = {"content-disposition": f"attachment; filename=metrion-{day}.json"}
    return visit.finish(Download(pieces, media_type="application/json", headers=headers))
