"""Reads tool calls that OpenAI-compatible servers stream in pieces. Servers mark the call of a piece in many ways."""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
from soma.model.v1.message_pb2 import ToolCallDelta

from services.model.adapters.counts import member
from services.model.adapters.surrogates import SurrogateJoiner

# The limits of the contract for a call that is sent back.
_LONGEST_ID = 256
_LONGEST_NAME = 128


def new_call_id() -> str:
    """An id for a call that has none, or one that the contract would refuse."""
    return f"call_{uuid.uuid4().hex[:24]}"


@dataclass(slots=True, eq=False)
class _Call:
    index: int | None
    call_id: str
    name: str = ""
    arguments: list[str] = field(default_factory=list)
    position: int = -1
    signature: str = ""

    @property
    def whole(self) -> bool:
        """Whether the arguments are a complete JSON object."""
        try:
            return isinstance(orjson.loads("".join(self.arguments)), dict)
        except orjson.JSONDecodeError:
            return False


class StreamedCalls:
    """The calls of one answer, numbered in the order in which their names arrive.

    A new id begins another call, with any index. A piece without an id belongs to the call with its index. A piece
    without an index belongs to the latest call, unless it has another name or a second object of arguments: then it
    begins another call.
    """

    def __init__(self) -> None:
        self._calls: list[_Call] = []
        self._by_id: dict[str, _Call] = {}
        self._by_index: dict[int, _Call] = {}
        self._latest: _Call | None = None
        self._named = 0

    def add(self, entries: Sequence[Any], joiner: SurrogateJoiner | None) -> list[ToolCallDelta]:
        """The pieces that the `tool_calls` of one delta add. Only the first piece of a call has its id and name.

        Raises:
            AttributeError, TypeError, ValueError: an entry has another shape, or a name is not valid.
        """
        found: list[ToolCallDelta] = []
        touched: list[_Call] = []
        for place, entry in enumerate(entries):
            function = entry.get("function") or {}
            name, arguments = function.get("name") or "", function.get("arguments") or ""
            if type(arguments) is not str:
                # Some servers send an object instead of text.
                arguments = orjson.dumps(arguments).decode()
            given, index = entry.get("id"), entry.get("index")
            plain = not given and not name and joiner is None and arguments[:1] != "{"
            if plain and index in self._by_index and "extra_content" not in entry:
                # The usual case: more arguments for a call.
                self._latest = known = self._by_index[index]
                known.arguments.append(arguments)
                if known.position >= 0 and arguments:
                    found.append(ToolCallDelta(index=known.position, arguments=arguments))
                continue
            signature = _signature(entry)
            call_id = str(given) if given else ""
            if type(index) is not int:
                index = None
            call = self._find(index, call_id, name, arguments, touched)
            if call is None and not name and not call_id and index is None and len(entries) > 1:
                call = self._calls[place] if place < len(self._calls) else None
            if call is None:
                call = self._open(index, call_id)
            touched.append(call)
            self._latest = call
            if arguments:
                if joiner is not None:
                    arguments = joiner.join(call, arguments)
                if call.arguments and arguments[:1] == "{" and arguments == "".join(call.arguments) and call.whole:
                    # The server sent the whole arguments a second time.
                    arguments = ""
                call.arguments.append(arguments)
            call.signature = call.signature or signature
            if call.position >= 0:
                if arguments or signature:
                    found.append(ToolCallDelta(index=call.position, arguments=arguments, signature=signature))
            elif name:
                found.append(self._name(call, name))
        return found

    def flush(self, held: Mapping[Any, str]) -> list[ToolCallDelta]:
        """The last pieces: those that were held back, and an empty object for calls without arguments.

        Raises:
            ValueError: a call has no name.
        """
        found: list[ToolCallDelta] = []
        for call in self._calls:
            if call.position < 0:
                raise ValueError("a tool call has no name")
            missing = held.get(call, "") or ("" if any(map(str.strip, call.arguments)) else "{}")
            if missing:
                found.append(ToolCallDelta(index=call.position, arguments=missing))
        return found

    def _find(
        self, index: int | None, call_id: str, name: str, arguments: str, touched: Sequence[_Call]
    ) -> _Call | None:
        if call_id and (known := self._by_id.get(call_id)) is not None:
            another = name and index is not None and known.index not in (None, index)
            return None if another else known
        last = self._latest if index is None else self._by_index.get(index)
        if last is None:
            return None
        if call_id:
            # The id may come after the name.
            late = not last.call_id and index is not None and not name
            return last if late else None
        if name and last.name and (name != last.name or last in touched or (arguments[:1] == "{" and last.whole)):
            return None
        return last

    def _open(self, index: int | None, call_id: str) -> _Call:
        call = _Call(index, "" if call_id in self._by_id else call_id)
        self._calls.append(call)
        if call.call_id:
            self._by_id[call_id] = call
        if index is not None:
            self._by_index[index] = call
        return call

    def _name(self, call: _Call, name: str) -> ToolCallDelta:
        if len(name) > _LONGEST_NAME:
            raise ValueError("a tool call's name is too long")
        call.name, call.position = name, self._named
        self._named += 1
        shown_id = call.call_id if 0 < len(call.call_id) <= _LONGEST_ID else new_call_id()
        return ToolCallDelta(
            index=call.position,
            call_id=shown_id,
            name=name,
            arguments="".join(call.arguments),
            signature=call.signature,
        )


def _signature(entry: dict[str, Any]) -> str:
    """Gemini's signature of the thought behind a call."""
    signature = member(member(entry.get("extra_content"), "google"), "thought_signature")
    return signature if isinstance(signature, str) else ""
