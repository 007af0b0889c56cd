"""The answer of a turn as it grows: its text, its tool calls, and what of it was released."""

from dataclasses import dataclass, field

from soma.model.v1 import message_pb2


@dataclass(slots=True)
class Answer:
    """Collects what was released to the client, so that memory keeps exactly that."""

    _texts: list[str] = field(default_factory=list)
    _calls: dict[int, message_pb2.ToolCall] = field(default_factory=dict)

    def add_text(self, text: str) -> None:
        """Append a released piece of text."""
        self._texts.append(text)

    def add_call(self, delta: message_pb2.ToolCallDelta) -> None:
        """Append a released piece of a tool call."""
        call = self._calls.setdefault(delta.index, message_pb2.ToolCall())
        call.call_id = call.call_id or delta.call_id
        call.name = call.name or delta.name
        call.arguments += delta.arguments

    @property
    def empty(self) -> bool:
        """Whether nothing was released."""
        return not self._calls and not any(self._texts)

    def message(self) -> message_pb2.Message:
        """The assistant's message."""
        return message_pb2.Message(
            role=message_pb2.ROLE_ASSISTANT,
            content="".join(self._texts),
            tool_calls=[self._calls[index] for index in sorted(self._calls)],
        )
