"""Options of a request to a model: the same for a turn, a plain generation and a response."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypedDict, cast

from soma.model.v1 import message_pb2 as model
from soma.model.v1.options_pb2 import ResponseFormat

from somamesh.messages import Tool, to_tool


class Options(TypedDict, total=False):
    """Options of a request; all are optional. The ranges are those of `soma.model.v1.Sampling`.

    Attributes:
        tools: functions that the model may ask to call; the caller calls them.
        tool_choice: `auto`, `none`, `required`, or the name of the tool to call.
        response_format: `text`, `json_object`, or a JSON schema of the answer.
        top_logprobs: returns the probability of each token, and of this many most likely tokens at its position.
        user: the application's own name for its user.
        drop_params: leave out options that the provider does not support; otherwise such a request is refused.
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
    tools: Sequence[Tool]
    tool_choice: str
    parallel_tool_calls: bool
    response_format: Literal["text", "json_object"] | Mapping[str, Any]
    user: str
    drop_params: bool


MODES = {
    "auto": model.ToolChoice.MODE_AUTO,
    "none": model.ToolChoice.MODE_NONE,
    "required": model.ToolChoice.MODE_REQUIRED,
}
FORMATS = {"text": ResponseFormat.TYPE_TEXT, "json_object": ResponseFormat.TYPE_JSON_OBJECT}


def fields_of(options: Options) -> dict[str, Any]:
    """The request fields for the options. They have the same names for a turn, a generation and a response.

    Raises:
        TypeError: there is no such option.
        ValueError: the value of an option is not allowed.
    """
    # A type checker checks the names, but at run time any name may come.
    given = cast("dict[str, Any]", dict(options))
    fields: dict[str, Any] = {}
    sampling = {name: given.pop(name) for name in list(given) if name in model.Sampling.DESCRIPTOR.fields_by_name}
    if sampling:
        fields["sampling"] = model.Sampling(**sampling)
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
    return fields


def _choice(choice: str) -> model.ToolChoice:
    if choice in MODES:
        return model.ToolChoice(mode=MODES[choice])
    return model.ToolChoice(mode=model.ToolChoice.MODE_NAMED, name=choice)


def _format(wanted: str | Mapping[str, Any]) -> ResponseFormat:
    if not isinstance(wanted, str):
        title = str(wanted.get("title", "answer"))
        return ResponseFormat(type=ResponseFormat.TYPE_JSON_SCHEMA, name=title, schema=json.dumps(wanted))
    if wanted not in FORMATS:
        raise ValueError(f"a response format is a JSON schema or one of {', '.join(FORMATS)}, not {wanted!r}")
    return ResponseFormat(type=FORMATS[wanted])
