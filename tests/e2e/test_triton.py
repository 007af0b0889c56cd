"""A stack with Triton, used by OpenAI's client, which notices nothing when Triton is killed."""

import shutil
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import httpx
import psutil
import pytest
from openai import AsyncOpenAI

from cli.status import State
from services.mesh.testing.waiting import until
from services.model.adapters.triton.deployment.rendering import render
from services.model.testing.upstreams import FakeUpstream
from tests.e2e.scripted import configure
from tests.e2e.stack import Stack
from tests.model.adapters.triton import small
from tests.model.adapters.triton.server import MODELS, gone, require_triton

SHARED_MEMORY = Path("/dev/shm")
START_SECONDS = 150.0
# A machine that runs other tests beside takes a minute for each start.
pytestmark = pytest.mark.timeout(400)
OWN, SLM = "somasuite-embed-v1", "smollm2-135m-instruct"


@pytest.fixture(scope="module")
async def stack(
    tmp_path_factory: pytest.TempPathFactory, model_server: FakeUpstream, claude_server: FakeUpstream
) -> AsyncIterator[Stack]:
    require_triton()
    directory = tmp_path_factory.mktemp("triton")
    configure(directory, model_server, claude_server, patience=30.0)
    with (directory / "soma.toml").open("a") as file:
        # Exact, because some processors are not exact enough with 8 bits.
        file.write('\n[embedding]\nprecision = "fp32"\n')
        load = '["embedder", "slm", "reranker", "by_vllm"]'
        file.write(f'[triton]\nrepository = "{_repository(directory)}"\nload = {load}\n')
    stack = Stack(directory, "--triton")
    await stack.up()
    try:
        await until(lambda: stack.part("triton").state is State.READY, seconds=START_SECONDS)
        await until(lambda: _by_triton(stack), seconds=START_SECONDS)
        yield stack
    finally:
        processes = [process for part in stack.state.parts if part.pid for process in _family(part.pid)]
        await stack.down()
        await until(partial(gone, processes), "every process to end", seconds=30)
        assert not [region for region in SHARED_MEMORY.glob("soma_triton_*") if _of(region, processes)]


def _repository(directory: Path) -> Path:
    """A folder with further models: a small cross-encoder, and one as the vLLM backend has it."""
    repository = directory / "further"
    small.write_cross_encoder(directory / "model.onnx")
    small.write_word_tokenizer(directory / "tokenizer.json")
    settings = directory / "models.toml"
    settings.write_text(
        f'[reranker]\nkind = "reranker"\ngraph = "{directory}/model.onnx"\ntokenizer = "{directory}/tokenizer.json"\n'
    )
    render(settings, repository)
    shutil.copytree(MODELS / "by_vllm", repository / "by_vllm")
    return repository


def _of(region: Path, processes: list[psutil.Process]) -> bool:
    """Whether a region of memory was made since the stack runs."""
    return region.stat().st_mtime >= min(process.create_time() for process in processes)


def _family(pid: int) -> list[psutil.Process]:
    process = psutil.Process(pid)
    return [process, *process.children(recursive=True)]


def _ports(process: psutil.Process) -> set[int]:
    """The ports that a process listens on; none if it has ended, as the shells do that watch for others."""
    try:
        return {each.laddr.port for each in process.net_connections("tcp") if each.status == psutil.CONN_LISTEN}
    except psutil.NoSuchProcess:
        return set()


async def _by_triton(stack: Stack) -> bool:
    return await stack.measured("soma_model_triton_up") == 1.0


async def _texts(stack: Stack, by: str) -> float:
    return await stack.measured("soma_model_embedded_texts_total", {"by": by})


async def _said(client: AsyncOpenAI, model: str) -> list[str]:
    """The pieces of a streamed answer."""
    answer = await client.chat.completions.create(
        model=model, stream=True, max_tokens=8, messages=[{"role": "user", "content": "Say hello."}]
    )
    return [text async for chunk in answer if chunk.choices and (text := chunk.choices[0].delta.content)]


async def test_vectors_and_answers_come_from_triton(stack: Stack) -> None:
    before = await _texts(stack, "triton")
    async with stack.openai() as client:
        vectors = await client.embeddings.create(model=OWN, input=["hello", "world"], encoding_format="float")
        pieces = await _said(client, f"triton/{SLM}")
    assert [len(each.embedding) for each in vectors.data] == [384, 384]
    assert await _texts(stack, "triton") == before + 2
    assert len(pieces) > 1


