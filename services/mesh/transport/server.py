"""The gRPC server of a process: its handlers, health and reflection on one TCP address."""

from collections.abc import Callable, Mapping

import grpc
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from soma.errors.v1 import reasons

from services.mesh.call import errors
from services.mesh.call.handlers import collect, decoding, register, service_names
from services.mesh.call.interceptors.drain import Drain
from services.mesh.call.pipeline import Handler
from services.mesh.transport.limits import server_options
from services.mesh.transport.reflection import Reflection

HEALTH = "grpc.health.v1.Health"
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
        reflection = Reflection(lambda: [*self._names(), HEALTH], pool)
        register(self._server, {**decoding(handlers), **checks, **reflection.handlers()})

    async def start(self, address: str, credentials: grpc.ServerCredentials | None = None) -> int:
        """Listen on `host:port` (port 0 chooses a free one), in plain text without credentials; returns the port.

        Raises:
            Unavailable: the address is taken or not ours.
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

        One that was named before and is not now is gone: whoever watches it is told.
        """
        gone = dict.fromkeys(self._published - serving.keys(), False)
        self._published.update(serving)
        for name, state in {**gone, **serving, "": all(serving.values())}.items():
            await self._health.set(name, _SERVING if state else _NOT_SERVING)

    async def stop(self, grace: float) -> int:
        """Wait `grace` seconds for calls to end, end the rest as UNAVAILABLE, and stop.

        Returns how many calls had to be ended. `grpc.aio`'s own `stop` would drop them without a word.
        """
        ended = await self._drain.finish(grace)
        await self._health.enter_graceful_shutdown()
        await self._server.stop(1.0)
        return ended
