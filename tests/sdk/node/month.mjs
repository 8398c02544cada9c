// Asks a Metrion whose month is used up through the real Node SDKs, with the retries they come with. Prints one JSON line
// per SDK: {"name", "status", "message"}. Argument: {"origin", "token"}; the requester is "month NAME".
import Anthropic from "@anthropic-ai/sdk";
import { GoogleGenAI } from "@google/genai";
import OpenAI from "openai";

const { origin, token } = JSON.parse(process.argv[2]);
const root = `${origin}/api/proxy`;
const talk = [{ role: "user", content: "hello" }];
const headersOf = (name) => ({ "x-metrion-user": `month ${name}` });

const asks = {
  openai: (name) =>
    new OpenAI({ apiKey: token, baseURL: `${root}/openai/v1`, defaultHeaders: headersOf(name) }).chat.completions.create({
      model: "gpt-4o-mini",
      messages: talk,
    }),
  "@anthropic-ai/sdk": (name) =>
    new Anthropic({ apiKey: token, baseURL: root, defaultHeaders: headersOf(name) }).messages.create({
      model: "claude-haiku-4-5",
      max_tokens: 9,
      messages: talk,
    }),
  "@google/genai": (name) =>
    new GoogleGenAI({
      apiKey: token,
      httpOptions: { baseUrl: `${root}/gemini`, apiVersion: "v1beta", headers: headersOf(name) },
    }).models.generateContent({ model: "gemini-2.5-flash", contents: "hello" }),
};

for (const [name, ask] of Object.entries(asks)) {
  try {
    await ask(name);
    console.log(JSON.stringify({ name, status: 200, message: "" }));
  } catch (error) {
    console.log(JSON.stringify({ name, status: error.status, message: String(error.message) }));
  }
}
