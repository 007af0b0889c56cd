"""soma.orchestrator.v1.ChatSessionService: sessions, their messages, templates and models."""

from typing import Any

from soma.orchestrator.v1 import chat_session_service_pb2 as pb
from soma.orchestrator.v1 import chat_session_service_pb2_grpc as rpc

from services.mesh.call.call import principal
from services.orchestrator.adapters.model import ChatModels
from services.orchestrator.adapters.structs import check_json, refuse_unsupported, text_of, texts_of
from services.orchestrator.sessions.message import Messages
from services.orchestrator.sessions.session import Sessions
from services.orchestrator.sessions.template import Templates


class ChatSessionService(rpc.ChatSessionServiceServicer):
    """Serves the sessions of the calling principal.

    A response that is a session has the fields of `ChatSession` under the same numbers, so it is parsed from its bytes.
    """

    def __init__(self, sessions: Sessions, messages: Messages, templates: Templates, models: ChatModels) -> None:
        self._sessions = sessions
        self._messages = messages
        self._templates = templates
        self._models = models

    async def CreateChatSession(
        self, request: pb.CreateChatSessionRequest, context: Any
    ) -> pb.CreateChatSessionResponse:
        check_json(request.config, "config")
        refuse_unsupported(request.config)
        text_of(request.config, "description", "config")
        template = text_of(request.config, "template", "config")
        parameters = texts_of(request.config, "custom_parameters", "config")
        session = await self._sessions.create(principal(), request, template, parameters)
        return pb.CreateChatSessionResponse.FromString(session.SerializeToString())

    async def GetChatSession(self, request: pb.GetChatSessionRequest, context: Any) -> pb.GetChatSessionResponse:
        session = await self._sessions.get(principal(), request.session_id)
        return pb.GetChatSessionResponse.FromString(session.public.SerializeToString())

    async def ListChatSessions(self, request: pb.ListChatSessionsRequest, context: Any) -> pb.ListChatSessionsResponse:
        return await self._sessions.list(principal(), request)

    async def DeleteChatSession(
        self, request: pb.DeleteChatSessionRequest, context: Any
    ) -> pb.DeleteChatSessionResponse:
        await self._sessions.delete(principal(), request)
        return pb.DeleteChatSessionResponse(session_id=request.session_id, status="deleted")

    async def SetChatSessionStatus(
        self, request: pb.SetChatSessionStatusRequest, context: Any
    ) -> pb.SetChatSessionStatusResponse:
        session = await self._sessions.set_status(principal(), request)
        return pb.SetChatSessionStatusResponse.FromString(session.SerializeToString())

    async def SendChatMessage(self, request: pb.SendChatMessageRequest, context: Any) -> pb.SendChatMessageResponse:
        check_json(request.metadata, "metadata")
        return await self._messages.send(principal(), request)

    async def ListChatMessages(self, request: pb.ListChatMessagesRequest, context: Any) -> pb.ListChatMessagesResponse:
        return await self._messages.page(principal(), request)

    async def GetChatSessionStats(
        self, request: pb.GetChatSessionStatsRequest, context: Any
    ) -> pb.GetChatSessionStatsResponse:
        return (await self._sessions.get(principal(), request.session_id)).stats

    async def ListChatTemplates(
        self, request: pb.ListChatTemplatesRequest, context: Any
    ) -> pb.ListChatTemplatesResponse:
        return pb.ListChatTemplatesResponse(templates=self._templates.all)

    async def ListChatModels(self, request: pb.ListChatModelsRequest, context: Any) -> pb.ListChatModelsResponse:
        return pb.ListChatModelsResponse(models=await self._models.list())
