"""Connections to a Triton server, and whether it serves. It imports neither numpy nor Triton's client library."""

import re
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from soma.errors.v1 import reasons

from services.mesh.call.errors import FailedPrecondition, Unavailable
from services.model.adapters.triton.address import Address, address
from services.model.adapters.triton.settings import TritonSettings

METADATA = "/inference.GRPCInferenceService/ServerMetadata"
_VERSION = re.compile(rb"\d+\.\d+\.\d+")


def credentials(settings: TritonSettings) -> grpc.ChannelCredentials | None:
    """The credentials for the server of the settings; None without TLS.

    Raises:
        FailedPrecondition: a file cannot be read, or only one of certificate and key is given.
    """
    if not address(settings.url).secure:
        return None
    if (settings.cert_file is None) != (settings.key_file is None):
        raise FailedPrecondition(
            "cert_file and key_file of [triton] are given together or not at all",
            reason=reasons.TRITON_SETTINGS_INVALID,
        )
    files = (settings.ca_file, settings.key_file, settings.cert_file)
    try:
        return grpc.ssl_channel_credentials(*(each.read_bytes() if each else None for each in files))
    except OSError as error:
        raise FailedPrecondition(
            f"a file of [triton] cannot be read: {error}", reason=reasons.TRITON_SETTINGS_INVALID
        ) from error


class Watch:
    """A connection that only asks whether the server at an address serves; `close` ends it."""

    def __init__(self, where: Address, trusted: grpc.ChannelCredentials | None = None) -> None:
        # A connection of its own, so that another user's closed connection is not shared. After a failure, gRPC would
        # wait longer and longer before it tries again.
        options = [("grpc.use_local_subchannel_pool", 1), ("grpc.max_reconnect_backoff_ms", 500)]
        self._channel = (
            grpc.aio.insecure_channel(where.target, options)
            if trusted is None
            else grpc.aio.secure_channel(where.target, trusted, options)
        )
        self._health: Any = health_pb2_grpc.HealthStub(self._channel)
        self._metadata: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = self._channel.unary_unary(METADATA)

    async def check(self, seconds: float) -> None:
        """Return if the server serves.

        Raises:
            Unavailable: it does not, or does not answer in `seconds`.
        """
        try:
            answer = await self._health.Check(health_pb2.HealthCheckRequest(), timeout=seconds)
        except grpc.RpcError as error:
            raise _away(error) from error
        if answer.status != health_pb2.HealthCheckResponse.SERVING:
            raise Unavailable("Triton is not ready", reason=reasons.PROVIDER_UNAVAILABLE)

    async def version(self, seconds: float) -> str | None:
        """The version of the server, such as 2.51.0.

        Raises:
            Unavailable: it does not answer in `seconds`.
        """
        try:
            # The answer begins with the server's name and version; its type would need Triton's client library.
            answer = await self._metadata(b"", timeout=seconds)
        except grpc.RpcError as error:
            raise _away(error) from error
        found = _VERSION.search(answer)
        return found.group().decode() if found else None

    async def close(self) -> None:
        """Close the connection."""
        await self._channel.close()


def _away(error: grpc.RpcError) -> Unavailable:
    said = str(error.details()) if isinstance(error, grpc.aio.AioRpcError) else str(error)
    return Unavailable(f"Triton does not answer: {said}", reason=reasons.PROVIDER_UNAVAILABLE)
