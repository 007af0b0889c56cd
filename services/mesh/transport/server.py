"""The gRPC server of a process: its handlers, health and reflection on one TCP address."""

from collections.abc import AsyncIterable, AsyncIterator, Callable, Mapping, Sequence
from typing import Any

import grpc
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2
from grpc_reflection.v1alpha._async import ReflectionServicer
from soma.errors.v1 import reasons

from services.mesh.call import errors
from services.mesh.call.call import arrived
from services.mesh.call.handlers import collect, decoding, service_names
from services.mesh.call.interceptors.drain import Drain
from services.mesh.call.pipeline import Handler
from services.mesh.transport.limits import server_options

HEALTH = "grpc.health.v1.Health"
_REFLECTION_ALPHA = "grpc.reflection.v1alpha.ServerReflection"
# The same messages under another package; grpcio-reflection has only the older name.
_REFLECTION = "grpc.reflection.v1.ServerReflection"
_SERVING = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


class Server:
    """Serves wrapped handlers, and drains them before it stops.

    `names` says which proto services health and reflection answer for; by default those of the handlers.
    `pool` holds the contracts reflection describes; by default those this process has imported.
    """

    def __init__(
        self,
        handlers: Mapping[str, Handler],
        drain: Drain,
        *,
        max_message_bytes: int,
        names: Callable[[], list[str]] | None = None,
        pool: DescriptorPool | None = None,
    ) -> None:
        own = service_names(handlers)
        self._names = names or (lambda: own)
        self._published: set[str] = set()
        self._drain = drain
        self._health = health.aio.HealthServicer()
        self._server = grpc.aio.server(options=server_options(max_message_bytes))
        checks = collect([(health_pb2_grpc.add_HealthServicer_to_server, self._health)])
        reflection = _Reflection(lambda: [*self._names(), HEALTH], pool)
        register(self._server, {**decoding(handlers), **checks, **reflection.handlers()})

    async def start(self, address: str, credentials: grpc.ServerCredentials | None = None) -> int:
        """Listen on `host:port` (port 0 chooses a free one), in plain text without credentials; returns the port.

        Raises:
            Unavailable: the address is taken, or this machine does not have it.
        """
        try:
            if credentials is None:
                port = self._server.add_insecure_port(address)
            else:
                port = self._server.add_secure_port(address, credentials)
        except RuntimeError as error:
            raise errors.Unavailable(f"cannot listen on {address}: {error}", reason=reasons.ADDRESS_IN_USE) from error
        await self._server.start()
        return int(port)

    async def set_health(self, serving: Mapping[str, bool]) -> None:
        """Publish the state of proto services; the empty name stands for all of them together.

        A service that was named before and is missing now becomes NOT_SERVING, and its watchers get that.
        """
        gone = dict.fromkeys(self._published - serving.keys(), False)
        self._published.update(serving)
        for name, state in {**gone, **serving, "": all(serving.values())}.items():
            await self._health.set(name, _SERVING if state else _NOT_SERVING)

    async def stop(self, grace: float) -> int:
        """Wait `grace` seconds for calls to end, end the rest as UNAVAILABLE, and stop.

        Returns how many calls had to be ended. `grpc.aio`'s own `stop` would cut them off without a status.
        """
        ended = await self._drain.finish(grace)
        await self._health.enter_graceful_shutdown()
        await self._server.stop(1.0)
        return ended


class _Handlers(grpc.GenericRpcHandler):
    """Finds handlers by path."""

    def __init__(self, handlers: Mapping[str, Handler]) -> None:
        self._handlers = dict(handlers)

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> "Handler | None":
        """The handler of a call; None makes gRPC answer UNIMPLEMENTED."""
        # This runs in the task of the call, as the servicer does.
        arrived.set(handler_call_details.invocation_metadata)
        return self._handlers.get(handler_call_details.method)


def register(server: grpc.aio.Server, handlers: Mapping[str, Handler]) -> None:
    """Serve handlers on a gRPC server.

    Generated code would also register each method by itself: grpc.aio then waits for the next call of each method by
    itself, and puts up all these waits again for every call of any of them.
    """
    server.add_generic_rpc_handlers((_Handlers(handlers),))


class _Reflection:
    """Server reflection, v1alpha and v1, for the services `names` returns at the time of each call."""

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
        return {f"/{service}/ServerReflectionInfo": handler for service in (_REFLECTION, _REFLECTION_ALPHA)}

    async def _info(self, requests: AsyncIterable[Any], context: Any) -> AsyncIterator[Any]:
        servicer = ReflectionServicer(sorted({*self._names(), _REFLECTION, _REFLECTION_ALPHA}), self._pool)
        async for response in servicer.ServerReflectionInfo(requests, context):
            yield response
