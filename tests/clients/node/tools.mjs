// OpenAI's Node client and the Vercel AI SDK: pictures, tools with thoughts, and streams. Its argument is JSON: the URL and
// the key of the API, the client, the models, which of them see, whether answers are streamed, the picture, and the
// questions. It prints the answers of each model as JSON.
import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { generateText, isStepCount, streamText, tool } from "ai";
import OpenAI from "openai";
import { z } from "zod";

const { url: baseURL, key: apiKey, client, models, seeing, streamed, picture, showing, questions } = JSON.parse(process.argv[2]);
const look = ({ place }) => `The weather of ${place}.`;
const parameters = { type: "object", properties: { place: { type: "string" } }, required: ["place"] };

async function openaiChat(model, answers) {
  const openai = new OpenAI({ baseURL, apiKey, maxRetries: 0 });
  const tools = [{ type: "function", function: { name: "look", parameters } }];
  const say = async (messages) => {
    const wanted = { model, messages, tools, reasoning_effort: "high" };
    if (!streamed) return (await openai.chat.completions.create(wanted)).choices[0].message;
    return (await openai.chat.completions.stream(wanted).finalChatCompletion()).choices[0].message;
  };
  if (seeing.includes(model)) {
    const url = `data:image/png;base64,${picture}`;
    answers.push((await say([{ role: "user", content: [{ type: "text", text: showing }, { type: "image_url", image_url: { url } }] }])).content);
  }
  const messages = [];
  for (const question of questions) {
    messages.push({ role: "user", content: question });
    let message = await say(messages);
    while (message.tool_calls?.length) {
      messages.push(message);
      for (const call of message.tool_calls) messages.push({ role: "tool", tool_call_id: call.id, content: look(JSON.parse(call.function.arguments)) });
      message = await say(messages);
    }
    messages.push(message);
    answers.push(message.content);
  }
}

async function openaiResponses(model, answers) {
  const openai = new OpenAI({ baseURL, apiKey, maxRetries: 0 });
  const tools = [{ type: "function", name: "look", parameters, strict: false }];
  const say = async (input) => {
    const wanted = { model, input, tools, store: false, include: ["reasoning.encrypted_content"], reasoning: { effort: "high" } };
    return streamed ? await openai.responses.stream(wanted).finalResponse() : await openai.responses.create(wanted);
  };
  if (seeing.includes(model)) {
    const shown = { type: "input_image", image_url: `data:image/png;base64,${picture}`, detail: "auto" };
    answers.push((await say([{ role: "user", content: [{ type: "input_text", text: showing }, shown] }])).output_text);
  }
  const input = [];
  for (const question of questions) {
    input.push({ role: "user", content: question });
    for (;;) {
      const response = await say(input);
      input.push(...response.output);
      const calls = response.output.filter((item) => item.type === "function_call");
      if (!calls.length) {
        answers.push(response.output_text);
        break;
      }
      for (const call of calls) input.push({ type: "function_call_output", call_id: call.call_id, output: look(JSON.parse(call.arguments)) });
    }
  }
}

async function vercel(model, answers, languageModel, providerOptions) {
  const tools = { look: tool({ inputSchema: z.object({ place: z.string() }), execute: async (given) => look(given) }) };
  const say = async (messages) => {
    const wanted = { model: languageModel, messages, tools, stopWhen: isStepCount(5), maxRetries: 0, providerOptions };
    if (!streamed) {
      const whole = await generateText(wanted);
      return [whole.text, whole.responseMessages ?? whole.response.messages];
    }
    const stream = streamText(wanted);
    await stream.consumeStream({ onError: (error) => { throw error; } });
    return [await stream.text, (await stream.responseMessages) ?? (await stream.response).messages];
  };
  if (seeing.includes(model)) {
    const image = { type: "file", data: Buffer.from(picture, "base64"), mediaType: "image/png" };
    answers.push((await say([{ role: "user", content: [{ type: "text", text: showing }, image] }]))[0]);
  }
  const messages = [];
  for (const question of questions) {
    messages.push({ role: "user", content: question });
    const [text, said] = await say(messages);
    messages.push(...said);
    answers.push(text);
  }
}

const forced = { reasoningEffort: "high", forceReasoning: true };
const clients = {
  "openai chat": openaiChat,
  "openai responses": openaiResponses,
  "vercel chat": (model, answers) => vercel(model, answers, createOpenAI({ baseURL, apiKey }).chat(model), { openai: forced }),
  "vercel responses": (model, answers) => {
    const own = { ...forced, store: false, include: ["reasoning.encrypted_content"] };
    return vercel(model, answers, createOpenAI({ baseURL, apiKey }).responses(model), { openai: own });
  },
  "vercel compatible": (model, answers) => {
    const provider = createOpenAICompatible({ name: "soma", baseURL, apiKey });
    return vercel(model, answers, provider.chatModel(model), { soma: { reasoningEffort: "high" } });
  },
};
const found = [];
for (const model of models) {
  const answers = [];
  await clients[client](model, answers);
  found.push(answers);
}
console.log(JSON.stringify(found));
