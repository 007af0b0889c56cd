"""What a model may be asked to mind beside the messages, for a turn, a plain generation and a response alike."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypedDict, cast

from soma.model.v1 import message_pb2 as model
from soma.model.v1.model_service_pb2 import ResponseFormat

from somamesh.messages import Tool, to_tool


class Options(TypedDict, total=False):
    """All optional; ranges are those of `soma.model.v1.Sampling`.

    Attributes:
        tools: functions the model may ask to call; calling them is the caller's.
        tool_choice: `auto`, `none`, `required`, or the name of the tool to call.
        response_format: `text`, `json_object`, or a JSON schema the answer fits.
        top_logprobs: tells how likely each token was, and this many of the likeliest at its place.
        user: the caller's own name for its end user.
        drop_params: leaves out what the provider cannot honour, where it would otherwise be refused by name.
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
    """The fields of a request that say the same; those for a turn, a generation and a response name them alike.

    Raises:
        TypeError: there is no such option.
        ValueError: an option has a value it cannot have.
    """
    # A checker knows the names; at run time anything may come.
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
