"""Makes the OpenAPI 3.1 document of the REST API: every binding of the contracts, and the OpenAI-compatible paths."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from google.api import annotations_pb2
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorSet, MethodDescriptorProto
from soma.authz.v1 import authz_pb2

from tools import openapi_edge
from tools.schemas import WELL_KNOWN, Schema, Schemas

HERE = Path(__file__).parent
INFO = {
    "title": "SomaMesh",
    "version": "v1",
    "description": "Every RPC of the mesh that has a REST binding, and the OpenAI-compatible paths. The same contracts "
    "are served as gRPC and grpc-web on the same port.",
}
SECURITY: Mapping[str, Schema] = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "The key, sent as `Authorization: Bearer KEY`."},
    "api_key": {
        "type": "apiKey",
        "in": "header",
        "name": "x-api-key",
        "description": "The same key, for clients that send it in this header.",
    },
}
ERRORS: Mapping[int, tuple[str, str]] = {
    400: ("INVALID_ARGUMENT", "The request is not valid JSON, or does not match the contract."),
    401: ("UNAUTHENTICATED", "The credential is missing or not valid."),
    403: ("PERMISSION_DENIED", "The caller has no permission for this."),
    404: ("NOT_FOUND", "What the request names does not exist."),
    408: ("DEADLINE_EXCEEDED", "The request did not arrive completely in time."),
    409: ("ABORTED", "It exists already, or another call changed it first."),
    413: ("RESOURCE_EXHAUSTED", "The body is larger than the gateway accepts."),
    415: ("INVALID_ARGUMENT", "The body is compressed; only uncompressed bodies are read."),
    429: ("RESOURCE_EXHAUSTED", "A limit was reached."),
    431: ("RESOURCE_EXHAUSTED", "The headers of the request are too large."),
    500: ("INTERNAL", "The mesh failed."),
    501: ("UNIMPLEMENTED", "This is not built here."),
    503: ("UNAVAILABLE", "Something that the call needs is away or overloaded."),
    504: ("DEADLINE_EXCEEDED", "The deadline passed."),
}
WITH_BODY_ONLY = frozenset({415})
_VARIABLE = re.compile(r"\{([^=}]+)(=[^}]+)?\}")
_TESTING = "soma.testing."


def document(descriptors: bytes) -> Schema:
    """The whole document, from a serialised FileDescriptorSet with source information."""
    files = FileDescriptorSet.FromString(descriptors)
    schemas = Schemas(files)
    examples: dict[str, Any] = json.loads((HERE / "openapi.examples.json").read_text())
    paths: dict[str, Schema] = {}
    tags: dict[str, str] = {}
    for file in files.file:
        for service in file.service:
            name = f"{file.package}.{service.name}"
            for method in service.method:
                for verb, template, body, number in _bindings(method):
                    if name.startswith(_TESTING) or method.options.Extensions[authz_pb2.rule].internal:
                        continue
                    operation = _operation(schemas, name, method, template, body, examples)
                    operation["operationId"] += str(number) if number > 1 else ""
                    path = _VARIABLE.sub(lambda found: f"{{{_shown(found[1])}}}", template)
                    paths.setdefault(path, {})[verb] = operation
                    tags[name] = schemas.comment(name)
    return {
        "openapi": "3.1.0",
        "info": INFO,
        "servers": [{"url": "/"}],
        "security": [{name: []} for name in SECURITY],
        "tags": [{"name": name, "description": tags[name]} for name in sorted(tags)] + openapi_edge.TAGS,
        "paths": dict(sorted({**paths, **openapi_edge.paths()}.items())),
        "components": {
            "securitySchemes": SECURITY,
            "responses": {**_error_responses(), **openapi_edge.responses()},
            "schemas": {**dict(sorted(schemas.made.items())), "Error": ERROR, **openapi_edge.schemas()},
        },
    }


ERROR: Schema = {
    "type": "object",
    "title": "Error",
    "description": "The answer to every failed call, except on OpenAI's paths: the HTTP status, and the rest of "
    "google.rpc.Status. Exactly one detail is a google.rpc.ErrorInfo, and programs can rely on its `reason`.",
    "required": ["error"],
    "additionalProperties": False,
    "properties": {
        "error": {
            "type": "object",
            "required": ["code", "status", "message", "details"],
            "additionalProperties": False,
            "properties": {
                "code": {"type": "integer", "description": "The HTTP status.", "minimum": 400, "maximum": 599},
                "status": {"type": "string", "description": "The canonical status, such as `NOT_FOUND`."},
                "message": {"type": "string", "description": "What happened, in words for people."},
                "details": {"type": "array", "items": {**WELL_KNOWN["google.protobuf.Any"]}},
            },
        }
    },
}


def _error_responses() -> Schema:
    responses: Schema = {}
    for status, (name, text) in ERRORS.items():
        info = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": name, "domain": "soma", "metadata": {}}
        example = {"error": {"code": status, "status": name, "message": text, "details": [info]}}
        content = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}, "example": example}}
        responses[f"error_{status}"] = {"description": text, "content": content}
        if status in (429, 503):
            responses[f"error_{status}"]["headers"] = openapi_edge.RETRY_AFTER
    return responses


def _bindings(method: MethodDescriptorProto) -> Iterator[tuple[str, str, str, int]]:
    """The verb, path, body and position (from 1) of each binding."""
    rule = method.options.Extensions[annotations_pb2.http]
    for number, each in enumerate((rule, *rule.additional_bindings), start=1):
        verb = each.WhichOneof("pattern")
        if verb is not None:
            yield verb, getattr(each, verb), each.body, number


def _operation(
    schemas: Schemas,
    service: str,
    method: MethodDescriptorProto,
    template: str,
    body: str,
    examples: Mapping[str, Any],
) -> Schema:
    name, request = f"{service}.{method.name}", method.input_type.removeprefix(".")
    example: Mapping[str, Any] = examples.get(name, {})
    variables = [match.group(1) for match in _VARIABLE.finditer(template)]
    operation: Schema = {
        "tags": [service],
        "summary": method.name,
        "description": schemas.comment(name),
        "operationId": name,
        "parameters": list(_parameters(schemas, request, variables, body)),
    }
    if body:
        operation["requestBody"] = _body(schemas, request, variables, body, example.get("request"))
    operation["responses"] = {"200": _success(schemas, method, example)} | {
        str(status): {"$ref": f"#/components/responses/error_{status}"}
        for status in ERRORS
        if body or status not in WITH_BODY_ONLY
    }
    rule = method.options.Extensions[authz_pb2.rule]
    if rule.scope:
        operation["x-soma-scope"] = rule.scope
    elif not rule.authenticated:
        operation["security"] = []
    return operation


def _parameters(schemas: Schemas, request: str, variables: Sequence[str], body: str) -> Iterator[Schema]:
    for path, holder, field in _leaves(schemas, request, ""):
        place = "path" if path in variables else "query"
        if place == "query" and (body == "*" or path.split(".")[0] == body):
            continue
        schema = schemas.field(holder, field)
        name = _shown(path) if place == "path" else path
        parameter = {"name": name, "in": place, "required": place == "path" or path in _required(schemas, request)}
        parameter["description"] = schema.pop("description", "")
        yield {**parameter, "schema": schema}


def _shown(variable: str) -> str:
    """The name of a variable of a path: the last part of its field's path, because tools read a dot in other ways."""
    return variable.rpartition(".")[2]


