"""Any server that speaks OpenAI's chat completions: OpenAI, vLLM, llama.cpp, Ollama's `/v1`."""

import re
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import orjson
import structlog
from google.protobuf.timestamp_pb2 import Timestamp
from soma.errors.v1 import reasons
from soma.model.v1.catalog_service_pb2 import Model
from soma.model.v1.message_pb2 import (
    FINISH_REASON_CONTENT_FILTER,
    FINISH_REASON_LENGTH,
    FINISH_REASON_STOP,
    FINISH_REASON_TOOL_CALLS,
    FinishReason,
    TokenLogprob,
    ToolCallDelta,
    Usage,
)
from soma.model.v1.model_service_pb2 import GenerateRequest, GenerationFinished, TextDelta

from services.mesh.errors import MeshError
from services.model.adapters import refusal
from services.model.adapters.openai_request import chat_body
from services.model.adapters.sse import EventParser
from services.model.adapters.upstream import Upstream
from services.model.provider import ProviderEvent

_log = structlog.get_logger(__name__)

_VERSIONED = re.compile(r"/v\d[^/]*$")
# A base URL is often given without it.
_VERSION = "/v1"
# What a server answers, by reason, that has no list of models at a path.
_NO_LIST = frozenset({reasons.MODEL_NOT_FOUND, reasons.PROVIDER_REFUSED_REQUEST, reasons.PROVIDER_PROTOCOL_ERROR})

# It said nothing at all.
_SILENT = frozenset({reasons.PROVIDER_UNAVAILABLE, reasons.PROVIDER_TIMEOUT})

_FINISH: "dict[str, FinishReason.ValueType]" = {
    "stop": FINISH_REASON_STOP,
    "length": FINISH_REASON_LENGTH,
    "tool_calls": FINISH_REASON_TOOL_CALLS,
    "function_call": FINISH_REASON_TOOL_CALLS,
    "content_filter": FINISH_REASON_CONTENT_FILTER,
}


@dataclass(frozen=True, slots=True)
class Flavour:
    """How servers of this protocol differ.

    Attributes:
        max_tokens_field: what the limit is called: OpenAI's newer models refuse `max_tokens`, others know no other.
        not_for_chat: parts of names of models that hold no conversation; `/v1/models` lists them all alike.
        modest: models listed first, so that what becomes the default unasked is a small one.
        lacks: parameters of the contract the protocol has no word for; what a server adds to it is tried.
    """

    max_tokens_field: str
    not_for_chat: tuple[str, ...]
    modest: tuple[str, ...] = ()
    lacks: frozenset[str] = frozenset()


OPENAI = Flavour(
    max_tokens_field="max_completion_tokens",
    not_for_chat=(
        "embedding",
        "whisper",
        "tts",
        "dall-e",
        "image",
        "moderation",
        "sora",
        "realtime",
        "transcribe",
        "babbage",
        "davinci",
        "turbo-instruct",
    ),
    modest=("gpt-5-mini", "gpt-4.1-mini", "gpt-4o-mini"),
    lacks=frozenset({"top_k", "repetition_penalty"}),
)
COMPATIBLE = Flavour(max_tokens_field="max_tokens", not_for_chat=("embed", "rerank", "whisper"))


class OpenAICompatible:
    """Provider over one such server.

    Its base URL is used as it is given, unless the server lists its models only under `/v1` of it.
    """

    def __init__(self, upstream: Upstream, flavour: Flavour = COMPATIBLE) -> None:
        self._upstream = upstream
        self._flavour = flavour
        self._version = ""
        # Whether it is known where the server lists its models, and whether it was asked at all.
        self._settled = self._asked = _VERSIONED.search(upstream.path) is not None

    @property
    def name(self) -> str:
        return self._upstream.name

    @property
    def lacks(self) -> frozenset[str]:
        return self._flavour.lacks

    async def models(self) -> Sequence[Model]:
        """What `GET /models` lists, in its order but for the flavour's modest ones, which come first."""
        models = await self._listed()
        return sorted(models, key=lambda model: model.name not in self._flavour.modest)

    async def generate(self, request: GenerateRequest, model: str) -> AsyncGenerator[ProviderEvent, None]:
        """Stream a chat completion."""
        if not self._asked:
            await self._look()
        answer = _Answer(self.name)
        events = EventParser()
        body = chat_body(request, model, self._flavour.max_tokens_field)
        async with aclosing(self._upstream.stream(f"{self._version}/chat/completions", body)) as chunks:
            async for chunk in chunks:
                for data in events.feed(chunk):
                    for event in answer.read(data):
                        yield event
            for data in events.end():
                for event in answer.read(data):
                    yield event
        yield answer.finished()

    async def _look(self) -> None:
        """Find out where requests go; to the URL as it is, where the server lists nothing, or not with this key."""
        try:
            await self._listed()
        except MeshError as error:
            if error.reason in _SILENT:
                raise
        self._asked = True

    async def _listed(self) -> list[Model]:
        """The models, from where the server lists them; all requests go there from then on."""
        try:
            models = await self._list(self._version)
        except MeshError as error:
            if self._settled or error.reason not in _NO_LIST:
                raise
            models = await self._list_versioned()
        self._settled = self._asked = True
        return models

    async def _list_versioned(self) -> list[Model]:
        try:
            models = await self._list(_VERSION)
        except MeshError as error:
            if error.reason not in _NO_LIST:
                raise
            what = f"it lists models neither at /models nor at {_VERSION}/models; {self._upstream.advice.url}"
            raise refusal.protocol_error(self.name, what) from error
        self._version = _VERSION
        _log.info("provider_base_url_completed", provider=self.name, path=_VERSION)
        return models

    async def _list(self, version: str) -> list[Model]:
        listing = await self._upstream.get(f"{version}/models")
        try:
            return [self._model(entry) for entry in listing["data"] or ()]
        except (KeyError, TypeError, ValueError) as error:
            raise refusal.protocol_error(self.name, "its list of models has another shape") from error

    def _model(self, entry: dict[str, Any]) -> Model:
        name = str(entry["id"])
        chats = not any(part in name.lower() for part in self._flavour.not_for_chat)
        return Model(
            name=name,
            provider=self.name,
            capabilities=[Model.CAPABILITY_CHAT, Model.CAPABILITY_TOOLS] if chats else [],
            available=True,
            create_time=Timestamp(seconds=int(entry["created"])) if entry.get("created") else None,
            owned_by=str(entry.get("owned_by") or ""),
            # vLLM's name for it.
            context_window=int(entry.get("max_model_len") or 0),
        )


