// Calls Metrion through the real Node SDKs, plain and streaming, and prints one JSON line per call:
// {"name", "requester", "text", "usage": {"input", "output", "cached"?, "reasoning"?}} or {"name", "requester", "error"}.
// Environment: METRION_ORIGIN, METRION_TOKEN, CALLS_PREFIX (before each requester).
import Anthropic from "@anthropic-ai/sdk";
import { createAnthropic } from "@ai-sdk/anthropic";
import { createGoogleGenerativeAI } from "@ai-sdk/google";
import { createMistral } from "@ai-sdk/mistral";
import { createOpenAI } from "@ai-sdk/openai";
import { createXai } from "@ai-sdk/xai";
import { GoogleGenAI } from "@google/genai";
import { generateText, streamText } from "ai";
import OpenAI from "openai";

const root = `${process.env.METRION_ORIGIN}/api/proxy`;
const key = process.env.METRION_TOKEN;
const prefix = process.env.CALLS_PREFIX;
const talk = [{ role: "user", content: "hello" }];

function openai(base, requester) {
  return new OpenAI({ apiKey: key, baseURL: `${root}${base}`, maxRetries: 0, defaultHeaders: { "x-metrion-user": requester } });
}

function chatUsage(usage) {
  return {
    input: usage.prompt_tokens,
    output: usage.completion_tokens,
    cached: usage.prompt_tokens_details?.cached_tokens,
    reasoning: usage.completion_tokens_details?.reasoning_tokens,
  };
}

function chat(base, model) {
  return {
    async plain(requester) {
      const answer = await openai(base, requester).chat.completions.create({ model, messages: talk });
      return { text: answer.choices[0].message.content, usage: chatUsage(answer.usage) };
    },
    async stream(requester) {
      const stream = await openai(base, requester).chat.completions.create({
        model,
        messages: talk,
        stream: true,
        stream_options: { include_usage: true },
      });
      let text = "";
      let usage;
      for await (const chunk of stream) {
        text += chunk.choices[0]?.delta?.content ?? "";
        usage = chunk.usage ?? usage;
      }
      return { text, usage: chatUsage(usage) };
    },
  };
}

function responsesUsage(usage) {
  return {
    input: usage.input_tokens,
    output: usage.output_tokens,
    cached: usage.input_tokens_details?.cached_tokens,
    reasoning: usage.output_tokens_details?.reasoning_tokens,
  };
}

const responses = {
  async plain(requester) {
    const answer = await openai("/openai/v1", requester).responses.create({ model: "gpt-5", input: "hello" });
    return { text: answer.output_text, usage: responsesUsage(answer.usage) };
  },
  async stream(requester) {
    const stream = await openai("/openai/v1", requester).responses.create({ model: "gpt-5", input: "hello", stream: true });
    let text = "";
    let usage;
    for await (const event of stream) {
      if (event.type === "response.output_text.delta") text += event.delta;
      if (event.type === "response.completed") usage = event.response.usage;
    }
    return { text, usage: responsesUsage(usage) };
  },
};

function anthropicUsage(usage) {
  const cached = usage.cache_read_input_tokens ?? 0;
  return { input: usage.input_tokens + cached + (usage.cache_creation_input_tokens ?? 0), output: usage.output_tokens, cached };
}

function anthropic(requester) {
  return new Anthropic({ apiKey: key, baseURL: root, maxRetries: 0, defaultHeaders: { "x-metrion-user": requester } });
}

const messages = {
  async plain(requester) {
    const answer = await anthropic(requester).messages.create({ model: "claude-haiku-4-5", max_tokens: 1000, messages: talk });
    return { text: answer.content[0].text, usage: anthropicUsage(answer.usage) };
  },
  async stream(requester) {
    const ask = { model: "claude-haiku-4-5", max_tokens: 1000, messages: talk };
    const answer = await anthropic(requester).messages.stream(ask).finalMessage();
    return { text: answer.content[0].text, usage: anthropicUsage(answer.usage) };
  },
};

function geminiUsage(usage) {
  const reasoning = usage.thoughtsTokenCount ?? 0;
  return {
    input: usage.promptTokenCount,
    output: usage.candidatesTokenCount + reasoning,
    cached: usage.cachedContentTokenCount ?? 0,
    reasoning,
  };
}

function google(requester) {
  const httpOptions = { baseUrl: `${root}/gemini`, apiVersion: "v1beta", headers: { "x-metrion-user": requester } };
  return new GoogleGenAI({ apiKey: key, httpOptions });
}

const gemini = {
  async plain(requester) {
    const answer = await google(requester).models.generateContent({ model: "gemini-2.5-flash", contents: "hello" });
    return { text: answer.text, usage: geminiUsage(answer.usageMetadata) };
  },
  async stream(requester) {
    const stream = await google(requester).models.generateContentStream({ model: "gemini-2.5-flash", contents: "hello" });
    let text = "";
    let usage;
    for await (const chunk of stream) {
      text += chunk.text ?? "";
      usage = chunk.usageMetadata ?? usage;
    }
    return { text, usage: geminiUsage(usage) };
  },
};

// The AI SDK tells input and output; its own breakdown is not asked for here.
function vercel(model) {
  const headers = (requester) => ({ "x-metrion-user": requester });
  return {
    async plain(requester) {
      const answer = await generateText({ model, prompt: "hello", maxRetries: 0, headers: headers(requester) });
      return { text: answer.text, usage: { input: answer.usage.inputTokens, output: answer.usage.outputTokens } };
    },
    async stream(requester) {
      const result = streamText({ model, prompt: "hello", maxRetries: 0, headers: headers(requester) });
      let text = "";
      for await (const part of result.textStream) text += part;
      const usage = await result.usage;
      return { text, usage: { input: usage.inputTokens, output: usage.outputTokens } };
    },
  };
}

const settings = (path) => ({ apiKey: key, baseURL: `${root}${path}` });
const SDKS = {
  "openai chat": chat("/openai/v1", "gpt-4o-mini"),
  "openai responses": responses,
  "openai for gemini": chat("/gemini/v1", "gemini-2.5-flash"),
  "openai for mistral": chat("/mistral/v1", "mistral-small-latest"),
  "openai for grok": chat("/grok/v1", "grok-4-fast-reasoning"),
  "@anthropic-ai/sdk": messages,
  "@google/genai": gemini,
  "ai openai": vercel(createOpenAI(settings("/openai/v1"))("gpt-5")),
  "ai openai chat": vercel(createOpenAI(settings("/openai/v1")).chat("gpt-4o-mini")),
  "ai anthropic": vercel(createAnthropic(settings("/v1"))("claude-haiku-4-5")),
  "ai google": vercel(createGoogleGenerativeAI(settings("/gemini/v1beta"))("gemini-2.5-flash")),
  "ai mistral": vercel(createMistral(settings("/mistral/v1"))("mistral-small-latest")),
  "ai xai": vercel(createXai(settings("/grok/v1"))("grok-4-fast-reasoning")),
};

async function report(name, call) {
  const requester = `${prefix} ${name}`;
  try {
    return { name, requester, ...(await call(requester)) };
  } catch (error) {
    return { name, requester, error: String(error?.stack ?? error).slice(0, 2000) };
  }
}

const calls = Object.entries(SDKS).flatMap(([sdk, ways]) => [
  report(`${sdk} plain`, ways.plain),
  report(`${sdk} stream`, ways.stream),
]);
for (const line of await Promise.all(calls)) console.log(JSON.stringify(line));
