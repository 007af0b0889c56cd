"""Finds the tool calls in the text of an answer, as it is written."""

import json
import re
import uuid
from collections.abc import Collection
from dataclasses import dataclass, field

from services.model.llm.grammar import CLOSE, OPEN

# A call that the limit of tokens has cut off, as far as its arguments.
_CUT = re.compile(r'\{"name": ("(?:[^"\\]|\\.)*"), "arguments": (.*)', re.DOTALL)


class Unconstrained(ValueError):
    """The model wrote a call that is none, so the grammar was not in force."""


@dataclass(frozen=True)
class Call:
    """A call of a tool; `arguments` is JSON, or its beginning if the answer was cut off."""

    name: str
    arguments: str
    id: str = field(default_factory=lambda: f"call_{uuid.uuid4().hex[:24]}")


class CallReader:
    """Reads the pieces of one answer, which may call `tools`. Without tools, all is text."""

    def __init__(self, tools: Collection[str]) -> None:
        self._tools = tools
        self._held = ""
        self._inside = False
        self._called = False

    def read(self, piece: str) -> tuple[str, list[Call]]:
        """The text and the complete calls that a piece adds. What may be the begin of a call is held back."""
        if not self._tools:
            return piece, []
        self._held += piece
        text, calls = "", []
        while True:
            mark = CLOSE if self._inside else OPEN
            before, found, after = self._held.partition(mark)
            if not found:
                break
            if self._inside:
                calls.append(self._call(before))
                self._called = True
            elif before.strip() or not self._called:
                text += before
            self._inside = not self._inside
            self._held = after
        if not self._inside:
            cut = len(self._held) - _beginning(self._held)
            # White space around calls is no part of the answer.
            if self._held[:cut].strip() or not self._called:
                text, self._held = text + self._held[:cut], self._held[cut:]
        return text, calls

    def end(self) -> tuple[str, list[Call]]:
        """The rest: text that was held back, and a call that was cut off."""
        if not self._inside:
            return "" if self._called and not self._held.strip() else self._held, []
        cut = _CUT.fullmatch(self._held)
        return "", [Call(json.loads(cut[1]), cut[2])] if cut is not None else []

    def _call(self, text: str) -> Call:
        try:
            call = json.loads(text)
            name, arguments = call["name"], call["arguments"]
        except (ValueError, KeyError, TypeError) as error:
            raise Unconstrained("the model wrote a call that is not JSON") from error
        if name not in self._tools or not isinstance(arguments, dict):
            raise Unconstrained("the model called a function that it was not given")
        return Call(name, json.dumps(arguments, ensure_ascii=False))


def _beginning(text: str) -> int:
    """How many characters at the end may begin a call."""
    return next((length for length in range(len(OPEN) - 1, 0, -1) if text.endswith(OPEN[:length])), 0)
