"""Makes the conversation of a request to Anthropic's Messages API: the system text, and turns of blocks."""

import re
from collections.abc import Iterable, Sequence
from typing import Any

from soma.errors.v1 import reasons
from soma.model.v1.message_pb2 import ROLE_ASSISTANT, ROLE_SYSTEM, ROLE_TOOL, Media, Message, Part, Reasoning
from soma.model.v1.model_service_pb2 import GenerateRequest

from services.mesh.call.errors import Internal, InvalidArgument
from services.messages.message import thoughts_of
from services.messages.place import place_of
from services.model.adapters.history import CallIds, arguments_of, instructions, recollection, settled
from services.model.json_text import parse_object
from services.model.media.contents import Contents

Block = dict[str, Any]

# Characters that an id of a tool call may not have, and its maximum length.
_NOT_IN_IDS = re.compile(r"[^a-zA-Z0-9_-]")
_LONGEST_ID = 64
# The members that a caller can add to a block. The API refuses all others, and they do not change the answer.
_MEMBERS = {
    "text": frozenset({"cache_control"}),
    "image": frozenset({"cache_control"}),
    "document": frozenset({"cache_control", "citations", "context", "title"}),
    "tool_use": frozenset({"cache_control", "caller"}),
    "tool_result": frozenset({"cache_control", "is_error"}),
}
_THOUGHTS = ("thinking", "redacted_thinking")
# The API wants the user to begin, and to say something.
_BEGIN = "Begin."
_NO_TEXT = "(no text)"


def system_of(request: GenerateRequest) -> str | list[Block]:
    """The system text; as blocks if one has members of its own. It is empty if there is none.

    Raises:
        InvalidArgument: `provider_params` of a message or a part are no JSON object.
    """
    blocks: list[Block] = []
    for message in request.messages:
        if message.role == ROLE_SYSTEM:
            own = [{"type": "text", "text": message.content}] if message.content.strip() else []
            for part in message.parts:
                if part.WhichOneof("part") == "text" and part.text.text.strip():
                    own.append(_extended({"type": "text", "text": part.text.text}, part.provider_params))
            blocks += _marked(own, message.provider_params)
    if not any(len(block) > 2 for block in blocks):
        return instructions(request)
    if remembered := recollection(request.sources):
        blocks.append({"type": "text", "text": remembered})
    return blocks


def turns_of(request: GenerateRequest, provider: str, contents: Contents | None) -> list[Block]:
    """The conversation in turns that alternate and begin with the user; `contents` are needed if a message has media.

    Tool results are the user's, directly after their calls. Blank texts are left out, because the API refuses them.

    Raises:
        InvalidArgument: a part cannot be sent; or `provider_params` of a message or a part are no JSON object.
    """
    messages = [message for message in request.messages if message.role != ROLE_SYSTEM]
    writer = _Writer(provider, contents)
    turns: list[Block] = []
    for message in settled(messages):
        _add(turns, "assistant" if message.role == ROLE_ASSISTANT else "user", writer.blocks(message))
    if turns and turns[-1]["role"] == "assistant":
        if messages[-1].role == ROLE_ASSISTANT:
            _trim_end(turns)
        else:
            # The model must answer the user, and not continue its own text.
            _add(turns, "user", [{"type": "text", "text": _NO_TEXT}])
    if not turns or turns[0]["role"] == "assistant":
        turns.insert(0, {"role": "user", "content": [{"type": "text", "text": _BEGIN}]})
    return turns


def continue_turn(turns: list[Block], said: Iterable[Block]) -> list[Block]:
    """The turns with what the assistant said in its last turn, which is not finished."""
    found = [*turns[:-1], {**turns[-1], "content": list(turns[-1]["content"])}]
    _add(found, "assistant", [block for block in said if block.get("type") != "text" or block["text"].strip()])
    _trim_end(found)
    return found


def calls_without_thought(turns: Sequence[Block]) -> bool:
    """Whether the model is amid calls of tools that it began without a thought, or with one that cannot be sent."""
    if len(turns) < 2 or turns[-1]["role"] != "user" or turns[-1]["content"][0]["type"] != "tool_result":
        return False
    return turns[-2]["content"][0]["type"] not in _THOUGHTS


def has_thoughts(turns: Iterable[Block]) -> bool:
    """Whether a turn has a thought."""
    return any(block["type"] in _THOUGHTS for turn in turns for block in turn["content"])


def without_thoughts(turns: Iterable[Block]) -> list[Block]:
    """The turns without their thoughts; each has other blocks too."""
    return [
        {**turn, "content": [block for block in turn["content"] if block["type"] not in _THOUGHTS]} for turn in turns
    ]


def file_ids_in(request: GenerateRequest) -> bool:
    """Whether a part is a file that Anthropic keeps."""
    return any(
        part.WhichOneof("part") in ("image", "file") and (part.image if part.HasField("image") else part.file).file_id
        for message in request.messages
        for part in message.parts
    )


