"""Vendors that speak OpenAI's chat completions, each with thoughts in its own form."""

import base64
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import orjson

from tests.clients.vendors.script import SCRIPT, Said, arguments, mark, weather
from tests.model.dialects.documented import Documented
from tests.model.dialects.vendors import DIALECTS


@dataclass(frozen=True)
class ChatVendor:
    """A vendor of chat completions.

    Attributes:
        documented: what its server refuses.
        call_prefix: what its ids of tool calls begin with.
    """

    model: str
    documented: Documented
    call_prefix: str = "call_"
    call_length: int = 24

    @property
    def chat(self) -> str:
        """The path of the method that answers."""
        return self.documented.base + self.documented.chat

    @property
    def models(self) -> str:
        """The path of the list of models."""
        return self.documented.base + self.documented.models

    def listing(self) -> Any:
        """OpenAI's list object."""
        return {"object": "list", "data": [{"id": self.model, "object": "model", "created": 1, "owned_by": "lab"}]}

    def error(self, message: str) -> Any:
        """OpenAI's error object."""
        return {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": None}}

    def refusal(self, body: Mapping[str, Any]) -> str:
        """Why the vendor refuses the body of a request; empty if it does not."""
        return "; ".join(self.documented.wrong_with(body))

    def thinks(self, body: Mapping[str, Any]) -> bool:
        """It thinks."""
        return True

    def shown(self, body: Mapping[str, Any]) -> Sequence[bytes]:
        """The pictures in a request, which are data URLs."""
        parts = [
            part for message in body["messages"] if isinstance(message["content"], list) for part in message["content"]
        ]
        urls = [part["image_url"]["url"] for part in parts if part["type"] == "image_url"]
        return [base64.b64decode(url.removeprefix("data:image/png;base64,"), validate=True) for url in urls]

    def without_thoughts(self, message: Mapping[str, Any]) -> Mapping[str, Any]:
        """A message without the members that have thoughts."""
        return {name: value for name, value in message.items() if name not in _THOUGHTS}

    def parsed(self, message: Mapping[str, Any]) -> Mapping[str, Any]:
        """A message in which the arguments of calls are no text: clients may write the same object in another way."""
        if not message.get("tool_calls"):
            return message
        calls = [
            {**call, "function": {**call["function"], "arguments": orjson.loads(call["function"]["arguments"])}}
            for call in message["tool_calls"]
        ]
        return {**message, "tool_calls": calls}

    def frames(self, question: str, place: int, said: Said) -> Sequence[bytes]:
        """The events of an answer: its thought, its text in two pieces, its calls with arguments in two pieces."""
        deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}, *self.thinking(question, place, said)]
        half = len(said.text) // 2
        deltas += [{"content": piece} for piece in (said.text[:half], said.text[half:]) if piece]
        for index, call in enumerate(self.calls(question, place, said)):
            text = call["function"]["arguments"]
            opening: dict[str, Any] = {
                **call,
                "index": index,
                "function": {"name": call["function"]["name"], "arguments": ""},
            }
            deltas.append({"tool_calls": [opening]})
            deltas += [
                {"tool_calls": [{"index": index, "function": {"arguments": piece}}]} for piece in (text[:5], text[5:])
            ]
        choices: list[dict[str, Any]] = [{"index": 0, "delta": delta, "finish_reason": None} for delta in deltas]
        choices.append({"index": 0, "delta": {}, "finish_reason": _finish(said)})
        chunks: list[dict[str, Any]] = [self._chunk([choice]) for choice in choices]
        if self.documented.usage == "end":
            chunks[-1]["usage"] = _USAGE
        else:
            chunks.append(self._chunk([], usage=_USAGE))
        return [b"data: %s\n\n" % orjson.dumps(chunk) for chunk in chunks] + [b"data: [DONE]\n\n"]

    def whole(self, question: str, place: int, said: Said) -> Mapping[str, Any]:
        """The chat completion."""
        message: dict[str, Any] = {"role": "assistant", "content": said.text or None}
        if said.places:
            message["tool_calls"] = self.calls(question, place, said)
        choice = {
            "index": 0,
            "message": self.thought(message, question, place, said),
            "finish_reason": _finish(said),
        }
        identity = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": self.model}
        return {**identity, "choices": [choice], "usage": _USAGE}

    def history(self, questions: Sequence[tuple[str, int]]) -> Sequence[Mapping[str, Any]]:
        """The messages that must come with a request."""
        return [message for question, count in questions for message in self._turn(question, count)]

    def _turn(self, question: str, count: int) -> Iterator[Mapping[str, Any]]:
        yield {"role": "user", "content": question}
        answers = SCRIPT[question]
        in_tool_turn = any(said.places for said in answers)
        for place, said in enumerate(answers[:count]):
            message: dict[str, Any] = {"role": "assistant", "content": said.text or None}
            calls = self.calls(question, place, said)
            if calls:
                message["tool_calls"] = calls
            yield self.sent_back(message, question, place, said, in_tool_turn)
            for call, where in zip(calls, said.places, strict=True):
                yield {"role": "tool", "tool_call_id": call["id"], "content": weather(where)}

    def calls(self, question: str, place: int, said: Said) -> list[dict[str, Any]]:
        """The tool calls of an answer."""
        return [
            {
                "id": self.call_prefix + mark(question, place, at, length=self.call_length),
                "type": "function",
                "function": {"name": "look", "arguments": arguments(where)},
            }
            for at, where in enumerate(said.places)
        ]

    def thinking(self, question: str, place: int, said: Said) -> list[dict[str, Any]]:
        """The pieces of the thought in a stream."""
        cut = len(said.thought) // 2
        pieces = (said.thought[:cut], said.thought[cut:])
        return [{self.documented.thinking: piece, "content": None} for piece in pieces if piece]

    def thought(self, message: dict[str, Any], question: str, place: int, said: Said) -> Mapping[str, Any]:
        """The message of a whole answer with its thought."""
        return {**message, self.documented.thinking: said.thought} if said.thought else message

    def sent_back(
        self, message: dict[str, Any], question: str, place: int, said: Said, in_tool_turn: bool
    ) -> Mapping[str, Any]:
        """The message with its thought, as the vendor wants it in the next requests."""
        return self.thought(message, question, place, said)

    def _chunk(self, choices: Sequence[Mapping[str, Any]], **more: Any) -> dict[str, Any]:
        identity = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": self.model}
        return {**identity, "choices": choices, **more}


