"""How answers of models that take a text end: a caller that leaves, on newer and older servers, and a broken stream."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
from soma.errors.v1 import reasons
from soma.model.v1.message_pb2 import FINISH_REASON_STOP, ROLE_USER, Delta, Message
from soma.model.v1.model_service_pb2 import GenerateRequest, GenerationFinished
from soma.model.v1.options_pb2 import Completion
from tritonclient.grpc import service_pb2

from services.mesh.call.errors import Unavailable
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

    def __init__(self, version: str, words: int) -> None:
        self._version = version
        self._words = words
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
                for _ in range(self._words):
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
async def serving(version: str, words: int = WORDS) -> AsyncIterator[tuple[Fake, Server]]:
    servicer = Fake(version, words)
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


def model(*inputs: str) -> Served:
    how = Prompting(frozenset({"text_input", "sampling_parameters", *inputs}))
    return Served("llm", "llm", "prompt", prompting=how)


def hello() -> GenerateRequest:
    request = GenerateRequest(messages=[Message(role=ROLE_USER, content="Hello")])
    request.options.completion.CopyFrom(Completion())
    return request


@pytest.mark.parametrize(
    ("version", "cancels"), [("2.51.0", False), ("2.56.1", False), ("2.57.0", True), ("2.71.0dev", True), ("", False)]
)
async def test_a_caller_that_leaves_ends_the_work_of_a_newer_server(version: str, cancels: bool) -> None:
    async with serving(version) as (servicer, server):
        answer = prompted(server, Patience(), Chat(), model("stream"), hello())
        first = await anext(answer)
        assert isinstance(first, Delta) and first.text == "word "
        await answer.aclose()
        async with asyncio.timeout(10):
            await servicer.ended.wait()
    assert servicer.cancelled is cancels
    assert (servicer.sent == WORDS) is not cancels


@pytest.mark.parametrize(
    ("words", "inputs", "reason"),
    [
        (3, ("return_finish_reason",), reasons.PROVIDER_STREAM_CUT),
        (0, ("return_finish_reason",), reasons.PROVIDER_PROTOCOL_ERROR),
        (0, (), reasons.PROVIDER_PROTOCOL_ERROR),
    ],
)
async def test_an_answer_without_its_end_is_not_taken_for_complete(
    words: int, inputs: tuple[str, ...], reason: str
) -> None:
    async with serving("2.71.0", words) as (_, server):
        with pytest.raises(Unavailable) as cut:
            _ = [event async for event in prompted(server, Patience(), Chat(), model(*inputs), hello())]
    assert cut.value.reason == reason


async def test_a_model_that_never_gives_a_reason_ends_with_its_stream() -> None:
    async with serving("2.71.0", 3) as (_, server):
        events = [event async for event in prompted(server, Patience(), Chat(), model(), hello())]
    assert isinstance(events[-1], GenerationFinished) and events[-1].finish_reason == FINISH_REASON_STOP
    assert len(events) == 4
