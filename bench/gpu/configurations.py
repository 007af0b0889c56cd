"""The model repository for Triton: two models, made anew for each run."""

from __future__ import annotations

from pathlib import Path

from bench.gpu.task import Task

EMBED, WRITE = "embed", "write"
# Most texts in a batch, and conversations at the same time.
MOST = 64
_PROGRAM = '''"""Made by bench.gpu."""

from bench.gpu.served import {} as TritonPythonModel

__all__ = ["TritonPythonModel"]
'''
_EMBED = """
name: "embed"
backend: "python"
max_batch_size: {most}
input [ {{ name: "IDS" data_type: TYPE_INT32 dims: [ -1 ] }} ]
output [ {{ name: "VECTOR" data_type: TYPE_FP32 dims: [ -1 ] }} ]
dynamic_batching {{ }}
"""
_WRITE = """
name: "write"
backend: "python"
max_batch_size: 0
input [
  {{ name: "IDS" data_type: TYPE_INT32 dims: [ -1 ] }},
  {{ name: "TOKENS" data_type: TYPE_INT32 dims: [ 1 ] }}
]
output [ {{ name: "TOKEN" data_type: TYPE_INT32 dims: [ 1 ] }} ]
model_transaction_policy {{ decoupled: true }}
"""
# The model chooses its device itself.
_FURTHER = "instance_group [ {{ count: 1 kind: KIND_CPU }} ]\nparameters [ {parameters} ]\n"


def parameters(task: Task, model: str) -> dict[str, dict[str, str]]:
    """The parameters of a model, as its program gets them."""
    given = {"shape": task.shape, "device": task.device}
    if model == WRITE:
        given |= {"rows": str(MOST), "longest": str(task.longest)}
    return {name: {"string_value": value} for name, value in given.items()}


def write(folder: Path, task: Task) -> None:
    """Write the repository."""
    for name, text, program in ((EMBED, _EMBED, "Embed"), (WRITE, _WRITE, "Write")):
        version = folder / name / "1"
        version.mkdir(parents=True)
        (version / "model.py").write_text(_PROGRAM.format(program))
        (version.parent / "config.pbtxt").write_text(configuration(text, name, task))


def configuration(text: str, name: str, task: Task) -> str:
    """The configuration of a model, from its template."""
    given = ", ".join(
        f'{{ key: "{key}" value {{ string_value: "{value["string_value"]}" }} }}'
        for key, value in parameters(task, name).items()
    )
    return text.format(most=MOST) + _FURTHER.format(parameters=given)


def texts(task: Task) -> dict[str, str]:
    """The configurations of all models, by their names."""
    return {name: configuration(text, name, task) for name, text in ((EMBED, _EMBED), (WRITE, _WRITE))}
