"""Makes the messages of a chat completion request, in the forms that one vendor's server understands."""

import re
from collections.abc import Iterable, Sequence
from typing import Any

import orjson
from soma.model.v1.message_pb2 import (
    ROLE_ASSISTANT,
    ROLE_SYSTEM,
    ROLE_TOOL,
    ROLE_USER,
    Media,
    Message,
    Part,
    Reasoning,
    ToolCall,
)
from soma.model.v1.model_service_pb2 import GenerateRequest

from services.messages.message import text_of, texts_of, thoughts_of
from services.model.adapters.history import CallIds, arguments_of, instructions, recollection, settled
from services.model.json_text import object_in, parse_object
from services.model.media.contents import Contents
from services.model.vendor import Chat

_ROLES = {ROLE_USER: "user", ROLE_ASSISTANT: "assistant", ROLE_TOOL: "tool"}
# OpenAI accepts any printable character in the id of a tool call, up to a maximum length.
_NOT_IN_IDS = re.compile(r"[\x00-\x1f]")
_LONGEST_ID = 40
# OpenAI's words for the formats of sounds; other formats have the second half of their media type.
_FORMATS = {"mpeg": "mp3", "x-wav": "wav", "wave": "wav", "vnd.wave": "wav", "x-flac": "flac", "mp4": "m4a"}
_INTERRUPTED = "(The answer was interrupted.)"
_WHOSE = "The result of the tool call {} has:"


def chat_messages(
    request: GenerateRequest, chat: Chat, provider: str, contents: Contents | None
) -> list[dict[str, Any]]:
    """The conversation as the vendor gets it; `contents` are needed if a message has media.

    There is one system message, and it is the first: the templates of many models refuse any other form. Each tool call
    has one result. Pictures in results are in a user message after the last result, because results are texts.

    Raises:
        InvalidArgument: `provider_params` of a message or a part are no JSON object.
    """
    writer = _Writer(chat, provider, contents)
    messages = settled([message for message in request.messages if message.role != ROLE_SYSTEM])
    remembered = _with_thoughts(messages, chat)
    wire = writer.system(request)
    for message, thinks in zip(messages, remembered, strict=True):
        wire.extend(writer.message(message, thinks))
    wire.extend(writer.waiting())
    return _answered(wire) if chat.answers_results else wire


