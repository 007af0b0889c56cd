"""The two clients have the same methods, with documented parameters, for all services of the mesh."""

import inspect
import pkgutil
from importlib import import_module

import pytest
import soma
from soma.authz.v1 import authz_pb2
from somamesh import Answer, AsyncClient, Client, Memory
from somamesh.async_connection import AsyncConnection
from somamesh.connection import Connection

from tools.client_method import snake

# Methods whose names differ from those of their RPCs.
PUBLISHED = {
    "ChatService": {"Chat": "chat"},
    "MemoryService": {
        "Remember": "remember",
        "Recall": "recall",
        "Retrieve": "retrieve",
        "Forget": "forget",
        "ListMemories": "list_memories",
        "AppendMessages": "append_messages",
        "ListMessages": "list_messages",
        "GetContext": "get_context",
        "DeleteConversation": "delete_conversation",
    },
    "ModelService": {"Generate": "generate", "Infer": "infer", "Embed": "embed", "CountTokens": "count_tokens"},
    "CatalogService": {"ListModels": "list_models"},
    "CostService": {"ListUsage": "list_usage"},
    "ChatSessionService": {
        "CreateChatSession": "create_session",
        "GetChatSession": "get_session",
        "ListChatSessions": "list_sessions",
        "SetChatSessionStatus": "set_session_status",
        "DeleteChatSession": "delete_session",
        "SendChatMessage": "send_session_message",
        "ListChatMessages": "list_session_messages",
        "GetChatSessionStats": "get_session_stats",
        "ListChatTemplates": "list_session_templates",
        "ListChatModels": "list_session_models",
    },
    "ResponseService": {
        "CreateResponse": "create_response",
        "WatchResponse": "watch_response",
        "GetResponse": "get_response",
        "ListResponseInputItems": "list_response_inputs",
        "CancelResponse": "cancel_response",
        "DeleteResponse": "delete_response",
    },
    "LogService": {"QueryLogs": "list_logs", "TailLogs": "tail_logs"},
    "PolicyService": {"Evaluate": "evaluate_policy"},
}


def methods_of(client: type, connection: type) -> list[str]:
    """The methods of a client without those of its connection."""
    return sorted(name for name in dir(client) if callable(getattr(client, name)) and not hasattr(connection, name))


NAMES = methods_of(Client, Connection)


# Only the mesh's own processes call the registry and what is internal, and only tests call the echo service.
NOT_FOR_CLIENTS = ("soma.mesh.v1.registry", "soma.testing.")


def offered() -> dict[str, set[str]]:
    """The methods of all contracts, without those that are not for clients."""
    found: dict[str, set[str]] = {}
    for module in pkgutil.walk_packages(soma.__path__, "soma."):
        if module.name.endswith("_pb2") and not module.name.startswith(NOT_FOR_CLIENTS):
            for service in import_module(module.name).DESCRIPTOR.services_by_name.values():
                rules = {method.name: method.GetOptions().Extensions[authz_pb2.rule] for method in service.methods}
                found[service.name] = {name for name, rule in rules.items() if not rule.internal}
    return found


METHODS = {
    service: {
        rpc: PUBLISHED.get(service, {}).get(rpc, snake(rpc))
        for rpc in {*PUBLISHED.get(service, {}), *offered().get(service, ())}
    }
    for service in {*PUBLISHED, *offered()}
}


def test_every_method_of_every_service_can_be_called() -> None:
    assert {service: set(methods) for service, methods in METHODS.items()} == offered()
    assert {name for methods in METHODS.values() for name in methods.values()} <= set(NAMES)


def test_both_clients_have_the_same_methods() -> None:
    assert methods_of(AsyncClient, AsyncConnection) == NAMES
    assert {"create_conversation", "send_message", "stream_completion"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_method_has_documentation_typed_parameters_and_a_timeout(name: str) -> None:
    for client in (Client, AsyncClient):
        method = getattr(client, name)
        assert method.__doc__
        parameters = inspect.signature(method).parameters
        assert next(iter(parameters)) == "self"
        assert "timeout" in parameters
    assert (
        inspect.signature(getattr(Client, name)).parameters == inspect.signature(getattr(AsyncClient, name)).parameters
    )


def test_a_method_says_what_it_returns() -> None:
    assert inspect.signature(Client.recall).return_annotation is Memory
    assert inspect.signature(AsyncClient.send_message).return_annotation is Answer
    assert inspect.iscoroutinefunction(AsyncClient.send_message)
