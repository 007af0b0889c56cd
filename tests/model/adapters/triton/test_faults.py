"""What goes wrong with a Triton that is there.

Each call ends in time, with a typed error or with the vectors of this process, and nothing is left behind.
"""

import asyncio
import inspect
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import grpc
import pytest
from soma.errors.v1 import reasons
from tritonclient.grpc import service_pb2

from services.mesh.call.call import run_as
from services.mesh.call.errors import MeshError, NotFound, ResourceExhausted, Unavailable
from services.mesh.testing.local import SOMEBODY
from services.mesh.testing.waiting import until
from services.model.adapters.triton.embedder import TritonEmbedder
from services.model.adapters.triton.provider import TritonProvider
from services.model.adapters.triton.server import Server
from services.model.adapters.triton.settings import TritonSettings
from services.model.adapters.triton.stream import Stream
from services.model.adapters.triton.vectors import vectors
from services.model.adapters.upstream import Patience
from services.model.embedding.minilm import MiniLm
from services.model.vendor import Chat
from tests.model.adapters.triton.server import CrampedTriton, TritonServer, cramped, gone, triton

TEXTS = ["a text", "another"]
SECONDS = 10.0
SHARED_MEMORY = Path("/dev/shm")
Connected: TypeAlias = Callable[[str], Server]


@pytest.fixture
async def connected() -> AsyncIterator[Connected]:
    """Connects to a URL until the end of the test."""
    async with AsyncExitStack() as stack:

        def connect(url: str) -> Server:
            server = Server(TritonSettings(url=url))
            stack.push_async_callback(server.close)
            return server

        yield connect


async def ticks(server: Server, **body: object) -> Sequence[bytes]:
    stream = Stream(server, Patience(first_byte=2.0, idle=2.0, whole=2.0))
    return [chunk async for chunk in stream.stream("ticker", {"stream": True, **body}, {})]


async def failure(work: Awaitable[object], within: float = 6.0) -> MeshError:
    """How `work` fails, in at most these seconds."""
    begun = time.monotonic()
    with pytest.raises(MeshError) as failed:
        await work
    assert time.monotonic() - begun < within
    return failed.value


async def made_by_process(server: Server, own: MiniLm) -> TritonEmbedder:
    """Check that `own` makes the vectors that Triton cannot make."""
    embedder = TritonEmbedder(server, own, TritonSettings())
    await embedder.look()
    assert (await embedder.embed(TEXTS)).vectors.shape == (2, 384)
    return embedder


async def test_a_model_that_is_unloaded_ends_its_answers_before_and_takes_no_new_ones(
    running: TritonServer, server: Server
) -> None:
    answer = asyncio.ensure_future(ticks(server, words=40, every=0.02))
    await ticks(server, words=1)
    await server.unload("ticker")
    try:

        async def refused() -> bool:
            try:
                await ticks(server, words=1)
            except NotFound as error:
                return error.reason == reasons.MODEL_NOT_FOUND
            return False

        await until(refused)
        # Its words and the reason of its end.
        assert len(await answer) == 41
    finally:
        await server.load("ticker")
    assert len(await ticks(server, words=2)) == 3


async def test_a_models_process_that_ends_fails_its_calls_in_time_until_the_model_is_loaded_again(
    directory: Path, connected: Connected
) -> None:
    """Triton 2.51 does not start it again by itself, and says that the model is ready."""
    async with triton(directory, "slow", "odd") as running:
        server = connected(running.url)
        await running.loaded(server, "slow", "odd")
        batch = asyncio.ensure_future(vectors(server, "slow", ["5"], 1, SECONDS))
        # It is in the model then.
        await asyncio.sleep(0.3)
        (program,) = [each for each in running.models if any("/slow/" in word for word in each.cmdline())]
        program.kill()
        assert (await failure(batch)).reason == reasons.PROVIDER_UNAVAILABLE
        assert (await failure(vectors(server, "slow", ["0"], 1, SECONDS))).reason == reasons.PROVIDER_UNAVAILABLE
        assert len((await vectors(server, "odd", ["4"], 8, SECONDS)).vectors) == 1
        await server.unload("slow")

        async def unloaded() -> bool:
            return not await server.ready("slow")

        await until(unloaded)
        await server.load("slow")
        assert len((await vectors(server, "slow", ["0"], 1, SECONDS)).vectors) == 1


