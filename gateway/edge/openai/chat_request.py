"""A chat completion request, read from JSON into the contract's ChatRequest."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from soma.errors.v1 import reasons
from soma.orchestrator.v1.chat_service_pb2 import ChatRequest

from gateway.edge.openai.extension import NOTHING, Extension, read_extension
from gateway.edge.openai.messages import read_messages
from gateway.edge.openai.shared import EFFORTS, SERVICE_TIERS, read_conversation, read_metadata
from gateway.edge.openai.tools import read_response_format, read_tool_choice, read_tools
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

MOST_TOKENS = 1_000_000
# What some of the parameters that are not supported are like when they ask for nothing.
NEUTRAL: dict[str, Any] = {
    "functions": [],
    "logit_bias": {},
    "modalities": ["text"],
    "store": False,
    "verbosity": "medium",
}
INT32 = 2**31
INT64 = 2**63


@dataclass(slots=True)
class Ask:
    """What a client asked for: the turn, and the form its answer takes."""

    request: ChatRequest = field(default_factory=ChatRequest)
    stream: bool = False
    include_usage: bool = False
    choices: int = 1
    extension: Extension = NOTHING
    dropped: list[str] = field(default_factory=list)


def read_chat_request(body: bytes | bytearray) -> Ask:
    """What the body asks for.

    Raises:
        InvalidArgument: in OpenAI's words, with the parameter at fault as its first violation.
    """
    given = read_object(body, READERS)
    ask = Ask()
    if given.get("soma") is not None:
        ask.extension = read_extension(given["soma"], "soma")
        ask.request.drop_params = ask.extension.drop_params
        if ask.extension.strategy is not None:
            ask.request.strategy = ask.extension.strategy
    for name, value in given.items():
        if value is not None:
            READERS[name](ask, value, name)
    _check_together(ask, given)
    return ask


def _check_together(ask: Ask, given: dict[str, Any]) -> None:
    if given.get("messages") is None:
        missing("messages")
    if given.get("stream_options") is not None and not ask.stream:
        message = "The 'stream_options' parameter is only allowed when 'stream' is enabled."
        refuse(message, "stream_options", reasons.INVALID_VALUE)
    if given.get("max_tokens") is not None and given.get("max_completion_tokens") is not None:
        message = "Setting 'max_tokens' and 'max_completion_tokens' at the same time is not supported."
        refuse(message, "max_tokens", reasons.INVALID_VALUE)
    if given.get("top_logprobs") is not None and not given.get("logprobs"):
        message = "The 'top_logprobs' parameter is only allowed when 'logprobs' is enabled."
        refuse(message, "top_logprobs", reasons.INVALID_VALUE)
    if ask.choices > 1 and ask.request.conversation_id:
        message = "Invalid 'n': a conversation goes on with one answer, so 'n' has to be 1 with 'conversation'."
        refuse(message, "n", reasons.INVALID_VALUE)
    if not ask.request.tools:
        for name in ("tool_choice", "parallel_tool_calls"):
            if given.get(name) not in (None, "none"):
                message = f"Invalid value for '{name}': '{name}' is only allowed when 'tools' are specified."
                refuse(message, name, reasons.INVALID_VALUE)


def _model(ask: Ask, value: object, name: str) -> None:
    ask.request.model = text(value, name)


def _messages(ask: Ask, value: object, _: str) -> None:
    ask.request.messages.extend(read_messages(value))


def _stream(ask: Ask, value: object, name: str) -> None:
    ask.stream = boolean(value, name)


def _stream_options(ask: Ask, value: object, name: str) -> None:
    options = members(value, name, ("include_usage", "include_obfuscation"))
    if options.get("include_usage") is not None:
        ask.include_usage = boolean(options["include_usage"], f"{name}.include_usage")
    if options.get("include_obfuscation") not in (None, False):
        unsupported(f"{name}.include_obfuscation")


def _max_tokens(ask: Ask, value: object, name: str) -> None:
    ask.request.sampling.max_tokens = integer(value, name, 1, MOST_TOKENS)


def _temperature(ask: Ask, value: object, name: str) -> None:
    ask.request.sampling.temperature = decimal(value, name, 0, 2)


def _top_p(ask: Ask, value: object, name: str) -> None:
    ask.request.sampling.top_p = decimal(value, name, 0, 1)


def _frequency_penalty(ask: Ask, value: object, name: str) -> None:
    ask.request.sampling.frequency_penalty = decimal(value, name, -2, 2)


def _presence_penalty(ask: Ask, value: object, name: str) -> None:
    ask.request.sampling.presence_penalty = decimal(value, name, -2, 2)


def _stop(ask: Ask, value: object, name: str) -> None:
    texts = [value] if type(value) is str else array(value, name, most=4)
    for index, each in enumerate(texts):
        where = name if type(value) is str else f"{name}[{index}]"
        if not 0 < len(text(each, where)) <= 256:
            refuse(f"Invalid '{where}': expected a string of 1 to 256 characters.", where, reasons.INVALID_VALUE)
    ask.request.sampling.stop_sequences.extend(texts)


def _seed(ask: Ask, value: object, name: str) -> None:
    seed = integer(value, name, -INT64, INT64 - 1)
    # The contract's seeds have 32 bits: a wider one is folded, so that equal seeds stay equal.
    ask.request.sampling.seed = seed if -INT32 <= seed < INT32 else (seed ^ seed >> 32) & (INT32 - 1)


def _n(ask: Ask, value: object, name: str) -> None:
    ask.choices = integer(value, name, 1, 128)


def _logprobs(ask: Ask, value: object, name: str) -> None:
    if boolean(value, name) and not ask.request.sampling.HasField("top_logprobs"):
        ask.request.sampling.top_logprobs = 0


def _top_logprobs(ask: Ask, value: object, name: str) -> None:
    ask.request.sampling.top_logprobs = integer(value, name, 0, 20)


def _reasoning_effort(ask: Ask, value: object, name: str) -> None:
    ask.request.sampling.reasoning_effort = one_of(value, name, EFFORTS)


def _tools(ask: Ask, value: object, _: str) -> None:
    ask.request.tools.extend(read_tools(value))


def _tool_choice(ask: Ask, value: object, _: str) -> None:
    ask.request.tool_choice.CopyFrom(read_tool_choice(value))


def _parallel_tool_calls(ask: Ask, value: object, name: str) -> None:
    ask.request.parallel_tool_calls = boolean(value, name)


def _response_format(ask: Ask, value: object, _: str) -> None:
    ask.request.response_format.CopyFrom(read_response_format(value))


def _user(ask: Ask, value: object, name: str) -> None:
    ask.request.user = text(value, name)


def _conversation(ask: Ask, value: object, name: str) -> None:
    ask.request.conversation_id = read_conversation(value, name)


def _metadata(ask: Ask, value: object, name: str) -> None:
    read_metadata(value, name)


def _read_before(ask: Ask, value: object, name: str) -> None:
    """What the other members are read by."""


def _hint(ask: Ask, value: object, name: str) -> None:
    """A hint to OpenAI's own caches and abuse checks: the answer is the same without it."""
    members(value, name) if name == "prompt_cache_options" else text(value, name)


