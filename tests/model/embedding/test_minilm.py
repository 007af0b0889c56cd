"""The embedder is loaded at its first use, serves concurrent callers, and does not block the event loop."""

import asyncio
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from services.mesh.call.errors import FailedPrecondition, Unavailable
from services.model.embedding import Embedder, minilm
from services.model.embedding.artifact import Artifact, Precision
from services.model.embedding.long_texts import LongTexts
from services.model.embedding.minilm import MiniLm
from services.model.embedding.settings import EmbeddingSettings


@pytest.fixture
async def embedder(artifact_of: Callable[[Precision], Artifact], directory: Path) -> AsyncIterator[MiniLm]:
    artifact_of("int8")
    embedder = MiniLm(EmbeddingSettings(directory=directory))
    yield embedder
    await embedder.close()


def test_importing_and_creating_an_embedder_loads_no_runtime() -> None:
    program = """
import sys
from services.model.embedding import Embedder
from services.model.embedding.minilm import MiniLm
from services.model.embedding.settings import EmbeddingSettings
MiniLm(EmbeddingSettings())
print([name for name in ("numpy", "onnx", "onnxruntime", "tokenizers", "huggingface_hub") if name in sys.modules])
"""
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert loaded.stdout.strip() == "[]"


async def test_an_embedder_has_a_name_and_a_number_of_dimensions(embedder: MiniLm) -> None:
    described: Embedder = embedder
    assert (described.model, described.dimensions) == ("somasuite-embed-v1", 384)


async def test_concurrent_callers_each_get_the_vectors_of_their_own_texts(embedder: MiniLm) -> None:
    calls = [
        [f"ticket {call} {word}" for word in ("refund", "invoice", "password")[: call % 3 + 1]] for call in range(40)
    ]
    together = await asyncio.gather(*(embedder.embed(texts) for texts in calls))
    every = np.concatenate([found.vectors for found in together])
    alone = np.concatenate([(await embedder.embed([text])).vectors for texts in calls for text in texts])
    similarity = every @ alone.T
    assert (similarity.argmax(axis=1) == np.arange(len(every))).all()
    assert similarity.diagonal().min() >= 0.9999


async def test_no_texts_have_no_vectors(embedder: MiniLm) -> None:
    async with asyncio.timeout(30):
        found = await embedder.embed([])
    assert found.vectors.shape == (0, 384)
    assert found.tokens.shape == (0,)


async def test_the_event_loop_stays_free_while_a_large_call_runs(embedder: MiniLm) -> None:
    await embedder.load()
    large = asyncio.create_task(embedder.embed([f"some text of a few words, number {index}" for index in range(600)]))
    ticks: list[float] = [time.perf_counter()]
    while not large.done():
        await asyncio.sleep(0.001)
        ticks.append(time.perf_counter())
    assert (await large).vectors.shape == (600, 384)
    assert len(ticks) > 10
    # A generous limit for a busy machine. If the call ran in the event loop, it would block it for its whole time.
    assert max(np.diff(ticks)) < (ticks[-1] - ticks[0]) / 2


async def test_a_caller_that_cancels_during_the_load_does_not_affect_the_others(embedder: MiniLm) -> None:
    leaver = asyncio.create_task(embedder.embed(["first"]))
    stayer = asyncio.create_task(embedder.embed(["second"]))
    await asyncio.sleep(0)
    leaver.cancel()
    assert (await stayer).vectors.shape == (1, 384)
    assert leaver.cancelled()


async def test_a_model_that_cannot_load_is_a_typed_error_each_time(tmp_path: Path) -> None:
    (tmp_path / "minilm").write_text("a file where a directory should be")
    embedder = MiniLm(EmbeddingSettings(directory=tmp_path))
    for _ in range(2):
        with pytest.raises(FailedPrecondition) as refused:
            await embedder.embed(["text"])
        assert refused.value.reason == "EMBEDDING_BUILD_FAILED"
    await embedder.close()


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """An event; loading a model ends only after it is set."""
    loaded = threading.Event()
    load = minilm._load

    def wait(settings: EmbeddingSettings) -> LongTexts:
        loaded.wait(30)
        return load(settings)

    monkeypatch.setattr(minilm, "_load", wait)
    return loaded


async def test_a_caller_that_cannot_wait_is_refused_during_the_load(embedder: MiniLm, held: threading.Event) -> None:
    await embedder.check()
    with pytest.raises(Unavailable) as unloaded:
        await embedder.embed_at_once(["text"])
    assert unloaded.value.reason == "EMBEDDER_COLD"
    patient = asyncio.create_task(embedder.embed(["text"]))
    await asyncio.sleep(0)
    for ask in (embedder.check, partial(embedder.embed_at_once, ["text"])):
        with pytest.raises(Unavailable) as loading:
            await ask()
        assert loading.value.reason == "EMBEDDER_COLD"
    held.set()
    assert (await patient).vectors.shape == (1, 384)
    await embedder.check()
    assert (await embedder.embed_at_once(["text"])).vectors.shape == (1, 384)


async def test_a_long_load_does_not_fail_the_health_check(
    embedder: MiniLm, held: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    loading = asyncio.create_task(embedder.load())
    await asyncio.sleep(0)
    monkeypatch.setattr(minilm, "PATIENCE_SECONDS", 0.0)
    await embedder.check()
    held.set()
    await loading


async def test_a_failed_load_does_not_fail_the_health_check_and_embed_at_once_does_not_repeat_it(
    tmp_path: Path,
) -> None:
    (tmp_path / "minilm").write_text("a file where a directory should be")
    embedder = MiniLm(EmbeddingSettings(directory=tmp_path))
    with pytest.raises(FailedPrecondition):
        await embedder.load()
    await embedder.check()
    with pytest.raises(Unavailable) as refused:
        await embedder.embed_at_once(["text"])
    assert refused.value.reason == "EMBEDDER_COLD"
    await embedder.close()


async def test_a_closed_embedder_refuses(embedder: MiniLm) -> None:
    await embedder.load()
    await embedder.close()
    with pytest.raises(Unavailable):
        await embedder.embed(["late"])