class _Writer:
    """Writes the messages of one request, in their order."""

    def __init__(self, chat: Chat, provider: str, contents: Contents | None) -> None:
        self._chat = chat
        self._provider = provider
        self._contents = contents
        self._ids = CallIds(_NOT_IN_IDS, _LONGEST_ID)
        # Parts of tool results that are no texts, for a user message after the results.
        self._shown: list[dict[str, Any]] = []

    def system(self, request: GenerateRequest) -> list[dict[str, Any]]:
        """The system message, if there is one: a text, or parts if a part has members of its own."""
        told = [message for message in request.messages if message.role == ROLE_SYSTEM]
        if not any(message.parts or message.provider_params for message in told):
            text = instructions(request)
            return [{"role": "system", "content": text}] if text else []
        extra = [self._extra(message.provider_params) for message in told]
        parts: list[dict[str, Any]] = []
        for message, more in zip(told, extra, strict=True):
            own = [part for part in self._parts(message) if part["type"] != "text" or part["text"].strip()]
            if own and more:
                # The members of a message that is joined with others stand at its last part.
                own[-1] = {**more, **own[-1]}
            parts.extend(own)
        if not any(part.keys() - {"type", "text"} for part in parts):
            text = instructions(request)
            return [{"role": "system", "content": text}] if text else []
        if remembered := recollection(request.sources):
            parts.append({"type": "text", "text": remembered})
        return [{"role": "system", "content": parts}]

    def message(self, message: Message, thinks: bool) -> list[dict[str, Any]]:
        """A message; before it the pictures of tool results, if it is no further result."""
        if message.role == ROLE_TOOL:
            return [self._result(message)]
        wire: dict[str, Any] = {"role": _ROLES[message.role]}
        if message.role == ROLE_ASSISTANT:
            self._said(wire, message, thinks)
        else:
            wire["content"] = self._content(message)
        wire = self._named(message, wire)
        return [*self.waiting(), wire] if self._shown else [wire]

    def waiting(self) -> list[dict[str, Any]]:
        """The user message with the pictures of the results so far, if there are any."""
        shown, self._shown = self._shown, []
        return [{"role": "user", "content": shown}] if shown else []

    def _said(self, wire: dict[str, Any], message: Message, thinks: bool) -> None:
        """Add the content, the tool calls and the thoughts of a message of the assistant."""
        text = text_of(message)
        wire["content"] = text or (None if message.tool_calls else "")
        if message.tool_calls:
            wire["tool_calls"] = self._calls(message.tool_calls)
        if thinks:
            self._think(wire, text, message)

    def _think(self, wire: dict[str, Any], text: str, message: Message) -> None:
        thoughts = [each for each in thoughts_of(message) if each.provider in ("", self._provider)]
        match self._chat.thoughts:
            case "reasoning_details":
                entries = [_entry(index, thought) for index, thought in enumerate(thoughts)]
                if any(thought.details or thought.signature or thought.redacted for thought in thoughts):
                    wire["reasoning_details"] = entries
                elif said := _text(thoughts):
                    wire["reasoning"] = said
            case "parts":
                parts = [self._thought_part(thought) for thought in thoughts if thought.text]
                if parts:
                    wire["content"] = [*parts, *([{"type": "text", "text": text}] if text else [])]
            case "both":
                if said := _text(thoughts):
                    wire["reasoning"] = wire["reasoning_content"] = said
            case "":
                pass
            case member:
                said = _text(thoughts)
                # DeepSeek wants the member in each message of such a turn, also when there was no thought.
                if said or self._chat.thoughts_of == "tool_turns":
                    wire[member] = said

    def _thought_part(self, thought: Reasoning) -> dict[str, Any]:
        """A thought as a part of the content, with the further members that this provider sent."""
        more = object_in(thought.details) if thought.provider == self._provider else {}
        return {**more, "type": "thinking", "thinking": [{"type": "text", "text": thought.text}]}

    def _calls(self, calls: Sequence[ToolCall]) -> list[dict[str, Any]]:
        written = []
        for place, (call_id, call) in enumerate(zip(self._ids.ids_of(calls), calls, strict=True)):
            function = {"name": call.name, "arguments": _arguments(call)}
            wire: dict[str, Any] = {"id": call_id, "type": "function", "function": function}
            signature = call.signature
            if not signature and place == 0 and not any(each.signature for each in calls):
                signature = self._chat.unsigned
            if signature and self._chat.signatures:
                wire["extra_content"] = {"google": {"thought_signature": signature}}
            written.append(wire)
        return written

    def _result(self, message: Message) -> dict[str, Any]:
        """The text of a tool result; its pictures wait for the user message after the results."""
        call_id = self._ids.id_of_result(message.tool_call_id)
        if message.parts and self._chat.results == "parts":
            return self._named(message, {"role": "tool", "tool_call_id": call_id, "content": self._content(message)})
        shown = [part for part in self._parts(message) if part["type"] != "text"] if message.parts else []
        if shown:
            self._shown += [{"type": "text", "text": _WHOSE.format(call_id)}, *shown]
        text = "\n".join(texts_of(message)) or ("It is in the next message." if shown else "")
        return self._named(message, {"role": "tool", "tool_call_id": call_id, "content": text})

    def _named(self, message: Message, wire: dict[str, Any]) -> dict[str, Any]:
        """The message with its name and its further members."""
        if message.name:
            wire["name"] = message.name
        return {**self._extra(message.provider_params), **wire} if message.provider_params else wire

    def _content(self, message: Message) -> Any:
        """The content of a user's message: a text, or parts if there is more than a text."""
        if not message.parts:
            return message.content
        parts = self._parts(message)
        if not parts:
            return ""
        alone = parts[0] if len(parts) == 1 else {}
        return alone["text"] if alone.keys() == {"type", "text"} else parts

    def _parts(self, message: Message) -> list[dict[str, Any]]:
        parts: list[dict[str, Any]] = [{"type": "text", "text": message.content}] if message.content else []
        for part in message.parts:
            if (wire := self._part(part)) is not None:
                parts.append({**self._extra(part.provider_params), **wire})
        return parts

    def _part(self, part: Part) -> dict[str, Any] | None:
        match part.WhichOneof("part"):
            case "text":
                # Some vendors refuse an empty text.
                return {"type": "text", "text": part.text.text} if part.text.text else None
            case "image":
                return self._image(part.image)
            case "audio":
                return self._audio(part.audio)
            case "file":
                return self._file(part.file)
            case _:
                return None

    def _image(self, media: Media) -> dict[str, Any]:
        if media.file_id:
            return {"type": "file", "file": {"file_id": media.file_id}}
        image: dict[str, Any] = {"url": self._address(media)}
        if media.detail:
            image["detail"] = media.detail
        return {"type": "image_url", "image_url": image}

    def _audio(self, media: Media) -> dict[str, Any]:
        if media.file_id:
            return {"type": "file", "file": {"file_id": media.file_id}}
        contents = self._read
        if url := contents.url(media):
            return {"type": "audio_url", "audio_url": {"url": url}}
        kind = contents.media_type(media).rpartition("/")[2]
        audio = {"data": contents.base64(media), "format": _FORMATS.get(kind, kind)}
        return {"type": "input_audio", "input_audio": audio}

    def _file(self, media: Media) -> dict[str, Any]:
        if self._chat.documents == "document_url":
            if media.file_id:
                return {"type": "file", "file_id": media.file_id}
            document = {"type": "document_url", "document_url": self._address(media)}
            return {**document, "document_name": media.name} if media.name else document
        if media.file_id:
            return {"type": "file", "file": {"file_id": media.file_id}}
        # OpenAI wants a name beside the bytes.
        return {"type": "file", "file": {"file_data": self._address(media), "filename": media.name or "document"}}

    def _address(self, media: Media) -> str:
        return self._read.url(media) or self._read.data_url(media)

    @property
    def _read(self) -> Contents:
        if self._contents is None:
            raise ValueError("the media of the request were not read")
        return self._contents

    def _extra(self, params: str) -> dict[str, Any]:
        """The further members that the vendor has; the others do not change the answer, and are left out."""
        if not params:
            return {}
        has = self._chat.extras
        given = parse_object(params, "provider_params")
        return {name: value for name, value in given.items() if name in has or "*" in has}


