"""A memory that keeps what it is given; the time is always the same, and so are figures nobody can foresee."""

from typing import Any

from google.protobuf import json_format
from soma.errors.v1 import reasons
from soma.memory.v1 import memory_service_pb2 as pb
from soma.memory.v1.memory_service_pb2_grpc import MemoryServiceServicer
from soma.model.v1 import message_pb2 as model

from services.mesh.call import page_token
from services.mesh.call.errors import NotFound
from tests.sdk.neighbours import NOW

_PAGE_SIZE = 50


class KeptMemory(MemoryServiceServicer):
    """Keeps values and messages; every value is found by any query."""

    def __init__(self) -> None:
        self.kept: dict[str, pb.RememberRequest] = {}
        self.said: dict[str, list[pb.ConversationMessage]] = {}

    async def Remember(self, request: pb.RememberRequest, context: Any) -> pb.RememberResponse:
        self.kept[request.key] = request
        return pb.RememberResponse(key=request.key, status="stored", vector_id="v1", embedding_dimensions=384)

    async def Recall(self, request: pb.RecallRequest, context: Any) -> pb.RecallResponse:
        if (kept := self.kept.get(request.key)) is None:
            raise NotFound(
                f"nothing is remembered as {request.key}",
                reason=reasons.MEMORY_NOT_FOUND,
                metadata={"key": request.key},
            )
        return pb.RecallResponse(
            key=request.key, value=kept.value, metadata=kept.metadata, created_at=NOW, accessed_count=1
        )

    async def Retrieve(self, request: pb.RetrieveRequest, context: Any) -> pb.RetrieveResponse:
        results = [
            pb.RetrievedMemory(key=key, value=kept.value, metadata=kept.metadata, score=0.75)
            for key, kept in self.kept.items()
        ]
        return pb.RetrieveResponse(results=results, answer="Tuna.", sources=list(self.kept), degraded=True)

    async def Forget(self, request: pb.ForgetRequest, context: Any) -> pb.ForgetResponse:
        return pb.ForgetResponse(key=request.key, deleted=self.kept.pop(request.key, None) is not None)

    async def ListMemories(self, request: pb.ListMemoriesRequest, context: Any) -> pb.ListMemoriesResponse:
        (after,) = page_token.read(request, str) or ("",)
        found = [key for key, kept in sorted(self.kept.items()) if key > after and _listed(kept, request)]
        shown = found[: request.page_size or _PAGE_SIZE]
        memories = [
            pb.Memory(
                key=key, value=self.kept[key].value, metadata=self.kept[key].metadata, created_at=NOW, expires_at=NOW
            )
            for key in shown
        ]
        token = page_token.write(request, shown[-1]) if len(shown) < len(found) else ""
        return pb.ListMemoriesResponse(memories=memories, next_page_token=token)

    async def AppendMessages(self, request: pb.AppendMessagesRequest, context: Any) -> pb.AppendMessagesResponse:
        said = self.said.setdefault(request.conversation_id, [])
        for message in request.messages:
            said.append(pb.ConversationMessage(message=message, sequence=len(said) + 1, create_time=NOW))
        return pb.AppendMessagesResponse(last_sequence=len(said))

    async def ListMessages(self, request: pb.ListMessagesRequest, context: Any) -> pb.ListMessagesResponse:
        if (said := self.said.get(request.conversation_id)) is None:
            raise NotFound("there is no such conversation", reason=reasons.CONVERSATION_NOT_FOUND)
        (start,) = page_token.read(request, int) or (0,)
        end = start + (request.page_size or _PAGE_SIZE)
        token = page_token.write(request, end) if end < len(said) else ""
        return pb.ListMessagesResponse(messages=said[start:end], next_page_token=token)

    async def DeleteConversation(
        self, request: pb.DeleteConversationRequest, context: Any
    ) -> pb.DeleteConversationResponse:
        return pb.DeleteConversationResponse(deleted_messages=len(self.said.pop(request.conversation_id, ())))

    async def GetContext(self, request: pb.GetContextRequest, context: Any) -> pb.GetContextResponse:
        return pb.GetContextResponse(
            recent_messages=self.said.get(request.conversation_id, []),
            relevant_documents=[model.Source(key="fact/1", text="Tuna.", score=0.5)],
            token_count=9,
            truncated=True,
        )


def _listed(kept: pb.RememberRequest, request: pb.ListMemoriesRequest) -> bool:
    metadata = json_format.MessageToDict(kept.metadata)
    return (
        kept.key.startswith(request.prefix)
        and request.category in ("", metadata.get("category"))
        and set(request.tags) <= set(metadata.get("tags", ()))
    )
