"""The ways in: sign up, log in, log out.

With mail configured no answer tells whether an address has an account: the page, its status and the work are the same,
and what is to be said goes to the address. A chosen password and name are kept in the browser, sealed, until the
address is confirmed: so nobody can prepare an account for an address that is not theirs.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec
from starlette.exceptions import HTTPException
from starlette.responses import Response

from metrion.accounts import people
from metrion.accounts.codes import LIFETIME_MS, NOT_ACCEPTED, Purpose, check_code, issue_code, would_accept
from metrion.accounts.emails import check_email
from metrion.accounts.limits import account_key
from metrion.accounts.links import read_link
from metrion.accounts.passwords import check_password
from metrion.accounts.people import Person
from metrion.accounts.sessions import end_session, list_sessions, start_session
from metrion.errors import InputError
from metrion.kit.clock import now_ms
from metrion.storage.database import Connection
from metrion.web.visit import Form, Step, TooMany, Visit

_HOME = "/integrate"
_CODE_PAGES = {"confirm": "/confirm", "login": "/login/code/enter", "reset": "/reset/enter"}
_OURS = re.compile(r"(/[A-Za-z0-9_-]+)+")
_WRONG = "The address or the password is wrong. You can also log in with a code."
_WRONG_NO_MAIL = "The address or the password is wrong."
_EXPIRED = "This code has expired. Codes are valid for 10 minutes; ask for a new one."
DISABLED = "This account is disabled. Ask whoever runs this Metrion."

# ── sign up ───────────────────────────────────────────────────────────────────────────────────────────────────────────


async def show_signup(visit: Visit) -> Response:
    """The form; by invitation only where an invitation is wanted."""
    if visit.session:
        return visit.redirect(_HOME)
    return await _signup_page(visit, visit.request.path_params.get("token", ""))


async def _signup_page(visit: Visit, invite: str, code: int = 200, **shown: Any) -> Response:
    invited = None
    if invite:
        invited = await visit.site.read(lambda connection: read_link(connection, "invite", invite))
    policy = visit.site.settings.signup_policy
    context: dict[str, Any] = {"email": invited.email if invited else "", "name": "", "errors": {}}
    closed = "" if policy == "open" or (invited and invited.ok and policy == "invite") else policy
    if invited and not invited.ok:
        invite, code = "", code if code != 200 else 404 if invited.verdict == "unknown" else 410
    problem = invited.problem if invited else ""
    return visit.render("entry/signup.html", code, invite=invite, closed=closed, problem=problem, **(context | shown))


async def sign_up(visit: Visit) -> Response:
    """Make an account and sign in; with mail, ask for the code that was mailed first."""
    form = await visit.form()
    invite = form["invite"]
    try:
        _check_policy(visit, invite)
        visit.limit("signup_address")
        email, name = check_email(form["email"]), people.check_name(form["name"])
        check_password(form["password"], email)
        password_hash = await visit.site.passwords.hash(form["password"])
        if visit.site.mail_on:
            return await _sign_up_by_mail(visit, email, name, password_hash, invite)
        return await _sign_up_at_once(visit, email, name, password_hash, invite)
    except (InputError, TooMany) as problem:
        field = problem.field or "email" if isinstance(problem, InputError) else "email"
        code = 422 if isinstance(problem, InputError) else 429
        shown = {"email": form["email"], "name": form["name"], "errors": {field: str(problem)}}
        return await _signup_page(visit, invite, code, **shown)


def _check_policy(visit: Visit, invite: str) -> None:
    policy = visit.site.settings.signup_policy
    if policy == "closed" or (policy == "invite" and not invite):
        raise InputError("Signing up takes an invitation here. Ask whoever runs this Metrion.")


async def _sign_up_at_once(visit: Visit, email: str, name: str, password_hash: str, invite: str) -> Response:
    site = visit.site

    def act(connection: Connection) -> tuple[int, str]:
        made = people.sign_up(
            connection,
            site.vault,
            email,
            password_hash,
            plan=site.settings.first_plan,
            name=name,
            confirmed=True,  # there is nothing to confirm it by
            invite=invite or None,
        )
        return made.account_id, start_session(connection, made.account_id, visit.agent, visit.address)

    account_id, cookie = await site.change(act)
    await site.reload(account_id)  # its key works from now on
    visit.sign_in(cookie)
    return visit.redirect(_HOME)


async def _sign_up_by_mail(visit: Visit, email: str, name: str, password_hash: str, invite: str) -> Response:
    visit.limit("send_account", email)
    site = visit.site

    def act(connection: Connection) -> int:
        if invite:  # for an address that has an account too: what becomes of the invitation would tell
            people.accept_invitation(connection, invite, email)
        person = people.find_person(connection, email)
        if person is not None and person.confirmed:
            site.post(connection, person.id, site.letters.you_have_an_account(email, visit.occasion))
            return person.id
        if person is None:
            account_id = people.sign_up(
                connection,
                site.vault,
                email,
                None,
                plan=site.settings.first_plan,
                confirmed=False,
            ).account_id
        else:
            account_id = person.id
        _send_code(visit, connection, account_id, email, "confirm")
        return account_id

    await site.reload(await site.change(act))
    visit.remember(Step(email, "confirm", now_ms(), password_hash, name))
    return visit.redirect("/confirm")


# ── log in by password ────────────────────────────────────────────────────────────────────────────────────────────────


async def show_login(visit: Visit) -> Response:
    """The form; whoever is signed in goes on."""
    going = going_on(visit.request.query_params.get("next", ""))
    if visit.session:
        return visit.redirect(going)
    return visit.render("entry/login.html", email="", next=going, errors={})


async def log_in(visit: Visit) -> Response:
    """Sign in with address and password."""
    form = await visit.form()
    going = going_on(form["next"])
    try:
        person = await _check_login(visit, form)
    except (InputError, TooMany) as problem:
        field = problem.field or "password" if isinstance(problem, InputError) else "password"
        code = 422 if isinstance(problem, InputError) else 429
        errors = {field: str(problem)}
        return visit.render("entry/login.html", code, email=form["email"], next=going, errors=errors)
    await start(visit, person.id, by=person.password_hash)
    await _renew_hash(visit, person, form["password"])
    return visit.redirect(going)


async def _check_login(visit: Visit, form: Form) -> Person:
    """Who logs in; InputError in the same words whatever is wrong, after the same work."""
    site = visit.site
    email = check_email(form["email"])
    visit.limit("login_address")
    person, known = await site.read(lambda connection: _find(connection, email))
    key = account_key(person.id, visit.address, known) if person else email
    visit.limit("login_account", key)
    stored = person.password_hash if person else None
    if not await site.passwords.verify(stored, form["password"]) or person is None or stored is None:
        raise InputError(_WRONG if site.mail_on else _WRONG_NO_MAIL, "password")
    if person.disabled:
        raise InputError(DISABLED, "email")
    site.limits.reset("login_account", key)
    return person


async def _renew_hash(visit: Visit, person: Person, password: str) -> None:
    """Keep the password that was typed at today's cost."""
    before, site = person.password_hash, visit.site
    if before is not None and site.passwords.needs_rehash(before):
        renewed = await site.passwords.hash(password)
        await site.change(lambda connection: people.renew_hash(connection, person.id, before, renewed))


