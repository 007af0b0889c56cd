"""`tool_choice.allowed`: the model sees all tools, and may call some of them.

A vendor that knows such a choice gets it. Any other gets only the tools that may be called. Either way, a call of
another tool is a failure of the model: nobody gets it.
"""

from collections.abc import Sequence

from soma.errors.v1 import reasons
from soma.model.v1.message_pb2 import Delta
from soma.model.v1.options_pb2 import GenerationOptions, Tool, ToolChoice

from services.mesh.call import errors

_FIELD = "options.tool_choice.allowed"
_MODES = (ToolChoice.MODE_UNSPECIFIED, ToolChoice.MODE_AUTO, ToolChoice.MODE_REQUIRED)


def require_known(options: GenerationOptions) -> None:
    """Refuse a choice that names a tool which the request does not have, or that says something else too.

    Raises:
        InvalidArgument: the error names the field.
    """
    choice = options.tool_choice
    if not choice.allowed:
        return
    names = {tool.name for tool in options.tools}
    unknown = sorted(name for name in choice.allowed if name not in names)
    if unknown:
        raise _refusal(f"the request has no tool `{unknown[0]}`")
    if choice.mode not in _MODES:
        raise _refusal("some tools are allowed, and `mode` names one or none")


def offered(options: GenerationOptions) -> Sequence[Tool]:
    """The tools for a vendor that does not know such a choice."""
    allowed = set(options.tool_choice.allowed)
    return [tool for tool in options.tools if tool.name in allowed] if allowed else options.tools


def check_calls(options: GenerationOptions, piece: Delta, provider: str) -> None:
    """Check the calls that begin in a piece of an answer.

    Raises:
        Internal: TOOL_NOT_ALLOWED: the model called another tool.
    """
    allowed = options.tool_choice.allowed
    for call in piece.tool_calls:
        if call.name and call.name not in allowed:
            raise errors.Internal(
                f"the model called the tool `{call.name}`, which the request does not allow",
                reason=reasons.TOOL_NOT_ALLOWED,
                metadata={"provider": provider, "tool": call.name},
            )


def _refusal(message: str) -> errors.InvalidArgument:
    return errors.InvalidArgument(message, violations=[errors.FieldViolation(_FIELD, message)])
