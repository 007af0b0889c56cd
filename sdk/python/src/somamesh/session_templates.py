"""What a chat session can be led and answered by."""

from dataclasses import dataclass

from soma.orchestrator.v1 import chat_session_service_pb2 as pb

from somamesh.calls import Call, unary
from somamesh.models import Model, from_models


@dataclass(frozen=True, slots=True)
class Template:
    """How a session is led; `parameters` may be filled and have these values otherwise."""

    name: str
    session_type: str
    title: str
    description: str
    default: bool
    parameters: dict[str, str]
    suggestions: tuple[str, ...]


def list_session_templates(*, timeout: float | None = None) -> Call[list[Template]]:
    """What a session can be led by."""
    request = pb.ListChatTemplatesRequest()
    return unary(lambda mesh: mesh.sessions.ListChatTemplates, request, _templates, repeatable=True, timeout=timeout)


def list_session_models(*, timeout: float | None = None) -> Call[list[Model]]:
    """The models a session may name, the default first."""

    def read(response: pb.ListChatModelsResponse) -> list[Model]:
        return from_models(response.models)

    request = pb.ListChatModelsRequest()
    return unary(lambda mesh: mesh.sessions.ListChatModels, request, read, repeatable=True, timeout=timeout)


def _templates(response: pb.ListChatTemplatesResponse) -> list[Template]:
    return [
        Template(
            name=each.name,
            session_type=each.session_type,
            title=each.title,
            description=each.description,
            default=each.default,
            parameters=dict(each.parameters),
            suggestions=tuple(each.suggestions),
        )
        for each in response.templates
    ]
