// What every runner is told by the test, and how it tells what happened.
//
//   node <runner>.mjs <way>     way: complete | stream | tools | tools_stream
//
// One JSON line on stdout: {text, pieces, finish, usage, fusion, calls, model, error}.

export const way = process.argv[2];
export const settings = {
  baseURL: process.env.GATEWAY_URL,
  model: process.env.MODEL,
  question: process.env.QUESTION,
  toolResult: process.env.TOOL_RESULT,
  // undefined: the client's own default
  maxRetries: process.env.MAX_RETRIES ? Number(process.env.MAX_RETRIES) : undefined,
};

export const weatherSchema = {
  type: "object",
  properties: { city: { type: "string" }, unit: { type: "string" } },
  required: ["city", "unit"],
  additionalProperties: false,
};

/** Tells the models that a first piece was read: they hold the rest back until then. */
export async function release() {
  await fetch(process.env.RELEASE_URL, { method: "POST" });
}

/** Runs one way of asking and prints what came of it, errors included. */
export async function report(ways) {
  const seen = { text: null, pieces: [], finish: null, usage: null, fusion: null, calls: [] };
  try {
    await ways[way](seen);
  } catch (error) {
    seen.error = {
      name: error.name,
      message: error.message,
      status: error.status ?? error.statusCode ?? null,
      code: error.code ?? null,
    };
  }
  console.log(JSON.stringify(seen));
}
