"""What a chat session can be led by."""

from dataclasses import dataclass

from soma.orchestrator.v1 import chat_session_service_pb2 as pb


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


def listed(response: pb.ListChatTemplatesResponse) -> list[Template]:
    """The templates there are."""
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
