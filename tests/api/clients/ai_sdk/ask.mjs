// One scenario with the AI SDK against a server: node ask.mjs URL SCENARIO. Prints its result as one line of JSON.
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { APICallError, generateObject, generateText, Output, stepCountIs, streamText, tool } from "ai";
import { z } from "zod";

globalThis.AI_SDK_LOG_WARNINGS = false; // they would go to standard output
const [url, scenario] = process.argv.slice(2);
const options = { name: "cascade", baseURL: `${url}/v1`, apiKey: "none", includeUsage: true };
const model = createOpenAICompatible({ ...options, supportsStructuredOutputs: true })("default");
const without = createOpenAICompatible(options)("default");
const target = createOpenAICompatible(options)("t");
const person = z.object({ name: z.string(), age: z.number().int() });
const tools = {
  get_weather: tool({
    description: "The weather in a city.",
    inputSchema: z.object({ city: z.string() }),
    execute: async ({ city }) => `18 degrees in ${city}`,
  }),
};
const question = { prompt: "Capital of France?", maxRetries: 0 };

const failed = (error) => ({
  type: APICallError.isInstance(error) ? "APICallError" : String(error),
  status: error.statusCode ?? null,
  retryable: error.isRetryable ?? null,
  message: error.message,
  code: error.data?.error?.code ?? null,
});

async function streamed(fields) {
  const errors = [];
  const result = streamText({ ...question, ...fields, onError: ({ error }) => errors.push(error) });
  const texts = [];
  for await (const text of result.textStream) texts.push(text);
  if (errors.length) return { texts, error: failed(errors[0]) };
  const usage = await result.totalUsage;
  return {
    texts,
    finishReason: await result.finishReason,
    steps: (await result.steps).length,
    outputTokens: usage.outputTokens,
  };
}

const scenarios = {
  generate: async () => {
    const { text, finishReason, usage } = await generateText({ model, ...question, temperature: 0.5, seed: 3 });
    return { text, finishReason, inputTokens: usage.inputTokens, outputTokens: usage.outputTokens };
  },
  stream: () => streamed({ model }),
  tools: async () => {
    const { text, steps } = await generateText({ model, ...question, tools, stopWhen: stepCountIs(3) });
    return { text, calls: steps.map((step) => step.toolCalls.map((call) => [call.toolName, call.input])) };
  },
  streamTools: () => streamed({ model, tools, stopWhen: stepCountIs(3) }),
  object: async () => (await generateObject({ model, ...question, schema: person })).object,
  objectWithoutSchema: async () => (await generateObject({ model: without, ...question, schema: person })).object,
  output: async () =>
    (await generateText({ model, ...question, output: Output.object({ schema: person }) })).output,
  error: () => generateText({ model: target, ...question }).then(() => null, failed),
  streamError: () => streamed({ model: target }),
};

console.log(JSON.stringify(await scenarios[scenario]()));
