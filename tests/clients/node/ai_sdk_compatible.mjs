// The Vercel AI SDK with its provider for OpenAI-compatible servers.
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { run } from "./ai_sdk.mjs";
import { settings } from "./scenario.mjs";

const provider = createOpenAICompatible({
  name: "consilience",
  baseURL: settings.baseURL,
  apiKey: "unused",
  includeUsage: true,
});
await run(provider(settings.model));
