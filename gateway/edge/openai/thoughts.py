"""A model's thoughts in the forms that clients of chat completions know, from answers and back.

`reasoning_content` is DeepSeek's and vLLM's text of them, `reasoning` OpenRouter's; `reasoning_details` are
OpenRouter's thoughts with signatures, and `thinking_blocks` Anthropic's, as LiteLLM has them.
"""

from collections.abc import Sequence
from typing import Annotated, Any, Literal, Required, TypeAlias, final

from pydantic import ConfigDict, Tag, with_config
from soma.model.v1.message_pb2 import Message, Reasoning
from typing_extensions import TypedDict

from gateway.edge.provider_params import json_text, members_of
from gateway.edge.request_model import TextOr, by_member, lenient

# Members of OpenRouter's details that the contract has fields for.
_FIELDS = frozenset({"text", "summary", "data", "signature", "index"})
# Types of details that the fields tell by themselves.
_IMPLIED = frozenset({"reasoning.text", "reasoning.encrypted"})
SUMMARY = "reasoning.summary"


@with_config(ConfigDict(strict=True, extra="allow"))
class ReasoningDetail(TypedDict, total=False):
    """A thought, or a piece of one: pieces in a row that have the same type and `index` belong together."""

    type: Required[str]
    text: str | None
    summary: str | None
    data: str | None
    signature: str | None
    index: int | None


@lenient
class ThinkingText(TypedDict):
    """A piece of a thought, as Mistral has it."""

    text: str


@final
@lenient
class ThinkingBlock(TypedDict, total=False):
    """A thought in Anthropic's or in Mistral's form."""

    type: Required[Literal["thinking"]]
    thinking: Required[TextOr[str, list[ThinkingText]]]
    signature: str | None


@final
@lenient
class RedactedBlock(TypedDict):
    """A thought that only the provider can read, in Anthropic's form."""

    type: Literal["redacted_thinking"]
    data: str


Block: TypeAlias = ThinkingBlock | RedactedBlock
Blocks = list[
    Annotated[
        Annotated[ThinkingBlock, Tag("union:thinking")] | Annotated[RedactedBlock, Tag("union:redacted")],
        by_member("type", {"redacted_thinking": "union:redacted"}, "union:thinking"),
    ]
]


def add_block(message: Message, block: Block) -> None:
    """Add a thought in Anthropic's or in Mistral's form."""
    reasoning = message.parts.add().reasoning
    if block["type"] == "redacted_thinking":
        reasoning.redacted = block["data"]
        return
    thinking = block["thinking"]
    reasoning.text = thinking if isinstance(thinking, str) else "".join(piece["text"] for piece in thinking)
    reasoning.signature = block.get("signature") or ""
    # A block without any text is a thought too.
    reasoning.SetInParent()


def add_details(message: Message, details: Sequence[ReasoningDetail], param: str) -> None:
    """Add thoughts in OpenRouter's form.

    Raises:
        InvalidArgument: a member is nested too deeply.
    """
    reasoning, before = Reasoning(), None
    for detail in details:
        place = None if detail.get("index") is None else (detail["type"], detail["index"])
        if place is None or place != before:
            reasoning = message.parts.add().reasoning
            reasoning.SetInParent()
            others = {name: value for name, value in detail.items() if name not in _FIELDS and value is not None}
            if others.get("type") in _IMPLIED:
                del others["type"]
            if others:
                reasoning.details = json_text(others, param)
        before = place
        reasoning.text += detail.get("text") or detail.get("summary") or ""
        reasoning.redacted += detail.get("data") or ""
        reasoning.signature = detail.get("signature") or reasoning.signature


def text_of(thoughts: Sequence[Reasoning]) -> str:
    """`reasoning_content`: the texts of the thoughts, with an empty line between two thoughts."""
    return "\n\n".join(thought.text for thought in thoughts if thought.text)


def details_of(thoughts: Sequence[Reasoning]) -> list[dict[str, Any]]:
    """`reasoning_details`; empty if the thoughts are nothing but texts, which `reasoning_content` has."""
    if not any(thought.signature or thought.redacted or thought.details for thought in thoughts):
        return []
    return [detail for index, thought in enumerate(thoughts) for detail in _details(index, thought)]


def _details(index: int, thought: Reasoning) -> list[dict[str, Any]]:
    # An index of the provider could occur twice in one answer.
    members = members_of(thought.details) | {"index": index}
    kind = members.pop("type", "reasoning.text")
    found: list[dict[str, Any]] = []
    if kind == SUMMARY:
        found.append({"type": kind, "summary": thought.text, **members})
    elif kind not in _IMPLIED:
        found.append({"type": kind, **members})
    elif thought.text or thought.signature or not thought.redacted:
        signature = thought.signature or None
        found.append({"type": "reasoning.text", "text": thought.text, "signature": signature, **members})
    if thought.redacted:
        found.append({"type": "reasoning.encrypted", "data": thought.redacted, **members})
    return found
