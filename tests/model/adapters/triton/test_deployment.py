"""Model repositories made from files of settings, and the files of `deploy/triton`."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from tritonclient.grpc import model_config_pb2
from typer.testing import CliRunner

from cli.main import app
from services.mesh.call.errors import FailedPrecondition
from services.model.adapters.triton.chat_template import prompt_of
from services.model.adapters.triton.deployment.deployed import TensorRtLlm, Vllm, read
from services.model.adapters.triton.deployment.rendering import render
from services.model.adapters.triton.deployment.template import CONFIGURATION, VERSION, parsed
from services.model.adapters.triton.discovery import served_by
from tests.model.adapters.triton import documented
from tests.model.adapters.triton.ensembles import check_ensemble

DEPLOY = Path(__file__).parents[4] / "deploy" / "triton"
SETTINGS = sorted((DEPLOY / "settings").glob("*.toml"))
VLLM = """
[chat]
kind = "vllm"
model = "large"
weights = "/weights/large"
context = 8192
tensor_parallel = 2
gpu_memory = 0.8
max_sequences = 32
dtype = "bfloat16"
chat_template = "own.jinja"
answer_tokens = 300
eos_token = "</s>"
engine = { kv_cache_dtype = "fp8", seed = 1 }
"""
TENSORRT = """
[chat]
kind = "tensorrt_llm"
weights = "/weights/large"
program = "/weights/program"
context = 4096
tensor_parallel = 2
max_batch = 16
kv_cache = 0.7
kv_cache_tokens = 100000
kv_cache_reuse = false
arguments = { max_num_tokens = 8192 }
"""


ENSEMBLE = """
[own]
kind = "reranker"
runs_on = "onnxruntime"
graph = "/g"
tokenizer = "/t"
"""


def written(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "models.toml"
    file.write_text(text)
    return file


def configuration(repository: Path, name: str) -> Any:
    return parsed((repository / name / CONFIGURATION).read_text("utf-8"))


def parameters(found: Any) -> dict[str, str]:
    return {name: value.string_value for name, value in found.parameters.items()}


def test_a_model_for_vllm_has_its_settings(tmp_path: Path) -> None:
    template = "{{ 'quotes \\' \" and\n' }} Grüße 🐢 \\ {{ messages }}"
    (tmp_path / "own.jinja").write_text(template, "utf-8")
    repository = tmp_path / "repository"
    assert render(written(tmp_path, VLLM), repository) == ["chat"]
    found = configuration(repository, "chat")
    assert found.backend == "vllm" and found.model_transaction_policy.decoupled
    assert parameters(found) == {
        "model": "large",
        "context": "8192",
        "answer_tokens": "300",
        "chat_template": template,
        "eos_token": "</s>",
    }
    arguments = json.loads((repository / "chat" / VERSION / "model.json").read_text())
    assert arguments == {
        "model": "/weights/large",
        "dtype": "bfloat16",
        "max_model_len": 8192,
        "max_num_seqs": 32,
        "tensor_parallel_size": 2,
        "pipeline_parallel_size": 1,
        "gpu_memory_utilization": 0.8,
        "kv_cache_dtype": "fp8",
        "seed": 1,
    }
    assert arguments.keys() <= documented.VLLM_ARGUMENTS


def test_a_model_for_tensorrt_llm_has_its_settings(tmp_path: Path) -> None:
    repository = tmp_path / "repository"
    assert render(written(tmp_path, TENSORRT), repository) == ["chat"]
    version = repository / "chat" / VERSION
    # It is JSON, which is YAML too.
    given = json.loads((version / "model.yaml").read_text())
    assert given == {
        "model": "/weights/large",
        "backend": "pytorch",
        "dtype": "auto",
        "max_seq_len": 4096,
        "max_batch_size": 16,
        "tensor_parallel_size": 2,
        "pipeline_parallel_size": 1,
        "enable_chunked_prefill": True,
        "kv_cache_config": {"free_gpu_memory_fraction": 0.7, "enable_block_reuse": False, "max_tokens": 100000},
        "triton_config": {"max_batch_size": 0, "decoupled": True},
        "max_num_tokens": 8192,
    }
    assert given.pop("triton_config").keys() <= documented.TENSORRT_LLM_TRITON
    assert given["kv_cache_config"].keys() <= documented.TENSORRT_LLM_CACHE
    assert given.keys() <= documented.TENSORRT_LLM_ARGUMENTS
    links = {each.name: str(each.readlink()) for each in version.iterdir() if each.is_symlink()}
    assert links == {"model.py": "/weights/program/model.py", "helpers.py": "/weights/program/helpers.py"}
    found = served_by(configuration(repository, "chat"))
    assert found is not None and found.kind == "prompt" and found.public == "chat" and found.context == 4096
    # There is no template in the settings, so it only continues prompts.
    assert found.prompting is not None and not found.prompting.template


@pytest.mark.parametrize("runs_on", ["onnxruntime", "tensorrt"])
@pytest.mark.parametrize("kind", ["embedder", "reranker"])
def test_an_ensemble_has_the_settings_in_all_its_parts(tmp_path: Path, runs_on: str, kind: str) -> None:
    text = f"""
    [own]
    kind = "{kind}"
    runs_on = "{runs_on}"
    graph = "/weights/graph"
    tokenizer = "/weights/tokenizer.json"
    max_batch = 16
    output = "found"
    ids = "int32"
    numbers = "float16"
    token_types = false
    pad_to = 64
    max_tokens = 128
    instances = 2
    """
    repository = tmp_path / "repository"
    names = render(written(tmp_path, text), repository)
    assert set(names) == {"own", "own_tokenizer", "own_graph", *(["own_pooling"] if kind == "embedder" else [])}
    whole = configuration(repository, "own")
    check_ensemble(whole, lambda name: configuration(repository, name))
    graph, tokenizer = configuration(repository, "own_graph"), configuration(repository, "own_tokenizer")
    assert graph.backend == runs_on and graph.max_batch_size == 16 and graph.instance_group[0].count == 2
    assert [each.name for each in graph.output] == ["found"]
    assert graph.output[0].data_type == model_config_pb2.TYPE_FP16
    assert [each.name for each in graph.input] == ["input_ids", "attention_mask"]
    assert {each.data_type for each in graph.input} == {model_config_pb2.TYPE_INT32}
    assert parameters(tokenizer).items() >= {"pad_to": "64", "max_tokens": "128"}.items()
    (link,) = (repository / "own_graph" / VERSION).iterdir()
    assert link.name == {"onnxruntime": "model.onnx", "tensorrt": "model.plan"}[runs_on]
    assert str(link.readlink()) == "/weights/graph"
    served = served_by(whole)
    assert served is not None and served.kind == {"embedder": "embedding", "reranker": "rerank"}[kind]


def test_a_graph_that_pools_itself_gives_one_vector_for_a_text(tmp_path: Path) -> None:
    text = '[own]\nkind = "embedder"\nruns_on = "onnxruntime"\ngraph = "/g"\ntokenizer = "/t"\npooled = true'
    repository = tmp_path / "repository"
    render(written(tmp_path, text), repository)
    assert list(configuration(repository, "own_graph").output[0].dims) == [-1]
    assert list(configuration(repository, "own_pooling").input[0].dims) == [-1]
    check_ensemble(configuration(repository, "own"), lambda name: configuration(repository, name))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "no table"),
        ("[chat", "cannot be read"),
        ('[chat]\nkind = "vllm"', "chat.vllm.context"),
        ('[chat]\nkind = "other"', "chat"),
        (VLLM + "gpus = 3", "chat.vllm.gpus"),
        (VLLM.replace("0.8", "1.8"), "chat.vllm.gpu_memory"),
        (VLLM.replace('"bfloat16"', '"float8"'), "chat.vllm.dtype"),
        (VLLM.replace("seed", "max_model_len"), "max_model_len"),
        (VLLM.replace("own.jinja", "missing.jinja"), "missing.jinja"),
        (VLLM.replace("[chat]", '["../chat"]'), "../chat"),
        (TENSORRT.replace("max_num_tokens", "max_seq_len"), "max_seq_len"),
        (ENSEMBLE + VLLM.replace("[chat]", "[own_graph]"), "the same name"),
    ],
)
def test_settings_that_cannot_be_used_are_named_and_nothing_is_written(tmp_path: Path, text: str, why: str) -> None:
    (tmp_path / "own.jinja").write_text("")
    with pytest.raises(FailedPrecondition) as refused:
        render(written(tmp_path, text), tmp_path / "repository")
    assert refused.value.reason == "TRITON_SETTINGS_INVALID" and why in refused.value.message
    assert not (tmp_path / "repository").exists()


def test_a_model_that_is_there_is_only_replaced_when_asked(tmp_path: Path) -> None:
    (tmp_path / "own.jinja").write_text("one")
    file, repository = written(tmp_path, VLLM), tmp_path / "repository"
    render(file, repository)
    (repository / "mine").mkdir()
    file.write_text(VLLM.replace("8192", "1024"))
    with pytest.raises(FailedPrecondition, match="already"):
        render(file, repository)
    assert parameters(configuration(repository, "chat"))["context"] == "8192"
    render(file, repository, replace=True)
    assert parameters(configuration(repository, "chat"))["context"] == "1024"
    assert (repository / "mine").exists()


def test_the_command_writes_them_and_names_their_folders(tmp_path: Path) -> None:
    repository = tmp_path / "repository"
    found = CliRunner().invoke(app, ["triton", "render", str(written(tmp_path, ENSEMBLE)), str(repository)])
    assert found.exit_code == 0, found.output
    assert found.output.split() == [str(repository / name) for name in ("own", "own_tokenizer", "own_graph")]


@pytest.mark.parametrize("file", SETTINGS, ids=lambda file: file.stem)
def test_the_settings_of_deploy_make_a_repository_that_triton_parses(tmp_path: Path, file: Path) -> None:
    assert file.read_text().startswith("# Unmeasured.")
    for name in render(file, tmp_path):
        found = configuration(tmp_path, name)
        assert found.name == name
        if found.platform == "ensemble":
            check_ensemble(found, lambda name: configuration(tmp_path, name))
    served = [each for each in map(served_by, (configuration(tmp_path, name) for name in read(file))) if each]
    # vLLM's inputs are added by its backend.
    assert served or all(isinstance(each, Vllm) for each in read(file).values())


def test_the_table_of_sizes_has_every_file_and_says_that_none_is_measured() -> None:
    text = (DEPLOY / "README.md").read_text("utf-8")
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if ".toml` |" in line]
    assert sorted(row[1].strip("`") for row in rows) == [file.name for file in SETTINGS]
    assert {row[-1] for row in rows} == {"no"}


# Billions of parameters, bytes of the cache for a token in KiB.
MODELS = {"Llama 3.2 1B": (1.236, 32), "Llama 3.1 8B": (8.03, 128), "Llama 3.3 70B": (70.55, 320)}


def test_the_sizes_of_the_table_are_those_of_the_settings() -> None:
    text = (DEPLOY / "README.md").read_text("utf-8")
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if ".toml` |" in line]
    checked = 0
    for title, file, gpus, weights, left, tokens, _ in rows:
        model, _, numbers = title.partition(", ")
        if model not in MODELS:
            continue
        billions, kibibytes = MODELS[model]
        count, each = map(int, re.findall(r"\d+", gpus))
        size = billions * {"bfloat16": 2, "fp8": 1}[numbers]
        (given,) = read(DEPLOY / "settings" / file.strip("`")).values()
        if isinstance(given, Vllm):
            free = count * each * given.gpu_memory - size - 2 * count
            assert given.tensor_parallel == count
        else:
            assert isinstance(given, TensorRtLlm) and given.tensor_parallel == count
            free = (count * each - size - 2 * count) * given.kv_cache
        assert float(weights.split()[0]) == pytest.approx(size, abs=0.06)
        assert float(left.split()[0]) == pytest.approx(free, abs=0.06)
        # Rounded down.
        assert 0 <= free * 1e9 / 1024 / kibibytes - int(tokens.replace(",", "")) < 1000
        checked += 1
    assert checked == 6


def shown(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """What `run` does, with `echo` in the place of Docker."""
    environment = {"PATH": "/usr/bin:/bin", "TRITON_DOCKER": "echo", **variables}
    return subprocess.run(
        ["bash", str(DEPLOY / "run"), *arguments], env=environment, capture_output=True, text=True, timeout=30
    )


def test_the_script_is_a_shell_script() -> None:
    subprocess.run(["bash", "-n", str(DEPLOY / "run")], check=True, timeout=30)


@pytest.mark.parametrize(
    ("kind", "image"), [("vllm", "-vllm-python-py3"), ("trtllm", "-trtllm-python-py3"), ("full", "-py3")]
)
def test_the_command_of_the_container(tmp_path: Path, kind: str, image: str) -> None:
    (tmp_path / "own.jinja").write_text("one")
    render(written(tmp_path, VLLM), tmp_path)
    found = shown(kind, str(tmp_path), str(tmp_path), "chat", TRITON_RELEASE="99.01")
    assert found.returncode == 0, found.stderr
    words = found.stdout.split()
    assert words[:2] == ["run", "--rm"]
    assert f"nvcr.io/nvidia/tritonserver:99.01{image}" in words
    assert words[words.index("tritonserver") + 1 :][-1] == "--load-model=chat"
    assert f"{tmp_path}:/repository:ro" in words and "127.0.0.1:8001:8001" in words
    assert not found.stderr


def test_the_script_warns_of_an_open_port_and_takes_certificates(tmp_path: Path) -> None:
    (tmp_path / "own.jinja").write_text("one")
    render(written(tmp_path, VLLM), tmp_path)
    arguments = ("vllm", str(tmp_path), str(tmp_path), "chat")
    assert "whoever reaches" in shown(*arguments, TRITON_ADDRESS="0.0.0.0").stderr
    secure = shown(*arguments, TRITON_ADDRESS="0.0.0.0", TRITON_TLS=str(tmp_path))
    assert not secure.stderr and "--grpc-use-ssl=true" in secure.stdout and "mutual" not in secure.stdout
    (tmp_path / "ca.pem").touch()
    assert "--grpc-use-ssl-mutual=true" in shown(*arguments, TRITON_TLS=str(tmp_path)).stdout


def test_the_script_refuses_what_is_not_there(tmp_path: Path) -> None:
    assert shown("vllm", str(tmp_path)).returncode == 2
    assert shown("other", str(tmp_path), str(tmp_path), "chat").returncode == 2
    missing = shown("vllm", str(tmp_path), str(tmp_path), "chat")
    assert missing.returncode == 1 and "There is no model chat" in missing.stderr


MESSAGES = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": " Hi "}]


@pytest.mark.parametrize(
    ("name", "prompt"),
    [
        (
            "chatml",
            "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n Hi <|im_end|>\n<|im_start|>assistant\n",
        ),
        (
            "llama-3",
            "<|start_header_id|>system<|end_header_id|>\n\nBe brief.<|eot_id|>"
            "<|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>"
            "<|start_header_id|>assistant<|end_header_id|>\n\n",
        ),
    ],
)
def test_the_templates_write_what_their_models_were_trained_on(name: str, prompt: str) -> None:
    template = (DEPLOY / "chat" / f"{name}.jinja").read_text("utf-8")
    assert prompt_of(template, MESSAGES) == prompt
    # The configurations of the product have the first one.
    if name == "chatml":
        for model in ("llm", "llm_tensorrt"):
            own = parsed((DEPLOY.parents[1] / "triton_models" / model / CONFIGURATION).read_text("utf-8"))
            assert prompt_of(own.parameters["chat_template"].string_value, MESSAGES) == prompt
