"""soma.orchestrator.v1.ChatSessionService over sessions, their messages, templates and models."""

from typing import Any

from soma.orchestrator.v1 import chat_session_service_pb2 as pb
from soma.orchestrator.v1 import chat_session_service_pb2_grpc as rpc

from services.mesh.call.call import principal
from services.orchestrator.adapters.model import ChatModels
from services.orchestrator.sessions.config import check_json, refuse_unsupported, text_of, texts_of
from services.orchestrator.sessions.message import Messages
from services.orchestrator.sessions.session import Sessions
from services.orchestrator.sessions.template import Templates


class ChatSessionService(rpc.ChatSessionServiceServicer):
    """Everything is the calling principal's; responses that are a session have its fields at the same numbers."""

    def __init__(self, sessions: Sessions, messages: Messages, templates: Templates, models: ChatModels) -> None:
        self._sessions = sessions
        self._messages = messages
        self._templates = templates
        self._models = models

    async def CreateChatSession(
        self, request: pb.CreateChatSessionRequest, context: Any
    ) -> pb.CreateChatSessionResponse:
        """See the contract."""
        check_json(request.config, "config")
        refuse_unsupported(request.config)
        text_of(request.config, "description", "config")
        template = text_of(request.config, "template", "config")
        parameters = texts_of(request.config, "custom_parameters", "config")
        session = await self._sessions.create(principal(), request, template, parameters)
        return pb.CreateChatSessionResponse.FromString(session.SerializeToString())

    async def GetChatSession(self, request: pb.GetChatSessionRequest, context: Any) -> pb.GetChatSessionResponse:
        """See the contract."""
        session = await self._sessions.get(principal(), request.session_id)
        return pb.GetChatSessionResponse.FromString(session.public.SerializeToString())

    async def ListChatSessions(self, request: pb.ListChatSessionsRequest, context: Any) -> pb.ListChatSessionsResponse:
        """See the contract."""
        return await self._sessions.list(principal(), request)

    async def DeleteChatSession(
        self, request: pb.DeleteChatSessionRequest, context: Any
    ) -> pb.DeleteChatSessionResponse:
        """See the contract."""
        await self._sessions.delete(principal(), request)
        return pb.DeleteChatSessionResponse(session_id=request.session_id, status="deleted")

    async def SetChatSessionStatus(
        self, request: pb.SetChatSessionStatusRequest, context: Any
    ) -> pb.SetChatSessionStatusResponse:
        """See the contract."""
        session = await self._sessions.set_status(principal(), request)
        return pb.SetChatSessionStatusResponse.FromString(session.SerializeToString())

    async def SendChatMessage(self, request: pb.SendChatMessageRequest, context: Any) -> pb.SendChatMessageResponse:
        """See the contract."""
        check_json(request.metadata, "metadata")
        return await self._messages.send(principal(), request)

    async def ListChatMessages(self, request: pb.ListChatMessagesRequest, context: Any) -> pb.ListChatMessagesResponse:
        """See the contract."""
        return await self._messages.page(principal(), request)

    async def GetChatSessionStats(
        self, request: pb.GetChatSessionStatsRequest, context: Any
    ) -> pb.GetChatSessionStatsResponse:
        """See the contract."""
        return (await self._sessions.get(principal(), request.session_id)).stats

    async def ListChatTemplates(
        self, request: pb.ListChatTemplatesRequest, context: Any
    ) -> pb.ListChatTemplatesResponse:
        """See the contract."""
        return pb.ListChatTemplatesResponse(templates=self._templates.all)

    async def ListChatModels(self, request: pb.ListChatModelsRequest, context: Any) -> pb.ListChatModelsResponse:
        """See the contract."""
        return pb.ListChatModelsResponse(models=await self._models.list())
