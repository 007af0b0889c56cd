"""The input of a response: the messages of its request and of the responses it continues, and their items."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from soma.errors.v1 import reasons
from soma.model.v1 import message_pb2
from soma.model.v1.options_pb2 import URGENCY_BACKGROUND
from soma.orchestrator.v1 import chat_service_pb2 as chat
from soma.orchestrator.v1 import response_service_pb2 as pb

from services.mesh.call import errors
from services.messages.message import thoughts_of
from services.orchestrator.chat.history import MOST_MESSAGES, accepted_history, checked_results, says
from services.orchestrator.responses.response import RESPONSE_ID, response_of
from services.orchestrator.responses.store import PostgresResponses

Messages = list[message_pb2.Message]
Exchange = tuple[pb.CreateResponseRequest, pb.Response]


async def new_inputs(
    store: PostgresResponses, tenant_id: str, items: Iterable[pb.ResponseInput]
) -> list[pb.ResponseInput]:
    """The messages and compactions of a request's input; an item of an earlier response is replaced by what it is.

    Raises:
        NotFound: ITEM_NOT_FOUND: the tenant has no response with this item.
    """
    inputs: list[pb.ResponseInput] = []
    known: dict[str, Mapping[str, pb.ResponseInput]] = {}
    for each in items:
        item_id = each.item_id or each.repeated_item_id
        if not item_id:
            inputs.append(pb.ResponseInput(message=message_of(each.item)) if each.HasField("item") else each)
            continue
        response_id = response_of(item_id)
        if response_id not in known:
            exchange = await store.exchange(tenant_id, response_id) if response_id else None
            known[response_id] = items_of(*exchange) if exchange is not None else {}
        stored = known[response_id].get(item_id)
        if each.HasField("message"):
            inputs.extend(_repeated(each, stored))
            continue
        if stored is None:
            message = f"Item with id '{item_id}' not found."
            raise errors.NotFound(
                message, reason=reasons.ITEM_NOT_FOUND, violations=[errors.FieldViolation("input", message)]
            )
        inputs.append(stored)
    return inputs


def _repeated(sent: pb.ResponseInput, stored: pb.ResponseInput | None) -> list[pb.ResponseInput]:
    """The thought as it is stored, if the text is the same; otherwise as it was sent, if it has a text."""
    texts = [thought.text for thought in thoughts_of(sent.message)]
    if stored is not None and texts == [thought.text for thought in thoughts_of(stored.message)]:
        return [stored]
    return [sent] if any(texts) else []


async def earlier_inputs(store: PostgresResponses, tenant_id: str, previous: str) -> list[pb.ResponseInput]:
    """The messages and compactions up to an earlier response, and the messages of that response, oldest first.

    Raises:
        InvalidArgument: PREVIOUS_RESPONSE_NOT_FOUND: it does not exist, or a response that it continues was deleted.
        FailedPrecondition: PREVIOUS_RESPONSE_IN_PROGRESS: it has not ended yet.
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
    inputs: list[pb.ResponseInput] = []
    for request, response in chain:
        inputs.extend(request.input)
        inputs.extend(pb.ResponseInput(message=message_of(item)) for item in response.output)
    return inputs


def chat_request(
    request: pb.CreateResponseRequest, before: Sequence[message_pb2.Message], new: Sequence[message_pb2.Message]
) -> chat.ChatRequest:
    """The chat turn that answers new messages, after those before them, with the settings of the response.

    Raises:
        InvalidArgument: TOOL_CALL_NOT_FOUND: a result answers no call; or there are too many messages.
    """
    settings = request.settings
    turn = chat.ChatRequest(
        model=request.model, request_id=request.request_id, conversation_id=settings.conversation_id
    )
    if settings.HasField("options"):
        turn.options.CopyFrom(settings.options)
    if settings.background and not turn.options.urgency:
        turn.options.urgency = URGENCY_BACKGROUND
    if settings.HasField("strategy"):
        turn.strategy = settings.strategy
    if settings.instructions:
        turn.messages.add(role=message_pb2.ROLE_SYSTEM, content=settings.instructions)
    if settings.conversation_id:
        # The conversation may have the calls that new results answer, so the turn looks at them.
        turn.messages.extend(_with_joined_items(new))
        return turn
    checked_results(_with_joined_items(before), _with_joined_items(new), "input")
    turn.messages.extend(accepted_history(_with_joined_items([*before, *new]), ()))
    if len(turn.messages) > MOST_MESSAGES:
        message = f"the response and those it continues have {len(turn.messages)} messages; at most {MOST_MESSAGES} go"
        violation = errors.FieldViolation("settings.previous_response_id", message)
        raise errors.InvalidArgument(message, violations=[violation])
    return turn


