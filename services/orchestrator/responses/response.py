"""A response while it is made: the events of a turn become the events of the response."""

import re
import uuid
from collections.abc import Iterator
from time import time

import orjson
from soma.mesh.v1.stream_pb2 import StreamError
from soma.model.v1 import message_pb2
from soma.orchestrator.v1 import chat_service_pb2 as chat
from soma.orchestrator.v1 import response_service_pb2 as pb

from services.mesh.call import errors

RESPONSE_ID = re.compile(r"resp_([0-9a-f]{32})")
# Items of the output are numbered; items of the input have an `i` before their number.
_ITEM_ID = re.compile(r"(?:msg|fc|fco|rs|cmp)_([0-9a-f]{32})_[i0-9_]{1,16}")
_CUT_SHORT = (message_pb2.FINISH_REASON_LENGTH, message_pb2.FINISH_REASON_CONTENT_FILTER)
_COMMENTARY, _FINAL_ANSWER = message_pb2.PHASE_COMMENTARY, message_pb2.PHASE_FINAL_ANSWER

Event = pb.CreateResponseResponse


def response_of(item_id: str) -> str:
    """The id of the response that an item belongs to; empty when the item's id has another form."""
    found = _ITEM_ID.fullmatch(item_id)
    return f"resp_{found[1]}" if found else ""


