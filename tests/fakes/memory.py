"""A fake of the memory service: keeps conversations in a dictionary, each tenant's apart."""

from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp
from soma.errors.v1 import reasons
from soma.memory.v1 import memory_service_pb2 as pb
from soma.memory.v1 import memory_service_pb2_grpc as rpc
from soma.model.v1.message_pb2 import Message, Source

from services.mesh.call import page_token
from services.mesh.call.call import principal
from services.mesh.call.errors import NotFound
from tests.fakes.fake import Fake

_PAGE_SIZE = 50
_TOKEN_BUDGET = 2000


class FakeMemory(Fake, rpc.MemoryServiceServicer):
    """The contract's calls about conversations.

    Attributes:
        facts: remembered texts by key; a context has all of them, whatever the message is about.
    """

    def __init__(self, happened: list[str] | None = None) -> None:
        super().__init__(happened)
        self.facts: dict[str, str] = {}
        self._kept: dict[tuple[str, str], list[pb.ConversationMessage]] = {}
        # By tenant and request id, what the first call with it was answered.
        self._appended: dict[tuple[str, str], pb.AppendMessagesResponse] = {}

    @property
    def conversations(self) -> dict[tuple[str, str], list[Message]]:
        """The turns of each conversation, by tenant and id."""
        return {key: [each.message for each in kept] for key, kept in self._kept.items()}

    async def AppendMessages(self, request: pb.AppendMessagesRequest, context: Any) -> pb.AppendMessagesResponse:
        await self.meet("append")
        repeated = (principal().tenant_id, request.request_id)
        if request.request_id and repeated in self._appended:
            return self._appended[repeated]
        kept = self._kept.setdefault(_key(request.conversation_id), [])
        now = Timestamp()
        now.GetCurrentTime()
        for message in request.messages:
            kept.append(pb.ConversationMessage(message=message, sequence=len(kept) + 1, create_time=now))
        response = self._appended[repeated] = pb.AppendMessagesResponse(last_sequence=len(kept))
        return response

    async def ListMessages(self, request: pb.ListMessagesRequest, context: Any) -> pb.ListMessagesResponse:
        await self.meet("list")
        kept = self._kept.get(_key(request.conversation_id))
        if kept is None:
            raise NotFound("there is no such conversation", reason=reasons.CONVERSATION_NOT_FOUND)
        (after,) = page_token.read(request, int) or (0,)
        page = kept[after : after + (request.page_size or _PAGE_SIZE)]
        token = page_token.write(request, page[-1].sequence) if page and page[-1].sequence < len(kept) else ""
        return pb.ListMessagesResponse(messages=page, next_page_token=token)

    async def DeleteConversation(
        self, request: pb.DeleteConversationRequest, context: Any
    ) -> pb.DeleteConversationResponse:
        await self.meet("delete")
        deleted = self._kept.pop(_key(request.conversation_id), [])
        return pb.DeleteConversationResponse(deleted_messages=len(deleted))

    async def GetContext(self, request: pb.GetContextRequest, context: Any) -> pb.GetContextResponse:
        """The context that fits, with a token for each four characters."""
        await self.meet("context")
        response = pb.GetContextResponse()
        left = request.token_budget if request.HasField("token_budget") else _TOKEN_BUDGET
        kept = self._kept.get(_key(request.conversation_id), [])
        turns = [] if request.strategy == pb.STRATEGY_LONG_ONLY else kept[::-1]
        facts = {} if request.strategy == pb.STRATEGY_SHORT_ONLY else self.facts
        recent: list[pb.ConversationMessage] = []
        for turn in turns:
            if (tokens := _tokens(turn.message.content)) > left:
                response.truncated = True
                break
            left -= tokens
            response.token_count += tokens
            recent.append(turn)
        response.recent_messages.extend(reversed(recent))
        for key, text in facts.items():
            if (tokens := _tokens(text)) > left:
                response.truncated = True
                break
            left -= tokens
            response.token_count += tokens
            response.relevant_documents.append(Source(key=key, text=text))
        return response


def _key(conversation_id: str) -> tuple[str, str]:
    return principal().tenant_id, conversation_id


def _tokens(text: str) -> int:
    return len(text) // 4 + 1