class DeepSeek(ChatVendor):
    """It wants the thoughts of turns in which a tool was called, and the member also where there was no thought."""

    def frames(self, question: str, place: int, said: Said) -> Sequence[bytes]:
        """The events, after a comment that keeps the connection open."""
        return [b": keep-alive\n\n", *super().frames(question, place, said)]

    def sent_back(
        self, message: dict[str, Any], question: str, place: int, said: Said, in_tool_turn: bool
    ) -> Mapping[str, Any]:
        """The message; with its thought if its turn has calls."""
        return {**message, "reasoning_content": said.thought} if in_tool_turn else message


class Compatible(ChatVendor):
    """A server of which nothing is known: it gets thoughts in both members that such servers have."""

    def sent_back(
        self, message: dict[str, Any], question: str, place: int, said: Said, in_tool_turn: bool
    ) -> Mapping[str, Any]:
        """The message with its thought in both members."""
        return {**message, "reasoning": said.thought, "reasoning_content": said.thought} if said.thought else message


class Mistral(ChatVendor):
    """Its thoughts are parts of the content."""

    def thinking(self, question: str, place: int, said: Said) -> list[dict[str, Any]]:
        """Pieces of a part of the content."""
        cut = len(said.thought) // 2
        pieces = (said.thought[:cut], said.thought[cut:])
        return [{"content": [_thinking_part(piece)]} for piece in pieces if piece]

    def thought(self, message: dict[str, Any], question: str, place: int, said: Said) -> Mapping[str, Any]:
        """The content as parts: the thought, and the text if there is one."""
        if not said.thought:
            return message
        text = [{"type": "text", "text": said.text}] if said.text else []
        return {**message, "content": [_thinking_part(said.thought), *text]}

    def without_thoughts(self, message: Mapping[str, Any]) -> Mapping[str, Any]:
        """A message whose content is its text."""
        if not isinstance(message["content"], list):
            return message
        texts = [part["text"] for part in message["content"] if part["type"] == "text"]
        return {**message, "content": "".join(texts) or None}


class OpenRouter(ChatVendor):
    """Its thoughts are entries of `reasoning_details`, which must come back as they were."""

    def thinking(self, question: str, place: int, said: Said) -> list[dict[str, Any]]:
        """The text in two pieces, then the signature, then what is encrypted."""
        if not said.thought:
            return []
        told, sealed = self._details(question, place, said)
        signature = told.pop("signature")
        half = len(said.thought) // 2
        pieces = [{**told, "text": piece} for piece in (said.thought[:half], said.thought[half:])]
        deltas = [{"reasoning": piece["text"], "reasoning_details": [piece], "content": ""} for piece in pieces]
        deltas.append({"reasoning_details": [{**told, "text": "", "signature": signature}], "content": ""})
        return [*deltas, {"reasoning_details": [sealed], "content": ""}]

    def thought(self, message: dict[str, Any], question: str, place: int, said: Said) -> Mapping[str, Any]:
        """The message with the text of the thought and its details."""
        if not said.thought:
            return message
        return {**message, "reasoning": said.thought, "reasoning_details": self._details(question, place, said)}

    def sent_back(
        self, message: dict[str, Any], question: str, place: int, said: Said, in_tool_turn: bool
    ) -> Mapping[str, Any]:
        """The message with the details."""
        return {**message, "reasoning_details": self._details(question, place, said)} if said.thought else message

    def _details(self, question: str, place: int, said: Said) -> list[dict[str, Any]]:
        common = {"format": "anthropic-claude-v1"}
        return [
            {
                "type": "reasoning.text",
                "text": said.thought,
                "signature": mark("signature", question, place, length=64),
                "id": f"reasoning-text-{place}",
                **common,
                "index": 0,
            },
            {
                "type": "reasoning.encrypted",
                "data": mark("sealed", question, place, length=64),
                "id": f"reasoning-sealed-{place}",
                **common,
                "index": 1,
            },
        ]


_THOUGHTS = ("reasoning", "reasoning_content", "reasoning_details")
_USAGE = {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}


def _finish(said: Said) -> str:
    return "tool_calls" if said.places else "stop"


def _thinking_part(text: str) -> dict[str, Any]:
    return {"type": "thinking", "thinking": [{"type": "text", "text": text}]}


def _documented(name: str) -> Documented:
    return replace(DIALECTS[name], expects={})


DEEPSEEK = DeepSeek("deepseek-reasoner", _documented("deepseek"), "call_00_")
MISTRAL = Mistral("magistral-medium-latest", _documented("mistral"), "", 9)
OLLAMA = ChatVendor("qwen3:8b", _documented("ollama"), "call_", 8)
OPENROUTER = OpenRouter("anthropic/claude-sonnet-4.5", _documented("openrouter"), "toolu_01")
COMPATIBLE = Compatible("house-model", _documented("openai_compatible"))