class ResponseBuilder:
    """Builds one response; `response` holds the output only after its end."""

    def __init__(self, model: str, settings: pb.ResponseSettings) -> None:
        self._hex = uuid.uuid4().hex
        self.response = pb.Response(
            response_id=f"resp_{self._hex}", state=pb.Response.STATE_IN_PROGRESS, model=model, settings=settings
        )
        self.response.create_time.FromMicroseconds(int(time() * 1e6))
        self._provider = ""
        self._items: list[_Item] = []
        self._unfinished: dict[int, _Item] = {}
        self._text: int | None = None
        self._text_length = 0
        self._thoughts: dict[int, int] = {}
        self._calls: dict[int, int] = {}

    def started(self, started: chat.ChatStarted) -> None:
        """Note which model answers."""
        self._provider = started.provider
        self.response.model = started.model
        self.response.sources.extend(started.sources)
        self.response.dropped_params.extend(started.dropped_params)

    def created(self) -> Event:
        """The first event."""
        return Event(created=self.response)

    def add(self, delta: message_pb2.Delta) -> Iterator[Event]:
        """The events that follow from a piece of the answer."""
        for thought in delta.reasoning:
            yield from self._add_thought(thought)
        if delta.text:
            yield from self._add_text(delta)
        for citation in delta.citations:
            yield from self._add_citation(citation)
        for call in delta.tool_calls:
            yield from self._add_call(call)

    def finish(self, finished: chat.ChatFinished) -> Iterator[Event]:
        """Complete the items and the response, because the turn has finished."""
        cut_short = finished.finish_reason in _CUT_SHORT
        for item in self._unfinished.values():
            item.item.incomplete = cut_short
        if finished.finish_reason == message_pb2.FINISH_REASON_STOP:
            self._label(_FINAL_ANSWER)
        for index in sorted(self._unfinished):
            yield self._close_item(index)
        response = self.response
        response.finish_reason = finished.finish_reason
        response.usage.CopyFrom(finished.usage)
        if finished.sources:
            response.ClearField("sources")
            response.sources.extend(finished.sources)
        self._end(pb.Response.STATE_INCOMPLETE if cut_short else pb.Response.STATE_COMPLETED)

    def fail(self, error: errors.MeshError) -> None:
        """End the response as failed."""
        self.response.error.CopyFrom(
            StreamError(
                code=error.code,
                status=error.code.name,
                reason=error.reason,
                message=error.message,
                retry_after_seconds=error.facts.retry_after or 0.0,
            )
        )
        self._end(pb.Response.STATE_FAILED)

    def cancel(self) -> None:
        """End the response as cancelled; it keeps the output so far."""
        self._end(pb.Response.STATE_CANCELLED)

    def finished(self) -> Event:
        """The last event."""
        return Event(finished=self.response)

    def _end(self, state: "pb.Response.State.ValueType") -> None:
        self.response.state = state
        for unfinished in self._unfinished.values():
            unfinished.item.incomplete = True
        self.response.end_time.FromMicroseconds(int(time() * 1e6))
        # A response may end twice: as completed, and then as failed because it could not be stored.
        self.response.ClearField("output")
        self.response.output.extend(item.joined() for item in self._items)

    def _add_text(self, delta: message_pb2.Delta) -> Iterator[Event]:
        if self._text is None or self._items[self._text].item.text.refusal != delta.refusal:
            yield from self._close_complete()
            self._text = len(self._items)
            text = pb.ResponseText(refusal=delta.refusal)
            yield self._open_item("msg", pb.ResponseItem(text=text), offset=self._text_length)
        item = self._items[self._text]
        item.pieces.append(delta.text)
        item.item.text.logprobs.extend(delta.logprobs)
        self._text_length += len(delta.text)
        yield Event(delta=pb.ResponseTextDelta(output_index=self._text, text=delta.text, logprobs=delta.logprobs))

    def _add_citation(self, citation: message_pb2.Citation) -> Iterator[Event]:
        """Add a citation to the text that it belongs to: its place counts from the beginning of the whole answer."""
        texts = [item for item in self._items if item.item.HasField("text")]
        if not texts:
            yield from self._add_text(message_pb2.Delta())
            texts = self._items[-1:]
        placed = citation.end > 0
        text = next((each for each in reversed(texts) if placed and each.offset <= citation.start), texts[-1])
        added = text.item.text.citations.add()
        added.CopyFrom(citation)
        if placed:
            added.start, added.end = citation.start - text.offset, citation.end - text.offset

    def _add_thought(self, piece: message_pb2.ReasoningDelta) -> Iterator[Event]:
        if piece.index not in self._thoughts:
            yield from self._close_complete()
            self._text = None
            self._thoughts[piece.index] = len(self._items)
            begun = message_pb2.Reasoning(provider=self._provider)
            yield self._open_item("rs", pb.ResponseItem(reasoning=begun))
        index = self._thoughts[piece.index]
        item = self._items[index]
        item.pieces.append(piece.text)
        thought = item.item.reasoning
        thought.signature = piece.signature or thought.signature
        thought.redacted = piece.redacted or thought.redacted
        thought.details = piece.details or thought.details
        if piece.text and index in self._unfinished:
            yield Event(reasoning=pb.ResponseReasoningDelta(output_index=index, text=piece.text))

    def _add_call(self, piece: message_pb2.ToolCallDelta) -> Iterator[Event]:
        if piece.index not in self._calls:
            self._label(_COMMENTARY)
            yield from self._close_complete()
            self._text = None
            self._calls[piece.index] = len(self._items)
            begun = message_pb2.ToolCall(call_id=piece.call_id, name=piece.name)
            yield self._open_item("fc", pb.ResponseItem(tool_call=begun))
        index = self._calls[piece.index]
        item = self._items[index]
        call = item.item.tool_call
        call.call_id = call.call_id or piece.call_id
        call.name = call.name or piece.name
        call.signature = call.signature or piece.signature
        # After the end of a JSON object a provider sends only white space.
        if piece.arguments and index in self._unfinished:
            item.pieces.append(piece.arguments)
            yield Event(arguments=pb.ResponseArgumentsDelta(output_index=index, arguments=piece.arguments))

    def _label(self, phase: "message_pb2.Phase.ValueType") -> None:
        """Say what the text that has not ended yet is in the answer."""
        if self._text is not None and self._text in self._unfinished:
            self._items[self._text].item.text.phase = phase

    def _close_complete(self) -> Iterator[Event]:
        """End the complete items, before another item begins: providers may mix the pieces of several calls."""
        for index in sorted(self._unfinished):
            if self._unfinished[index].is_complete:
                yield self._close_item(index)

    def _open_item(self, kind: str, item: pb.ResponseItem, *, offset: int = 0) -> Event:
        index = len(self._items)
        item.item_id = f"{kind}_{self._hex}_{index}"
        self._unfinished[index] = _Item(item, offset)
        self._items.append(self._unfinished[index])
        return Event(item_begun=pb.ResponseItemEvent(output_index=index, item=item))

    def _close_item(self, index: int) -> Event:
        return Event(item_done=pb.ResponseItemEvent(output_index=index, item=self._unfinished.pop(index).joined()))


class _Item:
    """One item of the output; its text, thought or arguments are in pieces until they are joined.

    `offset` is the number of characters that the texts before it have.
    """

    def __init__(self, item: pb.ResponseItem, offset: int) -> None:
        self.item = item
        self.offset = offset
        self.pieces: list[str] = []

    @property
    def is_complete(self) -> bool:
        """Whether nothing of it can follow: arguments are an object, while a text or a thought may always end."""
        if not self.item.HasField("tool_call"):
            return True
        try:
            return isinstance(orjson.loads("".join(self.pieces)), dict)
        except orjson.JSONDecodeError:
            return False

    def joined(self) -> pb.ResponseItem:
        """The item with all pieces so far."""
        whole = "".join(self.pieces)
        match self.item.WhichOneof("item"):
            case "text":
                self.item.text.text = whole
            case "reasoning":
                self.item.reasoning.text = whole
            case "tool_call":
                self.item.tool_call.arguments = whole
        return self.item
