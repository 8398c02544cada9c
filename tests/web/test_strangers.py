"""Every page and form, tried with somebody else's identifiers: by another account, by the operator, and by nobody.

The list is routes.py's own, and the fields are those of the forms that their owner finds, so that a new page is tried
without being named here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import quote, urlencode

import pytest

from metrion.config import Settings
from metrion.storage.database import open_reader
from metrion.web.routes import PAGES, Access
from tests.fake_provider.samples import chat_body
from tests.storage.everything import rows_in
from tests.support import Metrion, exchange
from tests.web.browser import Browser, Page
from tests.web.people import OTHER, PASSWORD, by_link, new_browser, sign_up, signed_in, signed_up

OWNER = "owner-of-it@example.com"
# What people change; the rest is what their calls left, and that is added up while the tests run.
CHANGED = ("accounts", "tokens", "provider_keys", "sessions", "alert_rules", "webhooks", "deliveries", "links", "calls")
# Made by each request of their own, or ends what the next ones need.
ENDS_OWN = {"/logout", "/settings/profile/sessions"}


@dataclass
class Owner:
    """Whose things they are: `ids` by the name of a field or of a place in a path; `marks` nobody else may see."""

    metrion: Metrion
    browser: Browser
    ids: dict[str, str] = field(default_factory=dict)
    fields: dict[str, str] = field(default_factory=dict)
    marks: list[str] = field(default_factory=list)

    def path(self, path: str) -> str:
        """A path of routes.py with the owner's things in its places."""
        for name in [part.partition("}")[0] for part in path.split("{")[1:]]:
            path = path.replace(f"{{{name}}}", quote(self.ids[name.partition(":")[0]], safe=""))
        return path

    def seen_in(self, page: Page) -> list[str]:
        return [mark for mark in self.marks if mark in page.html or mark in page.url]

    def has(self) -> dict[str, list[tuple[object, ...]]]:
        """What is the owner's in the database."""
        engine = open_reader(Settings(data_dir=self.metrion.data_dir))
        with engine.connect() as connection:
            rows = rows_in(connection, int(self.ids["account_id"]))
        engine.dispose()
        return {name: rows.get(name, []) for name in CHANGED}


@pytest.fixture(scope="module")
def owner(silent: Metrion) -> Owner:
    """Somebody with something everywhere."""
    browser = new_browser(silent)
    sign_up(browser, OWNER, OTHER)
    silent.call("key", "set", "openai", "--account", OWNER, given="the-owners-own-key-Zx9Q\n")
    browser.get("/settings")
    browser.submit("/settings", name="Countess of Marks", currency="CHF", time_zone="Europe/Zurich")
    key = browser.secret("/integrate/token")
    headers = [("Authorization", f"Bearer {key}.owners-bot"), ("x-fake", chat_body("owners-model").header())]
    body = b'{"model":"owners-model","messages":[]}'
    assert exchange(silent.port, "POST", "/api/proxy/openai/v1/chat/completions", headers, body).status == 200
    (row,) = silent.rows(1, email=OWNER)
    browser.get("/alerts/new?kind=budget")
    browser.submit("/alerts/new", limit="17", name="owners-rule")
    rule = next(form.action.split("/")[2] for form in browser.get("/alerts").forms if form.action.endswith("/pause"))
    browser.get("/settings/alerts/webhooks/new")
    webhook = browser.submit("/settings/alerts/webhooks/new", url="https://owners.example.com/x", name="owners-webhook")
    account = browser.get("/settings").text.partition("Account number ")[2].partition(" ")[0]
    found = Owner(
        silent, browser, marks=[OWNER, "Countess", key, key[-8:], "Zx9Q", "owners-bot", "owners-model", "owners-rule"]
    )
    found.ids = {"account": account, "account_id": account, "id": account, "request_id": str(row["request_id"])}
    found.marks += ["owners-webhook", "owners.example.com"]
    found.ids |= {
        "webhook_id": webhook.path.rpartition("/")[2],
        "rule_id": rule,
        "rule": rule,
        "requester": "owners-bot",
        "token": "0" * 32,
    }
    for page in (page for page in PAGES if page.get and "csv" not in page.path and "json" not in page.path):
        for form in browser.get(found.path(page.path)).forms:
            found.fields |= form.fields
    typed = {"name": "Somebody", "key": "sk-somebody-elses-own", "email": OWNER}  # what is no identifier is one's own
    found.fields |= typed | {"account": account, "session": sessions_of(browser)[0]}
    found.marks.append(found.fields["session"])
    assert signed_in(browser)
    return found


