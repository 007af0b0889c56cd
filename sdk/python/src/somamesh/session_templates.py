"""Templates of chat sessions."""

from dataclasses import dataclass

from soma.orchestrator.v1 import chat_session_service_pb2 as pb


@dataclass(frozen=True, slots=True)
class Template:
    """A template of a session; `parameters` are the names that a session may set, with their default values."""

    name: str
    session_type: str
    title: str
    description: str
    default: bool
    parameters: dict[str, str]
    suggestions: tuple[str, ...]


def from_templates(response: pb.ListChatTemplatesResponse) -> list[Template]:
    """Convert the templates."""
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
