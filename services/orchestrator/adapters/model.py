"""Streams a generation from the model service; leaving the stream early cancels it there."""

from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING

from soma.model.v1 import model_service_pb2 as pb

if TYPE_CHECKING:
    from soma.model.v1.model_service_pb2_grpc import ModelServiceAsyncStub


class Models:
    """Generates text."""

    def __init__(self, stub: "ModelServiceAsyncStub") -> None:
        self._stub = stub

    async def generate(self, request: pb.GenerateRequest) -> AsyncGenerator[pb.GenerateResponse, None]:
        """The events of one generation.

        Raises:
            AioRpcError: the model service's own error, whether before the first event or after.
        """
        stream = self._stub.Generate(request)
        try:
            async for event in stream:
                # The typed error repeats the status for clients that cannot see it; here the status follows.
                if event.WhichOneof("payload") != "error":
                    yield event
        finally:
            stream.cancel()
