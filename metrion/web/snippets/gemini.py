"""Gemini. Sources: Google's SDKs' READMEs, https://ai.google.dev/gemini-api/docs/openai for the API that looks like
OpenAI's, and the tools' own documentation; tests/web/test_snippets.py runs what it can.
"""

from metrion.web.snippets.recipe import Ask, Recipe, Snippet
from metrion.web.snippets.shared import cursor, n8n_openai

PYTHON = Snippet(
    "python",
    "Python",
    "Python",
    stored="""\
# pip install google-genai
from google import genai

client = genai.Client(
    api_key="«key»",
    http_options={"base_url": "«base»/gemini"},
)
response = client.models.generate_content(model="«model»", contents="Say hello.")
print(response.text)
""",
    through="""\
# pip install google-genai
import os

from google import genai

client = genai.Client(
    api_key=os.environ["GEMINI_API_KEY"],
    http_options={
        "base_url": "«base»/gemini",
        "headers": {"x-metrion-token": "«key»"},
    },
)
response = client.models.generate_content(model="«model»", contents="Say hello.")
print(response.text)
""",
)

TYPESCRIPT = Snippet(
    "typescript",
    "TypeScript",
    "TypeScript",
    stored="""\
// npm install @google/genai
import { GoogleGenAI } from "@google/genai";

const client = new GoogleGenAI({
  apiKey: "«key»",
  httpOptions: { baseUrl: "«base»/gemini" },
});
const response = await client.models.generateContent({ model: "«model»", contents: "Say hello." });
console.log(response.text);
""",
    through="""\
// npm install @google/genai
import { GoogleGenAI } from "@google/genai";

const client = new GoogleGenAI({
  apiKey: process.env.GEMINI_API_KEY,
  httpOptions: {
    baseUrl: "«base»/gemini",
    headers: { "x-metrion-token": "«key»" },
  },
});
const response = await client.models.generateContent({ model: "«model»", contents: "Say hello." });
console.log(response.text);
""",
)

CURL = Snippet(
    "curl",
    "curl",
    "Shell",
    stored="""\
curl «base»/gemini/v1beta/models/«model»:generateContent \\
  -H "x-goog-api-key: «key»" \\
  -H "Content-Type: application/json" \\
  -d '{"contents": [{"parts": [{"text": "Say hello."}]}]}'
""",
    through="""\
curl «base»/gemini/v1beta/models/«model»:generateContent \\
  -H "x-goog-api-key: $GEMINI_API_KEY" \\
  -H "x-metrion-token: «key»" \\
  -H "Content-Type: application/json" \\
  -d '{"contents": [{"parts": [{"text": "Say hello."}]}]}'
""",
)

OPENAI_SDK = Snippet(
    "openai-sdk",
    "OpenAI SDK",
    "Python",
    stored="""\
# pip install openai
from openai import OpenAI

client = OpenAI(
    base_url="«base»/gemini/v1",
    api_key="«key»",
)
completion = client.chat.completions.create(
    model="«model»",
    messages=[{"role": "user", "content": "Say hello."}],
)
print(completion.choices[0].message.content)
""",
    through="""\
# pip install openai
import os

from openai import OpenAI

client = OpenAI(
    base_url="«base»/gemini/v1",
    api_key=os.environ["GEMINI_API_KEY"],
    default_headers={"x-metrion-token": "«key»"},
)
completion = client.chat.completions.create(
    model="«model»",
    messages=[{"role": "user", "content": "Say hello."}],
)
print(completion.choices[0].message.content)
""",
    note="Gemini also speaks OpenAI's language, under another base URL.",
)

VARIABLES = Snippet(
    "variables",
    "Environment",
    "Shell",
    stored="""\
export GOOGLE_GEMINI_BASE_URL="«base»/gemini"
export GEMINI_API_KEY="«key»"
""",
    note="For programs whose code you do not change: Google's SDKs, and most of what is built on them, read these.",
)

LANGCHAIN = Snippet(
    "langchain",
    "LangChain",
    "Python",
    stored="""\
# pip install langchain-google-genai
from langchain_google_genai import ChatGoogleGenerativeAI

llm = ChatGoogleGenerativeAI(
    model="«model»",
    base_url="«base»/gemini",
    api_key="«key».langchain",
)
print(llm.invoke("Say hello.").text)
""",
    through="""\
# pip install langchain-google-genai
import os

from langchain_google_genai import ChatGoogleGenerativeAI

llm = ChatGoogleGenerativeAI(
    model="«model»",
    base_url="«base»/gemini",
    api_key=os.environ["GEMINI_API_KEY"],
    additional_headers={"x-metrion-token": "«key».langchain"},
)
print(llm.invoke("Say hello.").text)
""",
)

LLAMAINDEX = Snippet(
    "llamaindex",
    "LlamaIndex",
    "Python",
    stored="""\
# pip install llama-index-llms-google-genai
from google.genai.types import HttpOptions
from llama_index.llms.google_genai import GoogleGenAI

llm = GoogleGenAI(
    model="«model»",
    api_key="«key».llamaindex",
    http_options=HttpOptions(base_url="«base»/gemini"),
    context_window=100_000,
    max_tokens=1_000,
)
print(llm.complete("Say hello."))
""",
    through="""\
# pip install llama-index-llms-google-genai
import os

from google.genai.types import HttpOptions
from llama_index.llms.google_genai import GoogleGenAI

llm = GoogleGenAI(
    model="«model»",
    api_key=os.environ["GEMINI_API_KEY"],
    http_options=HttpOptions(
        base_url="«base»/gemini",
        headers={"x-metrion-token": "«key».llamaindex"},
    ),
    context_window=100_000,
    max_tokens=1_000,
)
print(llm.complete("Say hello."))
""",
)

VERCEL = Snippet(
    "vercel",
    "Vercel AI SDK",
    "TypeScript",
    stored="""\
// npm install ai @ai-sdk/google
import { createGoogleGenerativeAI } from "@ai-sdk/google";
import { generateText } from "ai";

const google = createGoogleGenerativeAI({
  baseURL: "«base»/gemini/v1beta",
  apiKey: "«key».vercel",
});
const { text } = await generateText({ model: google("«model»"), prompt: "Say hello." });
console.log(text);
""",
    through="""\
// npm install ai @ai-sdk/google
import { createGoogleGenerativeAI } from "@ai-sdk/google";
import { generateText } from "ai";

const google = createGoogleGenerativeAI({
  baseURL: "«base»/gemini/v1beta",
  apiKey: process.env.GEMINI_API_KEY,
  headers: { "x-metrion-token": "«key».vercel" },
});
const { text } = await generateText({ model: google("«model»"), prompt: "Say hello." });
console.log(text);
""",
)

GEMINI = Recipe(
    "gemini",
    base="«base»/gemini",
    keys_url="https://aistudio.google.com/apikey",
    key_variable="GEMINI_API_KEY",
    models=Ask("/gemini/v1beta/models?pageSize=1"),
    test=Ask(
        "/gemini/v1beta/models/«model»:generateContent",
        '{"contents": [{"parts": [{"text": "Say hello."}]}], "generationConfig": {"maxOutputTokens": 16}}',
    ),
    code=(PYTHON, TYPESCRIPT, CURL),
    tools=(
        VARIABLES,
        OPENAI_SDK,
        cursor("/gemini/v1"),
        LANGCHAIN,
        LLAMAINDEX,
        VERCEL,
        n8n_openai("/gemini/v1"),
    ),
)
