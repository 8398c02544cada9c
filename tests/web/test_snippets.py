"""What Integrate shows runs as it stands: verbatim, with the real SDKs and curl, at every provider, in both modes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path

import pytest

from metrion.providers import PROVIDERS
from metrion.web.snippets import RECIPES
from metrion.web.snippets.recipe import Snippet, fill
from tests.fake_provider import FakeProvider
from tests.sdk.backends import NODE_DIR, node
from tests.support import Metrion, provider_key

MODES = ("stored", "pass_through")
MODELS = {
    "openai": "gpt-6-luna",
    "anthropic": "claude-haiku-5-5",
    "gemini": "gemini-2.5-flash",
    "mistral": "mistral-small-latest",
    "grok": "grok-4-fast-non-reasoning",
}
ALL = [(provider, one) for provider, recipe in RECIPES.items() for one in (*recipe.code, *recipe.tools)]
NAMES = [f"{provider}-{one.name}" for provider, one in ALL]
# The SDKs that read their base URL from the environment, as a program would make them that knows nothing of Metrion.
PLAIN_PROGRAMS = {
    "openai": "from openai import OpenAI\nOpenAI().responses.create(model='gpt-6-luna', input='hi')",
    "anthropic": "from anthropic import Anthropic\n"
    "Anthropic().messages.create(model='claude-haiku-5-5', max_tokens=9, messages=[{'role': 'user', 'content': 'hi'}])",
    "gemini": "from google import genai\n"
    "client = genai.Client()\nclient.models.generate_content(model='gemini-2.5-flash', contents='hi')",
}


def filled(metrion: Metrion, provider: str, snippet: Snippet, mode: str, mark: str) -> str:
    """The snippet for this Metrion; the label behind the key lets this test find its row."""
    key = f"{metrion.token}.{mark}"
    return fill(snippet.text(mode), origin=metrion.origin, key=key, model=MODELS[provider])


def run(command: Sequence[str], environment: dict[str, str], cwd: Path | None = None) -> str:
    """What a program prints that has this environment alone."""
    bare = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "NO_PROXY": "127.0.0.1"}
    done = subprocess.run(
        command, env=bare | environment, cwd=cwd, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def check_row(metrion: Metrion, fake: FakeProvider, provider: str, mode: str, requester: str, own_key: str) -> None:
    (row,) = metrion.rows(1, requester=requester)
    assert (row["provider"], row["mode"], row["outcome"], row["status"]) == (provider, mode, "ok", 200)
    wanted = provider_key(provider) if mode == "stored" else own_key
    assert any(value.endswith(wanted) for seen in list(fake.seen)[-20:] for _, value in seen.headers)
    assert not any(metrion.token in value for seen in list(fake.seen)[-20:] for _, value in seen.headers)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", ["python", "curl", "openai-sdk"])
@pytest.mark.parametrize("provider", RECIPES)
def test_it_runs_verbatim(
    provider: str, name: str, mode: str, metrion: Metrion, fake: FakeProvider, mark: str, tmp_path: Path
) -> None:
    recipe = RECIPES[provider]
    snippet = recipe.find(name)
    if snippet is None:
        pytest.skip("not shown for this provider")
    text = filled(metrion, provider, snippet, mode, mark)
    shell = snippet.language == "Shell"
    program = tmp_path / "program"
    program.write_text("set -e\n" + text if shell else text)
    own_key = f"own-{mark}"
    own = {recipe.key_variable: own_key} if mode == "pass_through" else {}
    out = run(["sh" if shell else sys.executable, str(program)], own | {"HOME": str(tmp_path)})
    assert name != "curl" or "model" in out
    check_row(metrion, fake, provider, mode, mark, own_key)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", ["typescript", "vercel"])
@pytest.mark.parametrize("provider", RECIPES)
def test_it_runs_verbatim_in_node(
    provider: str, name: str, mode: str, metrion: Metrion, fake: FakeProvider, mark: str
) -> None:
    recipe, program = RECIPES[provider], node()
    snippet = recipe.find(name)
    assert snippet is not None
    text = filled(metrion, provider, snippet, mode, mark)
    if not all((NODE_DIR / "node_modules" / package).is_dir() for package in re.findall(r'from "(.*)";', text)):
        pytest.skip("its SDK is not among the locked ones")
    own_key = f"own-{mark}"
    own = {recipe.key_variable: own_key} if mode == "pass_through" else {}
    run([program, "--input-type=module", "-e", text], own, NODE_DIR)
    label = ".vercel" if name == "vercel" else ""
    check_row(metrion, fake, provider, mode, mark + label, own_key)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("provider", PLAIN_PROGRAMS)
def test_the_variables_reach_a_program_that_is_not_changed(
    provider: str, mode: str, metrion: Metrion, fake: FakeProvider, mark: str, tmp_path: Path
) -> None:
    recipe = RECIPES[provider]
    variables = recipe.find("variables")
    assert variables is not None
    text = filled(metrion, provider, variables, mode, mark)
    if not text:
        pytest.skip("its SDK reads no header from the environment")
    own_key = f"own-{mark}"
    own = {recipe.key_variable: own_key} if mode == "pass_through" else {}
    script = f'set -e\n{text}\n"$PROGRAM" -c "$SOURCE"'
    more = {"PROGRAM": sys.executable, "SOURCE": PLAIN_PROGRAMS[provider], "HOME": str(tmp_path)}
    run(["sh", "-c", script], own | more)
    check_row(metrion, fake, provider, mode, mark, own_key)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("provider", "snippet"), ALL, ids=NAMES)
def test_every_place_is_filled_and_the_key_stands_in_it(provider: str, snippet: Snippet, mode: str) -> None:
    text = fill(snippet.text(mode), origin="https://metrion.example", key="sk-metrion-x", model="some-model")
    assert not set("«»") & set(text)
    assert text == "" or ("https://metrion.example/api/proxy" in text and "sk-metrion-x" in text)
    assert mode == "pass_through" or text
    if snippet.language == "Python":
        compile(text, snippet.name, "exec")
    if snippet.language == "TOML":
        assert tomllib.loads(text)["model_providers"]["metrion"]["base_url"].startswith("https://metrion.example/")


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("provider", "snippet"), ALL, ids=NAMES)
def test_pass_through_never_has_the_provider_key_in_the_text(provider: str, snippet: Snippet, mode: str) -> None:
    text, variable = snippet.text(mode), RECIPES[provider].key_variable
    if snippet.language in ("Python", "TypeScript"):
        assert (variable in text) == (mode == "pass_through")
    assert ("x-metrion-token" in text) == (mode == "pass_through" and text != "")


def test_there_is_a_recipe_for_every_provider() -> None:
    assert RECIPES.keys() == PROVIDERS.keys()
    for recipe in RECIPES.values():
        assert [one.name for one in recipe.code] == ["python", "typescript", "curl"]
        names = [one.name for one in (*recipe.code, *recipe.tools)]
        assert len(set(names)) == len(names)
        assert {"variables", "langchain", "llamaindex", "vercel", "n8n"} <= set(names)