def _find(connection: Connection, email: str) -> tuple[Person | None, list[str]]:
    """An account, and the addresses it has live sessions from."""
    person = people.find_person(connection, email)
    return person, [one.address for one in list_sessions(connection, person.id)] if person else []


async def start(visit: Visit, account_id: int, *, by: str | None = None) -> None:
    """Sign in anew; a session this browser had before ends. `by` and 403: see `people.let_in`."""
    before = visit.session

    def act(connection: Connection) -> str:
        if before is not None:
            end_session(connection, before.id, before.digest)
        return people.let_in(connection, account_id, visit.agent, visit.address, by=by)

    try:
        visit.sign_in(await visit.site.change(act))
    except InputError as problem:
        raise HTTPException(403, str(problem)) from None


async def log_out(visit: Visit) -> Response:
    """End this session."""
    await visit.form()
    session = visit.session
    if session is not None:
        await visit.site.change(lambda connection: end_session(connection, session.id, session.digest))
    visit.sign_out()
    return visit.redirect("/login")


def going_on(path: str) -> str:
    """Where to go after signing in: a path of ours, as it was asked for, else the first page."""
    return path if _OURS.fullmatch(path) and path not in ("/login", "/signup") else _HOME


# ── codes ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


async def show_ask(visit: Visit) -> Response:
    """The form that asks for a code to log in (/login/code) or to set a new password (/reset)."""
    return visit.render("entry/ask.html", reset=_is_reset(visit), email="", errors={})


async def ask(visit: Visit) -> Response:
    """Mail a code, if the address has an account; the answer is the same if not."""
    form = await visit.form()
    reset = _is_reset(visit)
    try:
        if not visit.site.mail_on:
            raise InputError("Mail is off here. Ask whoever runs this Metrion for a sign-in link.")
        email = check_email(form["email"])
        visit.limit("send_address")
        visit.limit("send_account", email)
    except (InputError, TooMany) as problem:
        code = 422 if isinstance(problem, InputError) else 429
        return visit.render("entry/ask.html", code, reset=reset, email=form["email"], errors={"email": str(problem)})
    purpose: Purpose = "reset" if reset else "login"

    def act(connection: Connection) -> None:
        person = people.find_person(connection, email)
        if person is not None and not person.disabled:
            _send_code(visit, connection, person.id, email, purpose)

    await visit.site.change(act)
    visit.remember(Step(email, purpose, now_ms()))
    return visit.redirect(_CODE_PAGES[purpose])


