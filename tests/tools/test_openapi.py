"""The OpenAPI document describes what the gateway accepts and sends."""

import json
import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from starlette.routing import Route

from gateway import reference
from gateway.contracts import public_services
from gateway.edge.logs.sockets import PATH as SOCKET
from gateway.edge.logs.surface import ROUTES
from gateway.edge.openai import chat_request, embeddings, response_request
from gateway.edge.openai.response_turn import PATH as RESPONSES
from gateway.pages import PATHS, Pages
from gateway.xds.bindings import bindings
from services.mesh.surfaces.surface import templates
from tests.gateway.surfaces import ANTHROPIC_API, API, EDGE
from tools.contracts import rpcs_of
from tools.openapi import ERRORS, document
from tools.openapi_edge import ANTHROPIC_FAILURES, FAILURES

# What the paths of the edge begin with.
PREFIXES = tuple({each.literal for surface in EDGE for each in templates(surface)})
GEN = Path(__file__).parents[2] / "gen"
DOCUMENT = document((GEN / "descriptors.binpb").read_bytes())
RPCS = rpcs_of((GEN / "descriptors.binpb").read_bytes())
UNDESCRIBED = {
    *(
        "access_programs",
        "audio",
        "client_metadata",
        "context_management",
        "function_call",
        "functions",
        "image",
        "logit_bias",
    ),
    *("modalities", "moderation", "prediction", "prompt", "prompt_cache_options", "reasoning", "reasoning_effort"),
    *("store", "stream_options", "verbosity", "web_search_options"),
}
SCHEMAS = DOCUMENT["components"]["schemas"]


def operations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, verbs in DOCUMENT["paths"].items():
        for verb, operation in verbs.items():
            yield path, verb, operation


def operation(rpc: str) -> dict[str, Any]:
    """The first operation of an RPC, `service.rpc` without the package's `soma.`."""
    return next(each for _, _, each in operations() if each["operationId"] == f"soma.{rpc}")


def examples() -> Iterator[tuple[str, dict[str, Any], Any]]:
    """Every example, with its schema."""
    for _, _, each in operations():
        bodies = [each["requestBody"]] if "requestBody" in each else []
        for holder in (*bodies, each["responses"].get("200", {})):
            for kind, content in holder.get("content", {}).items():
                if "example" in content and kind == "application/json":
                    yield each["operationId"], content["schema"], content["example"]
                elif "example" in content and kind == "text/event-stream":
                    data = content["schema"]["properties"]["data"]
                    schema = data.get("contentSchema") or data["anyOf"][1]["contentSchema"]
                    for line in re.findall(r"data: (\{.*)\n\n", content["example"]):
                        yield each["operationId"], schema, json.loads(line)


def fits(schema: Any, value: Any) -> bool:
    whole = {**schema, "components": DOCUMENT["components"]}
    return jsonschema_rs.validator_for(whole).is_valid(value)


def test_the_committed_document_matches_the_contracts() -> None:
    assert json.loads((GEN / "openapi.json").read_text()) == json.loads(json.dumps(DOCUMENT))


def test_every_public_rpc_is_described_and_no_other() -> None:
    described = {
        each["operationId"].rstrip("0123456789")
        for _, _, each in operations()
        if each["operationId"].startswith("soma.")
    }
    offered = {
        rpc.name
        for rpc in RPCS
        if rpc.has_http and rpc.access != "internal" and not rpc.name.startswith("soma.testing.")
    }
    assert described == offered
    assert {tag["name"] for tag in DOCUMENT["tags"]} == {name.rpartition(".")[0] for name in described} | {
        "anthropic",
        "gateway",
        "openai",
    }


def test_every_schema_exists_that_is_referred_to_and_no_other() -> None:
    text = json.dumps(DOCUMENT)
    schemas = set(re.findall(r'"#/components/schemas/([^"]+)"', text))
    responses = set(re.findall(r'"#/components/responses/([^"]+)"', text))
    assert schemas == set(SCHEMAS)
    assert responses == set(DOCUMENT["components"]["responses"])


def test_every_operation_says_who_may_call_it_and_how_it_fails() -> None:
    scopes = {rpc.name: rpc.scope for rpc in RPCS}
    anybody = {rpc.name for rpc in RPCS if rpc.access == "open"}
    for path, verb, each in operations():
        failures = {status for status in each["responses"] if status != "200"}
        if "openai" in each["tags"]:
            assert path.startswith(PREFIXES)
            handshake = {"101", "426"} if (verb, path) == ("get", RESPONSES) else set()
            assert failures <= {str(status) for status in FAILURES} | handshake
            continue
        if "anthropic" in each["tags"]:
            assert failures <= {str(status) for status in ANTHROPIC_FAILURES}
            continue
        if "gateway" in each["tags"]:
            assert failures <= {"101", "304", "401", "426", "500", "503"}
            continue
        assert each.get("x-soma-scope", "") == scopes[each["operationId"].rstrip("0123456789")]
        assert ("security" in each) == (each["operationId"] in anybody)
        unread = set() if "requestBody" in each else {"415"}
        assert failures == {str(status) for status in ERRORS} - unread, (path, verb)


def test_what_the_gateway_sends_for_an_error_fits() -> None:
    detail = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "X", "domain": "soma", "metadata": {}}
    error = {"code": 404, "status": "NOT_FOUND", "message": "m", "details": [detail]}
    assert fits({"$ref": "#/components/schemas/Error"}, {"error": error})
    assert not fits({"$ref": "#/components/schemas/Error"}, error)
    for name, response in DOCUMENT["components"]["responses"].items():
        content = response["content"]["application/json"]
        assert fits(content["schema"], content["example"]), name


