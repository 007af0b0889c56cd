"""Calls any method by its descriptor: JSON in, JSON out."""

import json
from collections.abc import AsyncIterator, Sequence
from typing import Any

import grpc
from google.protobuf import json_format
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from soma.errors.v1 import reasons

from services.mesh.call.errors import InvalidArgument, MeshError


def requests(method: MethodDescriptor, text: str, pool: DescriptorPool) -> list[Message]:
    """The request messages in the JSON `text`: one object, or an array of objects for a client stream.

    Raises:
        InvalidArgument: the text is not JSON, or does not match the method's request.
    """
    kind = GetMessageClass(method.input_type)
    try:
        parsed = json.loads(text)
        objects = parsed if method.client_streaming and isinstance(parsed, list) else [parsed]
        if not all(isinstance(each, dict) for each in objects):
            raise json_format.ParseError("not a JSON object")
        return [json_format.ParseDict(each, kind(), descriptor_pool=pool) for each in objects]
    except (json.JSONDecodeError, json_format.ParseError) as error:
        raise InvalidArgument(
            f"not a {method.input_type.full_name}: {error}", reason=reasons.REQUEST_MALFORMED
        ) from error


async def call(
    channel: grpc.aio.Channel,
    method: MethodDescriptor,
    messages: Sequence[Message],
    *,
    metadata: Sequence[tuple[str, str]],
    timeout: float,
) -> AsyncIterator[Message]:
    """Call the method and yield its responses as they arrive. A failed call raises the channel's error."""
    path = f"/{method.containing_service.full_name}/{method.name}"
    kinds = {
        "request_serializer": lambda message: message.SerializeToString(),
        "response_deserializer": GetMessageClass(method.output_type).FromString,
    }
    send: Any = iter(messages) if method.client_streaming else messages[0]
    options: dict[str, Any] = {"metadata": metadata, "timeout": timeout}
    if method.server_streaming:
        start = channel.stream_stream if method.client_streaming else channel.unary_stream
        stream: Any = start(path, **kinds)(send, **options)
        try:
            async for message in stream:
                yield message
        finally:
            stream.cancel()
    else:
        ask = channel.stream_unary if method.client_streaming else channel.unary_unary
        answer: Any = ask(path, **kinds)(send, **options)
        yield await answer


def to_json(message: Message, pool: DescriptorPool, *, indent: int | None) -> str:
    """A message as JSON, with the contract's field names and all fields without presence."""
    values = json_format.MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True, descriptor_pool=pool
    )
    return json.dumps(values, indent=indent, ensure_ascii=False)


def error_to_json(error: MeshError) -> str:
    """A typed error as JSON."""
    violations = [{"field": v.field, "description": v.description} for v in error.facts.violations]
    facts: dict[str, Any] = {"code": int(error.code), "status": error.code.name, "reason": error.reason}
    facts |= {"message": error.message, "metadata": error.facts.metadata or None, "violations": violations or None}
    facts |= {"retry_after": error.facts.retry_after}
    return json.dumps({"error": {k: v for k, v in facts.items() if v is not None}}, indent=2, ensure_ascii=False)
