"""Server reflection, v1alpha and v1, over a list of names that may change while it is served."""

from collections.abc import AsyncIterable, AsyncIterator, Callable, Sequence
from typing import Any

import grpc
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_reflection.v1alpha import reflection_pb2
from grpc_reflection.v1alpha._async import ReflectionServicer

from services.mesh.call.pipeline import Handler

V1ALPHA = "grpc.reflection.v1alpha.ServerReflection"
# The same messages under another package; grpcio-reflection has only the older name.
V1 = "grpc.reflection.v1.ServerReflection"


class Reflection:
    """Answers for the services `names` returns at the time of each call."""

    def __init__(self, names: Callable[[], Sequence[str]], pool: DescriptorPool | None = None) -> None:
        """Describe from `pool`; from the contracts this process has imported when there is none."""
        self._names = names
        self._pool = pool

    def handlers(self) -> dict[str, Handler]:
        """Both versions, by path."""
        handler = grpc.stream_stream_rpc_method_handler(
            self._info,
            request_deserializer=reflection_pb2.ServerReflectionRequest.FromString,
            response_serializer=reflection_pb2.ServerReflectionResponse.SerializeToString,
        )
        return {f"/{service}/ServerReflectionInfo": handler for service in (V1, V1ALPHA)}

    async def _info(self, requests: AsyncIterable[Any], context: Any) -> AsyncIterator[Any]:
        servicer = ReflectionServicer(sorted({*self._names(), V1, V1ALPHA}), self._pool)
        async for response in servicer.ServerReflectionInfo(requests, context):
            yield response
