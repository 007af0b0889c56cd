// Anthropic's Node client: a picture, tools with thoughts, streams and tokens. Its argument is that of tools.mjs; it prints the
// answers of each model as JSON.
import Anthropic from "@anthropic-ai/sdk";

const { url, key: apiKey, models, seeing, streamed, picture, showing, questions } = JSON.parse(process.argv[2]);
const client = new Anthropic({ baseURL: url.replace(/\/v1$/, ""), apiKey, maxRetries: 0 });
const input_schema = { type: "object", properties: { place: { type: "string" } }, required: ["place"] };
const tools = [{ name: "look", description: "Looks at a place.", input_schema }];
const thinking = { type: "enabled", budget_tokens: 1024 };

async function say(model, messages) {
  const wanted = { model, messages, tools, thinking, max_tokens: 4096 };
  return streamed ? await client.messages.stream(wanted).finalMessage() : await client.messages.create(wanted);
}

const textOf = (message) => message.content.at(-1).text;
const found = [];
for (const model of models) {
  const answers = [];
  if (seeing.includes(model)) {
    const source = { type: "base64", media_type: "image/png", data: picture };
    answers.push(textOf(await say(model, [{ role: "user", content: [{ type: "text", text: showing }, { type: "image", source }] }])));
  }
  const messages = [];
  for (const question of questions) {
    messages.push({ role: "user", content: question });
    if (!(await client.messages.countTokens({ model, messages, tools, thinking })).input_tokens) throw new Error("no tokens");
    let message = await say(model, messages);
    while (message.stop_reason === "tool_use") {
      const calls = message.content.filter((block) => block.type === "tool_use");
      const results = calls.map((call) => ({ type: "tool_result", tool_use_id: call.id, content: `The weather of ${call.input.place}.` }));
      messages.push({ role: "assistant", content: message.content }, { role: "user", content: results });
      message = await say(model, messages);
    }
    messages.push({ role: "assistant", content: message.content });
    answers.push(textOf(message));
  }
  found.push(answers);
}
console.log(JSON.stringify(found));
