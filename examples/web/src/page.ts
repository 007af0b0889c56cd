// A remembered conversation over grpc-web, with the client generated into gen/ts.
//
// Only pages whose origin is in the gateway's `cors_origins` may call.

import { Code, ConnectError, createClient, type Client, type Interceptor } from "@connectrpc/connect";
import { createGrpcWebTransport } from "@connectrpc/connect-web";
import { CatalogService } from "@somamesh/contracts/soma/model/v1/catalog_service_pb";
import { Role } from "@somamesh/contracts/soma/model/v1/message_pb";
import { ChatService } from "@somamesh/contracts/soma/orchestrator/v1/chat_service_pb";

const connection = element("connection", HTMLFormElement);
const turn = element("turn", HTMLFormElement);
const model = element("model", HTMLSelectElement);
const text = element("text", HTMLInputElement);
const transcript = element("transcript", HTMLElement);
const error = element("error", HTMLElement);

const conversationId = `page-${crypto.randomUUID()}`;
let chat: Client<typeof ChatService> | undefined;

connection.addEventListener("submit", (event) => {
  event.preventDefault();
  void attempt(connect);
});
turn.addEventListener("submit", (event) => {
  event.preventDefault();
  void attempt(say);
});

/** A unary call: lists the available models. */
async function connect(): Promise<void> {
  const key = element("key", HTMLInputElement).value;
  const withKey: Interceptor = (next) => (request) => {
    request.header.set("authorization", `Bearer ${key}`);
    return next(request);
  };
  const baseUrl = element("url", HTMLInputElement).value;
  const transport = createGrpcWebTransport({ baseUrl, interceptors: [withKey] });
  const { models } = await createClient(CatalogService, transport).listModels({}, { timeoutMs: 10_000 });
  model.replaceChildren(...models.filter((each) => each.available).map((each) => new Option(each.name)));
  chat = createClient(ChatService, transport);
  turn.hidden = false;
}

/** A server stream: sends a message, and shows the answer as it arrives. */
async function say(): Promise<void> {
  if (chat === undefined) {
    return;
  }
  paragraph(`> ${text.value}`);
  const answer = paragraph("");
  const messages = [{ role: Role.USER, content: text.value }];
  const request = { conversationId, messages, model: model.value };
  for await (const { payload } of chat.chat(request, { timeoutMs: 60_000 })) {
    if (payload.case === "delta") {
      answer.append(payload.value.text);
    } else if (payload.case === "finished") {
      answer.dataset.tokens = String(payload.value.usage?.totalTokens);
    }
  }
  if (answer.dataset.tokens === undefined) {
    throw new ConnectError("the answer was cut short", Code.Aborted);
  }
  text.value = "";
}

async function attempt(action: () => Promise<void>): Promise<void> {
  error.textContent = "";
  try {
    await action();
  } catch (reason) {
    error.textContent = ConnectError.from(reason).message;
  }
}

function paragraph(content: string): HTMLParagraphElement {
  const added = document.createElement("p");
  added.textContent = content;
  transcript.append(added);
  return added;
}

function element<T extends HTMLElement>(id: string, kind: new () => T): T {
  const found = document.getElementById(id);
  if (!(found instanceof kind)) {
    throw new TypeError(`the page has no ${kind.name} ${id}`);
  }
  return found;
}