def _service_tier(ask: Ask, value: object, name: str) -> None:
    if one_of(value, name, SERVICE_TIERS) not in ("auto", "default"):
        _unsupported(ask, value, name)


def _unsupported(ask: Ask, value: object, name: str) -> None:
    if NEUTRAL.get(name) != value:
        if not ask.request.drop_params:
            unsupported(name)
        ask.dropped.append(name)


READERS: dict[str, Callable[[Ask, Any, str], None]] = {
    "model": _model,
    "messages": _messages,
    "stream": _stream,
    "stream_options": _stream_options,
    "max_tokens": _max_tokens,
    "max_completion_tokens": _max_tokens,
    "temperature": _temperature,
    "top_p": _top_p,
    "frequency_penalty": _frequency_penalty,
    "presence_penalty": _presence_penalty,
    "stop": _stop,
    "seed": _seed,
    "n": _n,
    "tools": _tools,
    "tool_choice": _tool_choice,
    "parallel_tool_calls": _parallel_tool_calls,
    "response_format": _response_format,
    "user": _user,
    "conversation": _conversation,
    "metadata": _metadata,
    "soma": _read_before,
    "logprobs": _logprobs,
    "top_logprobs": _top_logprobs,
    "reasoning_effort": _reasoning_effort,
    "service_tier": _service_tier,
    "safety_identifier": _hint,
    "prompt_cache_key": _hint,
    "prompt_cache_retention": _hint,
    "prompt_cache_options": _hint,
    **dict.fromkeys(
        (
            "audio",
            "function_call",
            "functions",
            "logit_bias",
            "modalities",
            "moderation",
            "prediction",
            "store",
            "verbosity",
            "web_search_options",
        ),
        _unsupported,
    ),
}
