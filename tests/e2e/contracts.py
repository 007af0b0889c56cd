"""The RPCs in the contracts: every service, and every REST binding with a request that works."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from google.api import annotations_pb2
from google.protobuf.descriptor import MethodDescriptor
from soma.authz.v1 import authz_pb2

from gateway.contracts import pool, public_services
from tests.e2e.scripted import MODEL

USER = {"role": "ROLE_USER", "content": "hello"}
# A body for each RPC that needs one. The tests fill in the ids in paths.
BODIES: dict[str, dict[str, Any]] = {
    "soma.identity.v1.AuthService/Login": {"username": "nobody", "password": "tea with a little lemon"},
    "soma.identity.v1.AuthService/Refresh": {"refresh_token": "not a token"},
    "soma.identity.v1.AuthService/Logout": {},
    "soma.identity.v1.UserService/ChangePassword": {
        "current_password": "tea with a little lemon",
        "new_password": "tea with a little milk",
    },
    "soma.identity.v1.UserService/CreateUser": {"username": "binding", "roles": ["member"]},
    "soma.identity.v1.UserService/UpdateUser": {"roles": ["viewer"]},
    "soma.identity.v1.UserService/ResetPassword": {},
    "soma.identity.v1.RoleService/SetRole": {"description": "Reads models.", "scopes": ["read:models"]},
    "soma.identity.v1.ServiceAccountService/CreateServiceAccount": {"name": "binding", "scopes": ["read:models"]},
    "soma.identity.v1.ServiceAccountService/RotateServiceAccountKey": {"overlap_seconds": 60},
    "soma.identity.v1.TenantService/CreateTenant": {"tenant_id": "binding", "title": "Binding"},
    "soma.identity.v1.TenantService/UpdateTenant": {"title": "Another"},
    "soma.memory.v1.MemoryService/Remember": {"key": "k", "value": "blue"},
    "soma.memory.v1.MemoryService/Retrieve": {"query": "blue"},
    "soma.memory.v1.MemoryService/AppendMessages": {"messages": [USER]},
    "soma.memory.v1.MemoryService/GetContext": {"current_message": "hello"},
    "soma.model.v1.ModelService/Generate": {"model": MODEL, "messages": [USER]},
    "soma.model.v1.ModelService/Infer": {"prompt": "once", "max_tokens": 4, "seed": 1},
    "soma.model.v1.ModelService/Embed": {"input": ["hello"]},
    "soma.model.v1.ModelService/CountTokens": {"model": MODEL, "messages": [USER]},
    "soma.model.v1.ModelService/Moderate": {"inputs": [{"parts": [{"text": {"text": "hello"}}]}]},
    "soma.model.v1.ModelService/Rerank": {"query": "tea", "documents": ["a cup of tea"]},
    "soma.model.v1.MediaService/Transcribe": {"audio": {"url": "https://sounds.example/tea.mp3"}},
    "soma.model.v1.MediaService/Translate": {"audio": {"url": "https://sounds.example/tee.mp3"}},
    "soma.model.v1.MediaService/Speak": {"input": "hello"},
    "soma.model.v1.MediaService/GenerateImage": {"prompt": "a cup of tea"},
    "soma.model.v1.MediaService/EditImage": {
        "prompt": "greener",
        "images": [{"url": "https://pictures.example/tea.png"}],
    },
    "soma.model.v1.CatalogService/LoadModel": {"name": "embedder"},
    "soma.model.v1.CatalogService/UnloadModel": {"name": "embedder"},
    "soma.orchestrator.v1.ChatService/Chat": {"model": MODEL, "messages": [USER]},
    "soma.orchestrator.v1.ChatSessionService/CreateChatSession": {"title": "Hello"},
    "soma.orchestrator.v1.ChatSessionService/SetChatSessionStatus": {"status": "paused"},
    "soma.orchestrator.v1.ChatSessionService/SendChatMessage": {"message": "hello", "model_name": MODEL},
    "soma.orchestrator.v1.ResponseService/CreateResponse": {"model": MODEL, "input": [{"message": USER}]},
    "soma.orchestrator.v1.ResponseService/CancelResponse": {},
    "soma.orchestrator.v1.ResponseService/CompactResponse": {"model": MODEL, "input": [{"message": USER}]},
    "soma.orchestrator.v1.ResponseService/CountResponseTokens": {"model": MODEL, "input": [{"message": USER}]},
    "soma.mesh.v1.EventService/ReplayDeadLetter": {},
    "soma.policy.v1.PolicyService/Evaluate": {"action": "chat.input", "content": "hello"},
}
# What no provider of the tests' stack has: it is refused with this reason. Each has tests of its own with a provider.
UNSERVED = {
    **{
        f"soma.model.v1.{name}": "MODEL_CAPABILITY_MISSING"
        for name in (
            *("ModelService/Moderate", "ModelService/Rerank"),
            *("MediaService/Transcribe", "MediaService/Translate", "MediaService/Speak"),
            *("MediaService/GenerateImage", "MediaService/EditImage"),
        )
    },
    **{
        f"soma.model.v1.CatalogService/{name}": "MODEL_NOT_FOUND"
        for name in ("LoadModel", "UnloadModel", "ListRepositoryModels")
    },
    # Nobody has this password or this token, and the development key has no password.
    "soma.identity.v1.AuthService/Login": "LOGIN_REFUSED",
    "soma.identity.v1.AuthService/Refresh": "REFRESH_TOKEN_INVALID",
    "soma.identity.v1.AuthService/Logout": "USER_NEEDED",
    "soma.identity.v1.UserService/ChangePassword": "USER_NEEDED",
}


@dataclass(frozen=True)
class Binding:
    """One way to call an RPC over REST.

    Attributes:
        open: whether it needs no credential.
        scope: what a caller needs; empty if any credential will do.
    """

    rpc: str
    verb: str
    path: str
    streams: bool
    open: bool
    scope: str

    @property
    def body(self) -> dict[str, Any] | None:
        """A body with which the call is answered."""
        return BODIES[self.rpc] if self.verb in ("POST", "PUT", "PATCH") else None

    def __str__(self) -> str:
        return self.rpc.rpartition(".")[2]


def _bindings() -> Iterator[Binding]:
    for service in public_services():
        for method in pool().FindServiceByName(service).methods:
            yield from _of(method)


def _of(method: MethodDescriptor) -> Iterator[Binding]:
    rule = method.GetOptions().Extensions[annotations_pb2.http]
    for each in (rule, *rule.additional_bindings):
        verb = each.WhichOneof("pattern")
        if verb is not None:
            path = getattr(each, verb).replace("=**}", "}")
            rpc = f"{method.containing_service.full_name}/{method.name}"
            access = method.GetOptions().Extensions[authz_pb2.rule]
            yield Binding(rpc, verb.upper(), path, method.server_streaming, access.open, access.scope)


BINDINGS = tuple(_bindings())
SERVICES = tuple(public_services())