@pytest.mark.parametrize(("name", "schema", "example"), list(examples()), ids=lambda value: str(value)[:60])
def test_an_example_fits_its_schema(name: str, schema: Any, example: Any) -> None:
    assert fits(schema, example), name


def test_a_body_of_the_contract_fits_and_one_that_breaks_it_does_not() -> None:
    schema = operation("memory.v1.MemoryService.Remember")["requestBody"]["content"]["application/json"]["schema"]
    assert fits(schema, {"key": "a", "value": [1, {"b": None}], "metadata": {"x": 1}, "ttl_seconds": 1})
    wrong: list[Any] = [{}, {"key": "", "value": 1}, {"key": "a" * 513, "value": 1}, {"key": "a", "value": 1, "x": 1}]
    wrong += [{"key": "a", "value": 1, "ttl_seconds": bad} for bad in (0, 2**31, "1", 1.5)]
    for body in wrong:
        assert not fits(schema, body), body


def test_enums_are_names_and_the_refused_ones_are_left_out() -> None:
    schema = operation("orchestrator.v1.ChatService.Chat")["requestBody"]["content"]["application/json"]["schema"]
    for role, good in (("ROLE_USER", True), ("ROLE_UNSPECIFIED", False), ("user", False), (2, False)):
        assert fits(schema, {"messages": [{"role": role}]}) == good


def test_a_field_of_the_path_is_no_field_of_the_body() -> None:
    append = operation("memory.v1.MemoryService.AppendMessages")
    schema = append["requestBody"]["content"]["application/json"]["schema"]
    assert set(schema["properties"]) == {"messages", "request_id"}
    assert [(each["name"], each["in"]) for each in append["parameters"]] == [("conversation_id", "path")]


def test_fields_that_are_not_in_the_path_or_body_are_in_the_query() -> None:
    listed = operation("memory.v1.MemoryService.ListMessages")["parameters"]
    places = {each["name"]: (each["in"], each["required"]) for each in listed}
    assert places == {
        "conversation_id": ("path", True),
        "page_size": ("query", False),
        "page_token": ("query", False),
    }
    assert next(each for each in listed if each["name"] == "page_size")["schema"]["maximum"] == 1000


def test_a_server_stream_is_events_of_its_messages() -> None:
    content = operation("orchestrator.v1.ChatService.Chat")["responses"]["200"]["content"]
    data = content["text/event-stream"]["schema"]["properties"]["data"]
    assert data["contentSchema"] == {"$ref": "#/components/schemas/soma.orchestrator.v1.ChatResponse"}
    event = SCHEMAS["soma.orchestrator.v1.ChatResponse"]["oneOf"]
    assert {"required": ["heartbeat"]} in event
    assert not fits(data["contentSchema"], {"sequence": 1, "heartbeat": {}, "delta": {"text": "a"}})


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("OpenAIChatRequest", chat_request.ChatCompletionRequest.__annotations__),
        ("OpenAIResponseRequest", response_request.ResponseRequest.__annotations__),
        ("OpenAIEmbeddingRequest", embeddings.EmbeddingRequest.__annotations__),
    ],
)
def test_what_the_edge_reads_is_described_and_nothing_else(name: str, read: Collection[str]) -> None:
    described = set(SCHEMAS[name]["properties"])
    assert described <= set(read)
    # The other fields are refused by name, or they change no answer.
    assert set(read) - described <= UNDESCRIBED


def test_every_path_of_the_edge_is_described_with_each_method() -> None:
    described = {(verb.upper(), path) for path, verb, _ in operations() if path.startswith(PREFIXES)}
    # The handshake of the WebSocket is described as a GET.
    described.discard(("GET", RESPONSES))
    assert described == {(route.method, route.template) for route in (*API.routes, *ANTHROPIC_API.routes, *ROUTES)}
    assert SOCKET in DOCUMENT["paths"]


def test_every_page_of_the_gateway_is_described_under_each_of_its_paths() -> None:
    nothing: Any = None
    served = {route.path for route in Pages(nothing, (), nothing, nothing, "").app().routes if isinstance(route, Route)}
    # Files that a page loads are not described.
    served = {path for path in served if not path.startswith(tuple(f"{page}/" for page in reference.PAGES))}
    assert served == {*PATHS, *reference.PAGES}
    described = {path for path, _, each in operations() if "gateway" in each["tags"]}
    assert described - {SOCKET} == served


def test_an_alias_is_described_as_the_path_it_stands_for() -> None:
    for path in ("/health", "/ready", "/metrics"):
        first, alias = DOCUMENT["paths"][path]["get"], DOCUMENT["paths"][f"/api/v1{path}"]["get"]
        assert {**alias, "operationId": first["operationId"]} == first
        assert alias["operationId"] == f"{first['operationId']}2"


def test_every_binding_is_described_under_its_path() -> None:
    described = {(verb.upper(), path) for path, verb, each in operations() if each["operationId"].startswith("soma.")}
    offered = set(public_services())
    bound = [each for each in bindings((GEN / "descriptors.binpb").read_bytes()) if each.service in offered]
    # A variable is the last part of its field's path there.
    assert described == {(each.verb, re.sub(r"\{(?:\w+\.)*(\w+)[^}]*\}", r"{\1}", each.template)) for each in bound}


def test_every_rpc_and_every_path_of_the_edge_has_an_example_of_what_it_answers() -> None:
    without = {
        each["operationId"]
        for _, _, each in operations()
        for content in each["responses"].get("200", {}).get("content", {}).values()
        if "example" not in content
    }
    # Text and pages, and the document itself.
    assert without == {"getMetrics", "getMetrics2", "getDocument", "getDocs", "getRedoc"}
