"""The measurement for a bare GPU machine: what it needs and counts, and a run with a tiny model if PyTorch is here."""

import ast
import importlib.util
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from bench.gpu import configurations
from bench.gpu.task import Task, measured
from bench.gpu.triton import Triton, Unusable
from tests.model.adapters.triton.server import require_triton

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "bench" / "gpu"
TINY = Task("tiny", "cpu", text=4, prompt=4, answer=3, seconds=0.2, rounds=1)
with_pytorch = pytest.mark.skipif(
    importlib.util.find_spec("torch") is None,
    reason="PyTorch is missing, which is no package of this project: pip install torch",
)


@pytest.mark.parametrize("file", sorted(PACKAGE.glob("*.py")), ids=lambda file: file.stem)
def test_it_needs_pytorch_and_numpy_and_nothing_else(file: Path) -> None:
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module or "")
    outside = {name for name in found if name.split(".")[0] not in sys.stdlib_module_names}
    allowed = {"numpy", "torch", "torch.nn", "triton_python_backend_utils", "bench.gpu"}
    assert {name for name in outside if name not in allowed and not name.startswith("bench.gpu.")} == set()


def test_without_pytorch_it_says_so() -> None:
    program = "import sys, runpy; sys.modules['torch'] = None; runpy.run_module('bench.gpu', run_name='__main__')"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "PyTorch and numpy are needed" in done.stderr and not done.stdout


@pytest.mark.parametrize("name", [configurations.EMBED, configurations.WRITE])
def test_its_configurations_are_parsed(name: str) -> None:
    found = text_format.Parse(configurations.texts(TINY)[name], model_config_pb2.ModelConfig())
    assert found.name == name and found.backend == "python"
    assert found.HasField("dynamic_batching") is (name == configurations.EMBED)
    assert found.model_transaction_policy.decoupled is (name == configurations.WRITE)
    given = {key: {"string_value": value.string_value} for key, value in found.parameters.items()}
    assert given == configurations.parameters(TINY, name)


class Counted:
    """A way that takes its time, and counts."""

    def __init__(self, tokens: int | None = None) -> None:
        self.tokens = tokens
        self.texts = 0
        self._lock = threading.Lock()

    def embed(self, texts: Sequence[Sequence[int]]) -> None:
        assert {len(text) for text in texts} == {TINY.text}
        time.sleep(0.01)
        with self._lock:
            self.texts += len(texts)

    def write(self, ids: Sequence[int], tokens: int) -> Iterator[int]:
        assert len(ids) == TINY.prompt
        for token in range(self.tokens or tokens):
            time.sleep(0.02)
            yield token


@pytest.mark.parametrize("batch", [False, True])
def test_the_figures_are_those_of_the_callers(batch: bool) -> None:
    way = Counted()
    found = measured(way, TINY, 100, 4, batch=batch)
    # Four callers, or one with four texts: at most one call in ten milliseconds each.
    assert 0 < found.texts_per_second <= 400
    assert found.texts_per_second <= way.texts / TINY.seconds
    # Four callers wait 20 ms for each of their three tokens.
    assert 0 < found.tokens_per_second <= 200
    assert found.first_token_ms >= 20


def test_an_answer_that_is_too_short_is_no_figure() -> None:
    with pytest.raises(RuntimeError, match="should have 3 tokens"):
        measured(Counted(tokens=2), TINY, 100, 2, batch=False)


def test_without_the_wheel_triton_is_not_measured(tmp_path: Path) -> None:
    with pytest.raises(Unusable, match="no server of Triton"):
        Triton(TINY, tmp_path)


@pytest.mark.timeout(120)
@pytest.mark.skipif(importlib.util.find_spec("torch") is not None, reason="PyTorch is here, so the models load")
def test_a_server_whose_models_cannot_be_loaded_says_why() -> None:
    require_triton()
    with pytest.raises(Unusable, match="No module named 'torch'"):
        Triton(TINY)


@with_pytorch
def test_a_conversation_is_the_same_alone_and_among_others() -> None:
    from bench.gpu.engine import Engine
    from bench.gpu.llama import SHAPES, Llama, dtype_of
    from bench.gpu.ways import streamed

    engine = Engine(Llama(SHAPES["tiny"], "cpu", dtype_of("cpu")), 4, 64)

    def write(prompt: Sequence[int], tokens: int) -> list[int]:
        return list(streamed(lambda emit: engine.write(prompt, tokens, emit)))

    prompts = [list(range(1 + number, 6 + number + number % 3)) for number in range(9)]
    tokens = [3 + number for number in range(9)]
    try:
        alone = [write(prompt, count) for prompt, count in zip(prompts, tokens, strict=True)]
        beside: list[list[int]] = [[] for _ in prompts]

        def call(number: int) -> None:
            beside[number] = write(prompts[number], tokens[number])

        threads = [threading.Thread(target=call, args=(number,)) for number in range(9)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        engine.close()
    assert [len(each) for each in alone] == tokens
    assert beside == alone
    assert len({tuple(each[:3]) for each in alone}) > 1


@with_pytorch
@pytest.mark.timeout(300)
def test_a_tiny_model_is_measured_in_seconds_and_the_output_says_what_was(tmp_path: Path) -> None:
    file = tmp_path / "figures.json"
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "bench.gpu",
            "--shape",
            "tiny",
            "--device",
            "cpu",
            "--seconds",
            "0.2",
            "--json",
            str(file),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stderr
    figures = json.loads(file.read_text())
    assert "NO GPU" in done.stdout and figures["device"].startswith("processor")
    assert ("WITHOUT Triton" in done.stdout) is ("Triton was not measured" in done.stdout)
    for name in ("backend", "plain"):
        assert [each["at_once"] for each in figures[name]] == [1, 8, 64]
        assert all(value > 0 for each in figures[name] for value in each.values())
