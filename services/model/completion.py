"""The rules of a request to continue a prompt (`GenerationOptions.completion`)."""

from collections.abc import Iterator

from soma.model.v1.message_pb2 import ROLE_USER
from soma.model.v1.model_service_pb2 import GenerateRequest

from services.mesh.call import errors

# What a request without a method for completions does not have beside `suffix` and `echo`.
WITHOUT_METHOD = frozenset({"provider_params.best_of"})


def require_prompt(request: GenerateRequest) -> None:
    """Refuse a request to continue anything but one prompt.

    Raises:
        InvalidArgument: it has more than the prompt; each violation names a field.
    """
    if violations := list(_violations(request)):
        said = ", ".join(f"{each.field} {each.description}" for each in violations)
        raise errors.InvalidArgument(f"a completion continues one prompt: {said}", violations=violations)


def _violations(request: GenerateRequest) -> Iterator[errors.FieldViolation]:
    options = request.options
    prompt = request.messages[0]
    if len(request.messages) > 1 or prompt.role != ROLE_USER or prompt.parts or not prompt.content:
        yield errors.FieldViolation("messages", "must be one message of the user with a text")
    if request.conversation_id:
        yield errors.FieldViolation("conversation_id", "cannot be set, because nothing is remembered")
    if request.sources:
        yield errors.FieldViolation("strategy", "cannot be set, because nothing is added to the prompt")
    if options.tools:
        yield errors.FieldViolation("options.tools", "cannot be set")
    if options.response_format.type:
        yield errors.FieldViolation("options.response_format", "cannot be set")
