"""Grok, through OpenAI's SDK: xAI's own speaks gRPC, which cannot pass. Sources: https://docs.x.ai (its Responses API
is the recommended one) and the tools' own documentation; tests/web/test_snippets.py runs what it can.
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
    base_url="«base»/grok/v1",
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
    base_url="«base»/grok/v1",
    api_key=os.environ["XAI_API_KEY"],
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
  baseURL: "«base»/grok/v1",
  apiKey: "«key»",
});
const response = await client.responses.create({ model: "«model»", input: "Say hello." });
console.log(response.output_text);
""",
    through="""\
// npm install openai
import OpenAI from "openai";

const client = new OpenAI({
  baseURL: "«base»/grok/v1",
  apiKey: process.env.XAI_API_KEY,
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
curl «base»/grok/v1/responses \\
  -H "Authorization: Bearer «key»" \\
  -H "Content-Type: application/json" \\
  -d '{"model": "«model»", "input": "Say hello."}'
""",
    through="""\
curl «base»/grok/v1/responses \\
  -H "Authorization: Bearer $XAI_API_KEY" \\
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
export OPENAI_BASE_URL="«base»/grok/v1"
export OPENAI_API_KEY="«key»"
""",
    through="""\
export OPENAI_BASE_URL="«base»/grok/v1"
export OPENAI_API_KEY="$XAI_API_KEY"
export OPENAI_CUSTOM_HEADERS="x-metrion-token: «key»"
""",
    note="For programs built on OpenAI's SDK. xAI's own speaks gRPC, which cannot pass through Metrion.",
)

LANGCHAIN = Snippet(
    "langchain",
    "LangChain",
    "Python",
    stored="""\
# pip install langchain-xai
from langchain_xai import ChatXAI

llm = ChatXAI(
    model="«model»",
    base_url="«base»/grok/v1",
    api_key="«key».langchain",
)
print(llm.invoke("Say hello.").text)
""",
    through="""\
# pip install langchain-xai
import os

from langchain_xai import ChatXAI

llm = ChatXAI(
    model="«model»",
    base_url="«base»/grok/v1",
    api_key=os.environ["XAI_API_KEY"],
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
    api_base="«base»/grok/v1",
    api_key="«key».llamaindex",
    is_chat_model=True,
)
print(llm.complete("Say hello."))
""",
    through="""\
# pip install llama-index-llms-openai-like
import os

from llama_index.llms.openai_like import OpenAILike

llm = OpenAILike(
    model="«model»",
    api_base="«base»/grok/v1",
    api_key=os.environ["XAI_API_KEY"],
    default_headers={"x-metrion-token": "«key».llamaindex"},
    is_chat_model=True,
)
print(llm.complete("Say hello."))
""",
)

VERCEL = Snippet(
    "vercel",
    "Vercel AI SDK",
    "TypeScript",
    stored="""\
// npm install ai @ai-sdk/xai
import { createXai } from "@ai-sdk/xai";
import { generateText } from "ai";

const xai = createXai({
  baseURL: "«base»/grok/v1",
  apiKey: "«key».vercel",
});
const { text } = await generateText({ model: xai("«model»"), prompt: "Say hello." });
console.log(text);
""",
    through="""\
// npm install ai @ai-sdk/xai
import { createXai } from "@ai-sdk/xai";
import { generateText } from "ai";

const xai = createXai({
  baseURL: "«base»/grok/v1",
  apiKey: process.env.XAI_API_KEY,
  headers: { "x-metrion-token": "«key».vercel" },
});
const { text } = await generateText({ model: xai("«model»"), prompt: "Say hello." });
console.log(text);
""",
)

GROK = Recipe(
    "grok",
    base="«base»/grok/v1",
    keys_url="https://console.x.ai",
    key_variable="XAI_API_KEY",
    models=Ask("/grok/v1/models"),
    test=Ask(
        "/grok/v1/responses",
        '{"model": "«model»", "input": "Say hello.", "max_output_tokens": 16, "store": false}',
    ),
    code=(PYTHON, TYPESCRIPT, CURL),
    tools=(VARIABLES, cursor("/grok/v1"), LANGCHAIN, LLAMAINDEX, VERCEL, n8n_openai("/grok/v1")),
)
