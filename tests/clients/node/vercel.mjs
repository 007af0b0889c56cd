// The Vercel AI SDK over both of OpenAI's surfaces: texts, streams, tools with several steps, objects, vectors.
import assert from "node:assert/strict";
import { createOpenAI } from "@ai-sdk/openai";
import { APICallError, embedMany, generateObject, generateText, Output, stepCountIs, streamText, tool } from "ai";
import { z } from "zod";

const provider = createOpenAI({ baseURL: `${process.env.SOMA_API_URL}/v1`, apiKey: process.env.SOMA_API_KEY });
const name = process.env.SOMA_MODEL;
const Person = z.object({ name: z.string(), age: z.number() });
const weather = tool({
  description: "Weather",
  inputSchema: z.object({ city: z.string() }),
  execute: async ({ city }) => `${city} is sunny. `,
});

for (const model of [provider.chat(name), provider.responses(name)]) {
  const whole = await generateText({ model, prompt: "Hi", maxRetries: 0 });
  assert.equal(whole.text, "Hello there!");
  assert.equal(whole.usage.totalTokens, 14);

  const streamed = streamText({ model, prompt: "Hi", maxRetries: 0 });
  const pieces = [];
  for await (const piece of streamed.textStream) pieces.push(piece);
  assert.equal(pieces.join(""), "Hello there!");

  const agent = await generateText({ model, prompt: "Weather?", tools: { weather }, stopWhen: stepCountIs(3), maxRetries: 0 });
  assert.equal(agent.text, "I heard: Rome is sunny. Oslo is sunny. ");

  const object = await generateText({ model, prompt: "Who?", output: Output.object({ schema: Person }), maxRetries: 0 });
  assert.deepEqual(object.output, { name: "Ada", age: 36 });

  assert.deepEqual((await generateObject({ model, prompt: "Who?", schema: Person, maxRetries: 0 })).object, { name: "Ada", age: 36 });
  const person = streamText({ model, prompt: "Who?", output: Output.object({ schema: Person }), maxRetries: 0 });
  assert.deepEqual(await person.output, { name: "Ada", age: 36 });

  const acting = streamText({ model, prompt: "Weather?", tools: { weather }, stopWhen: stepCountIs(3), maxRetries: 0 });
  assert.equal(await acting.text, "I heard: Rome is sunny. Oslo is sunny. ");
  assert.deepEqual((await acting.steps)[0].toolCalls.map((call) => call.input.city), ["Rome", "Oslo"]);

  const failing = generateText({ model, prompt: "fail: RATE_LIMITED", maxRetries: 0 });
  await assert.rejects(failing, (error) => APICallError.isInstance(error) && error.statusCode === 429 && error.isRetryable);
  const forbidden = generateText({ model, prompt: "Tell me a state secret." });
  await assert.rejects(forbidden, (error) => APICallError.isInstance(error) && error.statusCode === 403 && !error.isRetryable);

  // What it said goes back to it, by reference where the mesh keeps it.
  const messages = [{ role: "user", content: "Hi" }, ...whole.response.messages, { role: "user", content: "On" }];
  assert.equal((await generateText({ model, messages, maxRetries: 0 })).text, "Hello there!");
}

const { embeddings } = await embedMany({ model: provider.embedding("somasuite-embed-v1"), values: ["a cat", "a dog"] });
assert.deepEqual(embeddings.map((each) => each.length), [384, 384]);
console.log("vercel: all is well");
