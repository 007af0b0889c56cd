"""`python3 -m bench.gpu`: prints a table of the Python backend beside plain PyTorch."""

from __future__ import annotations

import argparse
import json
import platform
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bench.gpu.task import Figures

MISSING = "PyTorch and numpy are needed, in the Python that runs this ({}): {}"


def main() -> int:
    """Measure, and print the table; with `--json`, also write the figures to a file."""
    given = _arguments()
    try:
        import numpy  # noqa: F401
        import torch
    except ImportError as error:
        print(MISSING.format(sys.executable, error), file=sys.stderr)
        return 1
    from bench.gpu.llama import SHAPES, dtype_of
    from bench.gpu.task import AT_ONCE, Task, measured
    from bench.gpu.triton import Triton, Unusable
    from bench.gpu.ways import InProcess, Plain

    device = given.device or ("cuda" if torch.cuda.is_available() else "cpu")
    if device == "cuda" and not torch.cuda.is_available():
        print("PyTorch sees no GPU here; --device cpu measures the processor.", file=sys.stderr)
        return 1
    tiny = given.shape == "tiny"
    task = Task(given.shape, device, **({"text": 16, "prompt": 16, "answer": 8} if tiny else {}))
    if given.seconds:
        task = Task(**{**asdict(task), "seconds": given.seconds, "rounds": 1})
    shape = SHAPES[task.shape]
    where = torch.cuda.get_device_name() if device == "cuda" else f"processor, {torch.get_num_threads()} threads"
    print(f"device: {where}; Python {platform.python_version()}, PyTorch {torch.__version__}")
    print(f"model: shape {task.shape}, {shape.parameters / 1e9:.3g} billion random weights, {dtype_of(device)}")
    print(f"texts of {task.text} tokens; prompts of {task.prompt} tokens, answers of {task.answer} tokens")

    plain = Plain(task)
    alone = [measured(plain, task, shape.vocabulary, each, batch=True) for each in AT_ONCE]
    plain.close()
    way: Triton | InProcess
    try:
        way = Triton(task)
        title = f"Triton {way.version}, Python backend, over HTTP on this machine"
    except Unusable as why:
        print(f"Triton was not measured: {why}")
        way = InProcess(task)
        title = "the program of the Python backend in this process, WITHOUT Triton"
    print(f"measured: {title}, beside plain PyTorch" + ("" if device == "cuda" else "; NO GPU"))
    try:
        through = [measured(way, task, shape.vocabulary, each, batch=False) for each in AT_ONCE]
    finally:
        way.close()
    print(_table(through, alone))
    if given.json:
        figures = {"task": asdict(task), "device": where, "measured": title}
        figures |= {name: [asdict(each) for each in rows] for name, rows in (("backend", through), ("plain", alone))}
        Path(given.json).write_text(json.dumps(figures, indent=2) + "\n")
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python3 -m bench.gpu", description=__doc__)
    parser.add_argument("--shape", choices=("1b", "tiny"), default="1b", help="1b is that of Llama 3.2 1B")
    parser.add_argument("--device", choices=("cuda", "cpu"), help="the GPU if there is one, unless this is given")
    parser.add_argument("--seconds", type=float, default=0.0, help="seconds for each figure of vectors, and one round")
    parser.add_argument("--json", help="file for the figures")
    return parser.parse_args()


def _table(through: Sequence[Figures], alone: Sequence[Figures]) -> str:
    rows = [("", "at once", "backend", "plain PyTorch", "ratio")]
    for name, unit, field in (
        ("vectors", "texts/s", "texts_per_second"),
        ("answers", "tokens/s", "tokens_per_second"),
        ("first token", "ms", "first_token_ms"),
    ):
        for here, peer in zip(through, alone, strict=True):
            ours, theirs = getattr(here, field), getattr(peer, field)
            ratio = f"{ours / theirs:.2f}" if theirs else "-"
            rows.append((name, str(here.at_once), f"{ours:,.1f} {unit}", f"{theirs:,.1f} {unit}", ratio))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join("  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)


if __name__ == "__main__":
    sys.exit(main())
