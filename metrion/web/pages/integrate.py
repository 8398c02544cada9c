"""`/integrate`: from the Metrion key to the first tracked request.

What is chosen (provider, mode, model) stands in the address, so that everything works without scripts; the answer to a
check or a test request is the row that it left, named in the address too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import urlencode, urlsplit

from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse, Response

from metrion.accounts.plans import visible_since
from metrion.accounts.provider_keys import check_provider_key, set_provider_key
from metrion.accounts.tokens import mask_token, reveal_token
from metrion.config import is_loopback
from metrion.errors import InputError
from metrion.kit.clock import now_ms
from metrion.kit.ids import first_id
from metrion.kit.secrets import Secret
from metrion.prices.chat import ChatModel, cheapest
from metrion.providers import PROVIDERS
from metrion.storage.accounts import list_provider_keys
from metrion.storage.database import Connection
from metrion.storage.latest import Told, has_succeeded, latest_call
from metrion.web import probe
from metrion.web.snippets import RECIPES
from metrion.web.snippets.recipe import Recipe, Snippet, fill
from metrion.web.visit import TooMany, Visit

_MODES = ("stored", "pass_through")


class Choice(NamedTuple):
    """What the person chose, or what is chosen for them."""

    recipe: Recipe
    mode: str
    models: list[ChatModel]
    model: ChatModel | None  # None: no model of this provider is priced

    @property
    def label(self) -> str:
        """The provider's name."""
        return PROVIDERS[self.recipe.provider].label

    def link(self, **changed: str) -> str:
        """The page's address for this choice, or with something changed."""
        chosen = {"provider": self.recipe.provider, "mode": self.mode, "model": self.model.id if self.model else ""}
        return "/integrate?" + urlencode({name: value for name, value in (chosen | changed).items() if value})

    def text(self, visit: Visit, snippet: Snippet, key: str) -> str:
        """A snippet for this choice and Metrion key."""
        model = self.model.id if self.model else "model"
        return fill(snippet.text(self.mode), origin=visit.site.public_url, key=key, model=model)


def _choose(visit: Visit, asked: Mapping[str, str], provider: str = "openai") -> Choice:
    """The choice of a query or form; what is missing or not known is chosen here."""
    recipe = RECIPES.get(asked.get("provider", ""), RECIPES[provider])
    models = visit.site.models.of(recipe.provider, now_ms())
    named = next((model for model in models if model.id == asked.get("model")), None)
    mode = asked.get("mode", "")
    best = named or cheapest(models, probe.PROMPT_TOKENS, probe.ANSWER_TOKENS)
    return Choice(recipe, mode if mode in _MODES else _MODES[0], models, best)


class _Kept(NamedTuple):
    """What is stored: the Metrion key, when which provider key was, and the latest call with whether it is a first."""

    token: Secret
    keys: dict[str, Any]
    latest: Told | None
    first: bool


def _read(visit: Visit, connection: Connection) -> _Kept:
    account = visit.account
    latest, first = _latest(visit, connection, b"")
    keys = {row.provider: row for row in list_provider_keys(connection, account.id)}
    return _Kept(reveal_token(connection, visit.site.vault, account.id), keys, latest, first)


def _latest(visit: Visit, connection: Connection, after: bytes) -> tuple[Told | None, bool]:
    account = visit.account
    after = max(after, first_id(visible_since(visit.site.settings, account.plan, now_ms())))
    call = latest_call(connection, account.id, after=after, but=probe.CHECK)
    before = call is not None and has_succeeded(connection, account.id, before=call.request_id, but=probe.CHECK)
    return call, not before


# ── the page ──────────────────────────────────────────────────────────────────────────────────────────────────────────


async def show(visit: Visit) -> Response:
    """The five steps."""
    return await _page(visit, visit.request.query_params)


async def _page(visit: Visit, asked: Mapping[str, str], status: int = 200, error: str = "") -> Response:
    kept = await visit.site.read(lambda connection: _read(visit, connection))
    choice = _choose(visit, asked, next((name for name in RECIPES if name in kept.keys), "openai"))
    stored = kept.keys.get(choice.recipe.provider)
    checked = asked.get("checked")
    verdict = (
        probe.verdict(choice.label, await probe.row_of(visit, checked, seconds=0)) if checked is not None else None
    )
    tested = await probe.row_of(visit, asked["tested"], seconds=0) if "tested" in asked else None
    return visit.render(
        "integrate/page.html",
        status,
        nav="integrate",
        choice=choice,
        providers=PROVIDERS,
        recipes=list(RECIPES),
        base=fill(choice.recipe.base, origin=visit.site.public_url, key="", model=""),
        keys=kept.keys,
        stored=stored,
        masked=mask_token(kept.token),
        text=lambda snippet: choice.text(visit, snippet, mask_token(kept.token)),
        names=lambda snippets: [(one.name, one.label) for one in snippets],
        upstream=visit.site.settings.upstream(choice.recipe.provider),
        loopback=is_loopback(urlsplit(visit.site.public_url).hostname or ""),
        most_nano=choice.model.most_nano(probe.PROMPT_TOKENS, probe.ANSWER_TOKENS) if choice.model else None,
        call=kept.latest,
        first=kept.first,
        fresh=False,
        verdict=verdict,
        saved="saved" in asked,
        asked_test="tested" in asked,
        tested=tested,
        error=error,
    )


