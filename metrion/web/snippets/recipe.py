"""Recipe: everything Integrate shows for one provider. The texts run as they stand once their places are filled."""

from __future__ import annotations

from typing import NamedTuple


class Snippet(NamedTuple):
    """Code or settings for one SDK or tool, in both modes; "" where it cannot send the second key.

    Places to fill: «base» (…/api/proxy), «key» (the Metrion key) and «model».
    """

    name: str  # "python", "claude-code"
    label: str
    language: str  # as people call it: "Python", "Shell", "TOML"
    stored: str
    through: str = ""
    elsewhere: bool = False  # it calls from the maker's servers, so a loopback address does not reach Metrion
    note: str = ""

    def text(self, mode: str) -> str:
        """What stands in that mode, its places not yet filled."""
        return self.stored if mode == "stored" else self.through


class Ask(NamedTuple):
    """A request that Metrion can send itself: its path below /api/proxy, and a JSON body or "" (then it is a GET)."""

    path: str
    body: str = ""


class Recipe(NamedTuple):
    """A provider's snippets: `code` for its SDK and curl, `tools` for what takes a base URL.

    `models` lists models, which costs nothing and shows whether a key is good; `test` asks for at most 16 tokens.
    """

    provider: str
    base: str  # its SDK's base URL, as a place to fill
    keys_url: str  # where its keys are made
    key_variable: str  # the environment variable its SDK reads
    models: Ask
    test: Ask
    code: tuple[Snippet, ...]
    tools: tuple[Snippet, ...]

    def find(self, name: str) -> Snippet | None:
        """The snippet of that name."""
        return next((one for one in (*self.code, *self.tools) if one.name == name), None)


def fill(text: str, *, origin: str, key: str, model: str) -> str:
    """`text` for a Metrion at `origin`, for this Metrion key (or a masked one) and model."""
    return text.replace("«base»", f"{origin}/api/proxy").replace("«key»", key).replace("«model»", model)
