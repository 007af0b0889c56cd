"""`encrypted_content`: a thought as a client keeps it and sends it back, with what only its provider can read.

It is not encrypted here: it holds what the provider signed or encrypted, and the provider's name.
"""

from base64 import b64encode

from google.protobuf.message import DecodeError
from soma.errors.v1 import reasons
from soma.model.v1.message_pb2 import Reasoning

from gateway.edge.media import decoded
from gateway.edge.openai.words import refuse

# Tells these texts from those of OpenAI's own API, which a client may have kept of a conversation that began there.
_OURS = "soma1."


def closed(thought: Reasoning) -> str:
    """The text that a client keeps of a thought."""
    return _OURS + b64encode(thought.SerializeToString()).decode()


def opened(encrypted: str, param: str) -> Reasoning:
    """The thought of such a text; any other text is a thought that only its provider can read.

    Raises:
        InvalidArgument: the text was changed; the error names `param`.
    """
    if not encrypted.startswith(_OURS):
        return Reasoning(redacted=encrypted)
    try:
        return Reasoning.FromString(decoded(encrypted.removeprefix(_OURS)))
    except (ValueError, DecodeError):
        refuse(f"Invalid '{param}': it is not what an answer said.", param, reasons.INVALID_VALUE)