def _with_joined_items(messages: Sequence[message_pb2.Message]) -> Messages:
    """The messages, where the items of an assistant's message are one message again, as models expect.

    Of two messages of the assistant, one behind the other, the second joins the first unless both have a text. A text
    behind tool calls joins too, because the results of the calls must come right after the message.
    """
    joined: Messages = []
    # Whether the last message is a copy, which may be changed.
    own = False
    for message in messages:
        if joined and _belong_together(joined[-1], message):
            if not own:
                both = message_pb2.Message()
                both.CopyFrom(joined[-1])
                joined[-1] = both
                own = True
            _join(joined[-1], message)
        else:
            joined.append(message)
            own = False
    return joined


def _belong_together(first: message_pb2.Message, second: message_pb2.Message) -> bool:
    if first.role != message_pb2.ROLE_ASSISTANT or second.role != message_pb2.ROLE_ASSISTANT:
        return False
    return bool(first.tool_calls) or not says(first) or not says(second)


def _join(first: message_pb2.Message, second: message_pb2.Message) -> None:
    if second.content:
        if first.parts:
            first.parts.add().text.text = second.content
        else:
            first.content += second.content
    first.phase = second.phase or first.phase
    first.parts.extend(second.parts)
    first.tool_calls.extend(second.tool_calls)


def input_items(chain: Sequence[Exchange]) -> list[pb.ResponseInputItem]:
    """The items of the input of the last response of a chain, oldest first.

    Items of an earlier response's output keep their ids. The id of an input item is made of the id of its response and
    its position in the input, so that it is the same each time.
    """
    items: list[pb.ResponseInputItem] = []
    for position, (request, response) in enumerate(chain):
        items.extend(_own_items(request, response.response_id.removeprefix("resp_")))
        if position < len(chain) - 1:
            items.extend(
                pb.ResponseInputItem(item_id=item.item_id, message=message_of(item)) for item in response.output
            )
    return items


def page(items: Sequence[pb.ResponseInputItem], after: str, size: int) -> tuple[Sequence[pb.ResponseInputItem], str]:
    """At most `size` items behind the item `after`, and the item id with which the next page is asked for.

    An empty `after` gives the first page; the last page has an empty id.

    Raises:
        KeyError: there is no item `after`.
    """
    start = 0
    if after:
        positions = {item.item_id: position for position, item in enumerate(items)}
        start = positions[after] + 1
    found = items[start : start + size]
    return found, found[-1].item_id if start + size < len(items) else ""


def message_of(item: pb.ResponseItem) -> message_pb2.Message:
    """An item of an output as a message of the assistant."""
    message = message_pb2.Message(role=message_pb2.ROLE_ASSISTANT, phase=item.text.phase)
    match item.WhichOneof("item"):
        case "tool_call":
            message.tool_calls.append(item.tool_call)
        case "reasoning":
            message.parts.add(reasoning=item.reasoning)
        case "text" if item.text.citations:
            text = message_pb2.Text(text=item.text.text, citations=item.text.citations)
            message.parts.add(text=text)
        case "text":
            message.content = item.text.text
    return message


def items_of(request: pb.CreateResponseRequest, response: pb.Response) -> dict[str, pb.ResponseInput]:
    """What the items of a response's input and output are as an input, by their ids."""
    given = _own_items(request, response.response_id.removeprefix("resp_"))
    items = {
        each.item_id: pb.ResponseInput(compaction=each.compaction)
        if each.compaction
        else pb.ResponseInput(message=each.message)
        for each in given
    }
    return items | {item.item_id: pb.ResponseInput(message=message_of(item)) for item in response.output}


def _own_items(request: pb.CreateResponseRequest, suffix: str) -> Iterator[pb.ResponseInputItem]:
    for index, each in enumerate(request.input):
        if each.compaction:
            yield pb.ResponseInputItem(item_id=f"cmp_{suffix}_i{index}", compaction=each.compaction)
            continue
        message = each.message
        kind = "fco" if message.role == message_pb2.ROLE_TOOL else "msg"
        thoughts = thoughts_of(message)
        for number, thought in enumerate(thoughts):
            alone = message_pb2.Message(role=message.role, parts=[message_pb2.Part(reasoning=thought)])
            yield pb.ResponseInputItem(item_id=f"rs_{suffix}_i{index}_{number}", message=alone)
        if says(message) or not (message.tool_calls or thoughts):
            said = message_pb2.Message()
            said.CopyFrom(message)
            said.ClearField("tool_calls")
            if thoughts:
                said.ClearField("parts")
                said.parts.extend(part for part in message.parts if part.WhichOneof("part") != "reasoning")
            yield pb.ResponseInputItem(item_id=f"{kind}_{suffix}_i{index}", message=said)
        for number, call in enumerate(message.tool_calls):
            alone = message_pb2.Message(role=message.role, tool_calls=[call])
            yield pb.ResponseInputItem(item_id=f"fc_{suffix}_i{index}_{number}", message=alone)
