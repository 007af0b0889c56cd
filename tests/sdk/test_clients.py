"""The two clients have the same methods, which say what they take; each service of the mesh has its own."""

import inspect

import pytest
from soma.memory.v1 import memory_service_pb2 as memory
from soma.model.v1 import catalog_service_pb2 as catalog
from soma.model.v1 import cost_service_pb2 as cost
from soma.model.v1 import model_service_pb2 as model
from soma.orchestrator.v1 import chat_service_pb2 as chat
from soma.orchestrator.v1 import chat_session_service_pb2 as sessions
from soma.orchestrator.v1 import log_service_pb2 as logs
from soma.policy.v1 import policy_service_pb2 as policy
from somamesh import Answer, AsyncClient, Client, Memory

METHODS = {
    "ChatService": {"Chat": "chat"},
    "MemoryService": {
        "Remember": "remember",
        "Recall": "recall",
        "Retrieve": "retrieve",
        "AppendMessages": "append_messages",
        "ListMessages": "list_messages",
        "GetContext": "get_context",
        "DeleteConversation": "delete_conversation",
    },
    "ModelService": {"Generate": "generate", "Infer": "infer", "Embed": "embed"},
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
    "LogService": {"QueryLogs": "list_logs", "TailLogs": "tail_logs"},
    "PolicyService": {"Evaluate": "evaluate_policy"},
}
NAMES = sorted(name for name, value in vars(Client).items() if callable(value))


@pytest.mark.parametrize("module", [chat, sessions, logs, memory, model, catalog, cost, policy])
def test_every_method_of_every_service_can_be_called(module: object) -> None:
    for service in module.DESCRIPTOR.services_by_name.values():  # type: ignore[attr-defined]
        for method in service.methods:
            assert METHODS[service.name][method.name] in NAMES


def test_both_clients_have_the_same_methods() -> None:
    assert sorted(name for name, value in vars(AsyncClient).items() if callable(value)) == NAMES
    assert {"create_conversation", "send_message", "stream_completion"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_method_says_what_it_does_what_it_takes_and_that_it_may_be_timed(name: str) -> None:
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
