"""Changes a body of OpenAI's chat completions into the form that one vendor's server accepts."""

import hashlib
import re
from collections.abc import Mapping
from typing import Any

from services.model.vendor import Chat

# The prefix, in `omits` of a vendor's file, of a member of each message.
_OF_MESSAGES = "messages."
_PLAIN = re.compile(r"[a-zA-Z0-9]*")


def spoken(body: dict[str, Any], chat: Chat) -> dict[str, Any]:
    """Change the body into the vendor's form, in place, and return it."""
    for name in chat.omits:
        if name.startswith(_OF_MESSAGES):
            for message in body["messages"]:
                message.pop(name.removeprefix(_OF_MESSAGES), None)
        else:
            body.pop(name, None)
    if body.get("tool_choice") == "required":
        body["tool_choice"] = chat.required
    if chat.call_id_length:
        _shorten_ids(body["messages"], chat.call_id_length)
    return renamed(body, chat.renames)


def renamed(body: dict[str, Any], renames: Mapping[str, str]) -> dict[str, Any]:
    """Give members of the body the vendor's names, in place, and return it."""
    for usual, own in renames.items():
        if usual in body:
            body[own] = body.pop(usual)
    return body


def _shorten_ids(messages: list[dict[str, Any]], length: int) -> None:
    """Give calls and their results ids of `length` letters and digits. Equal ids stay equal."""
    for message in messages:
        if "tool_call_id" in message:
            message["tool_call_id"] = _shortened(message["tool_call_id"], length)
        for call in message.get("tool_calls", ()):
            call["id"] = _shortened(call["id"], length)


def _shortened(call_id: str, length: int) -> str:
    if len(call_id) == length and _PLAIN.fullmatch(call_id):
        return call_id
    return hashlib.sha256(call_id.encode()).hexdigest()[:length]
