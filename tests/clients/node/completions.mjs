// OpenAI's Node client: prompts that are continued whole and as a stream, with a suffix, an echo and probabilities.
import assert from "node:assert/strict";
import OpenAI from "openai";

const client = new OpenAI({ baseURL: `${process.env.SOMA_API_URL}/v1`, apiKey: process.env.SOMA_API_KEY, maxRetries: 0 });
const { models, texts } = JSON.parse(process.argv[2]);
const prompt = "def add(a, b):";

for (const model of models) {
  const whole = await client.completions.create({ model, prompt, max_tokens: 50 });
  assert.equal(whole.object, "text_completion");
  assert.equal(whole.choices[0].text, texts.plain);
  assert.equal(whole.choices[0].finish_reason, "stop");
  assert.ok(whole.usage.completion_tokens > 0);

  let text = "";
  let usage = null;
  const stream = await client.completions.create({ model, prompt: [prompt, prompt], n: 2, stream: true, stream_options: { include_usage: true } });
  for await (const chunk of stream) {
    if (chunk.choices[0]?.index === 3) text += chunk.choices[0].text;
    usage = chunk.usage ?? usage;
  }
  assert.equal(text, texts.plain);
  assert.equal(usage.completion_tokens, 4 * whole.usage.completion_tokens);

  const echoed = await client.completions.create({ model, prompt, echo: true });
  assert.equal(echoed.choices[0].text, prompt + texts.plain);
}

const filled = await client.completions.create({ model: models[0], prompt, suffix: "    return c" });
assert.equal(filled.choices[0].text, texts.suffixed);
const counted = await client.completions.create({ model: models[0], prompt, logprobs: 1, echo: true });
assert.equal(counted.choices[0].logprobs.tokens.join(""), prompt + texts.plain);
assert.equal(counted.choices[0].logprobs.token_logprobs[0], null);
await assert.rejects(client.completions.create({ model: models.at(-1), prompt, suffix: "x" }), (error) => error instanceof OpenAI.BadRequestError && error.param === "suffix");
console.log("completions: all is well");