class _Answer:
    """One chat completion as its chunks come in."""

    def __init__(self, provider: str) -> None:
        self._provider = provider
        self._chunks = 0
        self._done = False
        self._finish: FinishReason.ValueType = FINISH_REASON_STOP
        self._usage: Usage | None = None

    def read(self, data: bytes) -> Sequence[TextDelta | ToolCallDelta]:
        """What one event's data adds.

        Raises:
            MeshError: it is an error, or no chunk.
        """
        if data == b"[DONE]":
            self._done = True
        if self._done:
            return ()
        try:
            chunk = orjson.loads(data)
            choices = chunk.get("choices")
            if choices is None and (error := chunk.get("error")) is not None:
                raise _error_in_stream(self._provider, error)
            self._chunks += 1
            if usage := chunk.get("usage"):
                self._usage = _usage(usage)
            return self._choice(choices[0]) if choices else ()
        except (orjson.JSONDecodeError, AttributeError, KeyError, TypeError, ValueError, IndexError) as error:
            raise refusal.protocol_error(self._provider, "a chunk has another shape") from error

    def finished(self) -> GenerationFinished:
        """The last event.

        Raises:
            Unavailable: the stream ended without saying that it did.
        """
        if not self._done:
            if self._chunks == 0:
                raise refusal.protocol_error(self._provider, "its answer holds no event")
            raise refusal.stream_cut(self._provider)
        return GenerationFinished(finish_reason=self._finish, usage=self._usage)

    def _choice(self, choice: dict[str, Any]) -> Sequence[TextDelta | ToolCallDelta]:
        found: list[TextDelta | ToolCallDelta] = []
        delta = choice.get("delta") or {}
        logprobs = _logprobs(choice.get("logprobs"))
        if text := delta.get("content"):
            found.append(TextDelta(text=text, logprobs=logprobs))
        if text := delta.get("refusal"):
            found.append(TextDelta(text=text, logprobs=logprobs, refusal=True))
        for position, call in enumerate(delta.get("tool_calls") or ()):
            function = call.get("function") or {}
            found.append(
                ToolCallDelta(
                    index=call.get("index", position),
                    call_id=call.get("id") or "",
                    name=function.get("name") or "",
                    arguments=function.get("arguments") or "",
                )
            )
        if reason := choice.get("finish_reason"):
            self._finish = _FINISH.get(reason, FINISH_REASON_STOP)
        return found


def _logprobs(logprobs: dict[str, Any] | None) -> list[TokenLogprob]:
    if not logprobs:
        return []
    return [
        _logprob(token, top=[_logprob(other) for other in token.get("top_logprobs") or ()])
        for token in logprobs.get("content") or logprobs.get("refusal") or ()
    ]


def _logprob(token: dict[str, Any], top: Sequence[TokenLogprob] = ()) -> TokenLogprob:
    return TokenLogprob(
        token=token["token"], logprob=float(token["logprob"]), utf8=bytes(token.get("bytes") or ()), top=top
    )


def _usage(usage: dict[str, Any]) -> Usage:
    prompt, completion = int(usage["prompt_tokens"]), int(usage.get("completion_tokens") or 0)
    read, written = usage.get("prompt_tokens_details") or {}, usage.get("completion_tokens_details") or {}
    return Usage(
        prompt_tokens=prompt,
        completion_tokens=completion,
        total_tokens=prompt + completion,
        cached_prompt_tokens=int(read.get("cached_tokens") or 0),
        reasoning_tokens=int(written.get("reasoning_tokens") or 0),
    )


def _error_in_stream(provider: str, error: Any) -> Exception:
    if not isinstance(error, dict):
        return refusal.typed(provider, 500, str(error)[:200])
    code, kind = error.get("code"), error.get("type")
    status = 500
    if isinstance(code, int) and 400 <= code < 600:
        status = code
    elif "rate_limit" in f"{code} {kind}" or code == "insufficient_quota":
        status = 429
    elif kind == "invalid_request_error":
        status = 400
    return refusal.typed(provider, status, str(error.get("message", "")))
