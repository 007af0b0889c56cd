"""Declares and builds the edge."""

from contextlib import AsyncExitStack

from soma.model.v1.catalog_service_pb2_grpc import CatalogServiceStub
from soma.model.v1.media_service_pb2_grpc import MediaServiceStub
from soma.model.v1.model_service_pb2_grpc import ModelServiceStub
from soma.orchestrator.v1.chat_service_pb2_grpc import ChatServiceStub
from soma.orchestrator.v1.log_service_pb2_grpc import LogServiceStub
from soma.orchestrator.v1.response_service_pb2_grpc import ResponseServiceStub

from gateway.edge.anthropic import surface as anthropic
from gateway.edge.anthropic.api import Api as AnthropicApi
from gateway.edge.anthropic.messages import Messages
from gateway.edge.anthropic.thoughts import PURPOSE, Thoughts
from gateway.edge.anthropic.token_counts import TokenCounts
from gateway.edge.app import Application
from gateway.edge.logs import surface as logs
from gateway.edge.logs.sockets import LogSockets
from gateway.edge.logs.tail import Tails
from gateway.edge.openai import surface as openai
from gateway.edge.openai.api import Api
from gateway.edge.openai.compaction import Compaction
from gateway.edge.openai.embeddings import Embeddings
from gateway.edge.openai.failures import ERRORS
from gateway.edge.openai.images import Images
from gateway.edge.openai.input_items import InputItems
from gateway.edge.openai.input_tokens import InputTokens
from gateway.edge.openai.models import Models
from gateway.edge.openai.moderations import Moderations
from gateway.edge.openai.rerank import Rerank
from gateway.edge.openai.response_sockets import ResponseSockets
from gateway.edge.openai.response_turn import ResponseTurns
from gateway.edge.openai.responses import Responses
from gateway.edge.openai.speech import Speech
from gateway.edge.openai.transcriptions import Transcriptions
from gateway.edge.openai.turns import Turns
from gateway.edge.settings import EdgeSettings
from gateway.edge.tracing import RequestTracing
from services.mesh.declaration import Declaration
from services.mesh.mesh import Mesh
from services.mesh.service import Service


async def build(mesh: Mesh, settings: EdgeSettings, _stack: AsyncExitStack) -> Service:
    """The edge over the mesh's orchestrator and model service.

    It is ready without them: while they are unavailable, it answers with an error in the shape of the protocol. While
    Redis is unavailable, clients cannot open WebSockets, because Redis counts the connections.
    """
    orchestrator, model = mesh.connect("orchestrator"), mesh.connect("model")
    api = Api(
        Turns(ChatServiceStub(orchestrator), mesh.blobs, settings.chat_timeout_seconds),
        Responses(
            ResponseServiceStub(orchestrator),
            mesh.blobs,
            settings.chat_timeout_seconds,
            settings.store_timeout_seconds,
        ),
        Compaction(ResponseServiceStub(orchestrator), mesh.blobs, settings.chat_timeout_seconds),
        InputTokens(ResponseServiceStub(orchestrator), mesh.blobs, settings.chat_timeout_seconds),
        InputItems(ResponseServiceStub(orchestrator), settings.store_timeout_seconds),
        Embeddings(ModelServiceStub(model), settings.embedding_timeout_seconds),
        Models(CatalogServiceStub(model), settings.catalogue_timeout_seconds),
        Moderations(ModelServiceStub(model), mesh.blobs, settings.embedding_timeout_seconds),
        Rerank(ModelServiceStub(model), settings.embedding_timeout_seconds),
        Transcriptions(MediaServiceStub(model), mesh.blobs, settings.media_timeout_seconds),
        Speech(MediaServiceStub(model), settings.media_timeout_seconds),
        Images(MediaServiceStub(model), mesh.blobs, settings.media_timeout_seconds),
        settings.body_limit_bytes,
    )
    thoughts = Thoughts(mesh.seal(PURPOSE))
    anthropic_api = AnthropicApi(
        Messages(ChatServiceStub(orchestrator), mesh.blobs, thoughts, settings.chat_timeout_seconds),
        TokenCounts(ModelServiceStub(model), mesh.blobs, thoughts, settings.embedding_timeout_seconds),
        settings.body_limit_bytes,
    )
    log_sockets = LogSockets(mesh.authenticator, Tails(LogServiceStub(orchestrator)), mesh.redis, settings)
    tracing = RequestTracing(mesh.spans, mesh.settings.trace_sample_ratio)
    turns = ResponseTurns(
        ResponseServiceStub(orchestrator), mesh.blobs, mesh.limiter, tracing, settings.chat_timeout_seconds
    )
    response_sockets = ResponseSockets(mesh.authenticator, turns, mesh.redis, settings)
    openai_app = Application(mesh.authenticator, mesh.limiter, tracing, api.routes, openai.CONVENTIONS)
    anthropic_app = Application(mesh.authenticator, mesh.limiter, tracing, anthropic_api.routes, anthropic.CONVENTIONS)
    # A plain HTTP request to the path of the WebSocket is answered in the shape that clients of the edge know.
    logs_app = Application(mesh.authenticator, mesh.limiter, tracing, logs.ROUTES, openai.CONVENTIONS)
    return Service(
        surfaces=(
            openai.surface(api, openai_app, response_sockets),
            anthropic.surface(anthropic_api, anthropic_app, settings.body_limit_bytes),
            logs.surface(logs_app, log_sockets, openai.UNKNOWN, ERRORS),
        ),
        wants={"redis": mesh.check_redis},
    )


SERVICE = Declaration(
    name="edge", build=build, settings=EdgeSettings, needs=("redis",), neighbours=("orchestrator", "model")
)
