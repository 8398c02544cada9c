"""The parts of pages in a real browser, under the real policy: what app.js, htmx and the macros do together."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import pytest
import uvicorn
from jinja2 import ChoiceLoader, FileSystemLoader
from playwright.sync_api import Browser, Page, expect
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route

from metrion.config import Settings
from metrion.kit.clock import now_ms
from metrion.web.assets import Assets
from metrion.web.render import STATIC, make_templates
from metrion.web.security import App, Guard, Scope
from tests.chromium import needs_chromium, open_chromium

pytestmark = needs_chromium

CSRF = "c0ffee"
SECRET = "sk-metrion-0123456789abcdef0123456789aba1b2"
TYPED = """<script>window.hacked = 1</script>" onfocus="window.hacked = 1"""
ACCOUNT = SimpleNamespace(
    name="Ada <b>Lovelace</b>", email="ada@example.com", plan="pro", operator=False, grace_ends_ms=None
)
VISIT = SimpleNamespace(use=None)
PIECE = '<p id="piece">from the server</p><script>window.hacked = 1</script><p style="color: red">red</p>'


@dataclass
class Served:
    """A server with one page of all parts; `posts` are the forms it got."""

    origin: str = ""
    posts: list[dict[str, str]] = field(default_factory=list)


def parts_app(served: Served) -> Starlette:
    assets = Assets(STATIC)
    templates = make_templates(assets)
    assert templates.loader
    templates.loader = ChoiceLoader([templates.loader, FileSystemLoader(Path(__file__).parent)])

    def render(template: str, **given: object) -> str:
        context = {"csrf": CSRF, "visit": VISIT, "account": ACCOUNT, "nav": "logs", "now_ms": now_ms(), "typed": TYPED}
        return templates.get_template(template).render(**(context | given))

    async def parts(request: Request) -> Response:
        return HTMLResponse(render("parts_page.html", nav=request.url.path[1:]))

    async def broken(request: Request) -> Response:
        words = {"status": 500, "headline": "This failed", "advice": "Try again.", "error_id": "17"}
        return HTMLResponse(render("error_part.html", **words), 500)

    async def piece(request: Request) -> Response:
        return HTMLResponse(PIECE)

    async def echo(request: Request) -> Response:
        return PlainTextResponse(f"token {request.headers.get('x-csrf-token')}")

    async def secret(request: Request) -> Response:
        known = request.headers.get("x-csrf-token") == CSRF
        return PlainTextResponse(SECRET if known else "no", 200 if known else 403)

    async def sent(request: Request) -> Response:
        form = await request.form()
        served.posts.append({name: str(value) for name, value in form.items()})
        return PlainTextResponse("sent")

    async def static(request: Request) -> Response:
        found = assets.get(request.url.path, request.headers.get("accept-encoding", ""))
        assert found, request.url.path
        return Response(found[0], headers={name.decode(): value.decode() for name, value in found[1]})

    return Starlette(
        routes=[
            *(Route(f"/{name}", parts) for name in ("parts", "logs", "dashboard")),
            Route("/broken", broken),
            Route("/piece", piece),
            Route("/echo", echo, methods=["POST"]),
            Route("/secret", secret, methods=["POST"]),
            Route("/sent", sent, methods=["POST"]),
            Route("/static/{name:path}", static),
        ]
    )


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    served = Served()

    def refuse(scope: Scope, status: int, why: str) -> App:
        return PlainTextResponse(why, status)

    guarded = Guard(parts_app(served), Settings(), "http://127.0.0.1", refuse)
    server = uvicorn.Server(uvicorn.Config(guarded, port=0, log_level="warning", lifespan="off"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + 10
    while not server.started and time.monotonic() < deadline:
        time.sleep(0.01)
    served.origin = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    yield served
    server.should_exit = True
    thread.join(10)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with open_chromium() as browser:
        yield browser


@pytest.fixture
def complaints() -> list[str]:
    """What the browser complained of; a violation of the policy is one."""
    return []


@pytest.fixture
def page(chromium: Browser, served: Served, complaints: list[str]) -> Iterator[Page]:
    context = chromium.new_context(permissions=["clipboard-read", "clipboard-write"])
    page = context.new_page()
    page.set_default_timeout(10_000)
    page.on("console", lambda said: complaints.append(said.text) if said.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.clock.install()
    page.goto(served.origin + "/parts")
    yield page
    context.close()


def clipboard(page: Page) -> str:
    return str(page.evaluate("navigator.clipboard.readText()"))


def test_the_policy_has_nothing_to_complain_of(page: Page, complaints: list[str]) -> None:
    assert page.locator("#field-name").input_value() == TYPED
    page.locator("#field-name").focus()
    assert page.evaluate("window.hacked") is None
    assert page.locator("[style], [onclick]").count() == 0
    assert complaints == []


def test_copy_fetches_a_secret_at_the_click(page: Page, complaints: list[str]) -> None:
    assert SECRET not in page.content()
    button = page.locator(".secret [data-copy-from]")
    button.click()
    expect(button).to_contain_text("Copied")
    expect(page.locator("#live")).to_have_text("Copied")
    assert clipboard(page) == SECRET
    assert SECRET not in page.content()
    page.clock.run_for(2_100)
    expect(button).to_contain_text("Copy key")
    assert complaints == []


def test_copy_takes_a_text_or_what_an_element_says(page: Page) -> None:
    page.get_by_role("button", name="Copy the text").click()
    expect(page.get_by_role("button", name="Copied the text")).to_be_visible()
    assert clipboard(page) == "some text"
    page.locator(".code").first.get_by_role("button").click()
    expect(page.locator(".code").first.get_by_role("button")).to_contain_text("Copied")
    assert clipboard(page) == "print('python')"


def test_copy_works_where_the_browser_has_no_clipboard_api(page: Page) -> None:
    page.evaluate("Object.defineProperty(navigator, 'clipboard', { value: undefined })")
    page.get_by_role("button", name="Copy the text").click()
    expect(page.get_by_role("button", name="Copied the text")).to_be_visible()
    page.locator("#search").focus()
    page.keyboard.press("Control+V")
    assert page.locator("#search").input_value() == "some text"


def test_copy_says_when_it_failed(page: Page) -> None:
    page.evaluate("document.querySelector('meta[name=csrf]').content = 'other'")
    button = page.locator(".secret [data-copy-from]")
    button.click()
    expect(button).to_contain_text("Not copied")
    assert clipboard(page) != "no"


def test_a_secret_is_shown_for_thirty_seconds(page: Page) -> None:
    button, key = page.locator("[data-reveal]"), page.locator("#key")
    page.clock.pause_at(time.time() + 60)
    button.click()
    expect(key).to_have_text(SECRET)
    expect(button).to_contain_text("Hide")
    page.clock.run_for(29_000)
    expect(key).to_have_text(SECRET)
    page.clock.run_for(1_500)
    expect(key).to_have_text("sk-metrion-…a1b2")
    button.click()
    expect(key).to_have_text(SECRET)
    button.click()
    expect(key).to_have_text("sk-metrion-…a1b2")


def test_tabs_follow_the_arrows_and_stay(page: Page) -> None:
    page.get_by_role("tab", name="Python").focus()
    page.keyboard.press("ArrowLeft")
    expect(page.get_by_role("tab", name="curl")).to_be_focused()
    expect(page.get_by_role("tabpanel", name="curl")).to_be_visible()
    expect(page.locator("#panel-language-python")).to_be_hidden()
    page.reload()
    expect(page.get_by_role("tab", name="curl")).to_have_attribute("aria-selected", "true")
    page.get_by_role("tab", name="TypeScript").click()
    expect(page.locator("#panel-language-node")).to_be_visible()


def test_a_danger_asks_for_its_word(page: Page, served: Served) -> None:
    dialog = page.get_by_role("dialog", name="Regenerate key")
    page.get_by_role("button", name="Regenerate", exact=True).click()
    confirm = dialog.get_by_role("button", name="Regenerate key")
    expect(confirm).to_be_disabled()
    dialog.get_by_label("Type regenerate to confirm").fill("regenerat")
    expect(confirm).to_be_disabled()
    dialog.get_by_label("Type regenerate to confirm").fill("regenerate")
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    page.get_by_role("button", name="Regenerate", exact=True).click()
    confirm.click()
    page.wait_for_url("**/sent")
    assert served.posts[-1] == {"csrf": CSRF, "confirm": "regenerate"}


def test_a_form_is_sent_once(page: Page, served: Served) -> None:
    before = len(served.posts)
    page.locator("#field-password").fill("secret")
    page.locator("#field-code").fill("123456")
    page.locator("#form").evaluate("form => (form.target = '_blank')")  # so that this page stays to be looked at
    send = page.locator("#form").get_by_role("button", name="Send")
    with page.expect_popup() as popup:
        send.click()
    send.click()
    send.click()
    popup.value.wait_for_url("**/sent")
    assert served.posts[before:] == [
        {"csrf": CSRF, "name": TYPED, "password": "secret", "currency": "EUR", "check": "yes", "code": "123456"}
    ]
    page.clock.run_for(10_100)  # an answer that is a file would leave this page to be used again
    with page.expect_popup():
        send.click()


def test_a_password_can_be_looked_at(page: Page) -> None:
    page.get_by_role("button", name="Show password").click()
    expect(page.locator("#field-password")).to_have_attribute("type", "text")
    page.get_by_role("button", name="Hide password").click()
    expect(page.locator("#field-password")).to_have_attribute("type", "password")


def test_the_theme_is_kept_and_there_before_the_first_paint(page: Page) -> None:
    for theme in ("light", "dark"):
        page.locator("[data-theme-switch]").click()
        assert page.locator("html").get_attribute("data-theme") == theme
    page.route("**/static/app.*.js", lambda route: route.abort())
    page.reload()
    assert page.locator("html").get_attribute("data-theme") == "dark"
    assert (
        page.evaluate("getComputedStyle(document.documentElement).getPropertyValue('--data-1')") == "rgb(150, 156, 253)"
    )


def test_a_field_with_an_error_has_the_focus(page: Page) -> None:
    expect(page.locator(":focus")).to_have_attribute("aria-invalid", "true")


def test_keys_lead_to_places(page: Page) -> None:
    page.locator("h1").click()  # out of the field with an error
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keyboard shortcuts")).to_be_visible()
    page.keyboard.press("Escape")
    page.keyboard.press("/")
    expect(page.locator("#search")).to_be_focused()
    page.keyboard.type("gd?/")
    assert page.locator("#search").input_value() == "gd?/"
    page.locator("#search").blur()
    page.keyboard.press("d")
    page.keyboard.press("g")
    page.keyboard.press("l")
    page.wait_for_url("**/logs")


def test_the_menu_closes_by_escape_and_elsewhere(page: Page) -> None:
    menu = page.locator(".menu-list")
    page.get_by_label("Account menu").click()
    expect(menu).to_be_visible()
    page.keyboard.press("Escape")
    expect(menu).to_be_hidden()
    page.get_by_label("Account menu").click()
    page.locator("h1").click()
    expect(menu).to_be_hidden()


def test_htmx_brings_a_piece_but_none_of_its_scripts(page: Page) -> None:
    page.locator("#get").click()
    expect(page.locator("#piece")).to_have_text("from the server")
    assert page.evaluate("window.hacked") is None
    assert page.get_by_text("red", exact=True).evaluate("it => getComputedStyle(it).color") != "rgb(255, 0, 0)"


def test_htmx_sends_the_token_and_shows_what_failed(page: Page) -> None:
    page.locator("#post").click()
    expect(page.locator("#place")).to_have_text(f"token {CSRF}")
    page.locator("#fail").click()
    expect(page.locator("#place").get_by_role("alert")).to_contain_text("This failed")


def test_a_server_out_of_reach_is_told(page: Page) -> None:
    bar = page.locator("#bar")
    page.route("**/piece", lambda route: route.abort())
    page.locator("#get").click()
    expect(bar).to_contain_text("Metrion could not be reached")
    expect(bar.get_by_role("button", name="Try again")).to_be_visible()
    page.unroute("**/piece")
    page.locator("#get").click()
    expect(bar).to_be_hidden()
    page.context.set_offline(True)
    expect(bar).to_contain_text("You are offline")
    page.context.set_offline(False)
    expect(bar).to_be_hidden()


def test_a_time_grows_older(page: Page) -> None:
    seen = page.locator("time[data-ago]")
    expect(seen).to_have_text("1 min ago")
    page.clock.fast_forward(5 * 60_000)
    expect(seen).to_have_text("6 min ago")


def test_the_first_key_skips_to_the_content(page: Page) -> None:
    page.evaluate("document.body.tabIndex = -1; document.body.focus()")  # as where no field has an error
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#main")).to_be_focused()


@pytest.mark.parametrize(("width", "columns"), [(390, 1), (1440, 2)])
def test_nothing_sticks_out(page: Page, width: int, columns: int) -> None:
    page.set_viewport_size({"width": width, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    frame = page.evaluate("getComputedStyle(document.body).gridTemplateColumns")
    assert len(str(frame).split()) == columns
    assert page.locator("#main").bounding_box()["width"] <= 1240 + 64  # type: ignore[index]
