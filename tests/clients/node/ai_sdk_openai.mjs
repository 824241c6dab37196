// The Vercel AI SDK with OpenAI's own provider, on chat completions.
import { createOpenAI } from "@ai-sdk/openai";
import { run } from "./ai_sdk.mjs";
import { settings } from "./scenario.mjs";

const provider = createOpenAI({ baseURL: settings.baseURL, apiKey: "unused" });
await run(provider.chat(settings.model));
