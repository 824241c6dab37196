// The Vercel AI SDK, the same for each of its providers: see ai_sdk_*.mjs.
import { generateText, jsonSchema, stepCountIs, streamText, tool } from "ai";
import { release, report, settings, weatherSchema } from "./scenario.mjs";

/** Runs the way of asking that the command line names, with a provider's model. */
export async function run(model) {
  const { question: prompt, maxRetries } = settings;
  const called = [];
  const withTool = {
    stopWhen: stepCountIs(3),
    tools: {
      get_weather: tool({
        description: "Tells the weather.",
        inputSchema: jsonSchema(weatherSchema),
        execute(input, { toolCallId }) {
          called.push({ id: toolCallId, name: "get_weather", input });
          return settings.toolResult;
        },
      }),
    },
  };

  async function whole(seen, more) {
    const result = await generateText({ model, prompt, maxRetries, ...more });
    seen.text = result.text;
    seen.finish = result.finishReason;
    seen.usage = result.usage;
    seen.fusion = result.response.body.fusion ?? null;
    seen.model = result.response.modelId;
    seen.calls = called;
  }

  async function streamed(seen, more) {
    const options = { model, prompt, maxRetries, includeRawChunks: true, onError() {}, ...more };
    const result = streamText(options);
    for await (const part of result.fullStream) {
      if (part.type === "text-delta" && part.text) {
        seen.pieces.push(part.text);
        await release();
      } else if (part.type === "raw") {
        seen.fusion = part.rawValue.fusion ?? seen.fusion;
      } else if (part.type === "finish-step") {
        seen.finish = part.finishReason;
        seen.usage = part.usage;
        seen.model = part.response.modelId;
      } else if (part.type === "error") {
        throw part.error instanceof Error ? part.error : new Error(JSON.stringify(part.error));
      }
    }
    seen.text = seen.pieces.join("");
    seen.calls = called;
  }

  await report({
    complete: (seen) => whole(seen, {}),
    stream: (seen) => streamed(seen, {}),
    tools: (seen) => whole(seen, withTool),
    tools_stream: (seen) => streamed(seen, withTool),
  });
}