def sessions_of(browser: Browser) -> list[str]:
    return [form.fields["session"] for form in browser.get("/settings/profile").forms if "session" in form.fields]


@pytest.fixture(scope="module")
def strangers(silent: Metrion, owner: Owner) -> Iterator[dict[str, Browser]]:
    """Who tries."""
    silent.call("account", "create", "operator@example.com", "--operator")
    eve = signed_up(silent, None, "eve-the-stranger@example.com")
    yield {"eve": eve, "operator": by_link(silent, "operator@example.com"), "nobody": new_browser(silent)}


STRANGERS = ("eve", "operator", "nobody")


@pytest.mark.parametrize("who", STRANGERS)
@pytest.mark.parametrize("path", [page.path for page in PAGES if page.get])
def test_no_page_shows_what_is_anothers(path: str, who: str, owner: Owner, strangers: dict[str, Browser]) -> None:
    browser = strangers[who]
    numbers = {name: owner.ids[name] for name in ("account", "account_id", "id", "rule_id")}
    rows = dict.fromkeys(("tested", "checked", "after", "before", "request_id"), owner.ids["request_id"])
    for query in ("", "?" + urlencode(numbers | rows)):
        page = browser.get(owner.path(path) + query)
        assert page.status in (200, 204, 400, 401, 403, 404, 410), page.status
        seen = owner.seen_in(page)
        if who == "operator" and path == "/operator":  # addresses are what that page is for, and nothing else
            assert owner.seen_in(browser.get(f"{path}?q={quote(OWNER)}")) == [OWNER]
            assert set(seen) <= {OWNER}
        elif path == "/dashboard/sources/{requester:path}":  # what is asked for is repeated; nothing was found by it
            assert set(seen) <= {"owners-bot"}
        else:
            assert seen == []


@pytest.mark.parametrize("who", STRANGERS)
@pytest.mark.parametrize("path", [page.path for page in PAGES if page.post and page.path not in ENDS_OWN])
def test_no_form_changes_what_is_anothers(path: str, who: str, owner: Owner, strangers: dict[str, Browser]) -> None:
    if who == "operator" and path == "/operator/account":
        pytest.skip("it is there to change others' plan and state; test_entry.py tries it")
    browser, before = strangers[who], owner.has()
    csrf = browser.get("/settings").html.partition('name="csrf" content="')[2].partition('"')[0]
    page = browser.post(owner.path(path), owner.fields | owner.ids | {"csrf": csrf})
    assert page.status in (200, 204, 400, 403, 404, 410, 422, 429), page.status
    assert not set(owner.seen_in(page)) - {OWNER}  # which was typed
    assert owner.has() == before
    assert signed_in(owner.browser)
    if who != "nobody" and not signed_in(browser):
        strangers[who] = by_link(owner.metrion, f"{'eve-the-stranger' if who == 'eve' else 'operator'}@example.com")


@pytest.mark.parametrize("path", [page.path for page in PAGES if page.post and page.access is not Access.SIGNED])
def test_a_form_with_anothers_token_is_refused(path: str, owner: Owner, strangers: dict[str, Browser]) -> None:
    page = strangers["eve"].post(owner.path(path), owner.fields)
    assert page.status == (404 if path.startswith("/operator") else 403)
    assert signed_in(strangers["eve"])


def test_the_operators_page_has_neither_keys_nor_logs_nor_requesters_nor_costs(
    owner: Owner, strangers: dict[str, Browser]
) -> None:
    text = strangers["operator"].get(f"/operator?q={OWNER}").text
    assert OWNER in text and "Pro" in text and "Active" in text
    assert "$" not in text and "sk-" not in text and "OpenAI" not in text
    assert strangers["eve"].get("/operator").status == 404


def test_the_owner_still_has_all_of_it(owner: Owner) -> None:
    assert sum(map(len, owner.has().values())) >= 6
    assert owner.browser.get("/settings").form("/settings").fields["name"] == "Countess of Marks"
    assert owner.browser.secret("/integrate/token") in owner.marks
    assert PASSWORD != OTHER