class _Writer:
    """Writes the messages of one conversation as blocks, in their order."""

    def __init__(self, provider: str, contents: Contents | None) -> None:
        self._provider = provider
        self._contents = contents
        self._ids = CallIds(_NOT_IN_IDS, _LONGEST_ID)

    def blocks(self, message: Message) -> list[Block]:
        """The blocks of a message; none if it holds nothing that can be sent."""
        if message.role == ROLE_TOOL:
            return [self._result(message)]
        blocks = self._said(message) if message.role == ROLE_ASSISTANT else self._contents_of(message)
        return _marked(blocks, message.provider_params)

    def _said(self, message: Message) -> list[Block]:
        """A message of the assistant: its texts and its calls, with its thoughts where the model had them."""
        texts = self._contents_of(message, media=False)
        calls: list[Block] = [
            {"type": "tool_use", "id": call_id, "name": call.name, "input": arguments_of(call)}
            for call_id, call in zip(self._ids.ids_of(message.tool_calls), message.tool_calls, strict=True)
        ]
        if not texts and not calls:
            # A message cannot end with a thought.
            return []
        blocks: list[Block] = []
        said = called = 0
        # The API refuses thoughts without its signature, and those at another place than it gave them.
        for thought in thoughts_of(message):
            if thought.provider in ("", self._provider) and (block := _thought(thought)) is not None:
                characters, number = place_of(thought)
                before, texts = _cut(texts, characters - said)
                blocks += [*before, *calls[called:number], block]
                said, called = max(said, characters), max(called, number)
        blocks += [*texts, *calls[called:]]
        while blocks[-1]["type"] in _THOUGHTS:
            del blocks[-1]
        return blocks

    def _result(self, message: Message) -> Block:
        """A tool result: a text, or blocks if there is more."""
        blocks = self._contents_of(message)
        alone = blocks[0] if len(blocks) == 1 else {}
        content: Any = blocks or ""
        if alone.keys() == {"type", "text"}:
            content = alone["text"]
        call_id = self._ids.id_of_result(message.tool_call_id)
        return _extended({"type": "tool_result", "tool_use_id": call_id, "content": content}, message.provider_params)

    def _contents_of(self, message: Message, media: bool = True) -> list[Block]:
        """The texts of a message that are not blank, and its pictures and documents."""
        blocks: list[Block] = [{"type": "text", "text": message.content}] if message.content.strip() else []
        for part in message.parts:
            if (block := self._part(part, media)) is not None:
                blocks.append(_extended(block, part.provider_params))
        return blocks

    def _part(self, part: Part, media: bool) -> Block | None:
        kind = part.WhichOneof("part")
        if kind == "text":
            return {"type": "text", "text": part.text.text} if part.text.text.strip() else None
        if not media or kind == "reasoning":
            return None
        if kind == "audio":
            raise InvalidArgument(f"{self._provider} does not read sounds", reason=reasons.MODEL_CAPABILITY_MISSING)
        return self._picture(part.image) if kind == "image" else self._document(part.file)

    def _picture(self, media: Media) -> Block:
        return {"type": "image", "source": self._kept_elsewhere(media) or self._bytes(media)}

    def _document(self, media: Media) -> Block:
        source = self._kept_elsewhere(media)
        if source is None:
            media_type = self._read.media_type(media)
            if media_type.startswith("image/"):
                return {"type": "image", "source": self._bytes(media)}
            if media_type == "application/pdf":
                source = self._bytes(media)
            else:
                source = {"type": "text", "media_type": "text/plain", "data": self._read.text(media)}
        return {"type": "document", "source": source, **({"title": media.name} if media.name else {})}

    def _kept_elsewhere(self, media: Media) -> Block | None:
        """The source of a media that the API reads itself; None if it gets the bytes."""
        if media.file_id:
            return {"type": "file", "file_id": media.file_id}
        url = self._read.url(media)
        return None if url is None else {"type": "url", "url": url}

    def _bytes(self, media: Media) -> Block:
        return {"type": "base64", "media_type": self._read.media_type(media), "data": self._read.base64(media)}

    @property
    def _read(self) -> Contents:
        if self._contents is None:
            raise Internal("the media of a request were not read")
        return self._contents


def _thought(thought: Reasoning) -> Block | None:
    if thought.redacted:
        return {"type": "redacted_thinking", "data": thought.redacted}
    if thought.signature:
        return {"type": "thinking", "thinking": thought.text, "signature": thought.signature}
    return None


def _cut(texts: list[Block], characters: int) -> tuple[list[Block], list[Block]]:
    """The texts in two parts, of which the first has this number of characters. Blank texts are left out."""
    before: list[Block] = []
    after: list[Block] = []
    for text in texts:
        said = text["text"]
        at = min(max(characters, 0), len(said))
        characters -= at
        for side, piece in ((before, said[:at]), (after, said[at:])):
            if piece.strip():
                side.append({**text, "text": piece} if piece != said else text)
    return before, after


def _extended(block: Block, provider_params: str) -> Block:
    """The block with those of a caller's members that its type has; what the mesh makes stays, except a title."""
    if not provider_params:
        return block
    known = _MEMBERS[block["type"]]
    given = parse_object(provider_params, "provider_params")
    return {**block, **{name: value for name, value in given.items() if name in known}}


def _marked(blocks: list[Block], provider_params: str) -> list[Block]:
    """The blocks of a message. A `cache_control` of the message stands at its last block, unless that has its own."""
    if provider_params and blocks:
        mark = parse_object(provider_params, "provider_params").get("cache_control")
        if mark is not None and blocks[-1]["type"] not in _THOUGHTS:
            blocks[-1].setdefault("cache_control", mark)
    return blocks


def _add(turns: list[Block], role: str, blocks: list[Block]) -> None:
    if turns and turns[-1]["role"] == role:
        turns[-1]["content"].extend(blocks)
    elif blocks:
        turns.append({"role": role, "content": blocks})


def _trim_end(turns: list[Block]) -> None:
    """Remove the white space at the end of a last turn of the assistant, which the API refuses."""
    content = turns[-1]["content"]
    if content[-1]["type"] == "text":
        content[-1] = {**content[-1], "text": content[-1]["text"].rstrip()}
