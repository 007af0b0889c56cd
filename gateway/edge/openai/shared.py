"""Members that chat completions and responses have alike."""

from soma.errors.v1 import reasons

from gateway.edge.openai.values import members, refuse, required, text

# How much a model that thinks may think; it says itself which of these it does not take.
EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
# Which of OpenAI's machines answer: the first two leave it to the server.
SERVICE_TIERS = ("auto", "default", "flex", "scale", "priority", "fast", "ultrafast")


def read_conversation(value: object, name: str) -> str:
    """A conversation's id, by itself or as the `id` of an object.

    Raises:
        InvalidArgument: names the member at fault.
    """
    if type(value) is not str:
        value = required(members(value, name, ("id",)), "id", name)
        name = f"{name}.id"
    return text(value, name)


def read_metadata(value: object, name: str) -> dict[str, str]:
    """Labels: at most 16, of limited length.

    Raises:
        InvalidArgument: names the label at fault.
    """
    labels = members(value, name)
    if len(labels) > 16:
        refuse(
            f"Invalid '{name}': too many properties. Expected at most 16.", name, reasons.OBJECT_ABOVE_MAX_PROPERTIES
        )
    for key, label in labels.items():
        if len(text(label, f"{name}.{key}")) > 512 or len(key) > 64:
            message = f"Invalid '{name}.{key}': a key has at most 64 characters, a value at most 512."
            refuse(message, f"{name}.{key}", reasons.STRING_ABOVE_MAX_LENGTH)
    return labels
