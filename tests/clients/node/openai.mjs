// OpenAI's Node client: chats, streams, tools, structured output, responses, embeddings, and its exceptions.
import assert from "node:assert/strict";
import OpenAI from "openai";
import { zodResponseFormat, zodTextFormat } from "openai/helpers/zod";
import { ResponsesWS } from "openai/resources/responses/ws";
import { z } from "zod";

const baseURL = `${process.env.SOMA_API_URL}/v1`;
const client = new OpenAI({ baseURL, apiKey: process.env.SOMA_API_KEY, maxRetries: 0 });
const model = process.env.SOMA_MODEL;
const messages = [{ role: "user", content: "Hi" }];
const Person = z.object({ name: z.string(), age: z.number() });
const ada = { name: "Ada", age: 36 };
const parameters = { type: "object", properties: { city: { type: "string" } } };
const hello = "Hello there!";

const whole = await client.chat.completions.create({ model, messages });
assert.equal(whole.choices[0].message.content, hello);

const chunks = [];
for await (const chunk of await client.chat.completions.create({ model, messages, stream: true })) chunks.push(chunk);
assert.equal(chunks.map((chunk) => chunk.choices[0]?.delta.content ?? "").join(""), hello);

const helped = client.chat.completions.stream({ model, messages });
assert.equal(await helped.finalContent(), hello);

const parsed = await client.chat.completions.parse({ model, messages, response_format: zodResponseFormat(Person, "person") });
assert.deepEqual(parsed.choices[0].message.parsed, ada);
// The messages of the helpers go back as the library made them.
for (const said of [parsed.choices[0].message, (await helped.finalChatCompletion()).choices[0].message]) {
  const onward = await client.chat.completions.create({ model, messages: [...messages, said, { role: "user", content: "On" }] });
  assert.equal(onward.choices[0].message.content, hello);
}

const runner = client.chat.completions.runTools({
  model,
  messages,
  tools: [{
    type: "function",
    function: { name: "weather", description: "Weather", parameters, parse: JSON.parse, function: ({ city }) => `${city} is sunny. ` },
  }],
});
assert.equal(await runner.finalContent(), "I heard: Rome is sunny. Oslo is sunny. ");

const response = await client.responses.create({ model, input: "Hi" });
assert.equal(response.output_text, hello);
assert.equal((await client.responses.retrieve(response.id)).output_text, hello);
const onward = await client.responses.create({ model, input: "On", previous_response_id: response.id });
assert.equal(onward.previous_response_id, response.id);
const types = [];
const streamed = client.responses.stream({ model, input: "Hi" });
for await (const event of streamed) types.push(event.type);
assert.equal(types[0], "response.created");
assert.equal(types.at(-1), "response.completed");
assert.equal((await streamed.finalResponse()).output_text, hello);
const structured = await client.responses.parse({ model, input: "Who?", text: { format: zodTextFormat(Person, "person") } });
assert.deepEqual(structured.output_parsed, ada);

// What the helpers return is the input of the next response, with the members that they add.
const tool = { type: "function", name: "weather", parameters, strict: false };
const calling = client.responses.stream({ model, input: "Hi", tools: [tool] });
for (const made of [await client.responses.parse({ model, input: "Hi", tools: [tool] }), await calling.finalResponse()]) {
  const called = made.output.filter((item) => item.type === "function_call");
  assert.equal(called.length, 2);
  const results = called.map((item) => ({ type: "function_call_output", call_id: item.call_id, output: "wet. " }));
  const said = [{ role: "user", content: "Hi" }, ...structured.output, ...made.output, ...results];
  const heard = await client.responses.create({ model, input: said, store: false, client_metadata: { a: "b" } });
  assert.equal(heard.output_text, "I heard: wet. wet. ");
  assert.equal(heard.output[0].phase, "final_answer");
}
const counted = await client.responses.inputTokens.count({ model, input: "Hi" });
assert.ok(counted.input_tokens > 0);
const window = await client.responses.compact({ model, input: [...messages, { role: "assistant", content: hello }] });
assert.deepEqual(window.output.map((item) => item.type), ["message", "compaction"]);
const resumed = await client.responses.create({ model, input: [...window.output, { role: "user", content: "On" }] });
assert.equal(resumed.output_text, hello);

const page = await client.responses.inputItems.list(onward.id, { order: "asc" });
assert.deepEqual(page.data.map((item) => [item.role, item.content[0].text]), [["user", "Hi"], ["assistant", hello], ["user", "On"]]);
await client.responses.delete(response.id);
await assert.rejects(client.responses.retrieve(response.id), OpenAI.NotFoundError);

