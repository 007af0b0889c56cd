"""Declares and builds the edge."""

from contextlib import AsyncExitStack

from soma.model.v1.catalog_service_pb2_grpc import CatalogServiceStub
from soma.model.v1.model_service_pb2_grpc import ModelServiceStub
from soma.orchestrator.v1.chat_service_pb2_grpc import ChatServiceStub
from soma.orchestrator.v1.log_service_pb2_grpc import LogServiceStub
from soma.orchestrator.v1.response_service_pb2_grpc import ResponseServiceStub

from gateway.edge.app import Edge
from gateway.edge.catalogue import Catalogue
from gateway.edge.chat import ChatCompletions
from gateway.edge.embeddings import Embeddings
from gateway.edge.input_items import InputItems
from gateway.edge.responses import Responses
from gateway.edge.settings import EdgeSettings
from gateway.edge.tracing import RequestTracing
from gateway.edge.ws.sockets import ByProtocol, LogSockets
from gateway.edge.ws.tail import Tails
from services.mesh.declaration import Declaration
from services.mesh.mesh import Mesh
from services.mesh.service import Service


async def build(mesh: Mesh, settings: EdgeSettings, _stack: AsyncExitStack) -> Service:
    """The edge over the mesh's orchestrator and model service.

    It needs nothing: while those are away it answers in OpenAI's shape that they are, which no gateway could. Without
    Redis it lets nobody follow logs, because it counts there who does.
    """
    edge = Edge(
        mesh.authenticator,
        ChatCompletions(ChatServiceStub(mesh.connect("orchestrator")), settings.chat_timeout_seconds),
        Responses(
            ResponseServiceStub(mesh.connect("orchestrator")),
            settings.chat_timeout_seconds,
            settings.store_timeout_seconds,
        ),
        InputItems(ResponseServiceStub(mesh.connect("orchestrator")), settings.store_timeout_seconds),
        Embeddings(ModelServiceStub(mesh.connect("model")), settings.embedding_timeout_seconds),
        Catalogue(CatalogServiceStub(mesh.connect("model")), settings.catalogue_timeout_seconds),
        RequestTracing(mesh.spans, mesh.settings.trace_sample_ratio),
        settings,
    )
    tails = Tails(LogServiceStub(mesh.connect("orchestrator")))
    http = ByProtocol(edge, LogSockets(mesh.authenticator, tails, mesh.redis, settings))
    return Service(http=http, wants={"redis": mesh.check_redis})


SERVICE = Declaration(
    name="edge", build=build, settings=EdgeSettings, needs=("redis",), neighbours=("orchestrator", "model")
)
