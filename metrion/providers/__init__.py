"""WHO: the five providers. A sixth is one file like these, and one line here.

provider    a company's API: name, origin, how it takes its key
api         a set of paths spoken to in one way (Gemini has two)
endpoint    what a path does, and the wire format of its answers
"""

from metrion.providers.anthropic import ANTHROPIC
from metrion.providers.gemini import GEMINI
from metrion.providers.grok import GROK
from metrion.providers.mistral import MISTRAL
from metrion.providers.openai import OPENAI
from metrion.providers.provider import Provider

PROVIDERS: dict[str, Provider] = {one.name: one for one in (ANTHROPIC, OPENAI, GEMINI, MISTRAL, GROK)}