class OtherVersion:
    """A server of another version: it has few methods, and its answers have fields that nobody knows, and lack some."""

    async def ServerMetadata(self, request: Any, context: Any) -> Any:
        return service_pb2.ServerMetadataResponse.FromString(_UNKNOWN)

    async def ServerLive(self, request: Any, context: Any) -> Any:
        return service_pb2.ServerLiveResponse.FromString(b"\x08\x01" + _UNKNOWN)

    async def RepositoryIndex(self, request: Any, context: Any) -> Any:
        known = [service_pb2.RepositoryIndexResponse.ModelIndex(name=name, state="READY") for name in _MODELS]
        known.append(service_pb2.RepositoryIndexResponse.ModelIndex(name="later", state="A STATE OF LATER"))
        return service_pb2.RepositoryIndexResponse(models=known)

    async def ModelConfig(self, request: Any, context: Any) -> Any:
        answer = service_pb2.ModelConfigResponse()
        answer.config.ParseFromString(_UNKNOWN)
        answer.config.name = request.name
        taken, given = _MODELS[request.name]
        answer.config.input.add(name=taken, data_type=4242)
        answer.config.output.add(name=given)
        return answer

    async def ModelInfer(self, request: Any, context: Any) -> Any:
        return service_pb2.ModelInferResponse(model_name=request.model_name)


_MODELS = {"somasuite-embed-v1": ("TEXT", "VECTOR"), "ticker": ("REQUEST", "CHUNK"), "newer": ("PROMPT", "ANSWER")}
# Field 4000, a string.
_UNKNOWN = b"\x82\xfa\x01\x05later"


@asynccontextmanager
async def other_version() -> AsyncIterator[str]:
    server = grpc.aio.server()
    methods: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
        name: grpc.unary_unary_rpc_method_handler(
            method,
            request_deserializer=getattr(service_pb2, f"{name}Request").FromString,
            response_serializer=lambda answer: answer.SerializeToString(),
        )
        for name, method in inspect.getmembers(OtherVersion(), inspect.ismethod)
    }
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("inference.GRPCInferenceService", methods)])
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield f"grpc://127.0.0.1:{port}"
    finally:
        await server.stop(0)


async def test_a_server_of_another_version_gives_what_it_has_and_typed_errors(
    connected: Connected, own: MiniLm
) -> None:
    async with other_version() as url:
        server = connected(url)
        provider = TritonProvider(server, Chat(), Patience(), TritonSettings(), "nothing")
        assert {each.name for each in await provider.models()} == {"somasuite-embed-v1", "ticker"}
        embedder = await made_by_process(server, own)
        with pytest.raises(Unavailable, match="has no VECTOR"):
            await embedder.check()
        # It has no streams, no statistics and loads nothing.
        for work in (ticks(server), server.statistics(), server.load("ticker")):
            assert (await failure(work)).reason == reasons.PROVIDER_PROTOCOL_ERROR


