"""Before the first request: the two lines to change, and a faint picture of what will be here."""

from __future__ import annotations

from typing import Any, NamedTuple

from metrion.accounts.tokens import mask_token, reveal_token
from metrion.storage.accounts import list_provider_keys
from metrion.storage.database import Connection
from metrion.web.snippets import RECIPES
from metrion.web.snippets.recipe import fill
from metrion.web.visit import Visit

_EXAMPLE = (  # heights of an example's bars, in percent: three models, fourteen days
    (22, 30, 28, 34, 40, 16, 12, 36, 42, 40, 46, 52, 20, 16),
    (14, 12, 18, 16, 20, 8, 6, 18, 22, 20, 24, 22, 10, 8),
    (6, 8, 8, 10, 8, 4, 4, 10, 12, 12, 10, 14, 6, 4),
)


class Lines(NamedTuple):
    """The lines of a snippet that lead to Metrion."""

    name: str
    label: str
    language: str
    text: str


def read(visit: Visit, connection: Connection) -> dict[str, Any]:
    """The context of dashboard/empty.html."""
    token = mask_token(reveal_token(connection, visit.site.vault, visit.account.id))
    stored = [row.provider for row in list_provider_keys(connection, visit.account.id)]
    recipe = RECIPES[stored[0] if stored else "openai"]
    variables = recipe.find("variables")
    snippets = [*recipe.code, *([variables] if variables else [])]
    return {
        "masked": token,
        "names": [(snippet.name, snippet.label) for snippet in snippets],
        "lines": [
            Lines(
                snippet.name,
                snippet.label,
                snippet.language,
                "\n".join(
                    fill(line.strip(), origin=visit.site.public_url, key=token, model="")
                    for line in snippet.stored.splitlines()
                    if "«base»" in line or "«key»" in line
                ),
            )
            for snippet in snippets
        ],
        "example": list(zip(*_EXAMPLE, strict=True)),
    }
