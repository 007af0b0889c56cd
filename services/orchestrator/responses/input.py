"""The conversation a response answers: what it goes on from, and what is new."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from soma.errors.v1 import reasons
from soma.model.v1 import message_pb2
from soma.orchestrator.v1 import chat_service_pb2 as chat
from soma.orchestrator.v1 import response_service_pb2 as pb

from services.mesh.call import errors
from services.orchestrator.chat.generation import copy_options
from services.orchestrator.responses.response import RESPONSE_ID, response_of
from services.orchestrator.responses.store import PostgresResponses

Messages = list[message_pb2.Message]
Exchange = tuple[pb.CreateResponseRequest, pb.Response]


async def new_messages(store: PostgresResponses, tenant_id: str, given: Iterable[pb.ResponseInput]) -> Messages:
    """The messages of a request's own input, items of earlier responses looked up.

    Raises:
        NotFound: ITEM_NOT_FOUND.
    """
    messages: Messages = []
    known: dict[str, Mapping[str, message_pb2.Message]] = {}
    for each in given:
        if each.HasField("message"):
            messages.append(each.message)
            continue
        of = response_of(each.item_id)
        if of not in known:
            exchange = await store.exchange(tenant_id, of) if of else None
            known[of] = items_of(*exchange) if exchange is not None else {}
        if each.item_id not in known[of]:
            message = f"Item with id '{each.item_id}' not found."
            raise errors.NotFound(
                message, reason=reasons.ITEM_NOT_FOUND, violations=[errors.FieldViolation("input", message)]
            )
        messages.append(known[of][each.item_id])
    return messages


async def earlier_messages(store: PostgresResponses, tenant_id: str, previous: str) -> Messages:
    """What was said up to and in an earlier response, oldest first.

    Raises:
        InvalidArgument: PREVIOUS_RESPONSE_NOT_FOUND, also when one it goes on from was deleted.
        FailedPrecondition: it is still being made.
    """
    if not previous:
        return []
    chain = await store.chain(tenant_id, previous) if RESPONSE_ID.fullmatch(previous) else []
    if not chain or chain[0][1].settings.previous_response_id:
        message = f"Previous response with id '{previous}' not found."
        violation = errors.FieldViolation("previous_response_id", message)
        raise errors.InvalidArgument(message, reason=reasons.PREVIOUS_RESPONSE_NOT_FOUND, violations=[violation])
    if chain[-1][1].state == pb.Response.STATE_IN_PROGRESS:
        raise errors.FailedPrecondition(
            f"Previous response with id '{previous}' is still in progress.",
            reason=reasons.PREVIOUS_RESPONSE_IN_PROGRESS,
        )
    messages: Messages = []
    for request, response in chain:
        messages.extend(each.message for each in request.input)
        messages.extend(message_of(item) for item in response.output)
    return messages


def chat_request(request: pb.CreateResponseRequest, messages: Sequence[message_pb2.Message]) -> chat.ChatRequest:
    """The turn that makes a response out of a conversation."""
    settings = request.settings
    turn = chat.ChatRequest(model=request.model, request_id=request.request_id)
    copy_options(settings, turn)
    if settings.HasField("strategy"):
        turn.strategy = settings.strategy
    if settings.instructions:
        turn.messages.add(role=message_pb2.ROLE_SYSTEM, content=settings.instructions)
    turn.messages.extend(_with_joined_calls(messages))
    return turn


def _with_joined_calls(messages: Sequence[message_pb2.Message]) -> Messages:
    """Tool calls join the assistant's turn before them: models are told of calls that came together as one turn."""
    joined: Messages = []
    for message in messages:
        assistant = message.role == message_pb2.ROLE_ASSISTANT
        if assistant and message.tool_calls and not message.content and joined and joined[-1].role == message.role:
            whole = message_pb2.Message()
            whole.CopyFrom(joined[-1])
            whole.tool_calls.extend(message.tool_calls)
            joined[-1] = whole
        else:
            joined.append(message)
    return joined


def input_items(chain: Sequence[Exchange]) -> list[pb.ResponseInputItem]:
    """The items of the last response of a chain, oldest first.

    What an earlier response said keeps the ids it had there; what was given has ids made of the response's own and
    its place in the input, so that they stay the same.
    """
    items: list[pb.ResponseInputItem] = []
    for place, (request, response) in enumerate(chain):
        items.extend(_own_items(request, response.response_id.removeprefix("resp_")))
        if place < len(chain) - 1:
            items.extend(
                pb.ResponseInputItem(item_id=item.item_id, message=message_of(item)) for item in response.output
            )
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


def message_of(item: pb.ResponseItem) -> message_pb2.Message:
    """An item of an answer as the assistant's turn."""
    message = message_pb2.Message(role=message_pb2.ROLE_ASSISTANT, content=item.text.text)
    if item.HasField("tool_call"):
        message.tool_calls.append(item.tool_call)
    return message


def items_of(request: pb.CreateResponseRequest, response: pb.Response) -> dict[str, message_pb2.Message]:
    """What was given to a response and what it said, by the ids of the items."""
    given = _own_items(request, response.response_id.removeprefix("resp_"))
    return {item.item_id: item.message for item in given} | {item.item_id: message_of(item) for item in response.output}


def _own_items(request: pb.CreateResponseRequest, response: str) -> Iterator[pb.ResponseInputItem]:
    for index, each in enumerate(request.input):
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
