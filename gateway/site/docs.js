"use strict";
// Swagger UI over this gateway's own document. The key is kept by the page alone, and is gone with it.

// Swagger UI shows an answer once it has ended, which the event stream of a log never does: of a stream it is given
// what comes until it is silent for some time, or has gone on for long.
const SILENCE_SECONDS = 10;
const MOST_SECONDS = 30;
const MOST_CHARACTERS = 1_000_000;

async function readEvents(body) {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  const end = performance.now() + MOST_SECONDS * 1000;
  let text = "";
  while (text.length < MOST_CHARACTERS) {
    let timer;
    const late = new Promise((resolve) => {
      timer = setTimeout(resolve, Math.min(SILENCE_SECONDS * 1000, end - performance.now()));
    });
    let read;
    try {
      read = await Promise.race([reader.read(), late]);
    } catch (error) {
      return `${text}\n: the connection broke: ${error.message}\n`;
    } finally {
      clearTimeout(timer);
    }
    if (read === undefined) break;
    if (read.done) return text;
    text += decoder.decode(read.value, { stream: true });
  }
  // The gateway sees that nobody reads on, and ends the call.
  await reader.cancel();
  return `${text}\n: this page reads no further; the stream goes on for a client that does\n`;
}

async function fetchToAnEnd(url, request) {
  const answer = await fetch(url, request);
  if (!answer.ok || !answer.headers.get("content-type")?.startsWith("text/event-stream")) return answer;
  const { status, statusText, headers } = answer;
  return new Response(await readEvents(answer.body), { status, statusText, headers });
}

window.ui = SwaggerUIBundle({
  url: "/openapi.json",
  domNode: document.getElementById("reference"),
  layout: "BaseLayout",
  deepLinking: true,
  docExpansion: "list",
  defaultModelsExpandDepth: 0,
  filter: true,
  showExtensions: true,
  displayRequestDuration: true,
  persistAuthorization: false,
  // Nobody else is asked about the document.
  validatorUrl: null,
  requestInterceptor: (request) => Object.assign(request, { userFetch: fetchToAnEnd }),
});
