"""Settings of tools that are the same for every API that looks like OpenAI's."""

from metrion.web.snippets.recipe import Snippet


def cursor(path: str) -> Snippet:
    """Cursor, which overrides OpenAI's base URL only. Source: https://cursor.com/docs, "API keys"."""
    return Snippet(
        "cursor",
        "Cursor",
        "Settings",
        stored=f"""\
Settings > Models > API Keys

OpenAI API Key             «key».cursor
Override OpenAI Base URL   «base»{path}
Add model                  «model»
""",
        elsewhere=True,
        note="Cursor uses it for chat; its tab completion keeps Cursor's own model.",
    )


def n8n_openai(path: str) -> Snippet:
    """n8n's OpenAI credential. Source: github.com/n8n-io/n8n, OpenAiApi.credentials.ts."""
    return Snippet(
        "n8n",
        "n8n",
        "Settings",
        stored=f"""\
Credentials > Create > OpenAI

API Key             «key».n8n
Base URL            «base»{path}
""",
        through=f"""\
Credentials > Create > OpenAI

API Key             your provider key
Base URL            «base»{path}
Add Custom Header   on
Header Name         x-metrion-token
Header Value        «key».n8n
""",
        elsewhere=True,
        note="" if path == "/openai/v1" else "In the node, turn “Use Responses API” off.",
    )
