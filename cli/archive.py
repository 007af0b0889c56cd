"""The file that `soma backup` writes: a tar of a manifest and the files that it names, each with its SHA-256."""

import hashlib
import io
import json
import os
import tarfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from services.mesh.call.errors import InvalidArgument

# Increased when older versions of soma cannot read the new format.
# 2: without the dump of a part that has no data.
FORMAT = 2
_BLOCK = 1024 * 1024


@dataclass(frozen=True)
class Manifest:
    """The manifest of a backup.

    Attributes:
        format: format of the file.
        soma, postgres: versions of the programs that wrote it; `postgres` is empty if it had no data.
        data_version: version of the data directory.
        schemas: version of each service's schema.
        taken: time of the backup, RFC 3339.
        files: SHA-256 of each file, by its name in the archive.
    """

    format: int
    soma: str
    postgres: str
    data_version: int
    schemas: Mapping[str, str]
    taken: str
    files: Mapping[str, str]


def digest(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write(path: Path, manifest: Manifest, folder: Path) -> None:
    """Write the files of the manifest from `folder`.

    Only their owner can read the file, and it is complete or absent.
    """
    content = json.dumps(asdict(manifest), indent=2).encode()
    new = path.with_name(path.name + ".new")
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        with tarfile.open(fileobj=file, mode="w") as tar:
            # The manifest's own checksum is in its name.
            head = tarfile.TarInfo(f"manifest-{hashlib.sha256(content).hexdigest()}.json")
            head.size, head.mode = len(content), 0o600
            tar.addfile(head, io.BytesIO(content))
            for name in manifest.files:
                tar.add(folder / name, name, recursive=False)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)


def extract(path: Path, folder: Path) -> Manifest:
    """Put the files of a backup into `folder`, and check every file.

    Raises:
        InvalidArgument: it is no backup or is damaged (`BACKUP_CORRUPT`), or its format is newer.
    """
    try:
        with tarfile.open(path, "r:") as tar:
            manifest = _manifest(path, tar)
            for name, expected in manifest.files.items():
                target = folder / name
                if not target.resolve().is_relative_to(folder.resolve()):
                    raise _corrupt(path, f"{name} is outside the folder")
                target.parent.mkdir(parents=True, exist_ok=True)
                if _copy(tar, name, target) != expected:
                    raise _corrupt(path, f"{name} has changed")
            return manifest
    except (tarfile.TarError, EOFError, KeyError, TypeError, ValueError) as error:
        raise _corrupt(path, str(error)) from error


def _manifest(path: Path, tar: tarfile.TarFile) -> Manifest:
    head = tar.next()
    file = tar.extractfile(head) if head is not None else None
    if head is None or file is None:
        raise _corrupt(path, "it is empty")
    content = file.read()
    if head.name != f"manifest-{hashlib.sha256(content).hexdigest()}.json":
        raise _corrupt(path, "its manifest is missing or has changed")
    values = json.loads(content)
    if values["format"] > FORMAT:
        raise InvalidArgument(
            f"{path} was written by soma {values['soma']} in a newer format; restore it with that version",
            reason="BACKUP_NEWER",
        )
    return Manifest(**values)


def _copy(tar: tarfile.TarFile, name: str, target: Path) -> str:
    """Copy a file, and return its SHA-256."""
    source = tar.extractfile(name)
    if source is None:
        raise ValueError(f"{name} is not a file")
    checksum = hashlib.sha256()
    with source, os.fdopen(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        while block := source.read(_BLOCK):
            checksum.update(block)
            file.write(block)
    return checksum.hexdigest()


def _corrupt(path: Path, why: str) -> InvalidArgument:
    return InvalidArgument(f"{path} is not a backup of soma, or is damaged: {why}", reason="BACKUP_CORRUPT")