async def test_documents_are_sorted_by_a_model_in_triton(stack: Stack) -> None:
    documents = ["w1", "w2 w3", "w4"]
    async with stack.http() as http:
        answer = await http.post("/v1/rerank", json={"model": "reranker", "query": "w9", "documents": documents})
    assert answer.status_code == 200, answer.text
    found = answer.json()["results"]
    assert [each["index"] for each in found] == sorted(range(3), key=lambda index: -small.score(documents[index]))
    for each in found:
        assert each["relevance_score"] == pytest.approx(small.score(documents[each["index"]]), abs=1e-4)


async def test_a_model_of_the_vllm_backend_answers_openai_s_client(stack: Stack) -> None:
    async with stack.openai() as client:
        answer = await client.chat.completions.create(
            model="vllm-test", stream=True, max_tokens=20, messages=[{"role": "user", "content": "How far is it?"}]
        )
        pieces = [chunk.choices[0].delta.content or "" async for chunk in answer if chunk.choices]
        whole = await client.completions.create(model="vllm-test", prompt="one two three", max_tokens=2)
    assert "".join(pieces) == "user: How far is it? assistant:"
    assert (whole.choices[0].text, whole.choices[0].finish_reason) == ("one two", "length")
    assert whole.usage is not None and whole.usage.completion_tokens == 2


async def test_its_memory_and_version_are_in_the_status(stack: Stack) -> None:
    (part,) = [part for part in (await stack.status())["parts"] if part["name"] == "triton"]
    assert part["state"] == "ready" and part["version"].count(".") == 2
    # With its models' processes.
    assert part["rss_bytes"] > 100_000_000
    assert len(_family(part["pid"])) > 1


async def test_killed_it_is_replaced_and_its_models_processes_end(stack: Stack) -> None:
    models = _family(stack.process("triton").pid)[1:]
    before = await _texts(stack, "process")
    async with stack.openai() as client:
        killed = stack.kill("triton")
        for _ in range(5):
            found = await client.embeddings.create(model=OWN, input="hello", encoding_format="float")
            assert len(found.data[0].embedding) == 384
            # The part `llm` has a model of this name too.
            assert await _said(client.with_options(max_retries=2), SLM)
    assert await _texts(stack, "process") > before
    await until(partial(gone, models), "the models' processes to end", seconds=30)
    await until(lambda: stack.part("triton").pid not in (None, killed), seconds=START_SECONDS)
    await until(lambda: stack.part("triton").state is State.READY, seconds=START_SECONDS)
    await until(lambda: _by_triton(stack), seconds=START_SECONDS)


async def test_its_socket_is_for_this_user_only(stack: Stack) -> None:
    where = stack.part("triton").where
    assert where is not None and where.startswith("unix:")
    folder = Path(where.removeprefix("unix:")).parent
    assert folder.stat().st_mode & 0o077 == 0
    server, *models = _family(stack.process("triton").pid)
    # Programs of a stack may have inherited the socket of the part `llm`, on which none of them accepts.
    llm = {part.port for part in stack.state.parts if part.name == "llm"}
    assert not _ports(server) - llm
    # llama.cpp has a port, which takes no request without a key.
    async with httpx.AsyncClient(timeout=30.0) as client:
        for port in (port for model in models for port in _ports(model) - llm):
            body = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1}
            answer = await client.post(f"http://127.0.0.1:{port}/v1/chat/completions", json=body)
            assert answer.status_code == 401


async def test_everything_else_is_ready_without_it(
    tmp_path: Path, model_server: FakeUpstream, claude_server: FakeUpstream
) -> None:
    require_triton()
    configure(tmp_path, model_server, claude_server)
    with (tmp_path / "soma.toml").open("a") as file:
        file.write('\n[embedding]\nprecision = "fp32"\n[triton]\nload = ["nothing"]\n')
    stack = Stack(tmp_path, "--triton")
    await stack.up()
    try:
        async with stack.openai() as client:
            answer = await client.chat.completions.create(
                model="fake-large", messages=[{"role": "user", "content": "Hi"}]
            )
        assert answer.choices[0].message.content
    finally:
        await stack.down()
