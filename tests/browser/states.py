"""States: every page as somebody may find it: empty, filled, with an error. Whoever adds a page adds its states here.

A page of routes.py that has none is looked at as `ada` sees it, who has something everywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from playwright.sync_api import Browser as Chromium
from playwright.sync_api import Page, expect

from metrion.web.routes import PAGES, Access
from tests.browser.house import CHAT, CHAT_BODY, DESKTOP, House
from tests.chromium import watch
from tests.fake_provider.samples import provider_error
from tests.mail_server import MailServer
from tests.support import Metrion, exchange
from tests.web.people import PASSWORD, new_browser

WRONG_CODE = "000000"


@dataclass
class Look:
    """A page that somebody has open."""

    page: Page
    complaints: list[str]
    house: House

    def fill(self, label: str, text: str) -> None:
        self.page.get_by_label(label, exact=True).fill(text)

    def press(self, name: str) -> None:
        self.page.locator("main").get_by_role("button", name=name, exact=True).click()

    def still(self, *, from_the_start: bool = False) -> None:
        """From now on (or since the page began to load) nothing may move: what comes, comes unasked."""
        self.page.evaluate(f"window.still = {0 if from_the_start else 'performance.now()'}")

    def sees(self, text: str) -> None:
        expect(self.page.locator("main").get_by_text(text).first).to_be_visible()


Act = Callable[[Look], None]


@dataclass(frozen=True)
class State:
    """`who` (see house.py; "": nobody, "new": just signed up) opens `path` and does `act`; `mail`: where mail is on."""

    name: str
    path: str
    who: str = ""
    act: Act | None = None
    mail: bool = False


class Windows:
    """A window at each Metrion, used for one state after the other: new ones would take four times as long."""

    def __init__(self, chromium: Chromium) -> None:
        self._chromium = chromium
        self._open: dict[str, tuple[Page, list[str]]] = {}

    def at(self, metrion: Metrion, cookies: dict[str, str]) -> tuple[Page, list[str]]:
        """The window as if it were new, with these cookies and an address of its own; what it will complain of."""
        if metrion.origin not in self._open:
            page = self._chromium.new_context(color_scheme="light").new_page()
            page.set_default_timeout(10_000)
            self._open[metrion.origin] = page, watch(page)
        else:
            self._open[metrion.origin][0].evaluate("localStorage.clear()")
        page, complaints = self._open[metrion.origin]
        page.context.clear_cookies()
        for name, value in cookies.items():
            page.context.add_cookies([{"name": name, "value": value, "url": metrion.origin}])
        page.set_extra_http_headers({"x-forwarded-for": new_browser(metrion).address})
        page.set_viewport_size(DESKTOP)
        page.emulate_media(color_scheme="light")
        complaints.clear()
        return page, complaints


@contextmanager
def opened(windows: Windows, house: House, state: State) -> Iterator[Look]:
    """The page in that state."""
    metrion = house.server(state.who, mail=state.mail)
    cookies = house.newcomer(mail=state.mail)[1].cookies if state.who == "new" else house.cookies.get(state.who, {})
    look = Look(*windows.at(metrion, cookies), house)
    look.page.goto(metrion.origin + state.path)
    if state.act is not None:
        state.act(look)
    look.page.wait_for_load_state("load")
    yield look


# ── ways in ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def sign_up(email: str, password: str) -> Act:
    def act(look: Look) -> None:
        look.fill("E-mail", email)
        look.fill("Password", password)
        look.page.get_by_label("Name").fill("Grace <b>Hopper</b>")
        look.press("Create account")

    return act


def log_in(tries: int) -> Act:
    def act(look: Look) -> None:
        for _ in range(tries):
            look.fill("E-mail", "nobody@example.com")
            look.fill("Password", "wrong")
            with look.page.expect_navigation():
                look.press("Log in")

    return act


def ask_for_code(*wrong: str, again: bool = False) -> Act:
    def act(look: Look) -> None:
        look.fill("E-mail", look.house.newcomer(mail=True)[0])
        look.press("Mail me a code")
        look.page.wait_for_url("**/enter")
        if again:
            look.press("send another code")
        for label in wrong:
            look.page.get_by_label(label).first.fill(WRONG_CODE)
        if wrong:
            look.page.locator("main form").first.locator('[data-variant="primary"]').click()
            look.page.locator(".error").first.wait_for()

    return act


def confirm_wrong(look: Look) -> None:
    sign_up("to-confirm@example.com", PASSWORD)(look)
    look.page.wait_for_url("**/confirm")
    look.fill("6-digit code", WRONG_CODE)
    look.press("Confirm")
    look.sees("This code is wrong")


def open_sign_in_link(look: Look) -> None:
    look.page.goto(look.house.silent.call("account", "link", "person-0@example.com").strip())


def open_used_link(look: Look) -> None:
    link = look.house.silent.call("account", "link", "person-1@example.com").strip()
    look.page.goto(link)
    look.press("Sign in")
    look.page.wait_for_url("**/integrate")
    look.page.goto(link)


def open_invitation(look: Look) -> None:
    look.page.goto(look.house.silent.call("account", "invite", "invited@example.com").strip())


def open_claim(look: Look) -> None:
    lines = look.house.mailing.log.read_text().split()
    look.page.goto(next(word for word in lines if "/claim/" in word))


def claim_with_short_password(look: Look) -> None:
    open_claim(look)
    look.fill("E-mail", "ops@example.com")
    look.fill("Password", "short")
    look.press("Create the operator's account")
    look.sees("at least 10")


def send_old_form(look: Look) -> None:
    look.page.context.clear_cookies()
    look.fill("E-mail", "nobody@example.com")
    look.fill("Password", "wrong")
    look.press("Log in")
    look.sees("Error 403")


# ── integrate ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def save_key(key: str, *, check: bool = True) -> Act:
    def act(look: Look) -> None:
        look.fill("OpenAI API key", key)
        look.page.get_by_label("Check it with OpenAI first").set_checked(check)
        look.press("Save key")
        look.page.locator("#provider-key :is(.notice, .error)").first.wait_for()

    return act


def refused_key(look: Look) -> None:
    look.house.fake.default = provider_error("openai", 401)
    save_key("sk-proj-refused-0123")(look)
    look.house.fake.default = None
    look.sees("OpenAI refuses this key.")


def first_request(failing: bool) -> Act:
    def act(look: Look) -> None:
        save_key("sk-proj-0123456789", check=False)(look)
        look.press("Show Metrion key")
        expect(look.page.locator("#metrion-key")).not_to_contain_text("…")
        headers = [("Authorization", f"Bearer {look.page.locator('#metrion-key').inner_text()}.invoice-bot")]
        headers += [("x-fake", provider_error("openai", 429).header())] if failing else []
        look.still()
        exchange(look.house.silent.port, "POST", CHAT, headers, CHAT_BODY)
        look.sees("A request arrived" if failing else "First request received.")

    return act


def test_request(look: Look) -> None:
    save_key("sk-proj-0123456789", check=False)(look)
    look.press("Send a test request")
    look.sees("OpenAI answered your test request.")


def choose(tab: str) -> Act:
    return lambda look: look.page.get_by_role("tab", name=tab).click()


# ── settings ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def save_name(look: Look) -> None:
    look.page.get_by_label("Name").fill("Grace Hopper")
    look.press("Save")
    look.sees("Saved.")


def unusable_name(look: Look) -> None:
    look.page.get_by_label("Name").evaluate("input => input.removeAttribute('maxlength')")
    look.page.get_by_label("Name").fill("x" * 99)
    look.press("Save")
    look.sees("at most 80")


def unfold(selector: str) -> Act:
    """Open a menu or table of the dashboard, its charts being there."""

    def act(look: Look) -> None:
        look.page.locator("[data-chart] canvas").first.wait_for()
        look.page.locator(f"{selector} > summary").click()

    return act


def unfold_filters(look: Look) -> None:
    look.page.locator(".more > summary").click()


def open_panel(model: str) -> Act:
    """Open the request beside the log whose line names that model."""

    def act(look: Look) -> None:
        look.page.locator("tr", has_text=model).locator(".row-link[data-htmx-powered]").first.click()
        look.page.locator("#panel article").wait_for()

    return act


def open_alone(look: Look) -> None:
    look.page.goto(look.house.mailing.origin + str(look.page.locator(".row-link").first.get_attribute("href")))


def press(name: str) -> Act:
    return lambda look: look.press(name)


def open_first(name: str) -> Act:
    return lambda look: look.page.locator("main").get_by_role("button", name=name, exact=True).first.click()


def unusable_limit(look: Look) -> None:
    look.page.get_by_label("Limit in ms").fill("many")
    look.press("Make rule")
    look.sees("Enter a number")


def unusable_address(look: Look) -> None:
    look.page.get_by_label("Address").fill("http://127.0.0.1:9000/hook")
    look.press("Make webhook")
    look.sees("private network")


def made_webhook(look: Look) -> None:
    look.page.get_by_label("Address").fill("https://hooks.example.com/metrion")
    look.press("Make webhook")
    look.sees("The webhook is made.")


def regenerated(look: Look) -> None:
    look.press("Regenerate key")
    look.page.get_by_role("dialog").get_by_role("button", name="Regenerate key").click()
    look.sees("Your key was replaced.")


def deleted_key(look: Look) -> None:
    save_key("sk-proj-0123456789", check=False)(look)
    look.page.goto(look.house.silent.origin + "/settings/providers")
    look.press("Delete")
    look.page.get_by_role("dialog").get_by_role("button", name="Delete key").click()
    look.sees("is deleted here")


def wrong_password(look: Look) -> None:
    look.fill("Current password", "not this one")
    look.fill("New password", "another pass phrase")
    look.press("Change password")
    look.sees("This is not your password.")


def wrong_codes(look: Look) -> None:
    look.fill("New address", "elsewhere@example.com")
    look.press("Mail me the codes")
    look.page.wait_for_url("**/email")
    for field in look.page.locator(".code-input").all():
        field.fill(WRONG_CODE)
    look.press("Change address")
    look.page.locator(".error").first.wait_for()


def deletion_code(*, good: bool) -> Act:
    def act(look: Look) -> None:
        email = look.page.locator("main strong").first.inner_text()
        look.press("Mail me the code")
        look.page.get_by_label("6-digit code").wait_for()
        code = MailServer.code_in(look.house.mail.wait_for(email))
        look.fill("6-digit code", code if good else WRONG_CODE)
        look.press("Delete account for good")
        look.sees("All of it is deleted." if good else "This code is wrong")
        look.still(from_the_start=good)

    return act


# ── statements ────────────────────────────────────────────────────────────────────────────────────────────────────────


def make_statement(look: Look) -> None:
    look.press("Make a link")
    look.sees("It is shown this once.")


def open_statement(month: int) -> Act:
    """Make a link to this month's statement, or an earlier one's, and open it as whoever has it."""

    def act(look: Look) -> None:
        look.page.get_by_label("Month").select_option(index=month)
        make_statement(look)
        link = look.page.locator("#made").get_attribute("href")
        look.page.context.clear_cookies()
        look.page.goto(str(link))
        look.page.get_by_role("heading", level=1).wait_for()
        look.still(from_the_start=True)

    return act


def revoke_statement(*, confirm: bool) -> Act:
    def act(look: Look) -> None:
        make_statement(look)
        look.page.get_by_role("button", name="Revoke").first.click()
        if confirm:
            look.page.get_by_role("dialog").get_by_role("button", name="Revoke link").click()
            look.sees("The link is revoked.")

    return act


# ── operator ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def invite(email: str, told: str) -> Act:
    def act(look: Look) -> None:
        look.page.get_by_label("E-mail").fill(email)
        look.press("Make an invitation")
        look.sees(told)

    return act


# ── frame ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def open_menu(look: Look) -> None:
    look.page.locator(".menu > summary").click()


def open_help(look: Look) -> None:
    look.page.keyboard.press("?")
    look.page.get_by_role("dialog").wait_for()


def go_offline(look: Look) -> None:
    look.still()
    look.page.context.set_offline(True)
    expect(look.page.locator("#bar")).to_be_visible()
    look.page.context.set_offline(False)
    look.page.evaluate("dispatchEvent(new Event('offline'))")  # the bar stays for whoever looks at it


TAKEN = "eve@example.com"
NAMED = (
    State("signup", "/signup"),
    State("signup-short-password", "/signup", act=sign_up("grace@example.com", "short")),
    State("signup-taken", "/signup", act=sign_up(TAKEN, PASSWORD)),
    State("invite", "/signup", act=open_invitation),
    State("invite-unknown", "/invite/0123456789abcdef"),
    State("login", "/login"),
    State("login-wrong", "/login", act=log_in(1)),
    State("login-too-often", "/login", act=log_in(11)),
    State("login-old-form", "/login", act=send_old_form),
    State("ask-code", "/login/code", mail=True),
    State("ask-code-without-mail", "/login/code"),
    State("ask-reset", "/reset", mail=True),
    State("ask-reset-without-mail", "/reset"),
    State("code", "/login/code", act=ask_for_code(again=True), mail=True),
    State("code-wrong", "/login/code", act=ask_for_code("6-digit code"), mail=True),
    State("reset", "/reset", act=ask_for_code(), mail=True),
    State("reset-wrong", "/reset", act=ask_for_code("6-digit code", "New password"), mail=True),
    State("confirm-wrong", "/signup", act=confirm_wrong, mail=True),
    State("link", "/login", act=open_sign_in_link),
    State("link-used", "/login", act=open_used_link),
    State("claim", "/login", act=open_claim, mail=True),
    State("claim-signed-in", "/integrate", "ada", open_claim),
    State("claim-short-password", "/login", act=claim_with_short_password, mail=True),
    State("claim-unknown", "/claim/0123456789abcdef"),
    State("not-found", "/no-such-page"),
    State("not-found-signed-in", "/no-such-page", "ada"),
    State("integrate-empty", "/integrate", "eve"),
    State("integrate-filled", "/integrate", "ada"),
    State("integrate-anthropic", "/integrate?provider=anthropic", "ada", choose("curl")),
    State("integrate-pass-through", "/integrate?provider=gemini&mode=pass_through", "ada", choose("TypeScript")),
    State("integrate-tool-without-header", "/integrate?provider=grok&mode=pass_through", "eve", choose("Cursor")),
    State("integrate-tool-elsewhere", "/integrate?provider=openai", "ada", choose("n8n")),
    State("integrate-wrong-key", "/integrate?provider=openai", "eve", save_key("sk-ant-0123456789")),
    State("integrate-refused-key", "/integrate?provider=openai", "eve", refused_key),
    State("integrate-saved", "/integrate?provider=openai", "new", save_key("sk-proj-0123456789")),
    State("integrate-first", "/integrate?provider=openai", "new", first_request(failing=False)),
    State("integrate-failed", "/integrate?provider=openai", "new", first_request(failing=True)),
    State("integrate-tested", "/integrate?provider=openai", "new", test_request),
    State("dashboard-empty", "/dashboard", "eve"),
    State("dashboard-filled", "/dashboard", "ada"),
    State("dashboard-hours", "/dashboard?range=24h", "ada"),
    State("dashboard-filter", "/dashboard?provider=openai&range=30d", "ada", unfold("#filter-menu")),
    State("dashboard-range", "/dashboard", "ada", unfold("#range-menu")),
    State("dashboard-how", "/dashboard", "ada", unfold("#how-cost")),
    State("dashboard-table", "/dashboard", "ada", unfold("#twin-cost")),
    State("dashboard-nothing", "/dashboard?provider=grok&model=gone", "ada"),
    State("dashboard-gone", "/dashboard?from=2024-01-01&to=2024-01-31", "ada"),
    State("dashboard-misunderstood", "/dashboard?range=5y&status=teapot", "ada"),
    State("dashboard-costs-by-class", "/dashboard/costs?by=class&of=tokens", "ada"),
    State("dashboard-source", "/dashboard/sources/invoice-bot", "ada"),
    State("logs-empty", "/logs", "eve"),
    State("logs-nothing", "/logs?q=no-such-thing&provider=grok", "ada"),
    State("logs-filter", "/logs?provider=openai&range=30d", "ada", unfold_filters),
    State("logs-panel", "/logs", "ada", open_panel("claude-sonnet-4-5")),
    State("logs-panel-unpriced", "/logs", "ada", open_panel("a-model-without-a-price")),
    State("logs-one", "/logs", "ada", open_alone),
    State("logs-misunderstood", "/logs?range=5y&status=teapot", "ada"),
    State("general-empty", "/settings", "eve"),
    State("general-filled", "/settings", "ada"),
    State("general-saved", "/settings", "new", save_name),
    State("general-error", "/settings", "eve", unusable_name),
    State("token-empty", "/settings/token", "eve"),
    State("token-filled", "/settings/token", "ada"),
    State("token-dialog", "/settings/token", "ada", press("Regenerate key")),
    State("token-regenerated", "/settings/token", "new", regenerated),
    State("providers-empty", "/settings/providers", "eve"),
    State("providers-filled", "/settings/providers", "ada"),
    State("providers-deleted", "/integrate?provider=openai", "new", deleted_key),
    State("billing-pro", "/settings/billing", "ada"),
    State("billing-used-up", "/settings/billing", "poor"),
    State("billing-operator", "/settings/billing", "boss"),
    State("statements-empty", "/settings/statements", "eve"),
    State("statements-made", "/settings/statements", "ada", make_statement),
    State("statements-dialog", "/settings/statements", "ada", revoke_statement(confirm=False)),
    State("statements-revoked", "/settings/statements", "new", revoke_statement(confirm=True)),
    State("statement", "/settings/statements", "ada", open_statement(0)),
    State("statement-of-nothing", "/settings/statements", "ada", open_statement(1)),
    State("statement-gone", "/statement/0123456789abcdef"),
    State("alerts-filled", "/alerts", "ada"),
    State("alerts-empty", "/alerts", "eve"),
    State("alerts-free", "/alerts", "poor"),
    State("alerts-dialog", "/alerts", "ada", open_first("Delete")),
    State("alert-new", "/alerts/new?kind=budget", "ada"),
    State("alert-error", "/alerts/new?kind=latency", "eve", unusable_limit),
    State("channels-filled", "/settings/alerts", "ada"),
    State("channels-empty", "/settings/alerts", "eve"),
    State("channels-free", "/settings/alerts", "poor"),
    State("webhook-new", "/settings/alerts/webhooks/new", "ada"),
    State("webhook-error", "/settings/alerts/webhooks/new", "eve", unusable_address),
    State("webhook-filled", "/settings/alerts/webhooks/1", "ada"),
    State("webhook-off", "/settings/alerts/webhooks/2", "ada"),
    State("webhook-made", "/settings/alerts/webhooks/new", "new", made_webhook),
    State("webhook-dialog", "/settings/alerts/webhooks/1", "ada", press("Replace secret")),
    State("profile-empty", "/settings/profile", "eve"),
    State("profile-filled", "/settings/profile", "ada"),
    State("profile-dialog", "/settings/profile", "ada", press("Log out everywhere")),
    State("profile-without-password", "/settings/profile", "guest"),
    State("profile-wrong-password", "/settings/profile", "new", wrong_password),
    State("email-codes", "/settings/profile/email", "ada"),
    State("email-wrong-codes", "/settings/profile", "new", wrong_codes, mail=True),
    State("delete", "/settings/profile/delete", "ada"),
    State("delete-by-password", "/settings/profile/delete", "eve"),
    State("delete-by-address", "/settings/profile/delete", "guest"),
    State("delete-wrong-code", "/settings/profile/delete", "new", deletion_code(good=False), mail=True),
    State("deleted", "/settings/profile/delete", "new", deletion_code(good=True), mail=True),
    State("deleted-unknown", "/deleted/0123456789abcdef"),
    State("operator", "/operator", "boss"),
    State("operator-none-found", "/operator?q=nobody", "boss"),
    State("operator-invited", "/operator", "boss", invite("", "The invitation is shown this once")),
    State("operator-error", "/operator", "boss", invite("eve@example.com", "There is an account with this address")),
    State("menu", "/settings", "ada", open_menu),
    State("help", "/settings", "ada", open_help),
    State("offline", "/settings", "ada", go_offline),
)
# What a named state reaches by what it does, what leads elsewhere, and what answers with a piece of a page.
APART = {
    "/login/code/enter",
    "/reset/enter",
    "/confirm",
    "/",
    "/integrate/first",
    "/dashboard/live",
    "/logs/newer",
    "/logs/jump",
}


def _others() -> Iterator[State]:
    """Pages that nobody named, as ada sees them; an address that names one thing among many needs a name."""
    named = {state.path.partition("?")[0] for state in NAMED} | APART
    whose = {Access.ANYBODY: "", Access.SIGNED_IN: "ada", Access.OPERATOR: "boss"}  # the rest is for programs
    for page in PAGES:
        if page.get is not None and page.path not in named and not {"{", "."} & set(page.path) and page.access in whose:
            who = whose[page.access]
            yield State(page.path.strip("/").replace("/", "-"), page.path, who)


STATES = (*NAMED, *_others())
