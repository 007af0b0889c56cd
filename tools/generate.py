"""Writes under `gen/` everything that is generated from the contracts, or tells what there differs from them.

Python comes from grpc_tools.protoc, other languages from buf, the OpenAPI document from tools/openapi.py; all work in a
scratch folder that then replaces, or with `--check` is compared to, what is committed.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tools.openapi import document

ROOT = Path(__file__).parents[1]
GEN = ROOT / "gen"
# What is generated as a whole; the manifests beside these (pyproject.toml, go.mod, package.json) are written by hand.
PRODUCTS = ("python/soma", "python/buf", "go/soma", "ts/src", "openapi.json", "descriptors.binpb")


def main() -> int:
    """Generate; with `--check` write nothing and fail when anything would change."""
    with tempfile.TemporaryDirectory(prefix="soma-gen-") as scratch:
        fresh = Path(scratch)
        _descriptors(fresh)
        _python(fresh)
        _other_languages(fresh)
        _openapi(fresh)
        if "--check" not in sys.argv:
            _replace(fresh)
            return 0
        differences = _differences(fresh)
    print(*(f"{path}: not what `make gen` writes" for path in differences), sep="\n", end="\n" if differences else "")
    print(f"generated: {len(differences)} files differ")
    return 1 if differences else 0


def _descriptors(fresh: Path) -> None:
    """All contracts with their imports: with comments for people's tools, without for processes that serve them."""
    _run("buf", "build", "-o", str(fresh / "descriptors.binpb"))
    packaged = fresh / "python" / "soma" / "descriptors.binpb"
    packaged.parent.mkdir(parents=True)
    _run("buf", "build", "--exclude-source-info", "-o", str(packaged))


def _python(fresh: Path) -> None:
    out = fresh / "python"
    sources = [*(ROOT / "proto" / "soma").rglob("*.proto"), *(ROOT / "third_party" / "buf").rglob("*.proto")]
    names = sorted(str(source.relative_to(ROOT)) for source in sources)
    flags = [f"--{kind}_out={out}" for kind in ("python", "grpc_python", "mypy", "mypy_grpc")]
    _run(sys.executable, "-m", "grpc_tools.protoc", "-Iproto", "-Ithird_party", *flags, *names)
    for package in ("soma", "buf"):
        for folder in [out / package, *(path for path in (out / package).rglob("*") if path.is_dir())]:
            (folder / "__init__.py").touch()
            (folder / "py.typed").touch()


def _other_languages(fresh: Path) -> None:
    """Go and TypeScript, as buf.gen.yaml lists them."""
    _run("buf", "generate", "proto", "-o", str(fresh))


def _openapi(fresh: Path) -> None:
    described = document((fresh / "descriptors.binpb").read_bytes())
    (fresh / "openapi.json").write_text(json.dumps(described, indent=2, ensure_ascii=False) + "\n")


def _replace(fresh: Path) -> None:
    for product in PRODUCTS:
        source, target = fresh / product, GEN / product
        if source.is_dir():
            shutil.rmtree(target, ignore_errors=True)
            shutil.copytree(source, target)
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)


def _differences(fresh: Path) -> list[str]:
    """Paths under gen/ that are missing, left over, or different in content."""
    return sorted(
        f"gen/{path}"
        for path in _files(fresh) | _files(GEN)
        if not (fresh / path).is_file()
        or not (GEN / path).is_file()
        or (fresh / path).read_bytes() != (GEN / path).read_bytes()
    )


def _files(root: Path) -> set[Path]:
    found = (file for product in PRODUCTS for file in [root / product, *(root / product).rglob("*")])
    return {file.relative_to(root) for file in found if file.is_file() and "__pycache__" not in file.parts}


def _run(*command: str) -> None:
    """Run a generator; its output is shown only when it fails."""
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode:
        sys.exit(f"{done.stdout}\n{command[0]} {command[1]} failed ({done.returncode})")


if __name__ == "__main__":
    sys.exit(main())