async def show_first(visit: Visit) -> Response:
    """The latest call, once there is one after the id in the query; until then an empty answer."""
    try:
        after = bytes.fromhex(visit.request.query_params.get("after", ""))[:16]
    except ValueError:
        raise HTTPException(400) from None
    call, first = await visit.site.read(lambda connection: _latest(visit, connection, after))
    if call is None:
        return visit.finish(Response(status_code=204))
    return visit.render("integrate/first.html", call=call, first=first, fresh=True, providers=PROVIDERS)


# ── what Show and Copy fetch ──────────────────────────────────────────────────────────────────────────────────────────


async def reveal(visit: Visit) -> Response:
    """The Metrion key as text."""
    await visit.form()
    return visit.finish(PlainTextResponse((await _token(visit)).reveal()))


async def copy(visit: Visit) -> Response:
    """A snippet as text, with the Metrion key in it."""
    await visit.form()
    asked = visit.request.query_params
    choice = _choose(visit, asked)
    snippet = choice.recipe.find(asked.get("name", ""))
    if snippet is None or not snippet.text(choice.mode):
        raise HTTPException(404)
    key = (await _token(visit)).reveal().decode()
    return visit.finish(PlainTextResponse(choice.text(visit, snippet, key)))


async def _token(visit: Visit) -> Secret:
    return await visit.site.read(lambda connection: reveal_token(connection, visit.site.vault, visit.account.id))


# ── provider keys, and requests that Metrion sends itself ─────────────────────────────────────────────────────────────


async def save_key(visit: Visit) -> Response:
    """Store a provider key, in the place of the one before; first ask its provider, where that is wanted."""
    form = await visit.form()
    choice, account, vault = _choose(visit, form), visit.account, visit.site.vault
    provider, checked = choice.recipe.provider, ""
    try:
        key = check_provider_key(provider, form["key"])
        if form["check"]:
            checked = await _check(visit, choice, Secret(key))
    except InputError as problem:
        return await _page(visit, form, 422, str(problem))
    except TooMany as problem:
        return await _page(visit, form, 429, str(problem))
    await visit.site.change(
        lambda connection: set_provider_key(connection, vault, account.id, provider, key), of=account.id
    )
    asked = {"checked": checked or "none"} if form["check"] else {}
    return visit.redirect(choice.link(saved="yes", **asked) + "#provider-key")


async def _check(visit: Visit, choice: Choice, key: Secret) -> str:
    """The id of the call that asked the provider; InputError where it refuses the key."""
    visit.limit("key_account", str(visit.account.id))
    sent = await probe.send(visit.site.address, choice.recipe.models, await _token(visit), probe.CHECK, key=key)
    verdict = probe.verdict(choice.label, await probe.row_of(visit, sent) if sent else None)
    if verdict.kind == "refused":
        raise InputError(f"{verdict.text} It was not saved.", "key")
    return sent


async def check_stored(visit: Visit) -> Response:
    """Ask the provider whether it takes the stored key."""
    form = await visit.form()
    choice = _choose(visit, form)
    try:
        visit.limit("key_account", str(visit.account.id))
    except TooMany as problem:
        return await _page(visit, form, 429, str(problem))
    sent = await probe.send(visit.site.address, choice.recipe.models, await _token(visit), probe.CHECK)
    if sent:
        await probe.row_of(visit, sent)
    return visit.redirect(choice.link(checked=sent or "none") + "#provider-key")


async def send_test(visit: Visit) -> Response:
    """Send the provider a short request with the stored key, for at most 16 tokens."""
    form = await visit.form()
    choice = _choose(visit, form)
    if choice.model is None:
        raise HTTPException(400)
    visit.limit("key_account", str(visit.account.id))
    sent = await probe.send(
        visit.site.address, choice.recipe.test, await _token(visit), probe.TEST, model=choice.model.id
    )
    if sent:
        await probe.row_of(visit, sent)
    return visit.redirect(choice.link(tested=sent or "none") + "#test")
