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
_ITEM_ID = re.compile(r"(?:msg|fc|fco)_([0-9a-f]{32})_[i0-9_]{1,16}")
_CUT_SHORT = (message_pb2.FINISH_REASON_LENGTH, message_pb2.FINISH_REASON_CONTENT_FILTER)

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
        self._items: list[pb.ResponseItem] = []
        self._unfinished: dict[int, pb.ResponseItem] = {}
        self._text: int | None = None
        self._calls: dict[int, int] = {}

    def started(self, started: chat.ChatStarted) -> None:
        """Note which model answers."""
        self.response.model = started.model
        self.response.sources.extend(started.sources)
        self.response.dropped_params.extend(started.dropped_params)

    def created(self) -> Event:
        """The first event."""
        return Event(created=self.response)

    def take(self, event: chat.ChatResponse) -> Iterator[Event]:
        """The events of the response that follow from one of the turn's, between its first and its last."""
        kind = event.WhichOneof("payload")
        if kind == "delta":
            if event.delta.text:
                yield from self._add_text(event.delta)
            for piece in event.delta.tool_calls:
                yield from self._add_call(piece)
        elif kind == "policy":
            yield Event(policy=event.policy)
        elif kind == "heartbeat":
            yield Event(heartbeat=event.heartbeat)

    def finish(self, finished: chat.ChatFinished) -> Iterator[Event]:
        """Complete the items and the response, because the turn has finished."""
        for index in sorted(self._unfinished):
            yield self._close_item(index)
        response = self.response
        response.finish_reason = finished.finish_reason
        response.usage.CopyFrom(finished.usage)
        if finished.sources:
            response.ClearField("sources")
            response.sources.extend(finished.sources)
        cut_short = finished.finish_reason in _CUT_SHORT
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
        self.response.end_time.FromMicroseconds(int(time() * 1e6))
        # A response may end twice: as completed, and then as failed because it could not be stored.
        self.response.ClearField("output")
        self.response.output.extend(self._items)

    def _add_text(self, delta: message_pb2.Delta) -> Iterator[Event]:
        if self._text is None or self._items[self._text].text.refusal != delta.refusal:
            yield from self._close_complete()
            self._text = len(self._items)
            text = pb.ResponseText(refusal=delta.refusal)
            yield self._open_item(pb.ResponseItem(item_id=self._item_id("msg"), text=text))
        item = self._items[self._text].text
        item.text += delta.text
        item.logprobs.extend(delta.logprobs)
        yield Event(delta=pb.ResponseTextDelta(output_index=self._text, text=delta.text, logprobs=delta.logprobs))

    def _add_call(self, piece: message_pb2.ToolCallDelta) -> Iterator[Event]:
        if piece.index not in self._calls:
            yield from self._close_complete()
            self._text = None
            self._calls[piece.index] = len(self._items)
            call = message_pb2.ToolCall(call_id=piece.call_id, name=piece.name)
            yield self._open_item(pb.ResponseItem(item_id=self._item_id("fc"), tool_call=call))
        index = self._calls[piece.index]
        # After the end of a JSON object a provider sends only white space.
        if piece.arguments and index in self._unfinished:
            self._items[index].tool_call.arguments += piece.arguments
            yield Event(arguments=pb.ResponseArgumentsDelta(output_index=index, arguments=piece.arguments))

    def _close_complete(self) -> Iterator[Event]:
        """End the complete items, before another item begins: providers may mix the pieces of several calls."""
        for index in sorted(self._unfinished):
            if self._is_complete(self._unfinished[index]):
                yield self._close_item(index)

    @staticmethod
    def _is_complete(item: pb.ResponseItem) -> bool:
        if item.HasField("text"):
            return True
        try:
            return isinstance(orjson.loads(item.tool_call.arguments), dict)
        except orjson.JSONDecodeError:
            return False

    def _item_id(self, kind: str) -> str:
        return f"{kind}_{self._hex}_{len(self._items)}"

    def _open_item(self, item: pb.ResponseItem) -> Event:
        index = len(self._items)
        self._items.append(item)
        self._unfinished[index] = item
        return Event(item_begun=pb.ResponseItemEvent(output_index=index, item=item))

    def _close_item(self, index: int) -> Event:
        return Event(item_done=pb.ResponseItemEvent(output_index=index, item=self._unfinished.pop(index)))
