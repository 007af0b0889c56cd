"""While Triton is away, this process makes the vectors, and no caller waits much longer than a look takes."""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from signal import SIGKILL

import pytest
from prometheus_client import REGISTRY
from soma.errors.v1 import reasons
from structlog.testing import capture_logs

from services.mesh.call.call import run_as
from services.mesh.call.errors import Unavailable
from services.mesh.process.jobs import Job
from services.mesh.testing.jobs import running
from services.mesh.testing.local import SOMEBODY
from services.mesh.testing.waiting import until
from services.model.adapters.triton.embedder import TritonEmbedder
from services.model.adapters.triton.server import Server
from services.model.adapters.triton.settings import TritonSettings
from services.model.embedding.embedder import Embeddings
from services.model.embedding.minilm import MiniLm
from tests.model.adapters.triton.server import TritonServer, gone, triton

TEXTS = [f"text number {number} of many" for number in range(600)]
START_SECONDS = 240.0
LOOK_SECONDS = 0.1


def made(by: str) -> float:
    """Texts that were read so far, by `triton` or by `process`."""
    return REGISTRY.get_sample_value("soma_model_embedded_texts_total", {"by": by}) or 0.0


def up() -> bool:
    return REGISTRY.get_sample_value("soma_model_triton_up") == 1.0


@pytest.fixture(scope="module")
async def mortal(directory: Path) -> AsyncIterator[TritonServer]:
    """A server that the tests of this module kill and freeze."""
    async with triton(directory, "embedder") as server:
        yield server


@dataclass
class Setting:
    """The embedder under test, the server behind it, and a connection of the test's own."""

    embedder: TritonEmbedder
    server: TritonServer
    connection: Server

    async def same(self, found: Embeddings, own: MiniLm) -> None:
        """Check that these are the vectors of `TEXTS`."""
        expected = await own.embed(TEXTS)
        assert float((found.vectors * expected.vectors).sum(axis=1).min()) >= 0.9999


@pytest.fixture
async def setting(mortal: TritonServer, own: MiniLm) -> AsyncIterator[Setting]:
    await own.load()
    settings = TritonSettings(url=mortal.url, look_interval=LOOK_SECONDS)
    connection = Server(settings)
    embedder = TritonEmbedder(connection, own, settings)
    async with running(Job("triton", embedder.look, every=LOOK_SECONDS)):
        await until(up, seconds=START_SECONDS)
        yield Setting(embedder, mortal, connection)
    await connection.close()


async def test_killed_in_the_middle_of_a_batch_it_is_replaced_by_the_process_and_comes_back(
    setting: Setting, own: MiniLm
) -> None:
    here, there = made("process"), made("triton")
    with capture_logs() as logs:
        call = asyncio.ensure_future(setting.embedder.embed(TEXTS))

        async def busy() -> bool:
            stats = await setting.connection.statistics()
            return any(each.inference_count for each in stats.model_stats)

        await until(busy)
        programs = setting.server.models
        await setting.server.stop(SIGKILL)
        await setting.same(await call, own)
        assert made("process") - here == len(TEXTS)
        assert not up()
        await until(partial(gone, programs), "the models' processes to end", seconds=30)
        with pytest.raises(Unavailable):
            await setting.embedder.check()
        await setting.server.start()
        await until(up, seconds=START_SECONDS)
    await setting.same(await setting.embedder.embed(TEXTS), own)
    assert made("triton") - there == len(TEXTS)
    events = [each["event"] for each in logs if each["event"].startswith("triton_makes")]
    assert events[0] == "triton_makes_no_vectors" and events[-1] == "triton_makes_vectors"


async def test_frozen_it_keeps_no_caller_waiting(setting: Setting, own: MiniLm) -> None:
    setting.server.freeze()
    began = time.monotonic()
    try:
        found = await setting.embedder.embed(["one text"])
        waited = time.monotonic() - began
    finally:
        setting.server.thaw()
    assert found.vectors.shape == (1, 384)
    # A look fails after a second; the caller's own limit would be ten.
    assert waited < 5.0
    await until(up, seconds=START_SECONDS)


async def test_unloaded_under_traffic_it_is_replaced_and_loaded_again_it_is_back(setting: Setting, own: MiniLm) -> None:
    stop = asyncio.Event()
    sizes: list[int] = []

    async def traffic() -> None:
        while not stop.is_set():
            sizes.append(len((await setting.embedder.embed(TEXTS[:8])).vectors))

    callers = [asyncio.ensure_future(traffic()) for _ in range(4)]
    await setting.connection.unload("embedder")
    await until(lambda: not up())
    await setting.connection.load("embedder")
    await until(up, seconds=START_SECONDS)
    stop.set()
    await asyncio.gather(*callers)
    assert sizes and set(sizes) == {8}


async def test_a_caller_whose_time_is_over_says_nothing_about_the_server(setting: Setting) -> None:
    setting.server.freeze()
    try:
        with run_as(SOMEBODY, timeout=0.05), pytest.raises(Unavailable) as late:
            await setting.embedder.embed(["text"])
    finally:
        setting.server.thaw()
    assert late.value.reason == reasons.PROVIDER_TIMEOUT
    await until(up, seconds=START_SECONDS)
    assert (await setting.embedder.embed(["text"])).vectors.shape == (1, 384)


async def test_a_model_of_another_length_is_not_used(mortal: TritonServer, own: MiniLm) -> None:
    class Other(MiniLm):
        """An embedder with the same name and longer vectors."""

        @property
        def dimensions(self) -> int:
            return 768

    settings = TritonSettings(url=mortal.url)
    connection = Server(settings)
    embedder = TritonEmbedder(connection, Other(own._settings), settings)
    await embedder.look()
    with pytest.raises(Unavailable, match="384 dimensions"):
        await embedder.check()
    await connection.close()
