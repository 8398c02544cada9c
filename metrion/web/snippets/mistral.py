"""Mistral. Sources: its SDKs' READMEs and the tools' own documentation; tests/web/test_snippets.py runs what it can."""

from metrion.web.snippets.recipe import Ask, Recipe, Snippet
from metrion.web.snippets.shared import cursor, n8n_openai

PYTHON = Snippet(
    "python",
    "Python",
    "Python",
    stored="""\
# pip install mistralai
from mistralai.client import Mistral

client = Mistral(
    server_url="«base»/mistral",
    api_key="«key»",
)
response = client.chat.complete(
    model="«model»",
    messages=[{"role": "user", "content": "Say hello."}],
)
print(response.choices[0].message.content)
""",
    through="""\
# pip install mistralai
import os

from mistralai.client import Mistral

client = Mistral(
    server_url="«base»/mistral",
    api_key=os.environ["MISTRAL_API_KEY"],
)
response = client.chat.complete(
    model="«model»",
    messages=[{"role": "user", "content": "Say hello."}],
    http_headers={"x-metrion-token": "«key»"},
)
print(response.choices[0].message.content)
""",
)

TYPESCRIPT = Snippet(
    "typescript",
    "TypeScript",
    "TypeScript",
    stored="""\
// npm install @mistralai/mistralai
import { Mistral } from "@mistralai/mistralai";

const client = new Mistral({
  serverURL: "«base»/mistral",
  apiKey: "«key»",
});
const response = await client.chat.complete({
  model: "«model»",
  messages: [{ role: "user", content: "Say hello." }],
});
console.log(response.choices[0].message?.content);
""",
    through="""\
// npm install @mistralai/mistralai
import { Mistral } from "@mistralai/mistralai";

const client = new Mistral({
  serverURL: "«base»/mistral",
  apiKey: process.env.MISTRAL_API_KEY,
});
const response = await client.chat.complete(
  {
    model: "«model»",
    messages: [{ role: "user", content: "Say hello." }],
  },
  { headers: { "x-metrion-token": "«key»" } },
);
console.log(response.choices[0].message?.content);
""",
)

CURL = Snippet(
    "curl",
    "curl",
    "Shell",
    stored="""\
curl «base»/mistral/v1/chat/completions \\
  -H "Authorization: Bearer «key»" \\
  -H "Content-Type: application/json" \\
  -d '{"model": "«model»", "messages": [{"role": "user", "content": "Say hello."}]}'
""",
    through="""\
curl «base»/mistral/v1/chat/completions \\
  -H "Authorization: Bearer $MISTRAL_API_KEY" \\
  -H "x-metrion-token: «key»" \\
  -H "Content-Type: application/json" \\
  -d '{"model": "«model»", "messages": [{"role": "user", "content": "Say hello."}]}'
""",
)

VARIABLES = Snippet(
    "variables",
    "Environment",
    "Shell",
    stored="""\
export OPENAI_BASE_URL="«base»/mistral/v1"
export OPENAI_API_KEY="«key»"
""",
    through="""\
export OPENAI_BASE_URL="«base»/mistral/v1"
export OPENAI_API_KEY="$MISTRAL_API_KEY"
export OPENAI_CUSTOM_HEADERS="x-metrion-token: «key»"
""",
    note="For programs built on OpenAI's SDK. Mistral's own takes its base URL in the code alone.",
)

LANGCHAIN = Snippet(
    "langchain",
    "LangChain",
    "Python",
    stored="""\
# pip install langchain-mistralai
from langchain_mistralai import ChatMistralAI

llm = ChatMistralAI(
    model="«model»",
    base_url="«base»/mistral/v1",
    api_key="«key».langchain",
)
print(llm.invoke("Say hello.").text)
""",
    through="""\
# pip install langchain-openai (LangChain's class for Mistral sends no header of yours)
import os

from langchain_openai import ChatOpenAI

llm = ChatOpenAI(
    model="«model»",
    base_url="«base»/mistral/v1",
    api_key=os.environ["MISTRAL_API_KEY"],
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
    api_base="«base»/mistral/v1",
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
    api_base="«base»/mistral/v1",
    api_key=os.environ["MISTRAL_API_KEY"],
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
// npm install ai @ai-sdk/mistral
import { createMistral } from "@ai-sdk/mistral";
import { generateText } from "ai";

const mistral = createMistral({
  baseURL: "«base»/mistral/v1",
  apiKey: "«key».vercel",
});
const { text } = await generateText({ model: mistral("«model»"), prompt: "Say hello." });
console.log(text);
""",
    through="""\
// npm install ai @ai-sdk/mistral
import { createMistral } from "@ai-sdk/mistral";
import { generateText } from "ai";

const mistral = createMistral({
  baseURL: "«base»/mistral/v1",
  apiKey: process.env.MISTRAL_API_KEY,
  headers: { "x-metrion-token": "«key».vercel" },
});
const { text } = await generateText({ model: mistral("«model»"), prompt: "Say hello." });
console.log(text);
""",
)

MISTRAL = Recipe(
    "mistral",
    base="«base»/mistral",
    keys_url="https://console.mistral.ai/api-keys",
    key_variable="MISTRAL_API_KEY",
    models=Ask("/mistral/v1/models"),
    test=Ask(
        "/mistral/v1/chat/completions",
        '{"model": "«model»", "messages": [{"role": "user", "content": "Say hello."}], "max_tokens": 16}',
    ),
    code=(PYTHON, TYPESCRIPT, CURL),
    tools=(VARIABLES, cursor("/mistral/v1"), LANGCHAIN, LLAMAINDEX, VERCEL, n8n_openai("/mistral/v1")),
)
