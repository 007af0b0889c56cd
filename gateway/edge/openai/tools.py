"""The tools, the choice among them and the response format of a request, as the contract has them."""

import re
from typing import Any

import orjson
from soma.errors.v1 import reasons
from soma.model.v1.message_pb2 import Tool, ToolChoice
from soma.model.v1.model_service_pb2 import ResponseFormat

from gateway.edge.openai.values import array, boolean, members, one_of, refuse, required, text

NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
MODES = {"none": ToolChoice.MODE_NONE, "auto": ToolChoice.MODE_AUTO, "required": ToolChoice.MODE_REQUIRED}
FORMATS: "dict[str, ResponseFormat.Type.ValueType]" = {
    "text": ResponseFormat.TYPE_TEXT,
    "json_object": ResponseFormat.TYPE_JSON_OBJECT,
    "json_schema": ResponseFormat.TYPE_JSON_SCHEMA,
}
FUNCTION_MEMBERS = ("name", "description", "parameters", "strict")
SCHEMA_MEMBERS = ("name", "description", "schema", "strict")


def read_tools(value: object) -> list[Tool]:
    """The functions the model may ask to call.

    Raises:
        InvalidArgument: names the member at fault.
    """
    return [_tool(tool, f"tools[{index}]") for index, tool in enumerate(array(value, "tools", most=128))]


def read_tool_choice(value: object) -> ToolChoice:
    """`none`, `auto`, `required`, or one function by name.

    Raises:
        InvalidArgument: names the member at fault.
    """
    if type(value) is str:
        return ToolChoice(mode=MODES[one_of(value, "tool_choice", MODES)])
    choice = members(value, "tool_choice")
    one_of(required(choice, "type", "tool_choice"), "tool_choice.type", ("function",))
    members(choice, "tool_choice", ("type", "function"))
    function = members(required(choice, "function", "tool_choice"), "tool_choice.function", ("name",))
    name = _name(required(function, "name", "tool_choice.function"), "tool_choice.function.name")
    return ToolChoice(mode=ToolChoice.MODE_NAMED, name=name)


def read_response_format(value: object) -> ResponseFormat:
    """`text`, `json_object` or `json_schema` with its schema.

    Raises:
        InvalidArgument: names the member at fault.
    """
    form = members(value, "response_format")
    kind = one_of(required(form, "type", "response_format"), "response_format.type", FORMATS)
    if kind != "json_schema":
        members(form, "response_format", ("type",))
        return ResponseFormat(type=FORMATS[kind])
    members(form, "response_format", ("type", "json_schema"))
    where = "response_format.json_schema"
    return _schema(members(required(form, "json_schema", "response_format"), where, SCHEMA_MEMBERS), where)


def read_flat_tools(value: object) -> list[Tool]:
    """As `read_tools`, in the form of `/v1/responses`, where a function's members are the tool's own.

    Raises:
        InvalidArgument: names the member at fault.
    """
    return [_flat_tool(tool, f"tools[{index}]") for index, tool in enumerate(array(value, "tools", most=128))]


def read_flat_tool_choice(value: object) -> ToolChoice:
    """As `read_tool_choice`, in the form of `/v1/responses`.

    Raises:
        InvalidArgument: names the member at fault.
    """
    if type(value) is str:
        return read_tool_choice(value)
    choice = members(value, "tool_choice")
    one_of(required(choice, "type", "tool_choice"), "tool_choice.type", ("function",))
    name = required(members(choice, "tool_choice", ("type", "name")), "name", "tool_choice")
    return ToolChoice(mode=ToolChoice.MODE_NAMED, name=_name(name, "tool_choice.name"))


def read_flat_format(value: object) -> ResponseFormat:
    """As `read_response_format`, in the form of `text.format` in `/v1/responses`.

    Raises:
        InvalidArgument: names the member at fault.
    """
    where = "text.format"
    form = members(value, where)
    kind = one_of(required(form, "type", where), f"{where}.type", FORMATS)
    if kind != "json_schema":
        members(form, where, ("type",))
        return ResponseFormat(type=FORMATS[kind])
    return _schema(members(form, where, ("type", *SCHEMA_MEMBERS)), where)


def _schema(described: dict[str, Any], where: str) -> ResponseFormat:
    schema = members(described.get("schema") or {}, f"{where}.schema")
    asked = ResponseFormat(
        type=ResponseFormat.TYPE_JSON_SCHEMA,
        name=_name(required(described, "name", where), f"{where}.name"),
        schema=orjson.dumps(schema).decode(),
    )
    if described.get("strict") is not None:
        asked.strict = boolean(described["strict"], f"{where}.strict")
    return asked


def _tool(value: object, param: str) -> Tool:
    offered = members(value, param)
    one_of(required(offered, "type", param), f"{param}.type", ("function",))
    members(offered, param, ("type", "function"))
    where = f"{param}.function"
    function = members(required(offered, "function", param), where, FUNCTION_MEMBERS)
    return _function(function, where)


def _flat_tool(value: object, param: str) -> Tool:
    offered = members(value, param)
    one_of(required(offered, "type", param), f"{param}.type", ("function",))
    return _function(members(offered, param, ("type", *FUNCTION_MEMBERS)), param)


def _function(function: dict[str, Any], where: str) -> Tool:
    tool = Tool(name=_name(required(function, "name", where), f"{where}.name"))
    if function.get("description") is not None:
        tool.description = text(function["description"], f"{where}.description")
    if function.get("parameters") is not None:
        tool.parameters = orjson.dumps(members(function["parameters"], f"{where}.parameters")).decode()
    if function.get("strict") is not None:
        tool.strict = boolean(function["strict"], f"{where}.strict")
    return tool


def _name(value: object, param: str) -> str:
    name = text(value, param)
    if not NAME.fullmatch(name):
        message = (
            f"Invalid '{param}': string does not match pattern. Expected a string that matches '^{NAME.pattern}$'."
        )
        refuse(message, param, reasons.INVALID_VALUE)
    return name
