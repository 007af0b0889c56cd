"""Options of a request to a model: the same for a turn, a plain generation and a response."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypedDict, cast

from soma.model.v1 import options_pb2 as pb

from somamesh.json_values import to_json
from somamesh.messages import Tool, to_tool


@dataclass(frozen=True, slots=True)
class Prompt:
    """Says that the one message, a text of the user, is a prompt to continue, and not a message to answer.

    Attributes:
        suffix: the text that comes after the completion, for providers that have it.
        echo: the answer begins with the prompt, for providers that have it.
    """

    suffix: str = ""
    echo: bool = False


class Options(TypedDict, total=False):
    """Options of a request; all are optional. The ranges are those of `soma.model.v1.GenerationOptions`.

    Attributes:
        tools: functions that the model may ask to call; the caller calls them.
        tool_choice: `auto`, `none`, `required`, or the name of the tool to call.
        response_format: `text`, `json_object`, or a JSON schema of the answer.
        top_logprobs: returns the probability of each token, and of this many most likely tokens at its position.
        reasoning_effort: how much the model thinks before it answers; `none` turns it off. Models differ in the values
            that they accept.
        reasoning_budget_tokens: maximum number of tokens of thoughts, for providers that have such a limit.
        user: the application's own name for its user.
        drop_params: leave out options that the provider does not support; otherwise such a request is refused.
        provider_params: parameters that the contract has no field for, such as `min_p` or `service_tier`; they reach
            the provider as they are.
        completion: the one message is a prompt to continue, without a conversation, tools and a response format.
    """

    max_tokens: int
    temperature: float
    top_p: float
    top_k: int
    repetition_penalty: float
    frequency_penalty: float
    presence_penalty: float
    stop_sequences: Sequence[str]
    seed: int
    top_logprobs: int
    reasoning_effort: Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]
    reasoning_budget_tokens: int
    tools: Sequence[Tool]
    tool_choice: str
    parallel_tool_calls: bool
    response_format: Literal["text", "json_object"] | Mapping[str, Any]
    user: str
    drop_params: bool
    provider_params: Mapping[str, Any]
    completion: Prompt


MODES = {
    "auto": pb.ToolChoice.MODE_AUTO,
    "none": pb.ToolChoice.MODE_NONE,
    "required": pb.ToolChoice.MODE_REQUIRED,
}
THINKING = {"reasoning_effort": "effort", "reasoning_budget_tokens": "budget_tokens"}
FORMATS = {"text": pb.ResponseFormat.TYPE_TEXT, "json_object": pb.ResponseFormat.TYPE_JSON_OBJECT}


def options_of(options: Options) -> pb.GenerationOptions | None:
    """The options as the message of the contract; None when there are none.

    Raises:
        TypeError: there is no such option.
        ValueError: the value of an option is not allowed.
    """
    # A type checker checks the names, but at run time any name may come.
    given = cast("dict[str, Any]", dict(options))
    if not given:
        return None
    fields: dict[str, Any] = {}
    sampling = {name: given.pop(name) for name in list(given) if name in pb.Sampling.DESCRIPTOR.fields_by_name}
    if sampling:
        fields["sampling"] = pb.Sampling(**sampling)
    thinking = {field: given.pop(name) for name, field in THINKING.items() if name in given}
    if thinking:
        fields["reasoning"] = pb.ReasoningOptions(**thinking)
    if "provider_params" in given:
        fields["provider_params"] = to_json(given.pop("provider_params"))
    if "completion" in given:
        prompt: Prompt = given.pop("completion")
        fields["completion"] = pb.Completion(suffix=prompt.suffix, echo=prompt.echo)
    if "tools" in given:
        fields["tools"] = [to_tool(tool) for tool in given.pop("tools")]
    if "tool_choice" in given:
        fields["tool_choice"] = _choice(given.pop("tool_choice"))
    if "response_format" in given:
        fields["response_format"] = _format(given.pop("response_format"))
    for name in ("parallel_tool_calls", "user", "drop_params"):
        if name in given:
            fields[name] = given.pop(name)
    if given:
        raise TypeError(f"there is no option {', '.join(given)}; there are {', '.join(Options.__annotations__)}")
    return pb.GenerationOptions(**fields)


def _choice(choice: str) -> pb.ToolChoice:
    if choice in MODES:
        return pb.ToolChoice(mode=MODES[choice])
    return pb.ToolChoice(mode=pb.ToolChoice.MODE_NAMED, name=choice)


def _format(wanted: str | Mapping[str, Any]) -> pb.ResponseFormat:
    if not isinstance(wanted, str):
        title = str(wanted.get("title", "answer"))
        return pb.ResponseFormat(type=pb.ResponseFormat.TYPE_JSON_SCHEMA, name=title, schema=json.dumps(wanted))
    if wanted not in FORMATS:
        raise ValueError(f"a response format is a JSON schema or one of {', '.join(FORMATS)}, not {wanted!r}")
    return pb.ResponseFormat(type=FORMATS[wanted])
