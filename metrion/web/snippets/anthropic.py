"""Anthropic. Sources: its SDKs' READMEs, https://code.claude.com/docs/en/llm-gateway for Claude Code, and the tools'
own documentation; tests/web/test_snippets.py runs what it can.
"""

from metrion.web.snippets.recipe import Ask, Recipe, Snippet

PYTHON = Snippet(
    "python",
    "Python",
    "Python",
    stored="""\
# pip install anthropic
from anthropic import Anthropic

client = Anthropic(
    base_url="«base»",
    api_key="«key»",
)
message = client.messages.create(
    model="«model»",
    max_tokens=100,
    messages=[{"role": "user", "content": "Say hello."}],
)
print(message.content[0].text)
""",
    through="""\
# pip install anthropic
import os

from anthropic import Anthropic

client = Anthropic(
    base_url="«base»",
    api_key=os.environ["ANTHROPIC_API_KEY"],
    default_headers={"x-metrion-token": "«key»"},
)
message = client.messages.create(
    model="«model»",
    max_tokens=100,
    messages=[{"role": "user", "content": "Say hello."}],
)
print(message.content[0].text)
""",
)

TYPESCRIPT = Snippet(
    "typescript",
    "TypeScript",
    "TypeScript",
    stored="""\
// npm install @anthropic-ai/sdk
import Anthropic from "@anthropic-ai/sdk";

const client = new Anthropic({
  baseURL: "«base»",
  apiKey: "«key»",
});
const message = await client.messages.create({
  model: "«model»",
  max_tokens: 100,
  messages: [{ role: "user", content: "Say hello." }],
});
console.log(message.content);
""",
    through="""\
// npm install @anthropic-ai/sdk
import Anthropic from "@anthropic-ai/sdk";

const client = new Anthropic({
  baseURL: "«base»",
  apiKey: process.env.ANTHROPIC_API_KEY,
  defaultHeaders: { "x-metrion-token": "«key»" },
});
const message = await client.messages.create({
  model: "«model»",
  max_tokens: 100,
  messages: [{ role: "user", content: "Say hello." }],
});
console.log(message.content);
""",
)

CURL = Snippet(
    "curl",
    "curl",
    "Shell",
    stored="""\
curl «base»/v1/messages \\
  -H "x-api-key: «key»" \\
  -H "anthropic-version: 2023-06-01" \\
  -H "Content-Type: application/json" \\
  -d '{"model": "«model»", "max_tokens": 100, "messages": [{"role": "user", "content": "Say hello."}]}'
""",
    through="""\
curl «base»/v1/messages \\
  -H "x-api-key: $ANTHROPIC_API_KEY" \\
  -H "x-metrion-token: «key»" \\
  -H "anthropic-version: 2023-06-01" \\
  -H "Content-Type: application/json" \\
  -d '{"model": "«model»", "max_tokens": 100, "messages": [{"role": "user", "content": "Say hello."}]}'
""",
)

VARIABLES = Snippet(
    "variables",
    "Environment",
    "Shell",
    stored="""\
export ANTHROPIC_BASE_URL="«base»"
export ANTHROPIC_API_KEY="«key»"
""",
    through="""\
export ANTHROPIC_BASE_URL="«base»"
export ANTHROPIC_CUSTOM_HEADERS="x-metrion-token: «key»"
# ANTHROPIC_API_KEY stays your own.
""",
    note="For programs whose code you do not change: Anthropic's SDKs, and most of what is built on them, read these.",
)

CLAUDE_CODE = Snippet(
    "claude-code",
    "Claude Code",
    "Shell",
    stored="""\
export ANTHROPIC_BASE_URL="«base»"
export ANTHROPIC_AUTH_TOKEN="«key».claude-code"
claude
""",
    through="""\
export ANTHROPIC_BASE_URL="«base»"
export ANTHROPIC_CUSTOM_HEADERS="x-metrion-token: «key».claude-code"
claude
""",
    note="To keep it, put the same names under “env” in ~/.claude/settings.json.",
)

LANGCHAIN = Snippet(
    "langchain",
    "LangChain",
    "Python",
    stored="""\
# pip install langchain-anthropic
from langchain_anthropic import ChatAnthropic

llm = ChatAnthropic(
    model="«model»",
    base_url="«base»",
    api_key="«key».langchain",
    max_tokens=100,
)
print(llm.invoke("Say hello.").text)
""",
    through="""\
# pip install langchain-anthropic
import os

from langchain_anthropic import ChatAnthropic

llm = ChatAnthropic(
    model="«model»",
    base_url="«base»",
    api_key=os.environ["ANTHROPIC_API_KEY"],
    default_headers={"x-metrion-token": "«key».langchain"},
    max_tokens=100,
)
print(llm.invoke("Say hello.").text)
""",
)

LLAMAINDEX = Snippet(
    "llamaindex",
    "LlamaIndex",
    "Python",
    stored="""\
# pip install llama-index-llms-anthropic "anthropic<2"
from llama_index.llms.anthropic import Anthropic

llm = Anthropic(
    model="«model»",
    base_url="«base»",
    api_key="«key».llamaindex",
)
print(llm.complete("Say hello."))
""",
    through="""\
# pip install llama-index-llms-anthropic "anthropic<2"
import os

from llama_index.llms.anthropic import Anthropic

llm = Anthropic(
    model="«model»",
    base_url="«base»",
    api_key=os.environ["ANTHROPIC_API_KEY"],
    default_headers={"x-metrion-token": "«key».llamaindex"},
)
print(llm.complete("Say hello."))
""",
)

VERCEL = Snippet(
    "vercel",
    "Vercel AI SDK",
    "TypeScript",
    stored="""\
// npm install ai @ai-sdk/anthropic
import { createAnthropic } from "@ai-sdk/anthropic";
import { generateText } from "ai";

const anthropic = createAnthropic({
  baseURL: "«base»/v1",
  apiKey: "«key».vercel",
});
const { text } = await generateText({ model: anthropic("«model»"), prompt: "Say hello." });
console.log(text);
""",
    through="""\
// npm install ai @ai-sdk/anthropic
import { createAnthropic } from "@ai-sdk/anthropic";
import { generateText } from "ai";

const anthropic = createAnthropic({
  baseURL: "«base»/v1",
  apiKey: process.env.ANTHROPIC_API_KEY,
  headers: { "x-metrion-token": "«key».vercel" },
});
const { text } = await generateText({ model: anthropic("«model»"), prompt: "Say hello." });
console.log(text);
""",
)

N8N = Snippet(  # source: github.com/n8n-io/n8n, AnthropicApi.credentials.ts
    "n8n",
    "n8n",
    "Settings",
    stored="""\
Credentials > Create > Anthropic

API Key             «key».n8n
Base URL            «base»
""",
    through="""\
Credentials > Create > Anthropic

API Key             your provider key
Base URL            «base»
Add Custom Header   on
Header Name         x-metrion-token
Header Value        «key».n8n
""",
    elsewhere=True,
)

ANTHROPIC = Recipe(
    "anthropic",
    base="«base»",
    keys_url="https://platform.claude.com/settings/keys",
    key_variable="ANTHROPIC_API_KEY",
    models=Ask("/v1/models?limit=1"),
    test=Ask(
        "/v1/messages",
        '{"model": "«model»", "messages": [{"role": "user", "content": "Say hello."}], "max_tokens": 16}',
    ),
    code=(PYTHON, TYPESCRIPT, CURL),
    tools=(VARIABLES, CLAUDE_CODE, LANGCHAIN, LLAMAINDEX, VERCEL, N8N),
)
