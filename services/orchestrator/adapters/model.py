"""Streams a generation from the model service; leaving the stream before its end cancels it there."""

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
            MeshError: the model service's own error, whether before the first event or after.
        """
        stream = self._stub.Generate(request)
        finished: pb.GenerateResponse | None = None
        try:
            async for event in stream:
                kind = event.WhichOneof("payload")
                if kind == "finished":
                    # Held back until the stream has ended too: who has it reads no further, which would cancel a call
                    # that went well.
                    finished = event
                elif kind != "error":
                    # The typed error repeats the status for clients that cannot see it; here the status follows.
                    yield event
        finally:
            stream.cancel()
        if finished is not None:
            yield finished
