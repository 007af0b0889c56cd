"""What a turn asks the model service: the messages, what memory adds to them, and the options of the request."""

from collections.abc import Sequence

from soma.memory.v1.memory_service_pb2 import GetContextResponse
from soma.model.v1.message_pb2 import ROLE_SYSTEM, Message
from soma.model.v1.model_service_pb2 import GenerateRequest
from soma.orchestrator.v1.chat_service_pb2 import ChatRequest

from services.orchestrator.chat.history import MOST_MESSAGES, accepted_history


def generation_of(request: ChatRequest, new: Sequence[Message], context: GetContextResponse | None) -> GenerateRequest:
    """The generation that answers a turn, whose new messages are `new`."""
    generation = GenerateRequest(model=request.model, conversation_id=request.conversation_id)
    if request.HasField("options"):
        generation.options.CopyFrom(request.options)
    if context is None:
        generation.messages.extend(new)
        return generation
    said = without_instructions(new)
    generation.messages.extend(message for message in new if message.role == ROLE_SYSTEM)
    room = max(0, MOST_MESSAGES - len(new))
    remembered = [each.message for each in context.recent_messages]
    generation.messages.extend(accepted_history(remembered[max(0, len(remembered) - room) :], said))
    generation.messages.extend(said)
    generation.sources.extend(context.relevant_documents)
    return generation


def without_instructions(messages: Sequence[Message]) -> list[Message]:
    """The messages of user, assistant and tools: instructions belong to the application, and come with each turn."""
    return [message for message in messages if message.role != ROLE_SYSTEM]