const socket = new ResponsesWS(client);
const turn = async (asked) => {
  const completed = socket.emitted("response.completed");
  socket.send({ type: "response.create", model, store: false, ...asked });
  return (await completed).response;
};
const opening = await turn({ input: "Hi" });
const ongoing = await turn({ input: "On", previous_response_id: opening.id });
assert.equal(ongoing.previous_response_id, opening.id);
assert.equal(ongoing.output[0].content[0].text, hello);
socket.close();

const vectors = await client.embeddings.create({ model: "somasuite-embed-v1", input: ["a cat", "a dog"] });
assert.deepEqual(vectors.data.map((each) => each.embedding.length), [384, 384]);

const refused = await client.chat.completions.parse({
  model,
  messages: [{ role: "user", content: "Refuse" }],
  response_format: zodResponseFormat(Person, "person"),
});
assert.deepEqual([refused.choices[0].message.refusal, refused.choices[0].message.parsed], ["I cannot.", null]);

// Who leaves a response that is made in the background reads on where it was.
const seen = [];
for await (const event of await client.responses.create({ model, input: "Slowly", background: true, stream: true })) {
  seen.push(event);
  if (event.type === "response.output_text.delta") break;
}
const rest = await client.responses.retrieve(seen[0].response.id, { stream: true, starting_after: seen.at(-1).sequence_number });
for await (const event of rest) seen.push(event);
assert.deepEqual(seen.map((event) => event.sequence_number), seen.map((_, index) => index));
assert.equal(seen.at(-1).response.output[0].content[0].text, hello);

const failures = [
  ["fail: BAD_REQUEST", OpenAI.BadRequestError, 400, "invalid_request_error", "provider_refused_request"],
  ["Tell me a state secret.", OpenAI.PermissionDeniedError, 403, "permission_error", "policy_denied"],
  ["fail: UNKNOWN_MODEL", OpenAI.NotFoundError, 404, "invalid_request_error", "model_not_found"],
  ["fail: RATE_LIMITED", OpenAI.RateLimitError, 429, "requests", "rate_limit_exceeded"],
  ["fail: OVERLOADED", OpenAI.InternalServerError, 503, "server_error", "provider_unavailable"],
];
for (const [content, kind, status, type, code] of failures) {
  for (const stream of [false, true]) {
    const attempts = [
      () => client.chat.completions.create({ model, messages: [{ role: "user", content }], stream }),
      () => client.responses.create({ model, input: content, stream }),
    ];
    for (const attempt of attempts) {
      await assert.rejects(attempt, (error) => {
        assert.ok(error instanceof kind);
        assert.deepEqual([error.status, error.type, error.code, error.param], [status, type, code, null]);
        assert.ok(error.requestID);
        return true;
      });
    }
  }
}
const cut = client.chat.completions.stream({ model, messages: [{ role: "user", content: "fail: CUT_MID" }] });
await assert.rejects(cut.finalContent(), (error) => error instanceof OpenAI.APIError && error.code === "provider_stream_cut");
const broken = await client.responses.create({ model, input: "fail: CUT_MID", stream: true });
await assert.rejects(async () => {
  for await (const event of broken) assert.notEqual(event.type, "response.completed");
}, (error) => error instanceof OpenAI.APIError && error.code === "provider_stream_cut");
// A provider may have a parameter that the mesh does not know, but the local models have no others.
const biased = { messages, logit_bias: { 1: 1 } };
assert.equal((await client.chat.completions.create({ model, ...biased })).choices[0].message.content, hello);
const local = client.chat.completions.create({ model: "soma-extract-v1", ...biased });
await assert.rejects(local, { code: "unsupported_parameter", param: "logit_bias" });

const patient = new OpenAI({ baseURL, apiKey: process.env.SOMA_API_KEY, maxRetries: 1 });
const again = await patient.chat.completions.create({ model, messages: [{ role: "user", content: "fail once: OVERLOADED" }] });
assert.equal(again.choices[0].message.content, hello);

await assert.rejects(client.chat.completions.create({ model: "none", messages }), OpenAI.NotFoundError);
const stranger = new OpenAI({ baseURL, apiKey: "sk-wrong", maxRetries: 0 });
await assert.rejects(stranger.models.list(), OpenAI.AuthenticationError);
console.log("openai: all is well");
