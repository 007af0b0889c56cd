"""Counts tokens when a model does not report them.

The models of this process count words and punctuation marks, each with the space before it. For other models, a token
is estimated as four bytes of UTF-8: for English the error is below a fifth, and for other languages the estimate is
not too low.
"""

import re
from collections.abc import Iterable

from soma.model.v1.model_service_pb2 import GenerateRequest

from services.messages.message import texts_of, thoughts_of

_PIECE = re.compile(r"\s*(?:\w+(?:['’]\w+)*|[^\w\s])|\s+")


def pieces(text: str) -> list[str]:
    """The tokens of a text, for the models of this process. Joined, they are the text again."""
    return _PIECE.findall(text)


def estimate(texts: Iterable[str]) -> int:
    """The estimated number of tokens of other models in all texts together."""
    size = sum(len(text.encode()) for text in texts)
    return -(-size // 4)


def estimated_prompt(request: GenerateRequest) -> int:
    """The estimated number of tokens that another model reads of a request. Media are not counted."""
    texts = [source.text for source in request.sources]
    for message in request.messages:
        texts.extend(texts_of(message))
        texts.extend(thought.text for thought in thoughts_of(message))
        texts.extend(call.arguments for call in message.tool_calls)
    texts.extend(tool.parameters + tool.description for tool in request.options.tools)
    return estimate(texts)
