"""What of a remembered conversation a model may be shown together with what is new."""

from collections.abc import Iterable, Sequence
from itertools import chain, islice, takewhile

from soma.model.v1.message_pb2 import ROLE_ASSISTANT, ROLE_TOOL, Message


def continued(remembered: Sequence[Message], new: Sequence[Message]) -> list[Message]:
    """The remembered turns a model accepts before the new ones.

    Memory never parts a tool call from its results, but a conversation may end in calls whose results come with the
    new turns. When they do not come, the calls were given up: providers refuse calls without results, so they go. So
    does a result that answers no call of the assistant's turn before it, or one that was answered. Ids are compared
    only from one turn of the assistant to the next: some models count anew in each.
    """
    kept: list[Message] = []
    unanswered: set[str] = set()
    for place, message in enumerate(remembered):
        if message.role == ROLE_TOOL:
            if message.tool_call_id in unanswered:
                unanswered.discard(message.tool_call_id)
                kept.append(message)
            continue
        if message.role == ROLE_ASSISTANT:
            answered = _answered(chain(islice(remembered, place + 1, None), new)) if message.tool_calls else set()
            unanswered = {call.call_id for call in message.tool_calls if call.call_id in answered}
            if len(unanswered) < len(message.tool_calls):
                message = _with_calls(message, unanswered)
                if not message.content and not message.tool_calls:
                    continue
        kept.append(message)
    return kept


def _answered(following: Iterable[Message]) -> set[str]:
    """The calls that have results before the assistant's next turn."""
    turn = takewhile(lambda message: message.role != ROLE_ASSISTANT, following)
    return {message.tool_call_id for message in turn if message.role == ROLE_TOOL}


def _with_calls(message: Message, kept: set[str]) -> Message:
    """The message with those of its calls alone, each once."""
    shortened = Message()
    shortened.CopyFrom(message)
    del shortened.tool_calls[:]
    left = set(kept)
    for call in message.tool_calls:
        if call.call_id in left:
            left.discard(call.call_id)
            shortened.tool_calls.append(call)
    return shortened
