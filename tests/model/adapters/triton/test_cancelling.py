"""A caller that leaves a model of the vLLM backend: newer servers are told by a cancelled call, older ones never."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
from soma.model.v1.message_pb2 import ROLE_USER, Delta, Message
from soma.model.v1.model_service_pb2 import GenerateRequest
from soma.model.v1.options_pb2 import Completion
from tritonclient.grpc import service_pb2

from services.model.adapters.triton.discovery import Served
from services.model.adapters.triton.prompting import Prompting
from services.model.adapters.triton.prompts import prompted
from services.model.adapters.triton.server import Server
from services.model.adapters.triton.settings import TritonSettings
from services.model.adapters.upstream import Patience
from services.model.vendor import Chat

WORDS = 40


class Fake:
    """Speaks Triton's protocol, says which version it is, and counts the words that it sends."""

    def __init__(self, version: str) -> None:
        self._version = version
        self.sent = 0
        self.ended = asyncio.Event()
        self.cancelled = False

    @property
    def handler(self) -> grpc.GenericRpcHandler:
        """The two methods that are called."""
        pb = service_pb2
        methods = {
            "ServerMetadata": grpc.unary_unary_rpc_method_handler(
                self._metadata, pb.ServerMetadataRequest.FromString, pb.ServerMetadataResponse.SerializeToString
            ),
            "ModelStreamInfer": grpc.stream_stream_rpc_method_handler(
                self._infer, pb.ModelInferRequest.FromString, pb.ModelStreamInferResponse.SerializeToString
            ),
        }
        return grpc.method_handlers_generic_handler("inference.GRPCInferenceService", methods)

    async def _metadata(self, request: Any, context: Any) -> Any:
        return service_pb2.ServerMetadataResponse(name="triton", version=self._version)

    async def _infer(self, requests: Any, context: Any) -> AsyncIterator[Any]:
        try:
            async for request in requests:
                for _ in range(WORDS):
                    yield _word(request.model_name)
                    self.sent += 1
                    await asyncio.sleep(0.01)
                return
        except asyncio.CancelledError:
            self.cancelled = True
            raise
        finally:
            self.ended.set()


def _word(model: str) -> Any:
    answer = service_pb2.ModelInferResponse(model_name=model)
    answer.outputs.add(name="text_output", datatype="BYTES", shape=[1])
    word = b"word "
    answer.raw_output_contents.append(len(word).to_bytes(4, "little") + word)
    return service_pb2.ModelStreamInferResponse(infer_response=answer)


@asynccontextmanager
async def serving(version: str) -> AsyncIterator[tuple[Fake, Server]]:
    servicer = Fake(version)
    server = grpc.aio.server()
    server.add_generic_rpc_handlers([servicer.handler])
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    connection = Server(TritonSettings(url=f"grpc://127.0.0.1:{port}"))
    try:
        yield servicer, connection
    finally:
        await connection.close()
        await server.stop(None)


@pytest.mark.parametrize(
    ("version", "cancels"), [("2.51.0", False), ("2.56.1", False), ("2.57.0", True), ("2.71.0dev", True), ("", False)]
)
async def test_a_caller_that_leaves_ends_the_work_of_a_newer_server(version: str, cancels: bool) -> None:
    how = Prompting(frozenset({"text_input", "sampling_parameters", "stream"}))
    model = Served("llm", "llm", "prompt", prompting=how)
    request = GenerateRequest(messages=[Message(role=ROLE_USER, content="Hello")])
    request.options.completion.CopyFrom(Completion())
    async with serving(version) as (servicer, server):
        answer = prompted(server, Patience(), Chat(), model, request)
        first = await anext(answer)
        assert isinstance(first, Delta) and first.text == "word "
        await answer.aclose()
        async with asyncio.timeout(10):
            await servicer.ended.wait()
    assert servicer.cancelled is cancels
    assert (servicer.sent == WORDS) is not cancels
