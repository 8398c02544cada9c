// Calls Metrion through the real Node SDKs, plain and streaming, and prints one JSON line per call:
// {"backend", "name", "text", "usage": {"input", "output", "cached"?, "reasoning"?}} or {"backend", "name", "error"}.
// Argument: a JSON list of targets {"backend", "origin", "token"}; each gets every call, by requester "backend name".
import Anthropic from "@anthropic-ai/sdk";
import { createAnthropic } from "@ai-sdk/anthropic";
import { createGoogleGenerativeAI } from "@ai-sdk/google";
import { createMistral } from "@ai-sdk/mistral";
import { createOpenAI } from "@ai-sdk/openai";
import { createXai } from "@ai-sdk/xai";
import { GoogleGenAI } from "@google/genai";
import { generateText, streamText } from "ai";
import OpenAI from "openai";

const talk = [{ role: "user", content: "hello" }];

function openai(target, base, requester) {
  const defaultHeaders = { "x-metrion-user": requester };
  return new OpenAI({ apiKey: target.token, baseURL: `${target.root}${base}`, maxRetries: 0, defaultHeaders });
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
    async plain(target, requester) {
      const answer = await openai(target, base, requester).chat.completions.create({ model, messages: talk });
      return { text: answer.choices[0].message.content, usage: chatUsage(answer.usage) };
    },
    async stream(target, requester) {
      const stream = await openai(target, base, requester).chat.completions.create({
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
  async plain(target, requester) {
    const answer = await openai(target, "/openai/v1", requester).responses.create({ model: "gpt-5", input: "hello" });
    return { text: answer.output_text, usage: responsesUsage(answer.usage) };
  },
  async stream(target, requester) {
    const stream = await openai(target, "/openai/v1", requester).responses.create({ model: "gpt-5", input: "hello", stream: true });
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

function anthropic(target, requester) {
  const defaultHeaders = { "x-metrion-user": requester };
  return new Anthropic({ apiKey: target.token, baseURL: target.root, maxRetries: 0, defaultHeaders });
}

const messages = {
  async plain(target, requester) {
    const answer = await anthropic(target, requester).messages.create({ model: "claude-haiku-4-5", max_tokens: 1000, messages: talk });
    return { text: answer.content[0].text, usage: anthropicUsage(answer.usage) };
  },
  async stream(target, requester) {
    const ask = { model: "claude-haiku-4-5", max_tokens: 1000, messages: talk };
    const answer = await anthropic(target, requester).messages.stream(ask).finalMessage();
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

function google(target, requester) {
  const headers = { "x-metrion-user": requester };
  const httpOptions = { baseUrl: `${target.root}/gemini`, apiVersion: "v1beta", headers };
  return new GoogleGenAI({ apiKey: target.token, httpOptions });
}

const gemini = {
  async plain(target, requester) {
    const answer = await google(target, requester).models.generateContent({ model: "gemini-2.5-flash", contents: "hello" });
    return { text: answer.text, usage: geminiUsage(answer.usageMetadata) };
  },
  async stream(target, requester) {
    const stream = await google(target, requester).models.generateContentStream({ model: "gemini-2.5-flash", contents: "hello" });
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
function vercel(path, choose) {
  const ask = (target, requester) => ({
    model: choose({ apiKey: target.token, baseURL: `${target.root}${path}` }),
    prompt: "hello",
    maxRetries: 0,
    headers: { "x-metrion-user": requester },
  });
  return {
    async plain(target, requester) {
      const answer = await generateText(ask(target, requester));
      return { text: answer.text, usage: { input: answer.usage.inputTokens, output: answer.usage.outputTokens } };
    },
    async stream(target, requester) {
      const result = streamText(ask(target, requester));
      let text = "";
      for await (const part of result.textStream) text += part;
      const usage = await result.usage;
      return { text, usage: { input: usage.inputTokens, output: usage.outputTokens } };
    },
  };
}

const SDKS = {
  "openai chat": chat("/openai/v1", "gpt-4o-mini"),
  "openai responses": responses,
  "openai for gemini": chat("/gemini/v1", "gemini-2.5-flash"),
  "openai for mistral": chat("/mistral/v1", "mistral-small-latest"),
  "openai for grok": chat("/grok/v1", "grok-4-fast-reasoning"),
  "@anthropic-ai/sdk": messages,
  "@google/genai": gemini,
  "ai openai": vercel("/openai/v1", (settings) => createOpenAI(settings)("gpt-5")),
  "ai openai chat": vercel("/openai/v1", (settings) => createOpenAI(settings).chat("gpt-4o-mini")),
  "ai anthropic": vercel("/v1", (settings) => createAnthropic(settings)("claude-haiku-4-5")),
  "ai google": vercel("/gemini/v1beta", (settings) => createGoogleGenerativeAI(settings)("gemini-2.5-flash")),
  "ai mistral": vercel("/mistral/v1", (settings) => createMistral(settings)("mistral-small-latest")),
  "ai xai": vercel("/grok/v1", (settings) => createXai(settings)("grok-4-fast-reasoning")),
};

async function report(target, name, call) {
  try {
    return { backend: target.backend, name, ...(await call(target, `${target.backend} ${name}`)) };
  } catch (error) {
    return { backend: target.backend, name, error: String(error?.stack ?? error).slice(0, 2000) };
  }
}

const calls = JSON.parse(process.argv[2]).flatMap(({ backend, origin, token }) => {
  const target = { backend, token, root: `${origin}/api/proxy` };
  return Object.entries(SDKS).flatMap(([sdk, ways]) => [
    report(target, `${sdk} plain`, ways.plain),
    report(target, `${sdk} stream`, ways.stream),
  ]);
});
for (const line of await Promise.all(calls)) console.log(JSON.stringify(line));
