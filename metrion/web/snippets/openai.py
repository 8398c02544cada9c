"""OpenAI. Sources: its SDKs' READMEs, https://developers.openai.com/codex/config-reference for Codex, and the tools'
own documentation; tests/web/test_snippets.py runs what it can.
"""

from metrion.web.snippets.recipe import Ask, Recipe, Snippet
from metrion.web.snippets.shared import cursor, n8n_openai

PYTHON = Snippet(
    "python",
    "Python",
    "Python",
    stored="""\
# pip install openai
from openai import OpenAI

client = OpenAI(
    base_url="«base»/openai/v1",
    api_key="«key»",
)
response = client.responses.create(model="«model»", input="Say hello.")
print(response.output_text)
""",
    through="""\
# pip install openai
import os

from openai import OpenAI

client = OpenAI(
    base_url="«base»/openai/v1",
    api_key=os.environ["OPENAI_API_KEY"],
    default_headers={"x-metrion-token": "«key»"},
)
response = client.responses.create(model="«model»", input="Say hello.")
print(response.output_text)
""",
)

TYPESCRIPT = Snippet(
    "typescript",
    "TypeScript",
    "TypeScript",
    stored="""\
// npm install openai
import OpenAI from "openai";

const client = new OpenAI({
  baseURL: "«base»/openai/v1",
  apiKey: "«key»",
});
const response = await client.responses.create({ model: "«model»", input: "Say hello." });
console.log(response.output_text);
""",
    through="""\
// npm install openai
import OpenAI from "openai";

const client = new OpenAI({
  baseURL: "«base»/openai/v1",
  apiKey: process.env.OPENAI_API_KEY,
  defaultHeaders: { "x-metrion-token": "«key»" },
});
const response = await client.responses.create({ model: "«model»", input: "Say hello." });
console.log(response.output_text);
""",
)

CURL = Snippet(
    "curl",
    "curl",
    "Shell",
    stored="""\
curl «base»/openai/v1/responses \\
  -H "Authorization: Bearer «key»" \\
  -H "Content-Type: application/json" \\
  -d '{"model": "«model»", "input": "Say hello."}'
""",
    through="""\
curl «base»/openai/v1/responses \\
  -H "Authorization: Bearer $OPENAI_API_KEY" \\
  -H "x-metrion-token: «key»" \\
  -H "Content-Type: application/json" \\
  -d '{"model": "«model»", "input": "Say hello."}'
""",
)

VARIABLES = Snippet(
    "variables",
    "Environment",
    "Shell",
    stored="""\
export OPENAI_BASE_URL="«base»/openai/v1"
export OPENAI_API_KEY="«key»"
""",
    through="""\
export OPENAI_BASE_URL="«base»/openai/v1"
export OPENAI_CUSTOM_HEADERS="x-metrion-token: «key»"
# OPENAI_API_KEY stays your own.
""",
    note="For programs whose code you do not change: OpenAI's SDKs, and most of what is built on them, read these.",
)

CODEX = Snippet(
    "codex",
    "Codex",
    "TOML",
    stored="""\
# ~/.codex/config.toml. Before you start codex: export CODEX_METRION_KEY="«key».codex"
model = "«model»"
model_provider = "metrion"

[model_providers.metrion]
name = "Metrion"
base_url = "«base»/openai/v1"
env_key = "CODEX_METRION_KEY"
wire_api = "responses"
""",
    through="""\
# ~/.codex/config.toml
model = "«model»"
model_provider = "metrion"

[model_providers.metrion]
name = "Metrion"
base_url = "«base»/openai/v1"
env_key = "OPENAI_API_KEY"
http_headers = { "x-metrion-token" = "«key».codex" }
wire_api = "responses"
""",
)

LANGCHAIN = Snippet(
    "langchain",
    "LangChain",
    "Python",
    stored="""\
# pip install langchain-openai
from langchain_openai import ChatOpenAI

llm = ChatOpenAI(
    model="«model»",
    base_url="«base»/openai/v1",
    api_key="«key».langchain",
)
print(llm.invoke("Say hello.").text)
""",
    through="""\
# pip install langchain-openai
import os

from langchain_openai import ChatOpenAI

llm = ChatOpenAI(
    model="«model»",
    base_url="«base»/openai/v1",
    api_key=os.environ["OPENAI_API_KEY"],
    default_headers={"x-metrion-token": "«key».langchain"},
)
print(llm.invoke("Say hello.").text)
""",
)

LLAMAINDEX = Snippet(
    "llamaindex",
    "LlamaIndex",
    "Python",
    stored="""\
# pip install llama-index-llms-openai-like
from llama_index.llms.openai_like import OpenAILike

llm = OpenAILike(
    model="«model»",
    api_base="«base»/openai/v1",
    api_key="«key».llamaindex",
    is_chat_model=True,
    temperature=1,
)
print(llm.complete("Say hello."))
""",
    through="""\
# pip install llama-index-llms-openai-like
import os

from llama_index.llms.openai_like import OpenAILike

llm = OpenAILike(
    model="«model»",
    api_base="«base»/openai/v1",
    api_key=os.environ["OPENAI_API_KEY"],
    default_headers={"x-metrion-token": "«key».llamaindex"},
    is_chat_model=True,
    temperature=1,
)
print(llm.complete("Say hello."))
""",
)

VERCEL = Snippet(
    "vercel",
    "Vercel AI SDK",
    "TypeScript",
    stored="""\
// npm install ai @ai-sdk/openai
import { createOpenAI } from "@ai-sdk/openai";
import { generateText } from "ai";

const openai = createOpenAI({
  baseURL: "«base»/openai/v1",
  apiKey: "«key».vercel",
});
const { text } = await generateText({ model: openai("«model»"), prompt: "Say hello." });
console.log(text);
""",
    through="""\
// npm install ai @ai-sdk/openai
import { createOpenAI } from "@ai-sdk/openai";
import { generateText } from "ai";

const openai = createOpenAI({
  baseURL: "«base»/openai/v1",
  apiKey: process.env.OPENAI_API_KEY,
  headers: { "x-metrion-token": "«key».vercel" },
});
const { text } = await generateText({ model: openai("«model»"), prompt: "Say hello." });
console.log(text);
""",
)

OPENAI = Recipe(
    "openai",
    base="«base»/openai/v1",
    keys_url="https://platform.openai.com/api-keys",
    key_variable="OPENAI_API_KEY",
    models=Ask("/openai/v1/models"),
    test=Ask(
        "/openai/v1/responses",
        '{"model": "«model»", "input": "Say hello.", "max_output_tokens": 16, "store": false}',
    ),
    code=(PYTHON, TYPESCRIPT, CURL),
    tools=(VARIABLES, CODEX, cursor("/openai/v1"), LANGCHAIN, LLAMAINDEX, VERCEL, n8n_openai("/openai/v1")),
)