def _required(schemas: Schemas, request: str) -> Sequence[str]:
    required: Sequence[str] = schemas.message(request).get("required", ())
    return required


def _leaves(schemas: Schemas, message: str, prefix: str) -> Iterator[tuple[str, str, FieldDescriptorProto]]:
    """The fields that a query can set, each with its message: scalars and lists of scalars, at any depth."""
    for field in schemas.fields(message):
        held = field.type_name.removeprefix(".")
        if field.type != FieldDescriptorProto.TYPE_MESSAGE or WELL_KNOWN.get(held, {}).get("type") == "string":
            yield f"{prefix}{field.name}", message, field
        elif field.label != FieldDescriptorProto.LABEL_REPEATED and held not in WELL_KNOWN and held != message:
            yield from _leaves(schemas, held, f"{prefix}{field.name}.")


def _body(schemas: Schemas, request: str, variables: Sequence[str], body: str, example: Any) -> Schema:
    if body != "*":
        held = next(field for field in schemas.fields(request) if field.name == body)
        schema = schemas.field(request, held)
        inside = [variable.removeprefix(f"{body}.") for variable in variables if variable.startswith(f"{body}.")]
        if inside:
            # The path has these fields, so a body without them is valid.
            whole = schemas.message(held.type_name.removeprefix("."), without=inside)
            schema = {**whole, "description": schema.get("description", whole["description"])}
    elif variables:
        schema = schemas.message(request, without=variables)
    else:
        schema = schemas.reference(request)
    content: Schema = {"schema": schema}
    if example is not None:
        content["example"] = example
    return {"required": True, "content": {"application/json": content}}


def _success(schemas: Schemas, method: MethodDescriptorProto, example: Mapping[str, Any]) -> Schema:
    message = schemas.reference(method.output_type.removeprefix("."))
    if not method.server_streaming:
        content: Schema = {"schema": message}
        if "response" in example:
            content["example"] = example["response"]
        return {"description": "Success.", "content": {"application/json": content}}
    data = {"type": "string", "contentMediaType": "application/json", "contentSchema": message}
    event: Schema = {"schema": {"type": "object", "required": ["data"], "properties": {"data": data}}}
    if "events" in example:
        event["example"] = "".join(f"data: {json.dumps(each)}\n\n" for each in example["events"])
    text = "Server-sent events. The data of each event is JSON of this schema. The last event is `finished` or `error`."
    return {"description": text, "content": {"text/event-stream": event}}
