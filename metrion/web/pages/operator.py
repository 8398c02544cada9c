"""`/operator`: the accounts, for whoever runs this Metrion; never keys, logs, requesters or costs."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from metrion.accounts import people
from metrion.accounts.emails import check_email
from metrion.accounts.links import issue_link, link_url
from metrion.accounts.operators import list_accounts
from metrion.accounts.people import Person
from metrion.accounts.plans import PLANS
from metrion.billing.amounts import amount_text
from metrion.billing.grants import set_plan
from metrion.errors import InputError
from metrion.storage.billing import list_reversals
from metrion.storage.database import Connection
from metrion.web.visit import Form, Visit

_PAGE = 50
_REVERSALS = 20


async def show(visit: Visit) -> Response:
    """Accounts, 50 a page, found by a part of their address."""
    return await _page(visit)


async def _page(visit: Visit, status: int = 200, errors: dict[str, str] | None = None, **shown: Any) -> Response:
    asked = visit.request.query_params
    search, after = asked.get("q", "")[:254], asked.get("after", "")
    start = int(after) if after.isascii() and after.isdigit() and len(after) < 18 else 0
    found = await visit.site.read(lambda connection: list_accounts(connection, search, after=start, limit=_PAGE + 1))
    context = {"found": found[:_PAGE], "more": len(found) > _PAGE, "search": search, "start": start, "plans": PLANS}
    context["amount_text"] = amount_text
    context["reversals"] = await visit.site.read(lambda connection: list_reversals(connection, _REVERSALS))
    return visit.render(
        "operator.html", status, errors=errors, **context, **({"link": "", "said": "", "email": ""} | shown)
    )


async def change(visit: Visit) -> Response:
    """Put an account on a plan, disable it or enable it."""
    form = await visit.form()
    try:
        person = await visit.site.change(lambda connection: _change(visit, connection, form), of=_number(form))
    except InputError as problem:
        return await _page(visit, 422, errors={"account": str(problem)})
    said = {"plan": f"is on the {form['plan']} plan now", "disable": "is disabled now", "enable": "is enabled now"}
    return await _page(visit, said=f"{person.email} {said[form['do']]}.")


def _number(form: Form) -> int:
    text = form["account"]
    return int(text) if text.isascii() and text.isdigit() and len(text) < 18 else 0


def _change(visit: Visit, connection: Connection, form: Form) -> Person:
    person = people.get_person(connection, _number(form))
    if person is None:
        raise InputError("This account is no longer there.")
    match form["do"]:
        case "plan":
            site = visit.site
            set_plan(connection, site.vault, site.settings, site.public_url, person.id, person.email, form["plan"])
        case "enable":
            people.set_disabled(connection, person.id, disabled=False)
        case "disable" if person.id == visit.account.id:
            raise InputError("You cannot disable your own account.")
        case "disable":
            people.set_disabled(connection, person.id, disabled=True)
        case _:
            raise InputError("Choose what to do with the account.")
    return person


async def invite(visit: Visit) -> Response:
    """Make an invitation: mailed where mail is on, and shown once."""
    form = await visit.form()
    site = visit.site

    def act(connection: Connection) -> str:
        email = check_email(form["email"]) if form["email"].strip() else ""
        if email and people.find_person(connection, email):
            raise InputError("There is an account with this address already.", "email")
        link = link_url(site.public_url, "invite", issue_link(connection, "invite", email=email))
        if email:
            site.post(connection, 0, site.letters.invitation(email, link))
        return link

    try:
        link = await site.change(act)
    except InputError as problem:
        return await _page(visit, 422, errors={"email": str(problem)}, email=form["email"])
    mailed = (
        f"The invitation is on its way to {form['email'].strip()}." if site.mail_on and form["email"].strip() else ""
    )
    return await _page(visit, link=link, said=mailed)
