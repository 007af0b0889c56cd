"""The part of a remembered conversation that a model accepts before the new messages."""

from collections.abc import Iterable, Sequence
from itertools import chain, islice, takewhile

from soma.model.v1.message_pb2 import ROLE_ASSISTANT, ROLE_TOOL, Message


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
                if not message.content and not message.tool_calls:
                    continue
        kept.append(message)
    return kept


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
