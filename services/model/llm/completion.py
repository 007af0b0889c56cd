"""The chunks of an answer in OpenAI's form, from llama.cpp's, with the tool calls that are in the text."""

from collections.abc import Collection, Iterator
from typing import Any

from services.model.llm.calls import Call, CallReader


class Completion:
    """One answer, as a stream of chunks, or collected as a whole."""

    def __init__(self, model: str, tools: Collection[str]) -> None:
        self._model = model
        self._reader = CallReader(tools)
        self._calls = 0
        self._head: dict[str, Any] = {}
        self._texts: list[str] = []
        self._called: list[Call] = []
        self._logprobs: list[Any] = []
        self._reason = "stop"
        self._usage: dict[str, Any] | None = None

    def chunks(self, chunk: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """What a chunk of llama.cpp becomes; nothing for one that only tells how much of the prompt is read.

        Raises:
            Unconstrained: a call in the text is none.
        """
        self._head = {"id": chunk["id"], "created": chunk["created"], "model": self._model}
        if usage := chunk.get("usage"):
            self._usage = usage
        if "prompt_progress" in chunk:
            return
        if not chunk["choices"]:
            if usage:
                yield self._chunk([], usage=usage)
            return
        choice = chunk["choices"][0]
        delta, reason = choice["delta"], choice.get("finish_reason")
        text, calls = self._reader.read(delta.get("content") or "")
        if reason is not None:
            more, last = self._reader.end()
            text, calls = text + more, [*calls, *last]
        logprobs = choice.get("logprobs")
        if text or delta.get("role"):
            own = {name: value for name, value in delta.items() if name in ("role", "reasoning_content")}
            yield self._said({**own, "content": text}, logprobs)
        elif delta.get("reasoning_content"):
            yield self._said({"reasoning_content": delta["reasoning_content"]}, None)
        if logprobs:
            self._logprobs += logprobs.get("content") or []
        self._texts.append(text)
        for call in calls:
            entry = _entry(call)
            yield self._said({"tool_calls": [{"index": self._calls, **entry}]}, None)
            self._calls += 1
            self._called.append(call)
        if reason is not None:
            self._reason = "tool_calls" if self._calls and reason == "stop" else reason
            yield self._chunk([{"index": 0, "delta": {}, "finish_reason": self._reason}])

    def whole(self) -> dict[str, Any]:
        """The answer in one piece, when the last chunk has come."""
        message: dict[str, Any] = {"role": "assistant", "content": "".join(self._texts) or None}
        if self._called:
            message["tool_calls"] = [_entry(call) for call in self._called]
        elif message["content"] is None:
            message["content"] = ""
        choice: dict[str, Any] = {"index": 0, "message": message, "finish_reason": self._reason}
        if self._logprobs:
            choice["logprobs"] = {"content": self._logprobs}
        return {**self._head, "object": "chat.completion", "choices": [choice], "usage": self._usage}

    def _said(self, delta: dict[str, Any], logprobs: Any) -> dict[str, Any]:
        choice: dict[str, Any] = {"index": 0, "delta": delta, "finish_reason": None}
        if logprobs:
            choice["logprobs"] = logprobs
        return self._chunk([choice])

    def _chunk(self, choices: list[Any], **more: Any) -> dict[str, Any]:
        return {**self._head, "object": "chat.completion.chunk", "choices": choices, **more}


def _entry(call: Call) -> dict[str, Any]:
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
