"""Services that keep what they are given, and fail when a test says so."""

from collections import deque

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from soma.memory.v1 import memory_service_pb2 as memory
from soma.memory.v1.memory_service_pb2_grpc import MemoryServiceServicer
from soma.model.v1 import catalog_service_pb2 as catalog
from soma.model.v1 import cost_service_pb2 as cost
from soma.model.v1 import message_pb2 as model
from soma.model.v1.catalog_service_pb2_grpc import CatalogServiceServicer
from soma.model.v1.cost_service_pb2_grpc import CostServiceServicer
from soma.policy.v1 import policy_service_pb2 as policy
from soma.policy.v1.policy_service_pb2_grpc import PolicyServiceServicer

from services.mesh.call.errors import MeshError, NotFound

NOW = Timestamp(seconds=1_700_000_000)


class Trouble:
    """What calls meet before they are served: each is noted, and fails with the next of `failures`."""

    def __init__(self) -> None:
        self.failures: deque[MeshError] = deque()
        self.requests: list[Message] = []

    def meet(self, request: Message) -> None:
        """Note the call.

        Raises:
            MeshError: the test says so.
        """
        self.requests.append(request)
        if self.failures:
            raise self.failures.popleft()


class KeptMemory(MemoryServiceServicer):
    """Keeps values and messages; every value is found by any query."""

    def __init__(self, trouble: Trouble) -> None:
        self.kept: dict[str, memory.RememberRequest] = {}
        self.said: dict[str, list[memory.ConversationMessage]] = {}
        self._trouble = trouble

    async def Remember(self, request: memory.RememberRequest, context: object) -> memory.RememberResponse:
        """See the contract."""
        self._trouble.meet(request)
        self.kept[request.key] = request
        return memory.RememberResponse(key=request.key, status="stored", vector_id="v1", embedding_dimensions=384)

    async def Recall(self, request: memory.RecallRequest, context: object) -> memory.RecallResponse:
        """See the contract."""
        self._trouble.meet(request)
        if request.key not in self.kept:
            raise NotFound(
                f"nothing is remembered as {request.key}", reason="MEMORY_NOT_FOUND", metadata={"key": request.key}
            )
        kept = self.kept[request.key]
        return memory.RecallResponse(
            key=request.key, value=kept.value, metadata=kept.metadata, created_at=NOW, accessed_count=1
        )

    async def Retrieve(self, request: memory.RetrieveRequest, context: object) -> memory.RetrieveResponse:
        """See the contract."""
        self._trouble.meet(request)
        results = [
            memory.RetrievedMemory(key=key, value=kept.value, metadata=kept.metadata, score=0.75)
            for key, kept in self.kept.items()
        ]
        return memory.RetrieveResponse(results=results, answer="Tuna.", sources=list(self.kept), degraded=True)

    async def Forget(self, request: memory.ForgetRequest, context: object) -> memory.ForgetResponse:
        """See the contract."""
        self._trouble.meet(request)
        return memory.ForgetResponse(key=request.key, deleted=self.kept.pop(request.key, None) is not None)

    async def ListMemories(self, request: memory.ListMemoriesRequest, context: object) -> memory.ListMemoriesResponse:
        """See the contract."""
        self._trouble.meet(request)
        keys = sorted(key for key in self.kept if key.startswith(request.prefix) and key > request.page_token)
        shown = keys[: request.page_size or 50]
        memories = [
            memory.Memory(
                key=key, value=self.kept[key].value, metadata=self.kept[key].metadata, created_at=NOW, expires_at=NOW
            )
            for key in shown
        ]
        return memory.ListMemoriesResponse(
            memories=memories, next_page_token=shown[-1] if len(shown) < len(keys) else ""
        )

    async def AppendMessages(
        self, request: memory.AppendMessagesRequest, context: object
    ) -> memory.AppendMessagesResponse:
        """See the contract."""
        self._trouble.meet(request)
        said = self.said.setdefault(request.conversation_id, [])
        for message in request.messages:
            said.append(memory.ConversationMessage(message=message, sequence=len(said) + 1, create_time=NOW))
        return memory.AppendMessagesResponse(last_sequence=len(said))

    async def ListMessages(self, request: memory.ListMessagesRequest, context: object) -> memory.ListMessagesResponse:
        """See the contract."""
        self._trouble.meet(request)
        start = int(request.page_token or 0)
        end = start + (request.page_size or 50)
        said = self.said[request.conversation_id]
        return memory.ListMessagesResponse(
            messages=said[start:end], next_page_token=str(end) if end < len(said) else ""
        )

    async def DeleteConversation(
        self, request: memory.DeleteConversationRequest, context: object
    ) -> memory.DeleteConversationResponse:
        """See the contract."""
        self._trouble.meet(request)
        return memory.DeleteConversationResponse(deleted_messages=len(self.said.pop(request.conversation_id, ())))

    async def GetContext(self, request: memory.GetContextRequest, context: object) -> memory.GetContextResponse:
        """See the contract."""
        self._trouble.meet(request)
        return memory.GetContextResponse(
            recent_messages=self.said.get(request.conversation_id, []),
            relevant_documents=[model.Source(key="fact/1", text="Tuna.", score=0.5)],
            token_count=9,
            truncated=True,
        )


class KeptCatalogue(CatalogServiceServicer):
    """Lists one model."""

    def __init__(self, trouble: Trouble) -> None:
        self._trouble = trouble

    async def ListModels(self, request: catalog.ListModelsRequest, context: object) -> catalog.ListModelsResponse:
        """See the contract."""
        self._trouble.meet(request)
        kinds = [catalog.Model.CAPABILITY_CHAT, catalog.Model.CAPABILITY_TOOLS]
        plain = catalog.Model(
            name="plain", provider="local", available=True, default=True, capabilities=kinds, context_window=4096
        )
        return catalog.ListModelsResponse(models=[plain])


class KeptLedger(CostServiceServicer):
    """Three generations, in pages of two at most."""

    def __init__(self, trouble: Trouble) -> None:
        self._trouble = trouble

    async def ListUsage(self, request: cost.ListUsageRequest, context: object) -> cost.ListUsageResponse:
        """See the contract."""
        self._trouble.meet(request)
        records = [
            cost.UsageRecord(
                generation_id=f"g{number}",
                model="plain",
                provider="local",
                outcome=cost.UsageRecord.OUTCOME_FINISHED,
                usage=model.Usage(total_tokens=number),
                start_time=NOW,
            )
            for number in (1, 2, 3)
        ]
        if request.page_token:
            return cost.ListUsageResponse(records=records[2:])
        return cost.ListUsageResponse(records=records[:2], next_page_token="2")


class KeptRules(PolicyServiceServicer):
    """Finds an address wherever it looks."""

    def __init__(self, trouble: Trouble) -> None:
        self._trouble = trouble

    async def Evaluate(self, request: policy.EvaluateRequest, context: object) -> policy.EvaluateResponse:
        """See the contract."""
        self._trouble.meet(request)
        rule = policy.MatchedRule(rule_id="pii.email", decision=policy.DECISION_REDACT, reason="an address")
        return policy.EvaluateResponse(
            decision=policy.DECISION_REDACT,
            matched_rules=[rule],
            findings=[policy.Finding(kind="email", start=3, end=8, rule_id="pii.email")],
            redacted_content="to [email]",
            risk=0.5,
            rules_version="abc",
        )
