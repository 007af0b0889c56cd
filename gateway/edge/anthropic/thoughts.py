"""Thoughts as a client keeps them, and brings them back.

A thought that a provider of Anthropic's protocol signed keeps its signature as it is. All others get a signature of
ours: it holds what the contract has beside the text, and a seal of both, so that an altered thought is refused.
"""

from base64 import b64encode

from google.protobuf.message import DecodeError
from soma.model.v1.message_pb2 import Reasoning

from gateway.edge.anthropic.words import refuse
from gateway.edge.media import decoded
from services.mesh.call.seal import MAC_BYTES, Seal
from services.messages.place import has_other_details

PURPOSE = "thoughts of anthropic's protocol"
# Tells our signatures from those of a provider.
_OURS = "soma1."


class Thoughts:
    """Gives thoughts to clients, and takes them back."""

    def __init__(self, seal: Seal) -> None:
        self._seal = seal

    def signature(self, thought: Reasoning) -> str:
        """The signature of a thought with a text, or with a provider's signature."""
        if thought.signature and not thought.redacted and not has_other_details(thought.details):
            return thought.signature
        return self._sealed(thought)

    def data(self, thought: Reasoning) -> str:
        """The data of a thought without a text, which only its provider can read."""
        plain = thought.redacted and not thought.signature and not has_other_details(thought.details)
        return thought.redacted if plain else self._sealed(thought)

    def opened(self, text: str, signature: str, where: str) -> Reasoning:
        """A thought that a client brings back.

        Raises:
            InvalidArgument: our seal does not hold; the error names `where`.
        """
        if not signature.startswith(_OURS):
            return Reasoning(text=text, signature=signature)
        return self._unsealed(text, signature, where)

    def opened_data(self, data: str, where: str) -> Reasoning:
        """A thought without a text that a client brings back.

        Raises:
            InvalidArgument: our seal does not hold; the error names `where`.
        """
        if not data.startswith(_OURS):
            return Reasoning(redacted=data)
        return self._unsealed("", data, where)

    def _sealed(self, thought: Reasoning) -> str:
        rest = Reasoning()
        rest.CopyFrom(thought)
        rest.text = ""
        packed = rest.SerializeToString()
        return _OURS + b64encode(self._seal.of(_covered(packed, thought.text)) + packed).decode()

    def _unsealed(self, text: str, signature: str, where: str) -> Reasoning:
        try:
            raw = decoded(signature.removeprefix(_OURS))
            packed = raw[MAC_BYTES:]
            if self._seal.holds(raw[:MAC_BYTES], _covered(packed, text)):
                thought = Reasoning.FromString(packed)
                thought.text = text
                return thought
        except (ValueError, DecodeError):
            # The same error as for a seal that does not hold.
            pass
        refuse(where, "Invalid `signature` in `thinking` block")


def _covered(packed: bytes, text: str) -> bytes:
    return b"%d:" % len(packed) + packed + text.encode("utf-8", "surrogatepass")
