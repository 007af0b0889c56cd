"""A request for a response, read from JSON into the contract's CreateResponseRequest."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from soma.errors.v1 import reasons
from soma.orchestrator.v1.response_service_pb2 import CreateResponseRequest

from gateway.edge.openai.chat_request import MOST_TOKENS
from gateway.edge.openai.extension import NOTHING, Extension, read_extension
from gateway.edge.openai.response_items import read_input
from gateway.edge.openai.shared import EFFORTS, SERVICE_TIERS, read_conversation, read_metadata
from gateway.edge.openai.tools import read_flat_format, read_flat_tool_choice, read_flat_tools
from gateway.edge.openai.values import (
    array,
    boolean,
    decimal,
    integer,
    members,
    missing,
    one_of,
    read_object,
    refuse,
    text,
    unsupported,
)

# What an answer may hold more of; of the second there is nothing here, so it may be asked for.
INCLUDES = ("message.output_text.logprobs", "reasoning.encrypted_content")


@dataclass(slots=True)
class ResponseAsk:
    """What a client asked for: the response, and the form its answer takes."""

    request: CreateResponseRequest = field(default_factory=CreateResponseRequest)
    stream: bool = False
    extension: Extension = NOTHING
    dropped: list[str] = field(default_factory=list)


def read_response_request(body: bytes | bytearray) -> ResponseAsk:
    """What the body asks for.

    Raises:
        InvalidArgument: in OpenAI's words, with the parameter at fault as its first violation.
    """
    given = read_object(body, READERS)
    ask = ResponseAsk()
    settings = ask.request.settings
    if given.get("soma") is not None:
        ask.extension = read_extension(given["soma"], "soma")
        settings.drop_params = ask.extension.drop_params
        if ask.extension.strategy is not None:
            settings.strategy = ask.extension.strategy
    for name, value in given.items():
        if value is not None:
            READERS[name](ask, value, name)
    _check_together(ask, given)
    return ask


def _check_together(ask: ResponseAsk, given: dict[str, Any]) -> None:
    settings = ask.request.settings
    if given.get("input") is None:
        missing("input")
    if settings.previous_response_id and settings.conversation_id:
        message = (
            "Mutually exclusive parameters: Ensure you are only providing one of: "
            "'previous_response_id' or 'conversation'."
        )
        refuse(message, "previous_response_id", reasons.MUTUALLY_EXCLUSIVE_PARAMETERS)
    if settings.background and settings.HasField("store") and not settings.store:
        refuse("Invalid 'background': it requires 'store' to be true.", "background", reasons.INVALID_VALUE)
    if not settings.tools:
        if given.get("tool_choice") not in (None, "auto", "none"):
            message = "Invalid value for 'tool_choice': 'tool_choice' is only allowed when 'tools' are specified."
            refuse(message, "tool_choice", reasons.INVALID_VALUE)
        settings.ClearField("tool_choice")
        settings.ClearField("parallel_tool_calls")


def _model(ask: ResponseAsk, value: object, name: str) -> None:
    ask.request.model = text(value, name)


def _input(ask: ResponseAsk, value: object, _: str) -> None:
    ask.request.input.extend(read_input(value))


def _text_setting(ask: ResponseAsk, value: object, name: str) -> None:
    setattr(ask.request.settings, name, text(value, name))


def _flag(ask: ResponseAsk, value: object, name: str) -> None:
    setattr(ask.request.settings, name, boolean(value, name))


def _stream(ask: ResponseAsk, value: object, name: str) -> None:
    ask.stream = boolean(value, name)


def _stream_options(ask: ResponseAsk, value: object, name: str) -> None:
    options = members(value, name, ("include_obfuscation",))
    if options.get("include_obfuscation") not in (None, False):
        unsupported(f"{name}.include_obfuscation")


def _temperature(ask: ResponseAsk, value: object, name: str) -> None:
    ask.request.settings.sampling.temperature = decimal(value, name, 0, 2)


def _top_p(ask: ResponseAsk, value: object, name: str) -> None:
    ask.request.settings.sampling.top_p = decimal(value, name, 0, 1)


def _top_logprobs(ask: ResponseAsk, value: object, name: str) -> None:
    if number := integer(value, name, 0, 20):
        ask.request.settings.sampling.top_logprobs = number


def _max_output_tokens(ask: ResponseAsk, value: object, name: str) -> None:
    ask.request.settings.sampling.max_tokens = integer(value, name, 1, MOST_TOKENS)


def _tools(ask: ResponseAsk, value: object, _: str) -> None:
    ask.request.settings.tools.extend(read_flat_tools(value))


def _tool_choice(ask: ResponseAsk, value: object, _: str) -> None:
    ask.request.settings.tool_choice.CopyFrom(read_flat_tool_choice(value))


def _text(ask: ResponseAsk, value: object, name: str) -> None:
    config = members(value, name, ("format", "verbosity"))
    if config.get("format") is not None:
        ask.request.settings.response_format.CopyFrom(read_flat_format(config["format"]))
    if config.get("verbosity") not in (None, "medium"):
        _drop(ask, f"{name}.verbosity")


def _include(ask: ResponseAsk, value: object, name: str) -> None:
    for index, each in enumerate(array(value, name, most=32)):
        if one_of(each, f"{name}[{index}]", INCLUDES) == INCLUDES[0]:
            sampling = ask.request.settings.sampling
            sampling.top_logprobs = sampling.top_logprobs


def _conversation(ask: ResponseAsk, value: object, name: str) -> None:
    ask.request.settings.conversation_id = read_conversation(value, name)


def _metadata(ask: ResponseAsk, value: object, name: str) -> None:
    ask.request.settings.metadata.update(read_metadata(value, name))


def _reasoning(ask: ResponseAsk, value: object, name: str) -> None:
    for part, given in members(value, name).items():
        if part == "effort" and given is not None:
            ask.request.settings.sampling.reasoning_effort = one_of(given, f"{name}.effort", EFFORTS)
        elif given is not None:
            _drop(ask, f"{name}.{part}")


def _truncation(ask: ResponseAsk, value: object, name: str) -> None:
    if one_of(value, name, ("auto", "disabled")) == "auto":
        _drop(ask, name)


def _most_calls(ask: ResponseAsk, value: object, name: str) -> None:
    """A limit on calls of OpenAI's own tools, of which there are none here."""
    integer(value, name, 1, MOST_TOKENS)


