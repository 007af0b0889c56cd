"""A conversation another provider may have held, in a form a vendor takes."""

import hashlib
import re
from collections.abc import Sequence
from typing import Any

import orjson
from soma.model.v1.message_pb2 import ROLE_SYSTEM, ToolCall
from soma.model.v1.model_service_pb2 import GenerateRequest

from services.model.adapters.recollection import recollection


def instructions(request: GenerateRequest) -> str:
    """The one system text: the application's instructions, and after them what is remembered; may be empty."""
    texts = [message.content for message in request.messages if message.role == ROLE_SYSTEM]
    texts.append(recollection(request.sources))
    return "\n\n".join(text for text in texts if text.strip())


def arguments_of(call: ToolCall) -> Any:
    """A call's arguments as a JSON object; what a model wrote that is none is the member `arguments` of one.

    A conversation with such a call goes on: it cannot be taken back.
    """
    if not call.arguments.strip():
        return {}
    try:
        found = orjson.loads(call.arguments)
    except orjson.JSONDecodeError:
        return {"arguments": call.arguments}
    return found if isinstance(found, dict) else {"arguments": found}


class CallIds:
    """Ids of tool calls that a vendor takes: of its characters, no longer than it allows, each used once.

    An id that fits stays as it is. Another is changed in the same way each time, so that a vendor's cache of the
    conversation stays good.
    """

    def __init__(self, others: re.Pattern[str], longest: int) -> None:
        self._others = others
        self._longest = longest
        self._used: set[str] = set()
        self._current: dict[str, str] = {}

    def called(self, calls: Sequence[ToolCall]) -> list[str]:
        """The ids of a message's calls."""
        found = []
        for call in calls:
            fitted = self._fitted(call.call_id)
            number = 1
            while fitted in self._used:
                number += 1
                fitted = self._fitted(f"{call.call_id}_{number}")
            self._used.add(fitted)
            self._current[call.call_id] = fitted
            found.append(fitted)
        return found

    def answered(self, call_id: str) -> str:
        """The id of the latest call that had this one."""
        return self._current.get(call_id) or self._fitted(call_id)

    def _fitted(self, call_id: str) -> str:
        fitted = self._others.sub("_", call_id)
        if fitted == call_id and 0 < len(fitted) <= self._longest:
            return fitted
        digest = hashlib.sha256(call_id.encode()).hexdigest()[:8]
        return f"{fitted[: self._longest - 9]}_{digest}"
