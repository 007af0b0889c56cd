"""The events of a streamed response, in the order of OpenAI's API reference ("Streaming events").

The specification of Open Responses has the same events, and adds that an event `error` comes before `response.failed`.
"""

import secrets
from collections.abc import Iterator
from typing import Any, TypeAlias

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
from gateway.edge.openai.failures import error_object
from gateway.edge.openai.response_object import (
    item_object,
    part_object,
    response_object,
    status_of,
    summary_object,
)
from gateway.edge.relaying import relayed
from services.mesh.call.errors import MeshError

# The type of an event and its JSON, which has the type too.
Typed: TypeAlias = tuple[str, bytes]
DONE = b"data: [DONE]\n\n"
"""Ends each stream by the specification of Open Responses, also one whose response failed."""

# Texts of pieces are filled up to a multiple of this number of characters, so that their lengths say little.
_PADDED = 32


class ResponseEvents:
    """Makes the events of one streamed response.

    Args:
        findings: what the field `soma` of the response says.
        after: events numbered up to this number are left out.
        encrypted: the thoughts of the answer have their `encrypted_content`.
        obfuscated: the pieces have a member `obfuscation`, which hides their lengths from those who see the traffic.
    """

    def __init__(
        self, findings: Findings, after: int = -1, *, encrypted: bool = False, obfuscated: bool = False
    ) -> None:
        self._after = after
        self._encrypted = encrypted
        self._obfuscated = obfuscated
        self._findings = findings
        self._number = 0
        self._response = Response()
        self._items: dict[int, ResponseItem] = {}
        # Thoughts of which a piece of text was sent.
        self._thinking: set[int] = set()

    def of(self, event: CreateResponseResponse) -> bytes:
        """The server-sent events for one event of the contract; there may be none."""
        if event.HasField("heartbeat"):
            return KEEP_ALIVE
        return b"".join([_server_sent(each) for each in self.typed(event)])

    def typed(self, event: CreateResponseResponse) -> list[Typed]:
        """The same events without the form of a stream; a heartbeat is none."""
        return [each for each in self._typed(event) if each is not None]

    def failed(self, error: MeshError) -> bytes:
        """The last server-sent events of a response that failed while it was streamed."""
        return b"".join(_server_sent(each) for each in self.failure(error)) + DONE

    def failure(self, error: MeshError) -> list[Typed]:
        """The same events without the form of a stream."""
        response = self._response
        response.state = Response.STATE_FAILED
        response.error.CopyFrom(StreamError(code=error.code, message=error.message))
        return [each for each in self._failed(error, response) if each is not None]

    def _typed(self, event: CreateResponseResponse) -> Iterator[Typed | None]:
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
            response = orjson.Fragment(orjson.dumps(self._object(event.created)))
            yield self._event("response.created", response=response)
            yield self._event("response.in_progress", response=response)
        elif kind == "finished" and event.finished.state == Response.STATE_FAILED:
            yield from self._failed(relayed(event.finished.error), event.finished)
        elif kind == "finished":
            # A cancelled response ends as an incomplete one; its status tells the two apart.
            completed = event.finished.state == Response.STATE_COMPLETED
            last = "response.completed" if completed else "response.incomplete"
            yield self._event(last, response=self._object(event.finished))

    def _failed(self, error: MeshError, response: Response) -> Iterator[Typed | None]:
        told = error_object(error)
        # OpenAI's types have the members of the error beside the type, and its clients look into `error`.
        flat = {name: told[name] for name in ("code", "message", "param")}
        yield self._event("error", **flat, error=told)
        yield self._event("response.failed", response=self._object(response))

    def _begun(self, begun: ResponseItemEvent) -> Iterator[Typed | None]:
        item, index = begun.item, begun.output_index
        self._items[index] = item
        yield self._event("response.output_item.added", output_index=index, item=self._item(item, "in_progress"))
        if item.HasField("text"):
            yield self._event("response.content_part.added", **self._part(index), part=part_object(item))

    def _thought(self, piece: ResponseReasoningDelta) -> Iterator[Typed | None]:
        where = self._summary(piece.output_index)
        if piece.output_index not in self._thinking:
            self._thinking.add(piece.output_index)
            yield self._event("response.reasoning_summary_part.added", **where, part=summary_object(""))
        yield self._piece("response.reasoning_summary_text.delta", where, piece.text)

    def _delta(self, delta: ResponseTextDelta) -> Typed | None:
        where = self._part(delta.output_index)
        if self._items[delta.output_index].text.refusal:
            return self._event("response.refusal.delta", **where, delta=delta.text)
        logprobs = logprob_objects(delta.logprobs, [])
        return self._piece("response.output_text.delta", where, delta.text, logprobs=logprobs)

    def _arguments(self, piece: ResponseArgumentsDelta) -> Typed | None:
        where = self._place(piece.output_index)
        return self._piece("response.function_call_arguments.delta", where, piece.arguments)

    def _done(self, done: ResponseItemEvent) -> Iterator[Typed | None]:
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
        yield self._event("response.output_item.done", output_index=index, item=self._item(item, status_of(item)))

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

    def _piece(self, kind: str, where: dict[str, Any], delta: str, **members: Any) -> Typed | None:
        if self._obfuscated:
            members["obfuscation"] = secrets.token_hex(_PADDED)[: -len(delta) % _PADDED]
        return self._event(kind, **where, delta=delta, **members)

    def _event(self, kind: str, **members: Any) -> Typed | None:
        """An event with the next number; None if the client has it."""
        number = self._number
        self._number += 1
        if number <= self._after:
            return None
        return kind, orjson.dumps({"type": kind, "sequence_number": number, **members})


def _server_sent(event: Typed) -> bytes:
    return b"event: %s\ndata: %s\n\n" % (event[0].encode(), event[1])
