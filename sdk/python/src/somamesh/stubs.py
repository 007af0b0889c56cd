"""The generated stubs of every service, on one channel."""

import grpc
from soma.memory.v1.memory_service_pb2_grpc import MemoryServiceStub
from soma.model.v1.catalog_service_pb2_grpc import CatalogServiceStub
from soma.model.v1.cost_service_pb2_grpc import CostServiceStub
from soma.model.v1.model_service_pb2_grpc import ModelServiceStub
from soma.orchestrator.v1.chat_service_pb2_grpc import ChatServiceStub
from soma.orchestrator.v1.chat_session_service_pb2_grpc import ChatSessionServiceStub
from soma.orchestrator.v1.log_service_pb2_grpc import LogServiceStub
from soma.orchestrator.v1.response_service_pb2_grpc import ResponseServiceStub
from soma.policy.v1.policy_service_pb2_grpc import PolicyServiceStub


class Stubs:
    """Whether their methods wait or are awaited is the channel's kind."""

    def __init__(self, channel: grpc.Channel | grpc.aio.Channel) -> None:
        self.chat: ChatServiceStub = ChatServiceStub(channel)
        self.responses: ResponseServiceStub = ResponseServiceStub(channel)
        self.sessions: ChatSessionServiceStub = ChatSessionServiceStub(channel)
        self.logs: LogServiceStub = LogServiceStub(channel)
        self.memory: MemoryServiceStub = MemoryServiceStub(channel)
        self.model: ModelServiceStub = ModelServiceStub(channel)
        self.catalog: CatalogServiceStub = CatalogServiceStub(channel)
        self.cost: CostServiceStub = CostServiceStub(channel)
        self.policy: PolicyServiceStub = PolicyServiceStub(channel)
