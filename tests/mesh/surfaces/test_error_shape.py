"""Error shapes: how errors look, in the service and in Envoy, and which shapes are refused."""

from typing import Any

import pytest
from soma.mesh.v1 import surface_pb2 as pb

from services.mesh.surfaces.error_shape import REST, ErrorShape, read

CLAUDE = ErrorShape(
    {"type": "error", "error": {"type": "{kind}", "message": "{message}"}, "request_id": "{request_id}"},
    kinds={400: "invalid_request_error", 404: "not_found_error", 500: "api_error", 529: "overloaded_error"},
    statuses={503: 529},
    headers={"request-id": "{request_id}", "x-share": "100%"},
)
RPC = ErrorShape(
    {
        "jsonrpc": "2.0",
        "id": None,
        "error": {
            "code": "{kind}",
            "message": "{canonical}: {message}",
            "data": {"http": "{status}", "why": "{reason}"},
        },
    },
    kinds={400: -32600, 500: -32603},
)
AWAY: dict[str, Any] = {"canonical": "UNAVAILABLE", "reason": "NO_LIVE_INSTANCE", "message": "nobody is there"}


def test_an_error_has_the_shape_with_its_placeholders_filled_in() -> None:
    stated = CLAUDE.stated(503, **AWAY, request_id="r-1")
    assert stated.status == 529
    assert stated.body == {
        "type": "error",
        "error": {"type": "overloaded_error", "message": "nobody is there"},
        "request_id": "r-1",
    }
    assert stated.headers == {"request-id": "r-1", "x-share": "100%"}


def test_a_placeholder_alone_keeps_the_type_of_its_value_and_becomes_text_within_text() -> None:
    stated = RPC.stated(503, **AWAY)
    assert stated.body == {
        "jsonrpc": "2.0",
        "id": None,
        "error": {
            "code": -32603,
            "message": "UNAVAILABLE: nobody is there",
            "data": {"http": 503, "why": "NO_LIVE_INSTANCE"},
        },
    }


@pytest.mark.parametrize(
    ("status", "kind"), [(400, "invalid_request_error"), (409, "invalid_request_error"), (404, "not_found_error")]
)
def test_a_status_without_its_own_kind_has_the_kind_of_its_class(status: int, kind: str) -> None:
    assert CLAUDE.stated(status, canonical="X", reason="Y", message="").body["error"]["type"] == kind


def test_the_code_is_the_reason_in_lower_case_unless_its_status_has_one() -> None:
    shape = ErrorShape({"code": "{code}", "field": "{field}"}, codes={429: "rate_limit_exceeded"})

    def code(status: int, reason: str) -> Any:
        return shape.stated(status, canonical="", reason=reason, message="").body["code"]

    assert [code(404, "NO_SUCH_PATH"), code(429, "OVERLOADED"), code(500, "")] == [
        *("no_such_path", "rate_limit_exceeded", None)
    ]


def test_placeholders_in_a_message_are_not_replaced() -> None:
    stated = RPC.stated(400, canonical="A", reason="B", message="{status} {nothing}")
    assert stated.body["error"]["message"] == "A: {status} {nothing}"


def test_commands_of_envoys_format_are_kept_and_all_other_text_is_escaped() -> None:
    def escaped(text: str) -> str:
        return text.replace("%", "%%")

    shape = ErrorShape(
        {"text": "100% {message}", "kind": "{kind}", "share": "5%"}, kinds={500: "50%"}, headers={"a": "%"}
    )
    stated = shape.stated(500, canonical="A", reason="B", message="%LOCAL_REPLY_BODY%", literal=escaped)
    assert stated.body == {"text": "100%% %LOCAL_REPLY_BODY%", "kind": "50%%", "share": "5%%"}
    assert stated.headers == {"a": "%%"}


@pytest.mark.parametrize("shape", [CLAUDE, RPC, REST])
def test_an_announced_shape_is_read_as_the_same_shape(shape: ErrorShape) -> None:
    message = pb.SurfaceErrors.FromString(shape.announced().SerializeToString())
    assert read(message) == shape


def test_a_surface_without_a_shape_has_that_of_rest() -> None:
    assert read(pb.SurfaceErrors()) is REST


def test_a_shape_is_read_in_the_order_of_its_keys_whatever_the_order_of_the_message() -> None:
    names = [f"name{number}" for number in range(20)]
    message = pb.SurfaceErrors(headers=dict.fromkeys(names, "x"), codes=dict.fromkeys(range(400, 420), "c"))
    message.body.update({"error": dict.fromkeys(names, "{message}"), "also": 1})
    shape = read(message)
    assert list(shape.body) == ["also", "error"]
    assert list(shape.body["error"]) == list(shape.headers) == sorted(names)
    assert list(shape.codes) == list(range(400, 420))


@pytest.mark.parametrize(
    ("shape", "wrong"),
    [
        ({"body": {}}, "empty"),
        ({"body": {"a": "x" * 5000}}, "larger than 4096 bytes"),
        ({"body": {"a": "{nothing}"}}, "no placeholder {nothing}"),
        ({"body": {"a": [["{}"]]}}, "no placeholder {}"),
        ({"body": {"a": {"b": {"c": {"d": {"e": {"f": {"g": {"h": 1}}}}}}}}}, "nested deeper"),
        ({"body": {"a": 1}, "kinds": {200: "fine"}}, "200 is no HTTP status"),
        ({"body": {"a": 1}, "statuses": {503: 200}}, "200 is no HTTP status"),
        ({"body": {"a": 1}, "headers": {"content-length": "1"}}, "no header that an error shape may have"),
        ({"body": {"a": 1}, "headers": {"x-soma-tenant": "1"}}, "no header that an error shape may have"),
        ({"body": {"a": 1}, "headers": {"X-Upper": "1"}}, "no header that an error shape may have"),
        ({"body": {"a": 1}, "headers": {"a": "1\r\nb: 2"}}, "no value that can be sent"),
        ({"body": {"a": 1}, "headers": {"a": "{message}"}}, "no placeholder {message}"),
    ],
)
def test_an_invalid_shape_is_refused(shape: dict[str, Any], wrong: str) -> None:
    with pytest.raises(ValueError, match=wrong):
        ErrorShape(**shape)


def test_a_kind_that_is_neither_a_string_nor_a_number_is_refused() -> None:
    message = pb.SurfaceErrors()
    message.body.update({"a": "{kind}"})
    message.kinds[400].bool_value = True
    with pytest.raises(ValueError, match="the kind of 400"):
        read(message)


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_a_number_that_json_cannot_represent_is_refused(number: float) -> None:
    messages = [pb.SurfaceErrors(), pb.SurfaceErrors()]
    for message in messages:
        message.body.update({"a": "{kind}"})
    messages[0].body["b"] = number
    messages[1].kinds[500].number_value = number
    for message in messages:
        with pytest.raises(ValueError, match="Fail to serialize"):
            read(message)
