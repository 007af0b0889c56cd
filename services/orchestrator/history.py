"""What of a remembered conversation a model may be shown together with what is new."""

from collections.abc import Sequence

from soma.model.v1.message_pb2 import ROLE_TOOL, Message


def continued(remembered: Sequence[Message], new: Sequence[Message]) -> list[Message]:
    """The remembered turns a model accepts before the new ones.

    Memory never parts a tool call from its results, but a conversation may end in calls whose results come with the
    new turns. When they do not come, the calls were given up: providers refuse calls without results, so they go.
    """
    answered = {message.tool_call_id for message in (*remembered, *new) if message.role == ROLE_TOOL}
    kept: list[Message] = []
    for message in remembered:
        given_up = [call for call in message.tool_calls if call.call_id not in answered]
        if not given_up:
            kept.append(message)
            continue
        shortened = Message()
        shortened.CopyFrom(message)
        del shortened.tool_calls[:]
        shortened.tool_calls.extend(call for call in message.tool_calls if call.call_id in answered)
        if shortened.content or shortened.tool_calls:
            kept.append(shortened)
    return kept
