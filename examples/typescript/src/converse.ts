// A remembered conversation over native gRPC, with the client generated into gen/ts.
//
// SOMA_API_URL=http://127.0.0.1:8080 SOMA_API_KEY=… npm start

import { randomUUID } from "node:crypto";
import { stdout } from "node:process";
import { ConnectError, createClient, type Interceptor } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { Role } from "@somamesh/contracts/soma/model/v1/message_pb";
import { ChatService } from "@somamesh/contracts/soma/orchestrator/v1/chat_service_pb";

const url = process.env.SOMA_API_URL ?? "http://127.0.0.1:8080";

/** Adds the API key to every call. */
const withKey: Interceptor = (next) => (request) => {
  request.header.set("authorization", `Bearer ${process.env.SOMA_API_KEY}`);
  return next(request);
};

const chat = createClient(ChatService, createGrpcTransport({ baseUrl: url, interceptors: [withKey] }));

/** Sends a message, and prints the answer as it arrives. */
async function say(text: string, conversationId: string): Promise<void> {
  console.log(`> ${text}`);
  let finished = false;
  const messages = [{ role: Role.USER, content: text }];
  for await (const { payload } of chat.chat({ conversationId, messages }, { timeoutMs: 60_000 })) {
    if (payload.case === "delta") {
      stdout.write(payload.value.text);
    } else if (payload.case === "finished") {
      finished = true;
      console.log(`\n  (${payload.value.usage?.totalTokens} tokens)\n`);
    }
  }
  if (!finished) {
    throw new Error("the answer was cut short");
  }
}

try {
  const conversation = `example-${randomUUID()}`;
  await say("My cat is called Ada.", conversation);
  await say("What is my cat called?", conversation);
} catch (error) {
  console.error(ConnectError.from(error).message);
  process.exitCode = 1;
}
