"""Which JSON bodies are refused before they are transcoded; the message has fields of every kind."""

import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import grpc
import httpx
import pytest
from google.api import annotations_pb2
from google.protobuf import any_pb2, struct_pb2
from google.protobuf.descriptor_pb2 import FieldDescriptorProto as Field
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from google.rpc import error_details_pb2

from gateway.xds.snapshot import Endpoint
from tests.gateway.conftest import Gateway, descriptor_set
from tests.gateway.xds.test_rest import error_of

SERVICE = "soma.lab.v1.LabService"
WHOLE = "/v1/lab/all"
PART = "/v1/lab/{name}"


def lab_descriptors() -> bytes:
    """Descriptors of a service whose request has a map, a list, a oneof, free-form JSON, and a field for a body."""
    file = FileDescriptorProto(name="soma/lab/v1/lab.proto", package="soma.lab.v1", syntax="proto3")
    imported = [annotations_pb2.DESCRIPTOR, any_pb2.DESCRIPTOR, struct_pb2.DESCRIPTOR, error_details_pb2.DESCRIPTOR]
    file.dependency.extend(each.name for each in imported[:3])
    inner = file.message_type.add(name="Inner")
    inner.field.add(name="long_name", json_name="longName", number=1, type=Field.TYPE_STRING, label=1)
    inner.field.add(name="again", number=2, type=Field.TYPE_MESSAGE, type_name=".soma.lab.v1.Inner", label=1)
    request = file.message_type.add(name="TryRequest")
    entry = request.nested_type.add(name="ByNameEntry")
    entry.options.map_entry = True
    entry.field.add(name="key", number=1, type=Field.TYPE_STRING, label=1)
    entry.field.add(name="value", number=2, type=Field.TYPE_MESSAGE, type_name=".soma.lab.v1.Inner", label=1)
    kinds = {
        "by_name": (".soma.lab.v1.TryRequest.ByNameEntry", 3),
        "several": (".soma.lab.v1.Inner", 3),
        "inner": (".soma.lab.v1.Inner", 1),
        "free": (".google.protobuf.Struct", 1),
        "value": (".google.protobuf.Value", 1),
        "packed": (".google.protobuf.Any", 1),
    }
    for number, (name, (kind, label)) in enumerate(kinds.items(), start=1):
        json_name = "byName" if name == "by_name" else name
        field = {"number": number, "type": Field.TYPE_MESSAGE, "type_name": kind, "label": label}
        request.field.add(name=name, json_name=json_name, **field)
    request.field.add(name="name", number=7, type=Field.TYPE_STRING, label=1)
    request.field.add(name="count", number=10, type=Field.TYPE_INT32, label=1)
    request.field.add(name="share", number=11, type=Field.TYPE_DOUBLE, label=1)
    request.field.add(name="flag", number=12, type=Field.TYPE_BOOL, label=1)
    request.oneof_decl.add(name="choice")
    for number, name in enumerate(("left", "right"), start=8):
        request.field.add(name=name, number=number, type=Field.TYPE_STRING, label=1, oneof_index=0)
    file.message_type.add(name="TryResponse")
    types = {"input_type": ".soma.lab.v1.TryRequest", "output_type": ".soma.lab.v1.TryResponse"}
    method = file.service.add(name="LabService").method.add(name="Try", **types)
    rule = method.options.Extensions[annotations_pb2.http]
    rule.post, rule.body = WHOLE, "*"
    rule.additional_bindings.add(put=PART, body="inner")
    rule.additional_bindings.add(patch=PART, body="free")
    described = FileDescriptorSet.FromString(descriptor_set(*imported))
    described.file.append(file)
    return described.SerializeToString()


LAB = lab_descriptors()


