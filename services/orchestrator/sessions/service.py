"""soma.orchestrator.v1.ChatSessionService over sessions, their messages, templates and models."""

from typing import Any, Protocol

from google.protobuf.struct_pb2 import Struct
from soma.errors.v1 import reasons
from soma.model.v1 import catalog_service_pb2
from soma.orchestrator.v1 import chat_session_service_pb2 as pb
from soma.orchestrator.v1 import chat_session_service_pb2_grpc as rpc

from services.mesh.call import errors
from services.mesh.call.call import principal
from services.orchestrator.adapters.structs import checked, text_map, text_of
from services.orchestrator.sessions.chats import Chats
from services.orchestrator.sessions.messages import Messages
from services.orchestrator.sessions.templates import Templates

# What would guide the making of an agent: to keep it unread would promise something.
_UNSUPPORTED = ("max_iterations", "validation_level", "auto_finalize", "custom_templates")


class Catalogue(Protocol):
    """Which models there are."""

    async def chat_models(self) -> list[catalog_service_pb2.Model]:
        """Those that generate text, the default first."""
        ...


class ChatSessionService(rpc.ChatSessionServiceServicer):
    """Everything is the calling principal's; responses that are a session have its fields at the same numbers."""

    def __init__(self, chats: Chats, messages: Messages, templates: Templates, catalogue: Catalogue) -> None:
        self._chats = chats
        self._messages = messages
        self._templates = templates
        self._catalogue = catalogue

    async def CreateChatSession(
        self, request: pb.CreateChatSessionRequest, context: Any
    ) -> pb.CreateChatSessionResponse:
        """See the contract."""
        checked(request.config, "config")
        _refuse_unsupported(request.config)
        text_of(request.config, "description", "config")
        template = text_of(request.config, "template", "config")
        parameters = text_map(request.config, "custom_parameters", "config")
        session = await self._chats.create(principal(), request, template, parameters)
        return pb.CreateChatSessionResponse.FromString(session.SerializeToString())

    async def GetChatSession(self, request: pb.GetChatSessionRequest, context: Any) -> pb.GetChatSessionResponse:
        """See the contract."""
        session = await self._chats.get(principal(), request.session_id)
        return pb.GetChatSessionResponse.FromString(session.shown.SerializeToString())

    async def ListChatSessions(self, request: pb.ListChatSessionsRequest, context: Any) -> pb.ListChatSessionsResponse:
        """See the contract."""
        return await self._chats.list(principal(), request)

    async def DeleteChatSession(
        self, request: pb.DeleteChatSessionRequest, context: Any
    ) -> pb.DeleteChatSessionResponse:
        """See the contract."""
        await self._chats.delete(principal(), request)
        return pb.DeleteChatSessionResponse(session_id=request.session_id, status="deleted")

    async def SetChatSessionStatus(
        self, request: pb.SetChatSessionStatusRequest, context: Any
    ) -> pb.SetChatSessionStatusResponse:
        """See the contract."""
        session = await self._chats.set_status(principal(), request)
        return pb.SetChatSessionStatusResponse.FromString(session.SerializeToString())

    async def SendChatMessage(self, request: pb.SendChatMessageRequest, context: Any) -> pb.SendChatMessageResponse:
        """See the contract."""
        checked(request.metadata, "metadata")
        return await self._messages.send(principal(), request)

    async def ListChatMessages(self, request: pb.ListChatMessagesRequest, context: Any) -> pb.ListChatMessagesResponse:
        """See the contract."""
        return await self._messages.page(principal(), request)

    async def GetChatSessionStats(
        self, request: pb.GetChatSessionStatsRequest, context: Any
    ) -> pb.GetChatSessionStatsResponse:
        """See the contract."""
        return (await self._chats.get(principal(), request.session_id)).stats

    async def ListChatTemplates(
        self, request: pb.ListChatTemplatesRequest, context: Any
    ) -> pb.ListChatTemplatesResponse:
        """See the contract."""
        return pb.ListChatTemplatesResponse(templates=self._templates.all)

    async def ListChatModels(self, request: pb.ListChatModelsRequest, context: Any) -> pb.ListChatModelsResponse:
        """See the contract."""
        return pb.ListChatModelsResponse(models=await self._catalogue.chat_models())


def _refuse_unsupported(config: Struct) -> None:
    found = [name for name in _UNSUPPORTED if name in config.fields]
    if found:
        raise errors.InvalidArgument(
            f"config.{', config.'.join(found)}: sessions create no agents, so this would have no effect; leave it out",
            reason=reasons.CONFIG_NOT_SUPPORTED,
            violations=[errors.FieldViolation(f"config.{name}", "has no effect here; leave it out") for name in found],
        )
