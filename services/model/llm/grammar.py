"""Tool calls and JSON by a grammar of llguidance (https://github.com/guidance-ai/llguidance/blob/main/docs/syntax.md).

Chat templates differ in whether they have tools, and llama.cpp enforces none of their forms in the build that is used.
So tools are told to the model in the form that most models were trained on, and the grammar lets it write nothing else.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import jsonschema_rs

OPEN, CLOSE = "<tool_call>", "</tool_call>"
_CALLS_TOLD = """You may call functions. They are described within <tools></tools>, one JSON object on each line:
<tools>
{tools}
</tools>
To call one, answer only with its name and its arguments, as one JSON object within {open}{close}:
{open}{{"name": <name>, "arguments": <object>}}{close}"""
# As `json.dumps` writes it, which models saw most. Keywords that the grammar does not know are ignored; the caller
# checks the answer.
_WRITTEN = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": ", "lenient": True}


class InvalidRequest(ValueError):
    """The request cannot be answered as it is; the text says why."""


@dataclass(frozen=True)
class Constrained:
    """A request for llama.cpp without tools and formats of its own.

    Attributes:
        body: the request, with `grammar` if the answer has a form.
        tools: the names of the tools that the answer may call.
    """

    body: dict[str, Any]
    tools: frozenset[str] = field(default_factory=frozenset)


def constrained(body: Mapping[str, Any]) -> Constrained:
    """The request with its tools as text, and its form as a grammar.

    Raises:
        InvalidRequest: a schema is invalid, or a tool is required that is not there.
    """
    own = dict(body)
    tools = _functions(own.pop("tools", None) or [])
    choice = own.pop("tool_choice", None) or "auto"
    several = own.pop("parallel_tool_calls", None) is True
    schema = _schema_of(own.pop("response_format", None) or {})
    own["messages"] = _all_told(own.get("messages"))
    called = _chosen(tools, choice)
    if called:
        told = _CALLS_TOLD.format(tools="\n".join(map(_dumped, called)), open=OPEN, close=CLOSE)
        own["messages"] = _with_system(own["messages"], told)
        own["grammar"] = _calls(called, required=choice not in ("auto", "none"), several=several, schema=schema)
    elif schema is not None:
        own["grammar"] = f"%llguidance {{}}\nstart: answer\n{_json('answer', schema)}"
    return Constrained(own, frozenset(str(tool["name"]) for tool in called))


def _functions(tools: Sequence[Any]) -> list[dict[str, Any]]:
    functions = [tool.get("function") for tool in tools if isinstance(tool, dict)]
    if len(functions) < len(tools) or not all(isinstance(each, dict) and each.get("name") for each in functions):
        raise InvalidRequest("a tool has no function with a name")
    return [each for each in functions if each is not None]


def _chosen(tools: Sequence[dict[str, Any]], choice: Any) -> Sequence[dict[str, Any]]:
    """The tools that the answer may call."""
    if isinstance(choice, dict):
        name = (choice.get("function") or {}).get("name")
        found = [tool for tool in tools if tool["name"] == name]
        if not found:
            raise InvalidRequest(f"tool_choice names `{name}`, and there is no such tool")
        return found
    if choice not in ("auto", "none", "required"):
        raise InvalidRequest("tool_choice is auto, none, required, or names a function")
    if choice == "required" and not tools:
        raise InvalidRequest("tool_choice is required, and there are no tools")
    return [] if choice == "none" else tools


def _schema_of(format: Mapping[str, Any]) -> dict[str, Any] | None:
    match format.get("type", "text"):
        case "text":
            return None
        case "json_object":
            return {"type": "object"}
        case "json_schema":
            schema = (format.get("json_schema") or {}).get("schema")
            return _valid(schema if isinstance(schema, dict) else {}, "response_format")
        case other:
            raise InvalidRequest(f"response_format has the type `{other}`, which is unknown")


def _valid(schema: dict[str, Any], where: str) -> dict[str, Any]:
    # llama.cpp takes a grammar with an invalid schema for no grammar.
    try:
        jsonschema_rs.validator_for(schema)
    except (jsonschema_rs.ValidationError, ValueError) as error:
        raise InvalidRequest(f"the schema of {where} is invalid: {str(error).splitlines()[0]}") from error
    return schema


def _calls(tools: Sequence[dict[str, Any]], *, required: bool, several: bool, schema: dict[str, Any] | None) -> str:
    rules = []
    for index, tool in enumerate(tools):
        # The schema is a rule of its own, so that references in it are references to its root.
        begin = _dumped(f'{{"name": {_dumped(tool["name"])}, "arguments": ')
        rules.append(f'call{index}: {begin} arguments{index} "}}"')
        rules.append(_json(f"arguments{index}", _arguments(tool)))
    one_of = " | ".join(f"call{index}" for index in range(len(tools)))
    begun = f'"{OPEN}" call "{CLOSE}"'
    if required:
        start = f"{begun} (MORE {begun})*" if several else begun
    elif schema is not None:
        start = f"answer | {begun}"
        rules.append(_json("answer", schema))
    else:
        inside = f'(text call "{CLOSE}")'
        start = f"PLAIN | {inside}{'+' if several else ''}"
        rules += [
            f"PLAIN: /(.|\\n)*/ & ~/(.|\\n)*{OPEN}(.|\\n)*/",
            f'text[suffix="{OPEN}"]: /(.|\\n)*/',
        ]
    more = ['MORE: "\\n"'] if required and several else []
    return "\n".join(["%llguidance {}", f"start: {start}", f"call: {one_of}", *more, *rules])


def _arguments(tool: Mapping[str, Any]) -> dict[str, Any]:
    parameters = tool.get("parameters")
    if not isinstance(parameters, dict) or not parameters:
        return {"type": "object"}
    schema = _valid(parameters, f"the tool `{tool['name']}`")
    return schema if "type" in schema else {"type": "object", **schema}


def _json(rule: str, schema: Mapping[str, Any]) -> str:
    return f"{rule}: %json {_dumped({**schema, 'x-guidance': _WRITTEN})}"


def _all_told(messages: Any) -> list[Any]:
    """The messages as a template without tools takes them: calls and results are text.

    A result joins the user's message beside it, because some templates want users and assistants by turns.
    """
    if not isinstance(messages, list) or not all(isinstance(message, dict) for message in messages):
        raise InvalidRequest("messages is not an array of objects")
    found: list[dict[str, Any]] = []
    after_result = False
    for message in messages:
        told, result = _told(message), message.get("role") == "tool"
        if found and told["role"] == found[-1]["role"] == "user" and (result or after_result):
            found[-1] = {"role": "user", "content": f"{_text(found[-1].get('content'))}\n{_text(told.get('content'))}"}
        else:
            found.append(told)
        after_result = result
    return found


def _told(message: Mapping[str, Any]) -> dict[str, Any]:
    told = {name: value for name, value in message.items() if name not in ("tool_calls", "tool_call_id", "name")}
    told.setdefault("role", "")
    if told["role"] == "tool":
        return {"role": "user", "content": f"<tool_response>\n{_text(told.get('content'))}\n</tool_response>"}
    calls = message.get("tool_calls") or ()
    if not calls:
        return told
    texts = [_text(told.get("content"))]
    for call in calls:
        function = call.get("function") or {}
        arguments = function.get("arguments") or "{}"
        texts.append(f'{OPEN}{{"name": {_dumped(function.get("name"))}, "arguments": {arguments}}}{CLOSE}')
    told["content"] = "\n".join(text for text in texts if text)
    return told


def _text(content: Any) -> str:
    if isinstance(content, list):
        return "\n".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return content if isinstance(content, str) else ""


def _with_system(messages: Sequence[Any], told: str) -> list[Any]:
    first = messages[0] if messages else None
    if isinstance(first, dict) and first.get("role") in ("system", "developer"):
        return [{**first, "content": f"{_text(first.get('content'))}\n\n{told}"}, *messages[1:]]
    return [{"role": "system", "content": told}, *messages]


def _dumped(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
