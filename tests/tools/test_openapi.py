"""The OpenAPI document says what the gateway does."""

from typing import Any

from tools.contracts import Rpc
from tools.openapi import describe

SCHEMA = {"$ref": "#/components/schemas/x"}


def document(*names: str) -> dict[str, Any]:
    def operation(name: str) -> dict[str, Any]:
        responses = {"200": {"description": "Success", "content": {"application/json": {"schema": SCHEMA}}}}
        return {"operationId": name, "tags": [name.rpartition(".")[0]], "responses": responses}

    return {
        "paths": {f"/{name}": {"post": operation(name)} for name in names},
        "tags": [{"name": tag} for tag in sorted({name.rpartition(".")[0] for name in names})],
        "components": {"schemas": {}},
    }


def rpc(name: str, access: str = "scope", streaming: bool = False) -> Rpc:
    return Rpc(name, access, "read:x" if access == "scope" else "", True, False, streaming)


def test_a_server_stream_is_described_as_an_event_stream() -> None:
    described = describe(document("soma.x.v1.X.Watch"), [rpc("soma.x.v1.X.Watch", streaming=True)])
    content = described["paths"]["/soma.x.v1.X.Watch"]["post"]["responses"]["200"]["content"]
    assert content == {"text/event-stream": {"schema": SCHEMA}}


def test_every_operation_names_its_error_and_its_scope() -> None:
    described = describe(document("soma.x.v1.X.Get"), [rpc("soma.x.v1.X.Get")])
    operation = described["paths"]["/soma.x.v1.X.Get"]["post"]
    assert operation["responses"]["default"] == {"$ref": "#/components/responses/error"}
    assert operation["x-soma-scope"] == "read:x"
    assert "security" not in operation
    assert "error" in described["components"]["responses"]


def test_an_open_rpc_asks_for_no_credential() -> None:
    described = describe(document("soma.x.v1.X.Login"), [rpc("soma.x.v1.X.Login", access="open")])
    assert described["paths"]["/soma.x.v1.X.Login"]["post"]["security"] == []


def test_an_additional_binding_is_the_same_rpc() -> None:
    described = describe(document("soma.x.v1.X.Watch2"), [rpc("soma.x.v1.X.Watch", streaming=True)])
    assert "text/event-stream" in described["paths"]["/soma.x.v1.X.Watch2"]["post"]["responses"]["200"]["content"]


def test_internal_and_testing_rpcs_are_left_out_with_their_tags() -> None:
    names = ("soma.x.v1.X.Get", "soma.mesh.v1.R.Register", "soma.testing.v1.E.Echo")
    described = describe(document(*names), [rpc(names[0]), rpc(names[1], access="internal"), rpc(names[2])])
    assert list(described["paths"]) == ["/soma.x.v1.X.Get"]
    assert described["tags"] == [{"name": "soma.x.v1.X"}]
