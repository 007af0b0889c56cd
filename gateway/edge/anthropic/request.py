"""A request of Anthropic's Messages API: its parameters, and their translation to the contract.

https://platform.claude.com/docs/en/api/messages
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Annotated, Any, Required

from google.protobuf.internal.containers import RepeatedCompositeFieldContainer
from pydantic import ConfigDict, Field, with_config
from soma.errors.v1 import reasons
from soma.model.v1.message_pb2 import Message
from soma.model.v1.model_service_pb2 import CountTokensRequest
from soma.model.v1.options_pb2 import GenerationOptions, ResponseFormat, Sampling
from soma.orchestrator.v1.chat_service_pb2 import ChatRequest
from typing_extensions import TypedDict

from gateway.edge.anthropic.thoughts import Thoughts
from gateway.edge.anthropic.tools import Choice, Tools, add_tools
from gateway.edge.anthropic.turns import System, Turns, add_system, add_turns
from gateway.edge.anthropic.words import WORDS, missing, refuse
from gateway.edge.media import Attached, Inline
from gateway.edge.provider_params import json_text, sent
from gateway.edge.request_model import Reader

PROTOCOL = "anthropic"
# The versions of the API. What is served here is the same in both.
VERSIONS = ("2023-06-01", "2026-10-21")
# For an object whose further members reach a provider of this protocol.
_open = with_config(ConfigDict(strict=True, extra="allow"))
# Parameters that the contract has fields for.
_READ = frozenset(
    {
        *("model", "messages", "max_tokens", "system", "stream", "temperature", "top_p", "top_k", "stop_sequences"),
        *("tools", "tool_choice", "output_format"),
    }
)
# Parameters that change nothing which a client must rely on: only a provider of this protocol gets them.
_ADVICE = frozenset(
    {
        *("thinking", "metadata", "cache_control", "context_management", "output_config", "service_tier", "speed"),
        *("diagnostics", "betas"),
    }
)
_BETAS = "betas"
_BETA = re.compile(r"[A-Za-z0-9._-]+")
# The least tokens of thoughts that mean an effort, for providers that have no such limit.
_EFFORTS = ((16_384, "high"), (4_096, "medium"), (0, "low"))


@_open
class Thinking(TypedDict, total=False):
    """How much a model thinks."""

    type: Required[str]
    budget_tokens: Annotated[int, Field(ge=1, le=1_000_000)] | None


@_open
class Format(TypedDict, total=False):
    """The format of the answer."""

    type: Required[str]
    schema: dict[str, Any] | None


@_open
class OutputConfig(TypedDict, total=False):
    """How the answer is made."""

    effort: str | None
    format: Format | None


@_open
class CountRequest(TypedDict, total=False):
    """The parameters that are read when tokens are counted. Others reach a provider of this protocol as they are."""

    model: Required[Annotated[str, Field(min_length=1, max_length=256)]]
    messages: Required[Turns]
    system: System | None
    tools: Tools | None
    tool_choice: Choice | None
    thinking: Thinking | None
    output_config: OutputConfig | None
    output_format: Format | None


class MessageRequest(CountRequest, total=False):
    """The parameters that are read of a message."""

    max_tokens: Required[Annotated[int, Field(ge=1, le=1_000_000)]]
    stream: bool | None
    temperature: Annotated[float, Field(ge=0, le=1)] | None
    top_p: Annotated[float, Field(ge=0, le=1)] | None
    top_k: Annotated[int, Field(ge=0, le=1000)] | None
    stop_sequences: list[str] | None


_MESSAGE = Reader(MessageRequest, WORDS)
_COUNT = Reader(CountRequest, WORDS)


@dataclass(slots=True)
class Ask:
    """The content of a client's request.

    Attributes:
        thoughts: the answer has the model's thoughts.
        inline: the bytes that the request has in itself; they have to be held before the turn is asked for.
    """

    request: ChatRequest = field(default_factory=ChatRequest)
    stream: bool = False
    thoughts: bool = False
    inline: list[Inline] = field(default_factory=list)


def read_message_request(body: bytes | bytearray, betas: str | None, thoughts: Thoughts) -> Ask:
    """Read the body of a request, with the value of its header `anthropic-beta`.

    Raises:
        InvalidArgument: the message names the member at fault.
    """
    given = _MESSAGE.json(body)
    options = _options(given, betas)
    if sampling := _sampling(given):
        options.sampling.CopyFrom(sampling)
    options.whole = not given.get("stream")
    request = ChatRequest(model=given["model"], options=options)
    inline = _add_conversation(request.messages, given, thoughts)
    # A client that called no tools and asked for no thoughts may take the first block for the text.
    thinking = given.get("thinking")
    shown = bool(given.get("tools")) or (thinking is not None and thinking["type"] != "disabled")
    return Ask(request, bool(given.get("stream")), shown, inline)


def read_count_request(
    body: bytes | bytearray, betas: str | None, thoughts: Thoughts
) -> tuple[CountTokensRequest, list[Inline]]:
    """Read the body of a request for the number of tokens; also the bytes that it has in itself.

    Raises:
        InvalidArgument: the message names the member at fault.
    """
    given = _COUNT.json(body)
    request = CountTokensRequest(model=given["model"], options=_options(given, betas))
    return request, _add_conversation(request.messages, given, thoughts)


def _add_conversation(
    messages: RepeatedCompositeFieldContainer[Message], given: CountRequest, thoughts: Thoughts
) -> list[Inline]:
    attached = Attached()
    add_system(messages, given.get("system"), attached)
    add_turns(messages, given["messages"], attached, thoughts)
    return attached.inline


def _sampling(given: MessageRequest) -> Sampling:
    return Sampling(
        max_tokens=given["max_tokens"],
        temperature=given.get("temperature"),
        top_p=given.get("top_p"),
        top_k=given.get("top_k") or None,
        stop_sequences=given.get("stop_sequences") or (),
    )


def _options(given: CountRequest, header: str | None) -> GenerationOptions:
    options = GenerationOptions()
    if tools := given.get("tools"):
        add_tools(options, tools, given.get("tool_choice"))
    config = given.get("output_config") or {}
    if form := config.get("format") or given.get("output_format"):
        options.response_format.CopyFrom(_format(form))
    own = {name: value for name, value in given.items() if name not in _READ and value is not None}
    betas = [*_betas(own.pop(_BETAS, ())), *_betas(header.split(",") if header else ())]
    if betas:
        own[_BETAS] = list(dict.fromkeys(betas))
    # Whether a provider of this protocol answers is known only to the model service, so it gets both forms.
    _add_reasoning(options, given.get("thinking"), config.get("effort"))
    options.native.protocol = PROTOCOL
    options.native.params = json_text(own, "the request") if own else "{}"
    if others := own.keys() - _ADVICE:
        options.provider_params = sent(own, others)
    return options


def _betas(given: object) -> Iterable[str]:
    """The names of trial features.

    Raises:
        InvalidArgument: one is no name.
    """
    if not isinstance(given, list | tuple):
        refuse(_BETAS, "Input should be a list of names")
    for name in given:
        if not isinstance(name, str):
            refuse(_BETAS, "Input should be a list of names")
        if stripped := name.strip():
            if not _BETA.fullmatch(stripped):
                refuse("anthropic-beta", f"'{stripped[:64]}' is not the name of a beta")
            yield stripped


def _add_reasoning(options: GenerationOptions, thinking: Thinking | None, effort: str | None) -> None:
    """Say how much a model thinks that is none of Anthropic's. One that decides this itself gets no word."""
    if effort in ("low", "medium", "high", "xhigh", "max"):
        options.reasoning.effort = effort
    elif thinking is not None and thinking["type"] == "enabled":
        if (budget := thinking.get("budget_tokens")) is None:
            missing("thinking.budget_tokens")
        options.reasoning.effort = next(word for least, word in _EFFORTS if budget >= least)


def _format(form: Format) -> ResponseFormat:
    if form["type"] != "json_schema":
        refuse("output_config.format.type", "Input should be 'json_schema'")
    if (schema := form.get("schema")) is None:
        missing("output_config.format.schema")
    text = json_text(schema, "output_config.format.schema")
    return ResponseFormat(type=ResponseFormat.TYPE_JSON_SCHEMA, name="answer", schema=text, strict=True)


def require_version(version: str | None) -> None:
    """Refuse a request without the version of the API, as Anthropic does, or with one that is not served.

    Raises:
        InvalidArgument: names the header.
    """
    if version is None:
        refuse("anthropic-version", "header is required", reasons.MISSING_REQUIRED_PARAMETER)
    if version not in VERSIONS:
        refuse("anthropic-version", f"'{version[:32]}' is not served here; send {' or '.join(VERSIONS)}")
