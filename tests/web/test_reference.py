"""The page on the JSON API: all that its OpenAPI document holds, and an example that works as it is shown."""

from __future__ import annotations

import json
import os
import subprocess

from metrion.web.api.openapi import document
from metrion.web.pages.reference import Field, endpoints
from tests.fake_provider.samples import chat_body
from tests.support import Metrion, exchange
from tests.web import told
from tests.web.browser import Browser
from tests.web.people import by_link

CHAT = "/api/proxy/openai/v1/chat/completions"


def names(rows: list[Field]) -> set[str]:
    return {one.name for one in rows}


def test_every_address_parameter_and_field_is_told(silent: Metrion) -> None:
    page = told.parse(Browser(silent.origin).get("/docs/api").html)
    api = document("")
    for path, methods in api["paths"].items():
        region = page.one("div", aria_label=f"Parameters of {path}")
        shown = {code.text for code in region.all("code")}
        assert shown == {one["name"] for one in methods["get"]["parameters"]}
    (usage,) = (one for one in endpoints(api) if one.path == "/api/v1/usage")
    assert {"groups[].key", "groups[].cost_usd", "total.confidence.unpriced_rows", "time_zone"} <= names(usage.tells)
    for one in endpoints(api):
        told_of = {code.text for code in page.one("div", aria_label=f"Fields of {one.path}").all("code")}
        assert told_of == names(one.tells)
        assert not [field for field in (*one.takes, *one.tells) if field.kind in ("anything", "") and not field.more]


def test_what_is_told_of_an_answer_is_what_it_holds(silent: Metrion, email: str) -> None:
    """Fields with names of their own only: what stands under a name that calls choose, no document can list."""
    token = silent.create_account(email)
    headers = [("Authorization", f"Bearer {token}"), ("x-fake", chat_body().header())]
    assert exchange(silent.port, "POST", CHAT, headers, b'{"model":"gpt-4o-mini","messages":[]}').status == 200
    silent.rows(1, email=email)
    for one in endpoints(document("")):
        if "{" not in one.path:
            answer = exchange(silent.port, "GET", one.path, [("Authorization", f"Bearer {token}")])
            assert answer.status == 200
            assert paths("", answer.json()) <= names(one.tells)


def paths(prefix: str, value: object) -> set[str]:
    """The names of all fields, as the page writes them."""
    if isinstance(value, list):
        return set().union(*(paths(prefix, one) for one in value)) if value else set()
    if not isinstance(value, dict) or prefix.endswith(("tool_calls.", "quantities.")):
        return {prefix.rstrip(".")}
    found: set[str] = set()
    for name, one in value.items():
        found |= paths(f"{prefix}{name}{'[]' if isinstance(one, list) else ''}.", one)
    return {path.removesuffix("[]") for path in found}


def test_the_example_works_as_it_is_copied(silent: Metrion, email: str) -> None:
    token = silent.create_account(email)
    for path, id in (("/docs/api", "example-first"), ("/settings/token", "api-example")):
        command = told.parse(by_link(silent, email).get(path).html).one("code", id=id).children[0]
        env = {"PATH": os.environ["PATH"], "METRION_KEY": token, "NO_PROXY": "127.0.0.1"}
        done = subprocess.run(["sh", "-c", f"{command} -s"], env=env, capture_output=True, text=True, timeout=30)
        assert json.loads(done.stdout)["by"] == "model", done.stderr
