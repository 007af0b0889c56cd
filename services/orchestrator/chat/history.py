"""A remembered conversation and the new messages, so that a model accepts them together."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice, takewhile

from soma.errors.v1 import reasons
from soma.model.v1.message_pb2 import ROLE_ASSISTANT, ROLE_TOOL, Message

from services.mesh.call import errors

# The contracts' limit on the messages of one generation, less two that a repair of structured output adds.
MOST_MESSAGES = 4094


def accepted_history(remembered: Sequence[Message], new: Sequence[Message]) -> list[Message]:
    """The remembered messages that a model accepts before the new ones.

    Memory never separates a tool call from its results, but a conversation may end with calls whose results come with
    the new messages. If the results do not come, the calls are left out, because providers refuse calls without
    results. A result is left out if it answers no call of the assistant's message before it, or a call that already
    has its result. Ids are compared only up to the assistant's next message, because some models number their calls
    from the start in each message.
    """
    kept: list[Message] = []
    unanswered: set[str] = set()
    for position, message in enumerate(remembered):
        if message.role == ROLE_TOOL:
            if message.tool_call_id in unanswered:
                unanswered.discard(message.tool_call_id)
                kept.append(message)
            continue
        if message.role == ROLE_ASSISTANT:
            answered = _answered(chain(islice(remembered, position + 1, None), new)) if message.tool_calls else set()
            unanswered = {call.call_id for call in message.tool_calls if call.call_id in answered}
            if len(unanswered) < len(message.tool_calls):
                message = _with_calls(message, unanswered)
                if not message.tool_calls and not says(message):
                    continue
        kept.append(message)
    return kept


def orphaned_results(remembered: Sequence[Message], new: Sequence[Message]) -> list[str]:
    """The ids of calls that new messages have results for, and that nobody asked for before them."""
    return [
        new[index].tool_call_id for index, calls in _results(remembered, new) if new[index].tool_call_id not in calls
    ]


def checked_results(remembered: Sequence[Message], new: Sequence[Message], field: str) -> list[Message]:
    """The new messages, each result of a call once: a client may send a result again that it has sent before.

    Args:
        field: where the new messages are in the request.

    Raises:
        InvalidArgument: TOOL_CALL_NOT_FOUND: a result answers no call of the assistant's message before it.
    """
    orphans = orphaned_results(remembered, new)
    if orphans:
        message = f"the result of the tool call '{orphans[0]}' answers no call of the message before it"
        raise errors.InvalidArgument(
            message, reason=reasons.TOOL_CALL_NOT_FOUND, violations=(errors.FieldViolation(field, message),)
        )
    repeated = {index for index, calls in _results(remembered, new) if not calls[new[index].tool_call_id]}
    return [message for index, message in enumerate(new) if index not in repeated]


def says(message: Message) -> bool:
    """Whether a message has content beside thoughts and tool calls."""
    return bool(message.content) or any(part.WhichOneof("part") != "reasoning" for part in message.parts)


def _results(remembered: Sequence[Message], new: Sequence[Message]) -> Iterator[tuple[int, Mapping[str, bool]]]:
    """The positions of results in the new messages, each with the ids of the calls before it.

    With an id comes whether the call has no result yet.
    """
    calls: dict[str, bool] = {}
    for position, message in enumerate(chain(remembered, new)):
        if message.role == ROLE_ASSISTANT:
            calls = {call.call_id: True for call in message.tool_calls}
        elif message.role == ROLE_TOOL:
            if position >= len(remembered):
                yield position - len(remembered), calls
            if message.tool_call_id in calls:
                calls[message.tool_call_id] = False


def _answered(following: Iterable[Message]) -> set[str]:
    """The ids of the calls that have results before the assistant's next message."""
    results = takewhile(lambda message: message.role != ROLE_ASSISTANT, following)
    return {message.tool_call_id for message in results if message.role == ROLE_TOOL}


def _with_calls(message: Message, kept: set[str]) -> Message:
    """A copy of the message that has only the calls with these ids, each once."""
    shortened = Message()
    shortened.CopyFrom(message)
    del shortened.tool_calls[:]
    left = set(kept)
    for call in message.tool_calls:
        if call.call_id in left:
            left.discard(call.call_id)
            shortened.tool_calls.append(call)
    return shortened
