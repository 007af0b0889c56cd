"""The tools of a request, the tool choice and the format of the answer, and their translation to the contract."""

from typing import Annotated, Any, Literal, Required, final

from pydantic import Field, Tag
from soma.model.v1.options_pb2 import ResponseFormat, Tool, ToolChoice
from typing_extensions import TypedDict

from gateway.edge.provider_params import json_text, sent
from gateway.edge.request_model import TextOr, by_member, strict

MODES = {"none": ToolChoice.MODE_NONE, "auto": ToolChoice.MODE_AUTO, "required": ToolChoice.MODE_REQUIRED}
Mode = Literal["none", "auto", "required"]
# Members of a tool that providers have, and the contract has no field for.
SENT = frozenset({"cache_control"})
Name = Annotated[str, Field(pattern="^[a-zA-Z0-9_-]{1,64}$")]


# Chat completions have the members of a function or a schema in a nested object; responses have them beside the type.
@strict
class Typed(TypedDict):
    """The type of a tool."""

    type: Literal["function"]


@strict
class Named(TypedDict):
    """A function's name."""

    name: Name


@strict
class Function(Named, total=False):
    """A function the model may ask to call."""

    cache_control: dict[str, Any] | None

    description: str | None
    parameters: dict[str, Any] | None
    strict: bool | None


@strict
class ChatTool(Typed, total=False):
    """A tool in chat completions."""

    function: Required[Function]
    cache_control: dict[str, Any] | None


@strict
class ResponseTool(Typed, Function):
    """A tool in responses."""


@strict
class ChatNamedTool(Typed):
    """The one tool that the model must call, in chat completions."""

    function: Named


@final
@strict
class ResponseNamedTool(Typed, Named):
    """The one tool that the model must call, in responses."""


@final
@strict
class AllowedTools(TypedDict, total=False):
    """The tools that the model may call, of all that it sees, in responses."""

    type: Required[Literal["allowed_tools"]]
    tools: Required[Annotated[list[ResponseNamedTool], Field(fail_fast=True, min_length=1, max_length=128)]]
    mode: Mode


@final
@strict
class PlainFormat(TypedDict):
    """A format without a schema. Its `type` has all types of formats."""

    type: Literal["text", "json_object", "json_schema"]


class SchemaTyped(TypedDict):
    """The type of a format with a schema."""

    type: Literal["json_schema"]


@strict
class Schema(Named, total=False):
    """The JSON schema that the answer must match."""

    description: str | None
    schema: dict[str, Any] | None
    strict: bool | None


@final
@strict
class ChatSchemaFormat(SchemaTyped):
    """A format with a schema, in chat completions."""

    json_schema: Schema


@final
@strict
class ResponseSchemaFormat(SchemaTyped, Schema):
    """A format with a schema, in responses."""


_BY_TYPE = by_member("type", {"json_schema": "union:schema"}, "union:plain")
ChatTools = Annotated[list[ChatTool], Field(fail_fast=True, max_length=128)]
ChatToolChoice = TextOr[Mode, ChatNamedTool]
ChatFormat = Annotated[
    Annotated[PlainFormat, Tag("union:plain")] | Annotated[ChatSchemaFormat, Tag("union:schema")], _BY_TYPE
]
ResponseTools = Annotated[list[ResponseTool], Field(fail_fast=True, max_length=128)]
ResponseToolChoice = TextOr[
    Mode,
    Annotated[
        Annotated[ResponseNamedTool, Tag("union:named")] | Annotated[AllowedTools, Tag("union:allowed")],
        by_member("type", {"allowed_tools": "union:allowed"}, "union:named"),
    ],
]
ResponseTextFormat = Annotated[
    Annotated[PlainFormat, Tag("union:plain")] | Annotated[ResponseSchemaFormat, Tag("union:schema")], _BY_TYPE
]


def chat_tool_of(tool: ChatTool, param: str) -> Tool:
    """The contract's tool, from one of chat completions; `param` is its parameter.

    Raises:
        InvalidArgument: the tool's parameters are nested too deeply.
    """
    made = tool_of(tool["function"], param)
    # Clients put the mark for the provider's cache beside the function or into it.
    if (mark := sent(tool, SENT, param)) and not made.provider_params:
        made.provider_params = mark
    return made


def tool_of(function: Function, param: str) -> Tool:
    """The contract's tool; `param` is its parameter.

    Raises:
        InvalidArgument: the tool's parameters are nested too deeply.
    """
    tool = Tool(name=function["name"], strict=function.get("strict"), provider_params=sent(function, SENT, param))
    if description := function.get("description"):
        tool.description = description
    parameters = function.get("parameters")
    if parameters is not None:
        tool.parameters = json_text(parameters, "tools")
    return tool


def tool_choice_of(choice: Mode | Named | AllowedTools) -> ToolChoice:
    """The contract's choice: a mode, one function by name, or several of which the model may choose."""
    if isinstance(choice, str):
        return ToolChoice(mode=MODES[choice])
    if "name" in choice:
        return ToolChoice(mode=ToolChoice.MODE_NAMED, name=choice["name"])
    # Where the model may call no tool, it does not matter which ones it may call.
    mode = MODES[choice.get("mode", "auto")]
    names = [each["name"] for each in choice["tools"]] if mode != ToolChoice.MODE_NONE else []
    return ToolChoice(mode=mode, allowed=names)


def format_of(form: PlainFormat | Schema, param: str) -> ResponseFormat:
    """The contract's format of an answer, which is the value of `param`.

    Raises:
        InvalidArgument: the schema is nested too deeply.
    """
    if "name" in form:
        return ResponseFormat(
            type=ResponseFormat.TYPE_JSON_SCHEMA,
            name=form["name"],
            schema=json_text(form.get("schema") or {}, param),
            strict=form.get("strict"),
            description=form.get("description") or "",
        )
    return ResponseFormat(type=ResponseFormat.TYPE_TEXT if form["type"] == "text" else ResponseFormat.TYPE_JSON_OBJECT)
