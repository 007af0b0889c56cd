"""Adds GGUF files to a data directory, and removes them. A stack that runs sees the change at once."""

import os
import re
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from soma.errors.v1 import reasons

from cli.data_dir import DataDir
from cli.parts.part import Launch
from cli.parts.process import run
from services.mesh.call.errors import (
    AlreadyExists,
    FailedPrecondition,
    InvalidArgument,
    MeshError,
    NotFound,
    Unavailable,
)
from services.model.llm.files import FOLDER, Files, installed, name_of
from services.model.llm.gguf import Facts, NotGguf, read
from services.model.llm.loaded import Refused, require_fitting
from services.model.llm.memory import free_bytes
from services.model.llm.settings import LlmSettings

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,126}")
_WHY = re.compile(r"error loading model: (?:error loading model \w+: )?(.+)")


@dataclass(frozen=True)
class Added:
    """A file that was added: the name of its model, its facts, and whether it is the same file, not a copy."""

    name: str
    facts: Facts
    linked: bool


async def add(directory: DataDir, path: Path, name: str | None = None) -> Added:
    """Check a file and add it. It is linked if that is possible, so that it takes no further space, and else copied.

    Raises:
        InvalidArgument: the name has characters that names have not.
        NotFound: there is no such file.
        AlreadyExists: there is a model of this name.
        FailedPrecondition: llama.cpp cannot load the file, or it needs more memory or disk than is free.
    """
    model = name or name_of(path)
    if not _NAME.fullmatch(model):
        raise InvalidArgument(f"`{model}` is no name of a model: use a-z, 0-9, dots, dashes and underscores")
    if not path.is_file():
        raise NotFound(f"there is no file {path}")
    directory.prepare()
    settings = LlmSettings()
    files = Files(directory.root / FOLDER, settings.gguf)
    target = files.added(model)
    if target.exists():
        raise AlreadyExists(f"there is a model `{model}`; remove it first: soma models remove {model}")
    try:
        facts = read(path)
        require_fitting(model, facts, settings.engine(), free_bytes())
    except (NotGguf, OSError) as error:
        raise _invalid(path, str(error)) from error
    except Refused as error:
        raise FailedPrecondition(error.message, reason=error.reason) from error
    await _try(path)
    with directory.usable():
        return Added(model, facts, _placed(path, target, facts.size))


def remove(directory: DataDir, name: str) -> None:
    """Remove a model that was added.

    Raises:
        NotFound: no such model was added.
    """
    files = Files(directory.root / FOLDER, LlmSettings().gguf)
    target = files.added(name)
    if _NAME.fullmatch(name) and target.is_file():
        target.unlink()
        return
    if files.find(name) is not None:
        raise NotFound(f"`{name}` was not added by soma models add: it is a package, or [llm] gguf names it")
    raise NotFound(f"there is no model `{name}`; soma models lists them")


async def _try(path: Path) -> None:
    """Load the file once, because only llama.cpp knows what it can load."""
    if not installed():
        raise FailedPrecondition("llama.cpp is missing: pip install xllamacpp", reason="PROGRAM_MISSING")
    status, output = await run(Launch([sys.executable, "-P", "-m", "services.model.llm.trial", str(path.absolute())]))
    if status != 0:
        found = _WHY.findall(output)
        raise _invalid(path, found[0].strip() if found else f"loading it ended with status {status}")


def _placed(path: Path, target: Path, size: int) -> bool:
    """Link or copy the file; return whether it is linked."""
    new = target.with_name(f".{target.name}.new")
    new.unlink(missing_ok=True)
    try:
        os.link(path.resolve(), new)
        linked = True
    except OSError:
        # Another file system, or a file of another user.
        linked = False
        free = shutil.disk_usage(target.parent).free
        if free < size:
            raise Unavailable(
                f"a copy of {path.name} needs {size} bytes, and {free} are free in {target.parent}",
                reason=reasons.STORAGE_FULL,
            ) from None
        try:
            shutil.copyfile(path, new)
        except BaseException:
            new.unlink(missing_ok=True)
            raise
    # In one step, so that no list has half of it.
    new.replace(target)
    return linked


def _invalid(path: Path, why: str) -> MeshError:
    return FailedPrecondition(f"{path.name} cannot be used: {why}", reason=reasons.MODEL_FILE_INVALID)
