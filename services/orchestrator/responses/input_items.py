"""What a stored response was made from, as items with ids: its own input, and all that it goes on from."""

from collections.abc import Iterator, Sequence

from soma.model.v1 import message_pb2
from soma.orchestrator.v1 import response_service_pb2 as pb

Link = tuple[pb.CreateResponseRequest, pb.Response]


def input_items(chain: Sequence[Link]) -> list[pb.ResponseInputItem]:
    """The items of the last response of a chain, oldest first.

    What an earlier response said keeps the ids it had there; what was given has ids made of the response's own and
    its place in the input, so that they stay the same.
    """
    items: list[pb.ResponseInputItem] = []
    for place, (asked, response) in enumerate(chain):
        items.extend(_given(asked, response.response_id.removeprefix("resp_")))
        if place < len(chain) - 1:
            items.extend(pb.ResponseInputItem(item_id=item.item_id, message=said(item)) for item in response.output)
    return items


def page(items: Sequence[pb.ResponseInputItem], after: str, size: int) -> tuple[Sequence[pb.ResponseInputItem], str]:
    """The `size` items that follow the item `after` (the first ones without it), and after which the next follow.

    Raises:
        KeyError: there is no such item.
    """
    start = 0
    if after:
        places = {item.item_id: place for place, item in enumerate(items)}
        start = places[after] + 1
    found = items[start : start + size]
    return found, found[-1].item_id if start + size < len(items) else ""


def said(item: pb.ResponseItem) -> message_pb2.Message:
    """An item of an answer as the assistant's turn."""
    message = message_pb2.Message(role=message_pb2.ROLE_ASSISTANT, content=item.text.text)
    if item.HasField("tool_call"):
        message.tool_calls.append(item.tool_call)
    return message


def items_of(asked: pb.CreateResponseRequest, response: pb.Response) -> dict[str, message_pb2.Message]:
    """What was given to a response and what it said, by the ids of the items."""
    given = _given(asked, response.response_id.removeprefix("resp_"))
    return {item.item_id: item.message for item in given} | {item.item_id: said(item) for item in response.output}


def _given(asked: pb.CreateResponseRequest, response: str) -> Iterator[pb.ResponseInputItem]:
    for index, each in enumerate(asked.input):
        message = each.message
        kind = "fco" if message.role == message_pb2.ROLE_TOOL else "msg"
        if message.content or not message.tool_calls:
            alone = message_pb2.Message()
            alone.CopyFrom(message)
            alone.ClearField("tool_calls")
            yield pb.ResponseInputItem(item_id=f"{kind}_{response}_i{index}", message=alone)
        for number, call in enumerate(message.tool_calls):
            wanted = message_pb2.Message(role=message.role, tool_calls=[call])
            yield pb.ResponseInputItem(item_id=f"fc_{response}_i{index}_{number}", message=wanted)
