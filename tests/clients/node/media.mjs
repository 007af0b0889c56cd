// OpenAI's Node client: sounds, pictures and judgements, whole and streamed.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import OpenAI, { toFile } from "openai";

const client = new OpenAI({ baseURL: `${process.env.SOMA_API_URL}/v1`, apiKey: process.env.SOMA_API_KEY, maxRetries: 0 });
const text = "The tea is green.";
const sound = () => toFile(readFileSync(process.env.SOMA_SOUND), "tea.wav");
const picture = (name) => toFile(readFileSync(process.env.SOMA_PICTURE), name, { type: "image/png" });
const bytes = readFileSync(process.env.SOMA_PICTURE);

const heard = await client.audio.transcriptions.create({ model: "whisper-1", file: await sound() });
assert.equal(heard.text, text);

const kinds = [];
const hearing = await client.audio.transcriptions.create({ model: "gpt-4o-transcribe", file: await sound(), stream: true });
for await (const event of hearing) kinds.push(event.type);
assert.deepEqual(kinds, ["transcript.text.delta", "transcript.text.delta", "transcript.text.done"]);

const english = await client.audio.translations.create({ model: "whisper-1", file: await sound() });
assert.equal(english.text, "Good day.");

const spoken = await client.audio.speech.create({ model: "tts-1", input: "Tea?", voice: "coral" });
assert.equal((await spoken.arrayBuffer()).byteLength, 256 * 64);

const drawn = await client.images.generate({ model: "gpt-image-1", prompt: "tea", n: 2 });
assert.deepEqual(drawn.data.map((each) => Buffer.from(each.b64_json, "base64")), [bytes, bytes]);

const shown = [];
for await (const event of await client.images.generate({ model: "gpt-image-1", prompt: "tea", stream: true, partial_images: 1 })) {
  shown.push(event.type);
}
assert.deepEqual(shown, ["image_generation.partial_image", "image_generation.completed"]);

const images = [await picture("a.png"), await picture("b.png")];
const changed = await client.images.edit({ model: "gpt-image-1", image: images, mask: await picture("m.png"), prompt: "greener" });
assert.deepEqual(Buffer.from(changed.data[0].b64_json, "base64"), bytes);

const judged = await client.moderations.create({ input: ["tea", "violence"] });
assert.deepEqual(judged.results.map((each) => each.flagged), [false, true]);

await assert.rejects(client.audio.speech.create({ model: "whisper-1", input: "Tea?", voice: "coral" }), (error) => {
  assert.equal(error.code, "model_capability_missing");
  return error instanceof OpenAI.BadRequestError;
});

console.log("media: all is well");
