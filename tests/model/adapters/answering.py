"""Gets an answer, which a test wrote byte for byte, from a vendor's real adapter over HTTP."""

import json
from dataclasses import dataclass, field
from typing import Any

from soma.model.v1.message_pb2 import ROLE_USER, Message, ToolCallDelta
from soma.model.v1.model_service_pb2 import GenerateRequest, GenerationFinished

from services.model.adapters.anthropic import Anthropic
from services.model.adapters.openai_compatible import OpenAICompatible
from services.model.adapters.upstream import Patience, Upstream
from services.model.provider import Provider, ProviderEvent
from services.model.testing.dialects import AnthropicDialect, Behaviour, Dialect, OpenAIDialect
from services.model.testing.upstreams import FakeUpstream
from tests.model import vendors

OPENAI, ANTHROPIC = OpenAIDialect(), AnthropicDialect()
PATIENCE = Patience(connect=30.0, first_byte=30.0, idle=30.0)


@dataclass
class Heard:
    """A collected answer; `calls` are (id, name, arguments) by index."""

    text: str = ""
    refusal: str = ""
    calls: dict[int, tuple[str, str, str]] = field(default_factory=dict)
    finished: GenerationFinished | None = None

    def add(self, event: ProviderEvent) -> None:
        """Add the next event, and check that none follows the final one and that a call's id and name come once."""
        assert self.finished is None
        if isinstance(event, GenerationFinished):
            self.finished = event
            return
        if event.refusal:
            self.refusal += event.text
        else:
            self.text += event.text
        for piece in event.tool_calls:
            self._add_call(piece)

    def _add_call(self, piece: ToolCallDelta) -> None:
        known = self.calls.get(piece.index)
        assert bool(piece.call_id) == bool(piece.name) == (known is None)
        call_id, name, arguments = known or (piece.call_id, piece.name, "")
        self.calls[piece.index] = (call_id, name, arguments + piece.arguments)

    @property
    def asked(self) -> list[tuple[str, str]]:
        """The names and arguments of the calls, in order; checks that their ids differ."""
        assert len({call_id for call_id, _, _ in self.calls.values()}) == len(self.calls)
        return [(name, arguments) for _, (_, name, arguments) in sorted(self.calls.items())]


def data(*chunks: Any, end: bytes = b"data: [DONE]\n\n") -> list[bytes]:
    """OpenAI's events with these chunks."""
    return [b"data: %s\n\n" % json.dumps(chunk, ensure_ascii=False).encode() for chunk in chunks] + (
        [end] if end else []
    )


def delta(finish: str | None = None, **members: Any) -> dict[str, Any]:
    """OpenAI's chunk with this delta."""
    return {"choices": [{"index": 0, "delta": members, "finish_reason": finish}]}


def events(*said: dict[str, Any]) -> list[bytes]:
    """Anthropic's events."""
    return [
        b"event: %s\ndata: %s\n\n" % (each["type"].encode(), json.dumps(each, ensure_ascii=False).encode())
        for each in said
    ]


def message(*blocks: dict[str, Any], stop_reason: str | None = "end_turn", **usage: Any) -> list[dict[str, Any]]:
    """Anthropic's events of a message; a block has a start, deltas and an end."""
    said: list[dict[str, Any]] = [{"type": "message_start", "message": {"usage": {"input_tokens": 11}}}]
    for index, block in enumerate(blocks):
        deltas = block.pop("deltas", ())
        said.append({"type": "content_block_start", "index": index, "content_block": block})
        said.extend({"type": "content_block_delta", "index": index, "delta": each} for each in deltas)
        said.append({"type": "content_block_stop", "index": index})
    if stop_reason:
        said.append({"type": "message_delta", "delta": {"stop_reason": stop_reason}, "usage": usage})
    return [*said, {"type": "message_stop"}]


def text_block(*pieces: str) -> dict[str, Any]:
    """Anthropic's events of a text block."""
    return {"type": "text", "text": "", "deltas": [{"type": "text_delta", "text": piece} for piece in pieces]}


async def ask(
    dialect: Dialect, behaviour: Behaviour, request: GenerateRequest | None = None, heard: Heard | None = None
) -> Heard:
    """The answer that a caller gets; `heard` holds its events, also when it fails.

    Raises:
        MeshError: the answer failed.
    """
    heard = heard or Heard()
    asked = request or GenerateRequest(messages=[Message(role=ROLE_USER, content="Hi")])
    async with FakeUpstream(dialect, behaviour) as fake:
        url = fake.url if dialect is ANTHROPIC else f"{fake.url}/v1"
        async with Upstream("lab", url, {}, PATIENCE) as upstream:
            provider: Provider = (
                Anthropic(upstream, vendors.ANTHROPIC)
                if dialect is ANTHROPIC
                else OpenAICompatible(upstream, vendors.COMPATIBLE)
            )
            async for event in provider.generate(asked, "m"):
                heard.add(event)
    return heard


async def sent(dialect: Dialect, *frames: bytes) -> Heard:
    """The same as `ask`, for these bytes."""
    return await ask(dialect, Behaviour(sent=frames))