def _answered(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The messages with an answer between results of tools and a message of the user, where there is none."""
    found: list[dict[str, Any]] = []
    for message in messages:
        if message["role"] == "user" and found and found[-1]["role"] == "tool":
            found.append({"role": "assistant", "content": _INTERRUPTED})
        found.append(message)
    return found


def _with_thoughts(messages: Sequence[Message], chat: Chat) -> list[bool]:
    """Which messages go back with their thoughts: all, or those of turns in which a tool was called.

    A turn begins with a message of the user.
    """
    if chat.thoughts_of == "all" or not chat.thoughts:
        return [bool(chat.thoughts)] * len(messages)
    turns: list[list[Message]] = []
    for message in messages:
        if not turns or message.role == ROLE_USER:
            turns.append([])
        turns[-1].append(message)
    return [any(each.tool_calls for each in turn) for turn in turns for _ in turn]


def _entry(index: int, thought: Reasoning) -> dict[str, Any]:
    """An entry of OpenRouter's `reasoning_details`, as it came."""
    entry = object_in(thought.details)
    kind = entry.setdefault("type", "reasoning.encrypted" if thought.redacted else "reasoning.text")
    if thought.text:
        entry["summary" if kind == "reasoning.summary" else "text"] = thought.text
    if thought.redacted:
        entry["data"] = thought.redacted
    if thought.signature:
        entry["signature"] = thought.signature
    entry.setdefault("index", index)
    return entry


def _text(thoughts: Iterable[Reasoning]) -> str:
    return "\n".join(thought.text for thought in thoughts if thought.text)


def _arguments(call: ToolCall) -> str:
    """The arguments as the model wrote them, if they are a JSON object; the templates of many models parse them."""
    read = arguments_of(call)
    return call.arguments if not read or "arguments" not in read else orjson.dumps(read).decode()
