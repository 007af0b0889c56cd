"""The tools of a request and the choice among them, and their translation to the contract."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal, Required

from pydantic import ConfigDict, Field, with_config
from soma.model.v1.options_pb2 import GenerationOptions, Tool, ToolChoice
from typing_extensions import TypedDict

from gateway.edge.anthropic.words import missing
from gateway.edge.provider_params import json_text, sent
from gateway.edge.request_model import lenient

# Members of a tool of the client that the contract has fields for.
_FIELDS = frozenset({"name", "description", "input_schema", "strict"})
_MODES = {"auto": ToolChoice.MODE_AUTO, "any": ToolChoice.MODE_REQUIRED, "none": ToolChoice.MODE_NONE}


@with_config(ConfigDict(strict=True, extra="allow"))
class ToolGiven(TypedDict, total=False):
    """A tool of the client; or with a `type`, one that Anthropic's models know, which may run on its servers."""

    name: Annotated[str, Field(min_length=1, max_length=128)]
    type: str | None
    description: str | None
    input_schema: dict[str, Any] | None
    strict: bool | None


@lenient
class Choice(TypedDict, total=False):
    """Whether the model calls a tool, and which one."""

    type: Required[Literal["auto", "any", "tool", "none"]]
    name: str | None
    disable_parallel_tool_use: bool | None


Tools = Annotated[list[ToolGiven], Field(fail_fast=True, max_length=1024)]


def add_tools(options: GenerationOptions, tools: Sequence[ToolGiven], choice: Choice | None) -> None:
    """Add the tools and the choice.

    Raises:
        InvalidArgument: a tool or the choice lacks a member, or a schema is nested too deeply; the error names it.
    """
    options.tools.extend(_tool(tool, f"tools.{index}") for index, tool in enumerate(tools))
    if choice is None or not tools:
        return
    if choice["type"] == "tool":
        if not (name := choice.get("name")):
            missing("tool_choice.name")
        options.tool_choice.mode, options.tool_choice.name = ToolChoice.MODE_NAMED, name
    else:
        options.tool_choice.mode = _MODES[choice["type"]]
    if choice["type"] != "none" and (one := choice.get("disable_parallel_tool_use")) is not None:
        options.parallel_tool_calls = not one


def _tool(given: ToolGiven, where: str) -> Tool:
    kind = given.get("type") or "custom"
    # A toolset has no name of its own.
    name = given.get("name") or ("" if kind == "custom" else kind)
    if not name:
        missing(f"{where}.name")
    tool = Tool(name=name)
    if kind != "custom":
        tool.provider_params = sent(given, given.keys() - {"name"}, where)
        return tool
    if (schema := given.get("input_schema")) is None:
        missing(f"{where}.input_schema")
    tool.parameters = json_text(schema, f"{where}.input_schema")
    if description := given.get("description"):
        tool.description = description
    if (exact := given.get("strict")) is not None:
        tool.strict = exact
    if len(given) > len(_FIELDS) or not given.keys() <= _FIELDS:
        tool.provider_params = sent(given, given.keys() - _FIELDS, where)
    return tool
