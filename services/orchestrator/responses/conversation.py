"""The conversation a response answers: what it goes on from, and what is new."""

from collections.abc import Iterable, Mapping, Sequence

from soma.errors.v1 import reasons
from soma.model.v1 import message_pb2
from soma.orchestrator.v1 import chat_service_pb2 as chat
from soma.orchestrator.v1 import response_service_pb2 as pb

from services.mesh.call import errors
from services.orchestrator.responses.input_items import items_of, said
from services.orchestrator.responses.progress import RESPONSE_ID, response_of
from services.orchestrator.responses.store import ResponseStore

Messages = list[message_pb2.Message]


async def new_messages(store: ResponseStore, tenant_id: str, given: Iterable[pb.ResponseInput]) -> Messages:
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
            link = await store.link(tenant_id, of) if of else None
            known[of] = items_of(*link) if link is not None else {}
        if each.item_id not in known[of]:
            message = f"Item with id '{each.item_id}' not found."
            raise errors.NotFound(
                message, reason=reasons.ITEM_NOT_FOUND, violations=[errors.FieldViolation("input", message)]
            )
        messages.append(known[of][each.item_id])
    return messages


async def earlier_messages(store: ResponseStore, tenant_id: str, previous: str) -> Messages:
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
    for asked, response in chain:
        messages.extend(each.message for each in asked.input)
        messages.extend(said(item) for item in response.output)
    return messages


def turn(request: pb.CreateResponseRequest, messages: Sequence[message_pb2.Message]) -> chat.ChatRequest:
    """The turn that makes a response out of a conversation."""
    settings = request.settings
    asked = chat.ChatRequest(
        model=request.model,
        conversation_id=settings.conversation_id,
        tools=settings.tools,
        user=settings.user,
        drop_params=settings.drop_params,
        request_id=request.request_id,
    )
    if settings.instructions:
        asked.messages.add(role=message_pb2.ROLE_SYSTEM, content=settings.instructions)
    asked.messages.extend(_joined(messages))
    if settings.HasField("strategy"):
        asked.strategy = settings.strategy
    if settings.HasField("sampling"):
        asked.sampling.CopyFrom(settings.sampling)
    if settings.HasField("tool_choice"):
        asked.tool_choice.CopyFrom(settings.tool_choice)
    if settings.HasField("parallel_tool_calls"):
        asked.parallel_tool_calls = settings.parallel_tool_calls
    if settings.HasField("response_format"):
        asked.response_format.CopyFrom(settings.response_format)
    return asked


def _joined(messages: Sequence[message_pb2.Message]) -> Messages:
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