@asynccontextmanager
async def somebody_else(says: bytes) -> AsyncIterator[str]:
    """Something on the port that is no Triton; it says this to everybody, or nothing."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(says)
        while await reader.read(4096):
            pass
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield f"grpc://127.0.0.1:{server.sockets[0].getsockname()[1]}"


@pytest.mark.parametrize(
    "says", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x00" * 64], ids=["silent", "http", "odd"]
)
async def test_a_port_that_somebody_else_has_is_a_server_that_is_away(
    connected: Connected, own: MiniLm, says: bytes
) -> None:
    async with somebody_else(says) as url:
        server = connected(url)
        await made_by_process(server, own)
        for work in (ticks(server), vectors(server, "odd", TEXTS, 8, 1.0), server.models()):
            error = await failure(work)
            assert error.reason in (reasons.PROVIDER_UNAVAILABLE, reasons.PROVIDER_TIMEOUT)
        with run_as(SOMEBODY, timeout=0.2):
            await failure(vectors(server, "odd", TEXTS, 8, SECONDS), within=1.5)


async def test_the_stacks_own_server_takes_its_address_from_whoever_has_it(
    directory: Path, connected: Connected
) -> None:
    """It listens on no port, but on a socket file. One that is left, or that somebody listens on, stops no start."""
    async with triton(directory, "odd", begin=False) as server:
        path = Path(server.url.removeprefix("unix:"))
        path.parent.mkdir(exist_ok=True)
        with socket.socket(socket.AF_UNIX) as other:
            other.bind(str(path))
            other.listen()
            await server.start()
            connection = connected(server.url)
            await server.loaded(connection, "odd")
            assert (await vectors(connection, "odd", ["4"], 8, SECONDS)).vectors.shape == (1, 4)


@pytest.fixture
def needs_namespaces() -> None:
    """Skip the test where no program can have a `/dev/shm` of its own."""
    try:
        subprocess.run([*cramped("1m"), "/bin/true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no user namespaces here: run the tests as root, or allow kernel.unprivileged_userns_clone")


@pytest.mark.usefixtures("needs_namespaces")
async def test_shared_memory_that_is_full_fails_what_needs_more_and_nothing_else(
    directory: Path, connected: Connected, own: MiniLm
) -> None:
    async with triton(directory, "embedder", "ticker", make=partial(CrampedTriton, size="6m")) as running:
        server = connected(running.url)
        await running.loaded(server, "embedder", "ticker")
        embedder = TritonEmbedder(server, own, TritonSettings())
        await embedder.look()
        large = ["x" * 131_000] * 64
        error = await failure(vectors(server, "embedder", large, 64, SECONDS))
        assert isinstance(error, ResourceExhausted) and error.reason == reasons.PROVIDER_RATE_LIMITED
        assert "/dev/shm" in error.message and "soma_triton" not in error.message
        assert isinstance(await failure(ticks(server, pad="y" * 8_000_000)), ResourceExhausted)
        # This process reads the large texts, and Triton goes on with the others.
        assert (await embedder.embed(["x" * 131_000] * 4 + large[:20])).vectors.shape == (24, 384)
        await embedder.check()
        assert (await vectors(server, "embedder", TEXTS, 64, SECONDS)).vectors.shape == (2, 384)
        assert len(await ticks(server, words=2)) == 3
        programs = running.models
    await until(partial(gone, programs), "the models' processes to end", seconds=30)


@pytest.mark.usefixtures("needs_namespaces")
async def test_a_model_for_which_there_is_no_shared_memory_is_not_loaded_and_says_so(
    directory: Path, connected: Connected, own: MiniLm
) -> None:
    before = set(SHARED_MEMORY.iterdir())
    async with triton(directory, "embedder", make=partial(CrampedTriton, size="512k")) as running:
        server = connected(running.url)

        async def tried() -> bool:
            return any("shared memory" in each.reason for each in await server.models() if each.name == "embedder")

        await until(tried, seconds=running.start_seconds)
        await made_by_process(server, own)
        assert (await failure(server.load("ticker"))).reason == reasons.MODEL_LOAD_FAILED
        assert (await failure(ticks(server))).reason == reasons.MODEL_NOT_FOUND
        programs = running.models
    await until(partial(gone, programs), "the models' processes to end", seconds=30)
    assert not [each for each in set(SHARED_MEMORY.iterdir()) - before if each.name.startswith(running.prefix)]
