"""A remembered conversation over native gRPC, with a client that betterproto2 generated from the contracts.

SOMA_API_URL=http://127.0.0.1:8080 SOMA_API_KEY=… .venv/bin/python converse.py
"""

import asyncio
import os
import uuid
from collections.abc import Sequence
from urllib.parse import urlsplit

from contracts.google import rpc
from contracts.google.protobuf import Any
from contracts.soma.model.v1 import Message, Role
from contracts.soma.orchestrator.v1 import ChatRequest, ChatServiceStub
from grpclib.client import Channel
from grpclib.const import Status
from grpclib.encoding.base import StatusDetailsCodecBase
from grpclib.exceptions import GRPCError, StreamTerminatedError

TURN_SECONDS = 60.0


class Details(StatusDetailsCodecBase):
    """Reads the details of an error with the generated classes: grpclib knows only Google's protobuf package."""

    def encode(self, status: Status, message: str | None, details: Sequence[Any]) -> bytes:
        """Pack the details of an error, as a server sends them."""
        return bytes(rpc.Status(code=status.value, message=message or "", details=list(details)))

    def decode(self, status: Status, message: str | None, data: bytes) -> Sequence[Any]:
        """Return the details of an error, each still packed."""
        return rpc.Status.parse(data).details


async def main() -> None:
    """Send a message, stream the answer, and ask again in the same conversation."""
    url = os.environ.get("SOMA_API_URL", "http://127.0.0.1:8080")
    key = os.environ.get("SOMA_API_KEY")
    if not key:
        raise SystemExit("SOMA_API_KEY is not set: give it a key, such as the one in .somamesh/dev.key")
    conversation = f"example-{uuid.uuid4().hex}"
    try:
        async with connect(url) as channel:
            chat = ChatServiceStub(channel, timeout=TURN_SECONDS, metadata={"authorization": f"Bearer {key}"})
            for text in ("My cat is called Ada.", "What is my cat called?"):
                print(f"> {text}")
                await say(chat, conversation, text)
    except GRPCError as error:
        raise SystemExit(explain(error)) from error
    except (OSError, StreamTerminatedError) as error:
        raise SystemExit(f"no answer from {url} (SOMA_API_URL): {error!r}") from error


async def say(chat: ChatServiceStub, conversation: str, text: str) -> None:
    """Send a message, and print the answer as it arrives."""
    request = ChatRequest(conversation_id=conversation, messages=[Message(role=Role.USER, content=text)])
    finished = False
    async for event in chat.chat(request):
        if event.delta is not None:
            print(event.delta.text, end="", flush=True)
        elif event.finished is not None:
            finished = True
            usage = event.finished.usage
            print(f"\n  ({usage.total_tokens if usage else 0} tokens)\n")
    if not finished:
        raise SystemExit("the answer was cut short")


def connect(url: str) -> Channel:
    """A channel to a URL: plain for http, with TLS for https."""
    parsed = urlsplit(url)
    secured = parsed.scheme == "https"
    port = parsed.port or (443 if secured else 80)
    return Channel(parsed.hostname, port, ssl=secured, status_details_codec=Details())


def explain(error: GRPCError) -> str:
    """Return the reason of an error: programs act on the reason, people read the message."""
    for detail in error.details or ():
        if detail.type_url.endswith("/google.rpc.ErrorInfo"):
            return f"{rpc.ErrorInfo.parse(detail.value).reason}: {error.message}"
    return f"{error.status.name}: {error.message}"


if __name__ == "__main__":
    asyncio.run(main())
