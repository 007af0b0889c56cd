"""The orchestrator's neighbours, scripted: servicers of their contracts that note what they were asked."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from soma.memory.v1 import memory_service_pb2, memory_service_pb2_grpc
from soma.model.v1 import (
    catalog_service_pb2,
    catalog_service_pb2_grpc,
    message_pb2,
    model_service_pb2,
    model_service_pb2_grpc,
)
from soma.policy.v1 import policy_service_pb2, policy_service_pb2_grpc

from services.mesh.call import errors
from services.mesh.call.call import principal


@dataclass
class Script:
    """What the neighbours do, and what happened, in order."""

    happened: list[str] = field(default_factory=list)
    words: list[str] = field(default_factory=lambda: ["Hello", " there"])
    next_words: list[list[str]] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    calls: list[message_pb2.ToolCallDelta] = field(default_factory=list)
    finish: message_pb2.FinishReason.ValueType = message_pb2.FINISH_REASON_STOP
    dropped: list[str] = field(default_factory=list)
    fail_after: int | None = None
    failure: errors.MeshError = field(
        default_factory=lambda: errors.Unavailable(
            "the provider went away", reason="PROVIDER_UNAVAILABLE", retry_after=2.0
        )
    )
    stall_after: int | None = None
    held: asyncio.Event | None = None
    denied: str = ""
    redacted: str = ""
    withheld: str = ""
    memory_down: bool = False
    catalogue_down: bool = False
    default: str = "talker"
    generated: list[model_service_pb2.GenerateRequest] = field(default_factory=list)
    conversations: dict[tuple[str, str], list[message_pb2.Message]] = field(default_factory=dict)
    seen_requests: set[str] = field(default_factory=set)
    stalled: asyncio.Event = field(default_factory=asyncio.Event)
    resume: asyncio.Event = field(default_factory=asyncio.Event)
    cancelled: asyncio.Event = field(default_factory=asyncio.Event)
    appended: asyncio.Event = field(default_factory=asyncio.Event)


class ScriptedPolicy(policy_service_pb2_grpc.PolicyServiceServicer):
    """Denies, redacts or withholds the words of the script."""

    def __init__(self, script: Script) -> None:
        self._script = script

    async def Evaluate(self, request: policy_service_pb2.EvaluateRequest, context: Any) -> Any:
        """See the contract."""
        script = self._script
        script.happened.append(request.action)
        rule = policy_service_pb2.MatchedRule(rule_id="scripted", reason="the script says so")
        deny = script.denied if request.action == "chat.input" else script.withheld
        if deny and deny in request.content:
            decision = policy_service_pb2.DECISION_DENY
            return policy_service_pb2.EvaluateResponse(decision=decision, matched_rules=[rule])
        if script.redacted and script.redacted in request.content:
            return policy_service_pb2.EvaluateResponse(
                decision=policy_service_pb2.DECISION_REDACT,
                matched_rules=[rule],
                redacted_content=request.content.replace(script.redacted, "[REDACTED]"),
            )
        return policy_service_pb2.EvaluateResponse(decision=policy_service_pb2.DECISION_ALLOW)


class ScriptedMemory(memory_service_pb2_grpc.MemoryServiceServicer):
    """Keeps conversations in a dictionary, or is down."""

    def __init__(self, script: Script) -> None:
        self._script = script

    async def GetContext(self, request: memory_service_pb2.GetContextRequest, context: Any) -> Any:
        """See the contract."""
        self._check("context")
        turns = self._script.conversations.get((principal().tenant_id, request.conversation_id), [])
        return memory_service_pb2.GetContextResponse(
            recent_messages=[memory_service_pb2.ConversationMessage(message=m) for m in turns],
            relevant_documents=[message_pb2.Source(key="fact", text="Biscuit is a dog.")],
        )

    async def AppendMessages(self, request: memory_service_pb2.AppendMessagesRequest, context: Any) -> Any:
        """See the contract."""
        self._check("append")
        if request.request_id not in self._script.seen_requests:
            self._script.seen_requests.add(request.request_id)
            key = (principal().tenant_id, request.conversation_id)
            self._script.conversations.setdefault(key, []).extend(request.messages)
        self._script.appended.set()
        return memory_service_pb2.AppendMessagesResponse()

    async def ListMessages(self, request: memory_service_pb2.ListMessagesRequest, context: Any) -> Any:
        """See the contract; a page token is a number of turns."""
        self._check("list")
        turns = self._script.conversations.get((principal().tenant_id, request.conversation_id))
        if turns is None:
            raise errors.NotFound("there is no such conversation", reason="CONVERSATION_NOT_FOUND")
        start, size = int(request.page_token or 0), request.page_size or 50
        return memory_service_pb2.ListMessagesResponse(
            messages=[
                memory_service_pb2.ConversationMessage(message=turn, sequence=number + 1)
                for number, turn in enumerate(turns[start : start + size], start)
            ],
            next_page_token=str(start + size) if len(turns) > start + size else "",
        )

    async def DeleteConversation(self, request: memory_service_pb2.DeleteConversationRequest, context: Any) -> Any:
        """See the contract."""
        self._check("delete")
        deleted = self._script.conversations.pop((principal().tenant_id, request.conversation_id), [])
        return memory_service_pb2.DeleteConversationResponse(deleted_messages=len(deleted))

    def _check(self, what: str) -> None:
        if self._script.memory_down:
            raise errors.Unavailable("memory is down", reason="SCRIPTED", retry_after=1.0)
        self._script.happened.append(what)


class ScriptedCatalog(catalog_service_pb2_grpc.CatalogServiceServicer):
    """Lists a model that chats and one that embeds, or is down."""

    def __init__(self, script: Script) -> None:
        self._script = script

    async def ListModels(self, request: catalog_service_pb2.ListModelsRequest, context: Any) -> Any:
        """See the contract."""
        if self._script.catalogue_down:
            raise errors.Unavailable("the model service is down", reason="SCRIPTED", retry_after=1.0)
        model = catalog_service_pb2.Model
        default = self._script.default
        return catalog_service_pb2.ListModelsResponse(
            models=[
                model(
                    name="talker", provider="local", capabilities=[model.CAPABILITY_CHAT], default=default == "talker"
                ),
                model(name="embedder", provider="local", capabilities=[model.CAPABILITY_EMBEDDING]),
            ]
        )


class ScriptedModel(model_service_pb2_grpc.ModelServiceServicer):
    """Says the words of the script, then ends, fails or stalls."""

    def __init__(self, script: Script) -> None:
        self._script = script

    async def Generate(
        self, request: model_service_pb2.GenerateRequest, context: Any
    ) -> AsyncIterator[model_service_pb2.GenerateResponse]:
        """See the contract."""
        script = self._script
        script.happened.append("generate")
        copied = model_service_pb2.GenerateRequest()
        copied.CopyFrom(request)
        script.generated.append(copied)
        if script.held is not None:
            await script.held.wait()
        try:
            started = model_service_pb2.GenerationStarted(
                generation_id="g-1", model="scripted", provider="local", dropped_params=script.dropped
            )
            if script.next_words and len(script.generated) > 1:
                script.words = script.next_words.pop(0)
            yield model_service_pb2.GenerateResponse(started=started)
            for number, word in enumerate(script.words):
                if number == script.fail_after:
                    raise script.failure
                if number == script.stall_after:
                    script.stalled.set()
                    await script.resume.wait()
                delta = model_service_pb2.TextDelta(text=word)
                yield model_service_pb2.GenerateResponse(delta=delta)
            for word in script.refused:
                refusal = model_service_pb2.TextDelta(text=word, refusal=True)
                yield model_service_pb2.GenerateResponse(delta=refusal)
            for call in script.calls:
                yield model_service_pb2.GenerateResponse(tool_call=call)
            yield model_service_pb2.GenerateResponse(
                finished=model_service_pb2.GenerationFinished(
                    finish_reason=script.finish,
                    usage=message_pb2.Usage(prompt_tokens=3, completion_tokens=2, total_tokens=5),
                ),
            )
        except (asyncio.CancelledError, GeneratorExit):
            script.cancelled.set()
            raise
