"""The tools, the choice among them and the response format of a request, as the contract has them."""

import re

import orjson
from soma.model.v1.message_pb2 import Tool, ToolChoice
from soma.model.v1.model_service_pb2 import ResponseFormat

from gateway.edge.values import array, boolean, members, one_of, refuse, required, text

NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
MODES = {"none": ToolChoice.MODE_NONE, "auto": ToolChoice.MODE_AUTO, "required": ToolChoice.MODE_REQUIRED}


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
    kinds = ("text", "json_object", "json_schema")
    kind = one_of(required(form, "type", "response_format"), "response_format.type", kinds)
    if kind != "json_schema":
        members(form, "response_format", ("type",))
        return ResponseFormat(
            type=ResponseFormat.TYPE_TEXT if kind == "text" else ResponseFormat.TYPE_JSON_OBJECT,
        )
    members(form, "response_format", ("type", "json_schema"))
    where = "response_format.json_schema"
    described = members(
        required(form, "json_schema", "response_format"), where, ("name", "description", "schema", "strict")
    )
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
    function = members(required(offered, "function", param), where, ("name", "description", "parameters", "strict"))
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
        refuse(message, param, "INVALID_VALUE")
    return name
