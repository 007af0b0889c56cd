"""The generated stubs of all services, on one channel."""

import grpc
from soma.identity.v1.auth_service_pb2_grpc import AuthServiceStub
from soma.identity.v1.role_service_pb2_grpc import RoleServiceStub
from soma.identity.v1.service_account_service_pb2_grpc import ServiceAccountServiceStub
from soma.identity.v1.tenant_service_pb2_grpc import TenantServiceStub
from soma.identity.v1.user_service_pb2_grpc import UserServiceStub
from soma.memory.v1.memory_service_pb2_grpc import MemoryServiceStub
from soma.mesh.v1.event_service_pb2_grpc import EventServiceStub
from soma.model.v1.catalog_service_pb2_grpc import CatalogServiceStub
from soma.model.v1.cost_service_pb2_grpc import CostServiceStub
from soma.model.v1.media_service_pb2_grpc import MediaServiceStub
from soma.model.v1.model_service_pb2_grpc import ModelServiceStub
from soma.orchestrator.v1.chat_service_pb2_grpc import ChatServiceStub
from soma.orchestrator.v1.chat_session_service_pb2_grpc import ChatSessionServiceStub
from soma.orchestrator.v1.log_service_pb2_grpc import LogServiceStub
from soma.orchestrator.v1.response_service_pb2_grpc import ResponseServiceStub
from soma.policy.v1.policy_service_pb2_grpc import PolicyServiceStub


class Stubs:
    """The stubs; with a channel of `grpc.aio` their methods are awaited."""

    def __init__(self, channel: grpc.Channel | grpc.aio.Channel) -> None:
        self.auth_service: AuthServiceStub = AuthServiceStub(channel)
        self.catalog_service: CatalogServiceStub = CatalogServiceStub(channel)
        self.chat_service: ChatServiceStub = ChatServiceStub(channel)
        self.chat_session_service: ChatSessionServiceStub = ChatSessionServiceStub(channel)
        self.cost_service: CostServiceStub = CostServiceStub(channel)
        self.event_service: EventServiceStub = EventServiceStub(channel)
        self.log_service: LogServiceStub = LogServiceStub(channel)
        self.media_service: MediaServiceStub = MediaServiceStub(channel)
        self.memory_service: MemoryServiceStub = MemoryServiceStub(channel)
        self.model_service: ModelServiceStub = ModelServiceStub(channel)
        self.policy_service: PolicyServiceStub = PolicyServiceStub(channel)
        self.response_service: ResponseServiceStub = ResponseServiceStub(channel)
        self.role_service: RoleServiceStub = RoleServiceStub(channel)
        self.service_account_service: ServiceAccountServiceStub = ServiceAccountServiceStub(channel)
        self.tenant_service: TenantServiceStub = TenantServiceStub(channel)
        self.user_service: UserServiceStub = UserServiceStub(channel)
