"""A repository as `soma triton render` writes it, with stand-ins for the backends that Triton's wheel lacks."""

import shutil
from pathlib import Path

from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from services.model.adapters.triton.deployment.rendering import render
from services.model.adapters.triton.deployment.template import CONFIGURATION, VERSION, parsed
from services.model.llm.files import packaged
from tests.model.adapters.triton import small
from tests.model.adapters.triton.server import MODELS

STAND_INS = Path(__file__).with_name("stand_ins")
PROMPTED = ("by_vllm", "by_ensemble")
SETTINGS = """
[tiny]
kind = "embedder"
graph = "{files}/encoder.onnx"
tokenizer = "{files}/words.json"
max_tokens = 16

[tiny_cls]
kind = "embedder"
graph = "{files}/encoder.onnx"
tokenizer = "{files}/words.json"
pooling = "cls"

[whole]
kind = "embedder"
runs_on = "onnxruntime"
graph = "{files}/encoder.onnx"
tokenizer = "{files}/words.json"
max_tokens = 16
pad_to = 8

[whole_last]
kind = "embedder"
runs_on = "onnxruntime"
graph = "{files}/encoder.onnx"
tokenizer = "{files}/words.json"
pooling = "last"

[sorter]
kind = "reranker"
model = "tiny-reranker"
graph = "{files}/cross.onnx"
tokenizer = "{files}/words.json"
max_batch = 4

[whole_sorter]
kind = "reranker"
runs_on = "onnxruntime"
graph = "{files}/cross.onnx"
tokenizer = "{files}/words.json"

[by_llmapi]
kind = "tensorrt_llm"
weights = "/nowhere"
program = "{files}"
context = 512

[small]
kind = "llama.cpp"
weights = "{gguf}"
context = 512
slots = 1
"""
# Models of the settings that a stand-in runs.
GRAPHS = ("whole_graph", "whole_last_graph", "whole_sorter_graph")


def write(folder: Path) -> tuple[str, ...]:
    """Make the repository `folder/repository`; return the names of its models, in an order in which they load."""
    files, repository = folder / "files", folder / "repository"
    files.mkdir(parents=True)
    small.write_encoder(files / "encoder.onnx")
    small.write_cross_encoder(files / "cross.onnx")
    small.write_word_tokenizer(files / "words.json")
    shutil.copyfile(STAND_INS / "llmapi.py", files / "model.py")
    weights = packaged()
    assert weights is not None
    settings = files / "models.toml"
    settings.write_text(SETTINGS.format(files=files, gguf=weights.path))
    names = render(settings, repository)
    for name in GRAPHS:
        _stand_in(repository / name)
    for name in PROMPTED:
        shutil.copytree(MODELS / name, repository / name)
    ensembles = {"whole", "whole_last", "whole_sorter"}
    return (*(name for name in (*names, *PROMPTED) if name not in ensembles), *sorted(ensembles))


def _stand_in(model: Path) -> None:
    """Have a Python program run a model of another backend. Its inputs and outputs stay."""
    file = model / CONFIGURATION
    configuration = parsed(file.read_text())
    configuration.backend = "python"
    del configuration.instance_group[:]
    configuration.instance_group.add(count=1, kind=model_config_pb2.ModelInstanceGroup.KIND_CPU)
    file.write_text(text_format.MessageToString(configuration))
    shutil.copyfile(STAND_INS / "graph.py", model / VERSION / "model.py")
