"""Writes everything that is generated from the contracts, or reports the files that differ.

grpc_tools.protoc makes Python, buf the other languages, tools/openapi.py the OpenAPI document, tools/reasons.py the
reasons of errors, and tools/client_modules.py the methods of the Python client. All of them write into a scratch
folder. It then replaces the committed files, or is compared with them (`--check`).
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

from google.protobuf.descriptor_pb2 import FileDescriptorSet

from tools import client_modules, reasons
from tools.client_method import CannotGenerate, methods_of, services_of
from tools.openapi import document

ROOT = Path(__file__).parents[1]
# Files and folders that are generated completely. Manifests (pyproject.toml, go.mod, package.json) are hand-written.
PRODUCTS = (
    *(
        f"gen/{each}"
        for each in ("python/soma", "python/buf", "go/soma", "ts/src", "openapi.json", "descriptors.binpb")
    ),
    "docs/errors.md",
    client_modules.PACKAGE,
)


def main() -> int:
    """Generate; with `--check`, write nothing and fail if a file would change."""
    with tempfile.TemporaryDirectory(prefix="soma-gen-") as scratch:
        fresh = Path(scratch)
        gen = fresh / "gen"
        _descriptors(gen)
        _python(gen)
        _other_languages(gen)
        _openapi(gen)
        _reasons(fresh)
        _client(gen / "descriptors.binpb", fresh / client_modules.PACKAGE)
        if "--check" not in sys.argv:
            _replace(fresh)
            return 0
        differences = _differences(fresh)
    print(*(f"{path}: not what `make gen` writes" for path in differences), sep="\n", end="\n" if differences else "")
    print(f"generated: {len(differences)} files differ")
    return 1 if differences else 0


def _descriptors(gen: Path) -> None:
    """All contracts with their imports: with comments for tools, without comments for the processes that serve them."""
    gen.mkdir()
    _run("buf", "build", "-o", str(gen / "descriptors.binpb"))
    packaged = gen / "python" / "soma" / "descriptors.binpb"
    packaged.parent.mkdir(parents=True)
    _run("buf", "build", "--exclude-source-info", "-o", str(packaged))


def _python(gen: Path) -> None:
    out = gen / "python"
    sources = [*(ROOT / "proto" / "soma").rglob("*.proto"), *(ROOT / "third_party" / "buf").rglob("*.proto")]
    names = sorted(str(source.relative_to(ROOT)) for source in sources)
    flags = [f"--{kind}_out={out}" for kind in ("python", "grpc_python", "mypy", "mypy_grpc")]
    _run(sys.executable, "-m", "grpc_tools.protoc", "-Iproto", "-Ithird_party", *flags, *names)
    for package in ("soma", "buf"):
        for folder in [out / package, *(path for path in (out / package).rglob("*") if path.is_dir())]:
            (folder / "__init__.py").touch()
            (folder / "py.typed").touch()


def _other_languages(gen: Path) -> None:
    """Go and TypeScript, as buf.gen.yaml lists them."""
    _run("buf", "generate", "proto", "-o", str(gen))


def _openapi(gen: Path) -> None:
    described = document((gen / "descriptors.binpb").read_bytes())
    (gen / "openapi.json").write_text(json.dumps(described, indent=2, ensure_ascii=False) + "\n")


def _reasons(fresh: Path) -> None:
    """The reasons of errors: constants for Python, and the page."""
    declared = reasons.reasons_of((fresh / "gen" / "descriptors.binpb").read_bytes())
    (fresh / "gen" / "python" / "soma" / "errors" / "v1" / "reasons.py").write_text(reasons.module(declared))
    (fresh / "docs").mkdir()
    (fresh / "docs" / "errors.md").write_text(reasons.page(declared))


def _client(descriptors: Path, package: Path) -> None:
    """The Python client's calls, stubs and methods."""
    files = FileDescriptorSet.FromString(descriptors.read_bytes())
    overrides = tomllib.loads((ROOT / "tools" / "client_methods.toml").read_text())
    try:
        methods = methods_of(files, overrides)
    except CannotGenerate as error:
        sys.exit(str(error))
    package.mkdir(parents=True)
    for name, text in client_modules.modules(methods, services_of(files)).items():
        (package / name).write_text(text)


def _replace(fresh: Path) -> None:
    for product in PRODUCTS:
        source, target = fresh / product, ROOT / product
        if source.is_dir():
            shutil.rmtree(target, ignore_errors=True)
            shutil.copytree(source, target)
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)


def _differences(fresh: Path) -> list[str]:
    """Files of the tree that are missing, superfluous or different."""
    return sorted(
        str(path)
        for path in _files(fresh) | _files(ROOT)
        if not (fresh / path).is_file()
        or not (ROOT / path).is_file()
        or (fresh / path).read_bytes() != (ROOT / path).read_bytes()
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