@contextlib.asynccontextmanager
async def accepting_backend() -> AsyncIterator[Endpoint]:
    """A backend that answers every call with an empty message."""

    async def answer(request: bytes, context: Any) -> bytes:
        return b""

    server = grpc.aio.server()
    handlers: Any = {"Try": grpc.unary_unary_rpc_method_handler(answer)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield Endpoint("127.0.0.1", port)
    await server.stop(grace=None)


async def answer_to(envoy: Gateway, body: str) -> httpx.Response:
    """The answer to a body."""
    async with accepting_backend() as backend:
        await envoy.publish(services={SERVICE: (backend,)}, descriptor_set=LAB)
        return await envoy.http.post(WHOLE, content=body.encode())


FINE = (
    "{}",
    ' {\n"name" :\t"a" } ',
    '{"inner": {"long_name": "a", "again": {"longName": "b"}}}',
    '{"byName": {"any": {"long_name": "a"}, "name": {}}, "several": [{}, {"again": null}]}',
    '{"free": {"whatever": {"long_name": [1, -0.5e+3, true, false, null, "\\"\\\\\\u00e9"]}}, "value": [{"a": {}}]}',
    '{"packed": {"@type": "type.googleapis.com/soma.lab.v1.Inner", "long_name": "a"}}',
    '{"free": {"a": 9007199254740992, "b": -9007199254740992}, "value": [0.1, 1e22, 1.7976931348623157e308, 1e-400]}',
    '{"value": 9007199254740993.5}',
    '{"left": "a"}',
    '{"na\\u006de": "a"}',
    '{"name": "ä☃\U0001f469\u200d🚀"}',
    '{"value": ' + "[" * 31 + "]" * 31 + "}",
    '{"value": ' + '{"a":' * 31 + "1" + "}" * 31 + "}",
)


async def test_json_of_the_contract_passes(envoy: Gateway) -> None:
    async with accepting_backend() as backend:
        await envoy.publish(services={SERVICE: (backend,)}, descriptor_set=LAB)
        for body in FINE:
            assert json.loads(body) is not None
            reply = await envoy.http.post(WHOLE, content=body.encode())
            assert (reply.status_code, reply.text) == (200, "{}"), (body, reply.text)
        for path in ("/v1/lab/a", "/v1/lab/b%20c"):
            reply = await envoy.http.put(path, content=b'{"long_name": "x"}')
            assert reply.status_code == 200, reply.text


WRONG = (
    ('{"nam": "a"}', "UNKNOWN_FIELD", "nam"),
    ('{"inner": {"again": {"long": 1}}}', "UNKNOWN_FIELD", "inner.again.long"),
    ('{"several": [{}, {"long_name": "a", "x": 1}]}', "UNKNOWN_FIELD", "several[1].x"),
    ('{"by_name": {"k": {"x": 1}}}', "UNKNOWN_FIELD", "by_name.k.x"),
    ('{"*": 1}', "UNKNOWN_FIELD", "*"),
    ('{"name": "a", "name": "b"}', "DUPLICATE_FIELD", "name"),
    ('{"inner": {"long_name": "a", "longName": "b"}}', "DUPLICATE_FIELD", "inner.longName"),
    ('{"name": "a", "na\\u006de": "b"}', "DUPLICATE_FIELD", "name"),
    ('{"by_name": {"k": {}, "k": {}}}', "DUPLICATE_FIELD", "by_name.k"),
    ('{"free": {"a": {"b": 1, "b": 2}}}', "DUPLICATE_FIELD", "free.a.b"),
    ('{"value": ' + "[" * 40 + "]" * 40 + "}", "TOO_DEEP", "value" + "[0]" * 31),
    ('{"value": ' + "[" * 1_000_000, "TOO_DEEP", "value" + "[0]" * 31),
    ('{"value": 9007199254740993}', "NUMBER_NOT_EXACT", "value"),
    ('{"free": {"id": 1768907445451174114}}', "NUMBER_NOT_EXACT", "free.id"),
    ('{"free": {"a": [{"b": 0}, {"b": -9007199254740993 }]}}', "NUMBER_NOT_EXACT", "free.a[1].b"),
    ('{"value": [10000000000000000000000]}', "NUMBER_NOT_EXACT", "value[0]"),
    ('{"value": [1, -1e309]}', "NUMBER_OUT_OF_RANGE", "value[1]"),
    ('{"value": ' + "9" * 400 + ".0}", "NUMBER_OUT_OF_RANGE", "value"),
    ('{"share": 1e400}', "NUMBER_OUT_OF_RANGE", "share"),
)


async def test_an_unknown_or_repeated_field_is_refused_by_its_name(envoy: Gateway) -> None:
    async with accepting_backend() as backend:
        await envoy.publish(services={SERVICE: (backend,)}, descriptor_set=LAB)
        for body, reason, field in WRONG:
            reply = await envoy.http.post(WHOLE, content=body.encode())
            assert reply.status_code == 400, (body[:99], reply.text)
            error = error_of(reply)
            info, bad = error["details"]
            assert (error["status"], info["reason"]) == ("INVALID_ARGUMENT", reason), (body[:99], error)
            assert bad["field_violations"] == [{"field": field, "description": error["message"]}]
            assert error["message"].startswith(f"{field}: ")
        reply = await envoy.http.put("/v1/lab/a", content=b'{"name": "x"}')
        assert error_of(reply)["details"][1]["field_violations"][0]["field"] == "name"
        reply = await envoy.http.patch("/v1/lab/a", content=b'{"id": 9007199254740993}')
        assert error_of(reply)["details"][1]["field_violations"][0]["field"] == "id"


NO_SUCH_NUMBERS = (
    *('{"count": 1.5}', '{"count": 3e9}', '{"count": 2147483648}', '{"count": "1.5"}', '{"count": true}'),
    *('{"flag": 1}', '{"share": "much"}', '{"name": 5}'),
)


async def test_a_number_its_field_cannot_hold_is_refused_by_its_name(envoy: Gateway) -> None:
    async with accepting_backend() as backend:
        await envoy.publish(services={SERVICE: (backend,)}, descriptor_set=LAB)
        for body in NO_SUCH_NUMBERS:
            reply = await envoy.http.post(WHOLE, content=body.encode())
            assert reply.status_code == 400, (body, reply.text)
            (field,) = json.loads(body)
            error = error_of(reply)
            assert (error["status"], error["message"].partition(":")[0]) == ("INVALID_ARGUMENT", field)


MALFORMED = (
    *("{", '{"name"', '{"name":', '{"name": "a', '{"name": "a"', '{"name": "a",}', '{"name": "a"} x', "{} {}", " "),
    *("{'name': 'a'}", "{name: 1}", '{"name": "a\nb"}', '{"name": "\\', '{"name" "a"}', '{"name": "a" "left": "b"}'),
    *('{"value": NaN}', '{"value": Infinity}', '{"value": 01}', '{"value": +1}', '{"value": .5}', '{"value": tru}'),
    *(
        '{"value": [1,]}',
        '{"value": [1',
        '{"value": [1 2]}',
        '{"value": 1.}',
        '{"value": 1e}',
        '{"value": -}',
        "\ufeff{}",
    ),
    *("<a/>", "null x", '{"name": "a\0"}'),
)


async def test_invalid_json_that_the_transcoder_would_accept_is_refused(envoy: Gateway) -> None:
    async with accepting_backend() as backend:
        await envoy.publish(services={SERVICE: (backend,)}, descriptor_set=LAB)
        for body in MALFORMED:
            reply = await envoy.http.post(WHOLE, content=body.encode())
            assert reply.status_code == 400, (body, reply.text)
            assert error_of(reply)["details"][0]["reason"] == "MALFORMED_JSON", (body, reply.text)


# The transcoder refuses these, and the messages are its own.
UNFIT = ("[]", "5", '"x"', '{"name": "\\ud800"}', '{"name": {}}', '{"left": "a", "right": "b"}')


async def test_json_of_another_type_is_refused(envoy: Gateway) -> None:
    async with accepting_backend() as backend:
        await envoy.publish(services={SERVICE: (backend,)}, descriptor_set=LAB)
        for body in (*(each.encode() for each in UNFIT), b'{"name": "\xff"}'):
            reply = await envoy.http.post(WHOLE, content=body)
            assert reply.status_code == 400, (body, reply.text)
            assert error_of(reply)["message"]


async def test_a_compressed_body_is_never_unpacked(envoy: Gateway) -> None:
    async with accepting_backend() as backend:
        await envoy.publish(services={SERVICE: (backend,)}, descriptor_set=LAB)
        reply = await envoy.http.post(WHOLE, content=b"\x1f\x8b\x08", headers={"content-encoding": "gzip"})
        plain = await envoy.http.post(WHOLE, content=b"{}", headers={"content-encoding": "identity"})
    assert reply.status_code == 415
    assert error_of(reply)["details"][0]["reason"] == "UNSUPPORTED_ENCODING"
    assert plain.status_code == 200


@pytest.mark.parametrize("body", ['{"value": "' + "x" * 4_000_000 + '"}', '{"value": [' + "1," * 300_000 + "1]}"])
async def test_a_large_body_passes(envoy: Gateway, body: str) -> None:
    reply = await answer_to(envoy, body)
    assert reply.status_code == 200, reply.text[:200]


async def test_json_whose_message_is_larger_than_the_limit_is_refused(envoy: Gateway) -> None:
    reply = await answer_to(envoy, '{"value": [' + "1," * 500_000 + "1]}")
    assert reply.status_code == 413, reply.text
    error = error_of(reply)
    assert (error["status"], error["details"][0]["reason"]) == ("RESOURCE_EXHAUSTED", "PAYLOAD_TOO_LARGE")
