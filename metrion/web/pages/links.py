"""Links that work once: to sign in, to become the operator. Opening one does not use it: mail scanners open links."""

from __future__ import annotations

from starlette.responses import Response

from metrion.accounts import people
from metrion.accounts.emails import check_email
from metrion.accounts.links import LinkResult, read_link, use_link
from metrion.accounts.passwords import check_password
from metrion.errors import InputError
from metrion.storage.database import Connection
from metrion.web.pages import entry
from metrion.web.visit import TooMany, Visit


def _token(visit: Visit) -> str:
    return str(visit.request.path_params["token"])


def _gone(visit: Visit, found: LinkResult, how: str) -> Response:
    """What to tell whoever opened a link that is worth nothing, and how to get another."""
    code = 404 if found.verdict == "unknown" else 410
    return visit.render("entry/gone.html", code, problem=found.problem, how=how)


# ── sign in ───────────────────────────────────────────────────────────────────────────────────────────────────────────

_HOW_SIGN_IN = "Whoever runs this Metrion makes one with: metrion account link"


async def show_sign_in(visit: Visit) -> Response:
    """A button that signs in."""
    found = await visit.site.read(lambda connection: read_link(connection, "sign_in", _token(visit)))
    if not found.ok:
        return _gone(visit, found, _HOW_SIGN_IN)
    return visit.render("entry/link.html")


async def sign_in(visit: Visit) -> Response:
    """Use the link and sign its account in."""
    await visit.form()
    visit.limit("code_address")
    found = await visit.site.change(lambda connection: use_link(connection, "sign_in", _token(visit)))
    if not found.ok or found.account_id is None:
        return _gone(visit, found, _HOW_SIGN_IN)
    await entry.start(visit, found.account_id)
    return visit.redirect("/")


# ── become the operator ───────────────────────────────────────────────────────────────────────────────────────────────

_HOW_CLAIM = "There is an operator already, or the server was started again and printed a newer link."


async def show_claim(visit: Visit) -> Response:
    """For whoever is signed in a button; for anybody else a form that makes the operator's account."""
    found = await visit.site.read(lambda connection: read_link(connection, "claim", _token(visit)))
    if not found.ok:
        return _gone(visit, found, _HOW_CLAIM)
    return visit.render("entry/claim.html", email="", errors={})


async def claim(visit: Visit) -> Response:
    """Use the link: make this account, or a new one, the operator's."""
    form = await visit.form()
    try:
        visit.limit("signup_address")
        if visit.session:
            done, account_id = await _claim_as(visit, visit.session.id), visit.session.id
        else:
            done, account_id = await _claim_anew(visit, form["email"], form["password"])
    except (InputError, TooMany) as problem:
        field = problem.field or "email" if isinstance(problem, InputError) else "email"
        code = 422 if isinstance(problem, InputError) else 429
        return visit.render("entry/claim.html", code, email=form["email"], errors={field: str(problem)})
    if not done.ok:
        return _gone(visit, done, _HOW_CLAIM)
    if visit.session is None:
        await visit.site.reload(account_id)
        await entry.start(visit, account_id)
    return visit.redirect("/operator")


async def _claim_as(visit: Visit, account_id: int) -> LinkResult:
    def act(connection: Connection) -> LinkResult:
        found = use_link(connection, "claim", _token(visit))
        if found.ok:
            people.make_operator(connection, account_id)
        return found

    return await visit.site.change(act)


async def _claim_anew(visit: Visit, address: str, password: str) -> tuple[LinkResult, int]:
    site = visit.site
    email = check_email(address)
    check_password(password, email)
    found = await site.read(lambda connection: read_link(connection, "claim", _token(visit)))
    if not found.ok:  # no hash for whoever only guesses
        return found, 0
    password_hash = await site.passwords.hash(password)

    def act(connection: Connection) -> tuple[LinkResult, int]:
        found = use_link(connection, "claim", _token(visit))
        if not found.ok:
            return found, 0
        # Whoever has the link reads what the server prints: nobody else need confirm the address.
        plan = site.settings.first_plan
        made = people.sign_up(connection, site.vault, email, password_hash, plan=plan, confirmed=True, operator=True)
        return found, made.account_id

    return await site.change(act)
