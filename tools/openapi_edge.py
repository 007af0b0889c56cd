"""The REST paths that no contract describes: those of surfaces and the gateway's own. They are described in `edge/`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tools.schemas import Schema

HERE = Path(__file__).parent
GATEWAY = "gateway"
OPENAI = "openai"
ANTHROPIC = "anthropic"
# The files that do not describe OpenAI's paths.
_OTHERS = {"gateway": GATEWAY, "messages": ANTHROPIC}
TAGS = [
    {"name": GATEWAY, "description": "The gateway's own pages about the mesh."},
    {
        "name": OPENAI,
        "description": "OpenAI's paths, for OpenAI's clients. Their answers and errors have OpenAI's shapes.",
    },
    {
        "name": ANTHROPIC,
        "description": "Anthropic's paths, for Anthropic's clients. Their answers and errors have Anthropic's shapes.",
    },
]
RETRY_AFTER = {"Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer", "minimum": 1}}}
# OpenAI's type and code for each HTTP status, and what it means.
FAILURES: Mapping[int, tuple[str, str | None, str]] = {
    400: (
        "invalid_request_error",
        "invalid_type",
        "The request is not valid JSON, or `param` is wrong or not supported here.",
    ),
    401: ("invalid_request_error", "invalid_api_key", "The API key is missing or not valid."),
    403: ("permission_error", "scope_missing", "The key has no permission for this."),
    404: ("invalid_request_error", "model_not_found", "There is no such model or response."),
    408: ("invalid_request_error", "request_timeout", "The request did not arrive completely in time."),
    409: ("invalid_request_error", "conflict", "Another call changed it first."),
    413: ("invalid_request_error", "body_too_large", "The body is larger than 4 MiB."),
    415: (
        "invalid_request_error",
        "unsupported_encoding",
        "The body is compressed; only uncompressed bodies are read.",
    ),
    429: ("requests", "rate_limit_exceeded", "A limit was reached."),
    431: ("invalid_request_error", "headers_too_large", "The headers of the request are too large."),
    500: ("server_error", None, "The mesh failed."),
    501: ("server_error", "unimplemented", "The provider cannot do this."),
    503: ("server_error", "no_live_instance", "The model, or something that it needs, is away or overloaded."),
    504: ("server_error", "deadline_exceeded", "The deadline passed."),
}
# Anthropic's type for each HTTP status, and what it means.
ANTHROPIC_FAILURES: Mapping[int, tuple[str, str]] = {
    400: ("invalid_request_error", "The request is not valid JSON, or a member is wrong or not supported."),
    401: ("authentication_error", "The API key is missing or not valid."),
    403: ("permission_error", "The key has no permission for this."),
    404: ("not_found_error", "There is no such model."),
    408: ("invalid_request_error", "The request did not arrive completely in time."),
    409: ("invalid_request_error", "Another call changed it first."),
    413: ("request_too_large", "The body is larger than 32 MiB."),
    415: ("invalid_request_error", "The body is compressed; only uncompressed bodies are read."),
    429: ("rate_limit_error", "A limit was reached."),
    431: ("invalid_request_error", "The headers of the request are too large."),
    500: ("api_error", "The mesh failed."),
    501: ("api_error", "The provider cannot do this."),
    504: ("timeout_error", "The deadline passed."),
    529: ("overloaded_error", "The model, or something that it needs, is away or overloaded."),
}
_WITH_BODY_ONLY = frozenset({413, 415})
_ALIASES = "aliases"


def paths() -> Schema:
    """Every path with its operations and their failures; `aliases` of a path have the same operations."""
    found: Schema = {}
    for tag, part in _parts():
        for path, written in part["paths"].items():
            verbs = {verb: operation for verb, operation in written.items() if verb != _ALIASES}
            for number, name in enumerate((path, *written.get(_ALIASES, ())), start=1):
                found[name] = {verb: _operation(tag, operation, number) for verb, operation in verbs.items()}
    return found


def schemas() -> Schema:
    """The schemas of those paths."""
    return {name: schema for _, part in _parts() for name, schema in part["schemas"].items()}


def responses() -> Schema:
    """The error responses of OpenAI's and Anthropic's paths."""
    made: Schema = {}
    for status, (kind, code, text) in FAILURES.items():
        example = {"error": {"message": text, "type": kind, "param": None, "code": code}}
        content = {"application/json": {"schema": {"$ref": "#/components/schemas/OpenAIError"}, "example": example}}
        made[f"openai_{status}"] = {"description": text, "content": content}
        if status in (429, 503):
            made[f"openai_{status}"]["headers"] = RETRY_AFTER
    for status, (kind, text) in ANTHROPIC_FAILURES.items():
        shown = {"type": "error", "error": {"type": kind, "message": text}, "request_id": "req_1"}
        content = {"application/json": {"schema": {"$ref": "#/components/schemas/AnthropicError"}, "example": shown}}
        made[f"anthropic_{status}"] = {"description": text, "content": content}
        if status in (429, 529):
            made[f"anthropic_{status}"]["headers"] = RETRY_AFTER
    return made


def _parts() -> Iterator[tuple[str, Any]]:
    for file in sorted((HERE / "edge").glob("*.json")):
        yield _OTHERS.get(file.stem, OPENAI), json.loads(file.read_text())


def _operation(tag: str, written: Schema, number: int) -> Schema:
    operation = {"tags": [tag], **written}
    operation["operationId"] += str(number) if number > 1 else ""
    if tag == OPENAI:
        operation["responses"] = written["responses"] | {
            str(status): {"$ref": f"#/components/responses/openai_{status}"}
            for status in FAILURES
            if "requestBody" in written or status not in _WITH_BODY_ONLY
        }
    elif tag == ANTHROPIC:
        operation["responses"] = written["responses"] | {
            str(status): {"$ref": f"#/components/responses/anthropic_{status}"} for status in ANTHROPIC_FAILURES
        }
    return operation
