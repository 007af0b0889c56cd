"""The shapes of the completion of a prompt: one object, or chunks.

OpenAI's API reference, "The completion object".
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import orjson
from soma.model.v1.message_pb2 import (
    FINISH_REASON_CONTENT_FILTER,
    FINISH_REASON_LENGTH,
    Delta,
    TokenLogprob,
    Usage,
)
from soma.orchestrator.v1.chat_service_pb2 import ChatAnswer

from gateway.edge.openai.completion import usage_object

FINISH_REASONS: dict[int, str] = {FINISH_REASON_LENGTH: "length", FINISH_REASON_CONTENT_FILTER: "content_filter"}


@dataclass(frozen=True, slots=True)
class TextForm:
    """The shapes of completions of prompts.

    Attributes:
        prompts: the prompt of each choice.
        echo: the text of a choice begins with its prompt, which is added here.
        echoed: the answer of the provider begins with the prompt already.
    """

    prompts: Sequence[str]
    echo: bool
    echoed: bool
    prefix: ClassVar[str] = "cmpl-"

    def whole(
        self,
        identity: Mapping[str, Any],
        choices: Sequence[Mapping[str, Any]],
        usage: Usage,
        extension: Mapping[str, Any] | None,
    ) -> bytes:
        """The `text_completion` object."""
        answer = {**_head(identity), "choices": choices, "usage": usage_object(usage)}
        if extension is not None:
            answer["soma"] = extension
        return orjson.dumps(answer)

    def choice(self, index: int, answer: ChatAnswer) -> dict[str, Any]:
        """One choice."""
        text = self.prompts[index] + answer.delta.text if self.echo else answer.delta.text
        tokens = Tokens(0 if self.echoed else len(self.prompts[index]), self.echoed)
        return _choice(index, text, tokens.add(answer.delta.logprobs), finish_name(answer.finished.finish_reason))

    def chunks(self, identity: Mapping[str, Any], choices: int, include_usage: bool) -> "TextChunks":
        """The chunks of a streamed completion."""
        return TextChunks(self, identity, include_usage)


class TextChunks:
    """Makes the server-sent events of a streamed completion of prompts."""

    __slots__ = ("_form", "_head", "_tokens", "_usage")

    def __init__(self, form: TextForm, identity: Mapping[str, Any], include_usage: bool) -> None:
        self._form = form
        self._head = _head(identity)
        self._usage: dict[str, Any] = {"usage": None} if include_usage else {}
        self._tokens = [Tokens(0 if form.echoed else len(prompt), form.echoed) for prompt in form.prompts]

    def first(self, index: int) -> bytes:
        """The prompt, if it is to come before its completion."""
        return self._chunk(_choice(index, self._form.prompts[index], None, None)) if self._form.echo else b""

    def delta(self, index: int, delta: Delta) -> bytes:
        """A piece of the text. A completion has nothing else, so pieces of thoughts are empty."""
        if not delta.text and not delta.logprobs:
            return b""
        return self._chunk(_choice(index, delta.text, self._tokens[index].add(delta.logprobs), None))

    def last(self, index: int, finish_reason: int, extension: Mapping[str, Any] | None) -> bytes:
        """The last chunk of a choice, which has its finish reason."""
        more = {} if extension is None else {"soma": extension}
        return self._chunk(_choice(index, "", None, finish_name(finish_reason)), more)

    def usage(self, usage: Usage) -> bytes:
        """The chunk with the usage, which has no choices."""
        return _event({**self._head, "choices": [], "usage": usage_object(usage)})

    def _chunk(self, choice: Mapping[str, Any], more: Mapping[str, Any] | None = None) -> bytes:
        return _event({**self._head, "choices": [choice], **self._usage, **(more or {})})


class Tokens:
    """The probabilities of a choice's tokens as they arrive, with the place of each token in the text.

    Args:
        offset: number of characters before the first token.
        prompted: the first token may be that of the prompt, which has no probability.
    """

    __slots__ = ("_offset", "_prompted")

    def __init__(self, offset: int, prompted: bool) -> None:
        self._offset = offset
        self._prompted = prompted

    def add(self, logprobs: Iterable[TokenLogprob]) -> dict[str, Any] | None:
        """OpenAI's object for the next tokens; None without tokens."""
        tokens: list[str] = []
        found: list[float | None] = []
        top: list[dict[str, float] | None] = []
        offsets: list[int] = []
        for each in logprobs:
            tokens.append(each.token)
            offsets.append(self._offset)
            self._offset += len(each.token)
            likeliest = {other.token: other.logprob for other in each.top}
            known = likeliest or each.logprob or not self._prompted
            found.append(each.logprob if known else None)
            top.append({**likeliest, each.token: each.logprob} if likeliest else None)
            self._prompted = False
        if not tokens:
            return None
        return {
            "tokens": tokens,
            "token_logprobs": found,
            "top_logprobs": top if any(top) else None,
            "text_offset": offsets,
        }


def finish_name(reason: int) -> str:
    """OpenAI's name of a finish reason of a completion."""
    return FINISH_REASONS.get(reason, "stop")


def _head(identity: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "id": identity["id"],
        "object": "text_completion",
        "created": identity["created"],
        "model": identity["model"],
        "system_fingerprint": None,
    }


def _choice(index: int, text: str, logprobs: Mapping[str, Any] | None, finish_reason: str | None) -> dict[str, Any]:
    return {"index": index, "text": text, "logprobs": logprobs, "finish_reason": finish_reason}


def _event(chunk: Mapping[str, Any]) -> bytes:
    return b"data: " + orjson.dumps(chunk) + b"\n\n"
