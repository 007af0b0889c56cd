"""Answers over grpc-web: what the generated TypeScript client reads in a browser."""

import base64
from collections.abc import AsyncGenerator, AsyncIterator, Mapping

from google.rpc.status_pb2 import Status
from soma.orchestrator.v1.chat_service_pb2 import ChatResponse

from services.mesh.call.status import CODES, from_status
from tests.e2e.stack import Stack
from tests.e2e.streams.reader import Ask, Cut, Refused
from tests.e2e.surfaces import request

PROTO = "application/grpc-web+proto"
CHAT = "/soma.orchestrator.v1.ChatService/Chat"
TRAILERS = 0x80


async def chat(stack: Stack, ask: Ask) -> AsyncGenerator[str, None]:
    """ChatService.Chat in the binary format."""
    message = request(ask.text, ask.model, ask.conversation).SerializeToString()
    headers = {"authorization": f"Bearer {stack.key}", "content-type": PROTO, "x-grpc-web": "1"}
    finished = False
    async with (
        stack.http(**headers) as http,
        http.stream("POST", CHAT, content=b"\0" + len(message).to_bytes(4, "big") + message) as answer,
    ):
        assert answer.status_code == 200
        # If grpc-web were compressed, a message would wait in the compressor for the next ones.
        assert "content-encoding" not in answer.headers
        if "grpc-status" in answer.headers:
            raise _refused(answer.headers)
        async for flag, held in _frames(answer.aiter_raw()):
            if flag & TRAILERS:
                lines = (line.split(":", 1) for line in held.decode().splitlines())
                trailers = {key.strip(): value.strip() for key, value in lines}
                if trailers["grpc-status"] != "0":
                    raise _refused(trailers)
                break
            event = ChatResponse.FromString(held)
            if event.HasField("delta"):
                yield event.delta.text
            finished = event.HasField("finished")
    if not finished:
        raise Cut


async def _frames(chunks: AsyncIterator[bytes]) -> AsyncIterator[tuple[int, bytes]]:
    """The frames of an answer, as they arrive: flag and content."""
    waiting = b""
    async for chunk in chunks:
        waiting += chunk
        while len(waiting) >= 5 and len(waiting) >= (end := 5 + int.from_bytes(waiting[1:5], "big")):
            yield waiting[0], waiting[5:end]
            waiting = waiting[end:]


def _refused(trailers: Mapping[str, str]) -> Refused:
    code = CODES[int(trailers["grpc-status"])].name
    details = trailers.get("grpc-status-details-bin", "")
    typed = from_status(Status.FromString(base64.b64decode(details + "=" * (-len(details) % 4))))
    return Refused(code, typed.reason, typed.facts.retry_after)
