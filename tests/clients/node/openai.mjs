// openai-node.
import OpenAI from "openai";
import { release, report, settings, weatherSchema } from "./scenario.mjs";

const { model, maxRetries } = settings;
const client = new OpenAI({ baseURL: settings.baseURL, apiKey: "unused", maxRetries });
const asked = [{ role: "user", content: settings.question }];
const tools = [
  {
    type: "function",
    function: { name: "get_weather", description: "Tells the weather.", parameters: weatherSchema },
  },
];

function keep(seen, completion) {
  const [choice] = completion.choices;
  seen.text = choice.message.content;
  seen.finish = choice.finish_reason;
  seen.usage = completion.usage ?? null;
  seen.fusion = completion.fusion ?? seen.fusion;
  seen.model = completion.model;
  return choice.message;
}

function keepCalls(seen, message) {
  seen.calls = message.tool_calls.map((call) => ({
    id: call.id,
    name: call.function.name,
    input: JSON.parse(call.function.arguments),
  }));
  const results = seen.calls.map((call) => ({
    role: "tool",
    tool_call_id: call.id,
    content: settings.toolResult,
  }));
  return [...asked, message, ...results];
}

await report({
  async complete(seen) {
    keep(seen, await client.chat.completions.create({ model, messages: asked }));
  },

  async stream(seen) {
    const stream = await client.chat.completions.create({
      model,
      messages: asked,
      stream: true,
      stream_options: { include_usage: true },
    });
    for await (const chunk of stream) {
      const piece = chunk.choices[0]?.delta.content;
      if (piece) {
        seen.pieces.push(piece);
        await release();
      }
      seen.finish = chunk.choices[0]?.finish_reason ?? seen.finish;
      seen.usage = chunk.usage ?? seen.usage;
      seen.fusion = chunk.fusion ?? seen.fusion;
      seen.model = chunk.model;
    }
    seen.text = seen.pieces.join("");
  },

  async tools(seen) {
    const first = await client.chat.completions.create({ model, messages: asked, tools });
    const messages = keepCalls(seen, keep(seen, first));
    keep(seen, await client.chat.completions.create({ model, messages, tools }));
  },

  async tools_stream(seen) {
    const first = client.chat.completions.stream({ model, messages: asked, tools });
    const messages = keepCalls(seen, keep(seen, await first.finalChatCompletion()));
    const second = client.chat.completions.stream({ model, messages, tools });
    second.on("content", (piece) => seen.pieces.push(piece));
    keep(seen, await second.finalChatCompletion());
  },
});