def _hint(ask: ResponseAsk, value: object, name: str) -> None:
    """A hint to OpenAI's own caches, abuse checks and statistics: the answer is the same without it."""
    members(value, name) if name in ("prompt_cache_options", "client_metadata") else text(value, name)


def _service_tier(ask: ResponseAsk, value: object, name: str) -> None:
    if one_of(value, name, SERVICE_TIERS) not in ("auto", "default"):
        _drop(ask, name)


def _read_before(ask: ResponseAsk, value: object, name: str) -> None:
    """What the other members are read by."""


def _unsupported(ask: ResponseAsk, value: object, name: str) -> None:
    if value not in ({}, []):
        _drop(ask, name)


def _drop(ask: ResponseAsk, name: str) -> None:
    if not ask.request.settings.drop_params:
        unsupported(name)
    ask.dropped.append(name)


READERS: dict[str, Callable[[ResponseAsk, Any, str], None]] = {
    "model": _model,
    "input": _input,
    "instructions": _text_setting,
    "previous_response_id": _text_setting,
    "user": _text_setting,
    "store": _flag,
    "background": _flag,
    "parallel_tool_calls": _flag,
    "stream": _stream,
    "stream_options": _stream_options,
    "temperature": _temperature,
    "top_p": _top_p,
    "top_logprobs": _top_logprobs,
    "max_output_tokens": _max_output_tokens,
    "tools": _tools,
    "tool_choice": _tool_choice,
    "text": _text,
    "include": _include,
    "conversation": _conversation,
    "metadata": _metadata,
    "soma": _read_before,
    "reasoning": _reasoning,
    "truncation": _truncation,
    "max_tool_calls": _most_calls,
    "service_tier": _service_tier,
    "safety_identifier": _hint,
    "prompt_cache_key": _hint,
    "prompt_cache_retention": _hint,
    "prompt_cache_options": _hint,
    "client_metadata": _hint,
    **dict.fromkeys(
        ("access_programs", "context_management", "image", "moderation", "prompt"),
        _unsupported,
    ),
}