def _is_reset(visit: Visit) -> bool:
    return visit.request.url.path == "/reset"


def _send_code(visit: Visit, connection: Connection, account_id: int, email: str, purpose: Purpose) -> None:
    letters = visit.site.letters
    write = {"confirm": letters.confirm_code, "login": letters.login_code, "reset": letters.reset_code}[purpose]
    code = issue_code(connection, visit.site.vault, account_id, purpose)
    visit.site.post(connection, account_id, write(email, code, visit.occasion))


async def show_code(visit: Visit) -> Response:
    """The form for the code, at /confirm, /login/code/enter and /reset/enter."""
    return _code_page(visit, visit.step) if visit.step else visit.redirect("/login")


def _code_page(visit: Visit, step: Step, status: int = 200, problem: str = "", field: str = "code") -> Response:
    sent_again = "again" in visit.request.query_params
    errors = {field: problem} if problem else {}
    return visit.render("entry/code.html", status, step=step, sent_again=sent_again, errors=errors)


async def enter_code(visit: Visit) -> Response:
    """Take the code: confirm the address, sign in, or set the new password and sign in."""
    form, step = await visit.form(), visit.step
    if step is None:
        return visit.redirect("/login")
    try:
        visit.limit("code_address")
        visit.limit("code_account", step.email)
        password_hash = await _chosen_password(visit, step, form)
        cookie = await visit.site.change(lambda connection: _take_code(visit, connection, step, form, password_hash))
    except TooMany as problem:
        return _code_page(visit, step, 429, str(problem))
    except InputError as problem:
        return _code_page(visit, step, 422, str(problem), problem.field or "code")
    if not cookie:
        expired = now_ms() - step.at_ms >= LIFETIME_MS
        return _code_page(visit, step, 422, _EXPIRED if expired else NOT_ACCEPTED)
    visit.site.limits.reset("code_account", step.email)
    visit.sign_in(cookie)
    return visit.redirect(_HOME)


async def _chosen_password(visit: Visit, step: Step, form: Form) -> str:
    """The hash of the password that comes into force with the code; "" where none does.

    A typed one is hashed, which is dear, for a code that is going to be accepted only: that it took long tells no more
    than the answer, and whatever else is wrong takes the same time.
    """
    if step.purpose != "reset":
        return step.password_hash
    check_password(form["password"], step.email)
    if not await visit.site.read(lambda connection: _would_take(visit, connection, step, form["code"])):
        return ""
    return await visit.site.passwords.hash(form["password"])


def _would_take(visit: Visit, connection: Connection, step: Step, code: str) -> bool:
    person = people.find_person(connection, step.email)
    return person is not None and would_accept(connection, visit.site.vault, person.id, step.purpose, code)


def _take_code(visit: Visit, connection: Connection, step: Step, form: Form, password_hash: str) -> str:
    """The cookie of a new session; "" where the code is not accepted, which counts as a try."""
    person = people.find_person(connection, step.email)
    if person is None or not check_code(connection, visit.site.vault, person.id, step.purpose, form["code"]).ok:
        return ""
    if person.disabled:
        raise InputError(DISABLED)
    if step.purpose == "reset" and not password_hash:  # the code came between our look and this one
        return ""
    if password_hash:
        people.set_password(connection, person.id, password_hash)
    if not person.confirmed:
        people.confirm(connection, person.id, step.name)
    if step.purpose == "reset":
        letter = visit.site.letters.password_changed(person.email, visit.occasion)
        visit.site.post(connection, person.id, letter)
    return start_session(connection, person.id, visit.agent, visit.address)


async def send_again(visit: Visit) -> Response:
    """Mail another code in the place of the one before."""
    await visit.form()
    step = visit.step
    if step is None:
        return visit.redirect("/login")
    try:
        visit.limit("send_address")
        visit.limit("send_account", step.email)
    except TooMany as problem:
        return _code_page(visit, step, 429, str(problem))

    def act(connection: Connection) -> None:
        person = people.find_person(connection, step.email)
        if person is not None and not person.disabled and (step.purpose != "confirm" or not person.confirmed):
            _send_code(visit, connection, person.id, step.email, step.purpose)

    await visit.site.change(act)
    visit.remember(msgspec.structs.replace(step, at_ms=now_ms()))
    return visit.redirect(_CODE_PAGES[step.purpose] + "?again")
