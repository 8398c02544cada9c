"""What Integrate shows: ready code and settings, one file for each provider.

recipe     a provider's snippets, and where its keys are made
snippet    code for an SDK or settings of a tool, in stored and in pass-through mode
"""

from metrion.web.snippets.anthropic import ANTHROPIC
from metrion.web.snippets.gemini import GEMINI
from metrion.web.snippets.grok import GROK
from metrion.web.snippets.mistral import MISTRAL
from metrion.web.snippets.openai import OPENAI
from metrion.web.snippets.recipe import Recipe

RECIPES: dict[str, Recipe] = {one.provider: one for one in (OPENAI, ANTHROPIC, GEMINI, MISTRAL, GROK)}
