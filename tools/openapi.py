"""Makes the generated OpenAPI document say what the gateway does: event streams, errors, and who may call."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tools.contracts import Rpc

# google.rpc.Status as the gateway prints it for every status of 400 and more.
ERROR: dict[str, Any] = {
    "description": "The call failed; `code` is the canonical gRPC status code.",
    "content": {
        "application/json": {
            "schema": {
                "type": "object",
                "title": "google.rpc.Status",
                "properties": {
                    "code": {"type": "integer", "format": "int32"},
                    "message": {"type": "string"},
                    "details": {
                        "type": "array",
                        "items": {
                            "type": "object",
                            "properties": {"@type": {"type": "string"}},
                            "additionalProperties": True,
                        },
                    },
                },
            }
        }
    },
}


def describe(document: dict[str, Any], rpcs: Iterable[Rpc]) -> dict[str, Any]:
    """The document with each operation completed from its RPC; operations of `soma.testing` are left out."""
    by_name = {rpc.name: rpc for rpc in rpcs}
    paths: dict[str, dict[str, Any]] = {}
    for path, operations in document["paths"].items():
        for verb, operation in operations.items():
            # An additional binding has the operation's name with a number behind it.
            rpc = by_name[operation["operationId"].rstrip("0123456789")]
            if rpc.name.startswith("soma.testing.") or rpc.access == "internal":
                continue
            paths.setdefault(path, {})[verb] = _completed(operation, rpc)
    tags = {tag for operations in paths.values() for operation in operations.values() for tag in operation["tags"]}
    return {
        **document,
        "paths": paths,
        "tags": [tag for tag in document["tags"] if tag["name"] in tags],
        "components": {**document["components"], "responses": {"error": ERROR}},
    }


def _completed(operation: dict[str, Any], rpc: Rpc) -> dict[str, Any]:
    responses = {**operation["responses"], "default": {"$ref": "#/components/responses/error"}}
    if rpc.server_streaming:
        message = responses["200"]["content"]["application/json"]["schema"]
        responses["200"] = {
            "description": "One `data:` line of JSON per message, each of the schema given here.",
            "content": {"text/event-stream": {"schema": message}},
        }
    completed = {**operation, "responses": responses}
    if rpc.access == "open":
        completed["security"] = []
    if rpc.scope:
        completed["x-soma-scope"] = rpc.scope
    return completed
