"""The events of a streamed response, in the order of OpenAI's API reference ("Streaming events")."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import orjson
from soma.mesh.v1.stream_pb2 import StreamError
from soma.orchestrator.v1.response_service_pb2 import (
    CreateResponseResponse,
    Response,
    ResponseArgumentsDelta,
    ResponseItem,
    ResponseItemEvent,
    ResponseReasoningDelta,
    ResponseTextDelta,
)

from gateway.edge.openai.completion import KEEP_ALIVE, logprob_objects
from gateway.edge.openai.extension import Findings
from gateway.edge.openai.response_object import item_object, part_object, response_object, summary_object
from services.mesh.call.errors import MeshError

LAST: dict[int, str] = {
    Response.STATE_COMPLETED: "response.completed",
    Response.STATE_FAILED: "response.failed",
}


@dataclass(frozen=True, slots=True)
class Form:
    """How events are sent.

    Attributes:
        event: makes the bytes of an event of its type and its JSON.
        alive: shows that a silent stream is alive.
    """

    event: Callable[[str, bytes], bytes]
    alive: bytes


def _sse(kind: str, data: bytes) -> bytes:
    return b"event: %s\ndata: %s\n\n" % (kind.encode(), data)


SSE = Form(_sse, KEEP_ALIVE)
"""Server-sent events."""


class ResponseEvents:
    """Makes the events of one streamed response; events numbered up to `after` are left out.

    With `encrypted`, the thoughts of the answer have their `encrypted_content`.
    """

    def __init__(self, findings: Findings, after: int = -1, *, encrypted: bool = False, form: Form = SSE) -> None:
        self._form = form
        self._after = after
        self._encrypted = encrypted
        self._findings = findings
        self._number = 0
        self._response = Response()
        self._items: dict[int, ResponseItem] = {}
        # Thoughts of which a piece of text was sent.
        self._thinking: set[int] = set()

    def of(self, event: CreateResponseResponse) -> Iterator[bytes]:
        """The client's events for one event of the contract; there may be none."""
        kind = event.WhichOneof("payload")
        if kind == "delta":
            yield self._delta(event.delta)
        elif kind == "arguments":
            yield self._arguments(event.arguments)
        elif kind == "reasoning":
            yield from self._thought(event.reasoning)
        elif kind == "item_begun":
            yield from self._begun(event.item_begun)
        elif kind == "item_done":
            yield from self._done(event.item_done)
        elif kind == "created":
            self._response.CopyFrom(event.created)
            response = self._object(event.created)
            yield self._event("response.created", response=response)
            yield self._event("response.in_progress", response=response)
        elif kind == "finished":
            # A cancelled response ends as an incomplete one; its status tells the two apart.
            last = LAST.get(event.finished.state, "response.incomplete")
            yield self._event(last, response=self._object(event.finished))
        elif kind == "heartbeat":
            yield self._form.alive

    def failed(self, error: MeshError) -> bytes:
        """The last event of a response that failed while it was streamed."""
        response = self._response
        response.state = Response.STATE_FAILED
        response.error.CopyFrom(StreamError(code=error.code, message=error.message))
        return self._event("response.failed", response=self._object(response))

    def _begun(self, begun: ResponseItemEvent) -> Iterator[bytes]:
        item, index = begun.item, begun.output_index
        self._items[index] = item
        yield self._event("response.output_item.added", output_index=index, item=self._item(item, "in_progress"))
        if item.HasField("text"):
            yield self._event("response.content_part.added", **self._part(index), part=part_object(item))

    def _thought(self, piece: ResponseReasoningDelta) -> Iterator[bytes]:
        where = self._summary(piece.output_index)
        if piece.output_index not in self._thinking:
            self._thinking.add(piece.output_index)
            yield self._event("response.reasoning_summary_part.added", **where, part=summary_object(""))
        yield self._event("response.reasoning_summary_text.delta", **where, delta=piece.text)

    def _delta(self, delta: ResponseTextDelta) -> bytes:
        if self._items[delta.output_index].text.refusal:
            return self._event("response.refusal.delta", **self._part(delta.output_index), delta=delta.text)
        return self._event(
            "response.output_text.delta",
            **self._part(delta.output_index),
            delta=delta.text,
            logprobs=logprob_objects(delta.logprobs, []),
        )

    def _arguments(self, piece: ResponseArgumentsDelta) -> bytes:
        return self._event(
            "response.function_call_arguments.delta", **self._place(piece.output_index), delta=piece.arguments
        )

    def _done(self, done: ResponseItemEvent) -> Iterator[bytes]:
        item, index = done.item, done.output_index
        if item.HasField("text"):
            part = part_object(item)
            where = self._part(index)
            if item.text.refusal:
                yield self._event("response.refusal.done", **where, refusal=part["refusal"])
            else:
                for number, each in enumerate(part["annotations"]):
                    yield self._event(
                        "response.output_text.annotation.added", **where, annotation_index=number, annotation=each
                    )
                yield self._event("response.output_text.done", **where, text=part["text"], logprobs=part["logprobs"])
            yield self._event("response.content_part.done", **where, part=part)
        elif item.HasField("reasoning"):
            if text := item.reasoning.text:
                where = self._summary(index)
                if index not in self._thinking:
                    yield self._event("response.reasoning_summary_part.added", **where, part=summary_object(""))
                yield self._event("response.reasoning_summary_text.done", **where, text=text)
                yield self._event("response.reasoning_summary_part.done", **where, part=summary_object(text))
        else:
            call = item.tool_call
            yield self._event(
                "response.function_call_arguments.done",
                **self._place(index),
                name=call.name,
                arguments=call.arguments,
            )
        yield self._event("response.output_item.done", output_index=index, item=self._item(item, "completed"))

    def _place(self, index: int) -> dict[str, Any]:
        return {"item_id": self._items[index].item_id, "output_index": index}

    def _part(self, index: int) -> dict[str, Any]:
        return {**self._place(index), "content_index": 0}

    def _summary(self, index: int) -> dict[str, Any]:
        return {**self._place(index), "summary_index": 0}

    def _object(self, response: Response) -> dict[str, Any]:
        return response_object(response, self._findings, encrypted=self._encrypted)

    def _item(self, item: ResponseItem, status: str) -> dict[str, Any]:
        return item_object(item, status, encrypted=self._encrypted)

    def _event(self, kind: str, **members: Any) -> bytes:
        number = self._number
        self._number += 1
        if number <= self._after:
            return b""
        return self._form.event(kind, orjson.dumps({"type": kind, "sequence_number": number, **members}))
