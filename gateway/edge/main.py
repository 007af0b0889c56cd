"""Declares and builds the edge."""

from contextlib import AsyncExitStack

from soma.model.v1.catalog_service_pb2_grpc import CatalogServiceStub
from soma.model.v1.model_service_pb2_grpc import ModelServiceStub
from soma.orchestrator.v1.chat_service_pb2_grpc import ChatServiceStub
from soma.orchestrator.v1.log_service_pb2_grpc import LogServiceStub
from soma.orchestrator.v1.response_service_pb2_grpc import ResponseServiceStub

from gateway.edge.app import Application
from gateway.edge.logs import surface as logs
from gateway.edge.logs.sockets import LogSockets
from gateway.edge.logs.tail import Tails
from gateway.edge.openai import surface as openai
from gateway.edge.openai.api import Api
from gateway.edge.openai.chat import ChatCompletions
from gateway.edge.openai.embeddings import Embeddings
from gateway.edge.openai.failures import ERRORS
from gateway.edge.openai.input_items import InputItems
from gateway.edge.openai.models import Models
from gateway.edge.openai.responses import Responses
from gateway.edge.settings import EdgeSettings
from gateway.edge.tracing import RequestTracing
from services.mesh.declaration import Declaration
from services.mesh.mesh import Mesh
from services.mesh.service import Service


async def build(mesh: Mesh, settings: EdgeSettings, _stack: AsyncExitStack) -> Service:
    """The edge over the mesh's orchestrator and model service.

    It is ready without them: while they are unavailable, it answers with an error in OpenAI's shape. While Redis is
    unavailable, clients cannot follow logs, because Redis counts the connections.
    """
    orchestrator, model = mesh.connect("orchestrator"), mesh.connect("model")
    api = Api(
        ChatCompletions(ChatServiceStub(orchestrator), mesh.blobs, settings.chat_timeout_seconds),
        Responses(
            ResponseServiceStub(orchestrator),
            mesh.blobs,
            settings.chat_timeout_seconds,
            settings.store_timeout_seconds,
        ),
        InputItems(ResponseServiceStub(orchestrator), settings.store_timeout_seconds),
        Embeddings(ModelServiceStub(model), settings.embedding_timeout_seconds),
        Models(CatalogServiceStub(model), settings.catalogue_timeout_seconds),
        settings.body_limit_bytes,
    )
    sockets = LogSockets(mesh.authenticator, Tails(LogServiceStub(orchestrator)), mesh.redis, settings)
    tracing = RequestTracing(mesh.spans, mesh.settings.trace_sample_ratio)
    openai_app = Application(mesh.authenticator, mesh.limiter, tracing, api.routes, openai.CONVENTIONS)
    # A plain HTTP request to the path of the WebSocket is answered in the shape that clients of the edge know.
    logs_app = Application(mesh.authenticator, mesh.limiter, tracing, logs.ROUTES, openai.CONVENTIONS)
    return Service(
        surfaces=(
            openai.surface(api, openai_app, settings.body_limit_bytes),
            logs.surface(logs_app, sockets, openai.UNKNOWN, ERRORS),
        ),
        wants={"redis": mesh.check_redis},
    )


SERVICE = Declaration(
    name="edge", build=build, settings=EdgeSettings, needs=("redis",), neighbours=("orchestrator", "model")
)
