"""Makes a data directory from a backup."""

import shutil
import tempfile
from pathlib import Path

from cli import archive
from cli.backup import DUMP, REDIS_DUMP
from cli.data_dir import VERSION, DataDir
from cli.parts.program import POSTGRES, find
from cli.parts.program import version as program_version
from cli.parts.redis import APPENDED_BEFORE
from cli.stores import run_tool, started
from services.declared import schemas
from services.mesh.call.errors import FailedPrecondition, InvalidArgument


async def restore(source: Path, directory: DataDir) -> archive.Manifest:
    """Restore into a directory that is empty or does not exist; it appears only when it is complete.

    Raises:
        FailedPrecondition: the directory is not empty, or Postgres's own program failed.
        InvalidArgument: the file is not a backup, is damaged, or comes from a newer version.
    """
    if directory.root.exists() and (not directory.root.is_dir() or any(directory.root.iterdir())):
        raise FailedPrecondition(
            f"{directory.root} is not empty; restore into another --data-dir", reason="DATA_DIR_NOT_EMPTY"
        )
    if not source.is_file():
        raise InvalidArgument(f"{source} is not a file", reason="BACKUP_MISSING")
    directory.root.parent.mkdir(parents=True, exist_ok=True)
    building = Path(tempfile.mkdtemp(prefix=f".{directory.root.name}.", dir=directory.root.parent))
    try:
        made = DataDir.at(building)
        # First the files of the backup, then a data directory made from them.
        files = Path(tempfile.mkdtemp(prefix=f".{directory.root.name}.", dir=directory.root.parent))
        try:
            manifest = archive.extract(source, files)
            await _check(source, manifest)
            made.prepare()
            await _fill(made, files, manifest)
        finally:
            shutil.rmtree(files)
        if directory.root.exists():
            directory.root.rmdir()
        building.rename(directory.root)
    except BaseException:
        shutil.rmtree(building, ignore_errors=True)
        raise
    return manifest


async def _check(source: Path, manifest: archive.Manifest) -> None:
    """Refuse a backup that this version cannot use."""
    newer = [f"data version {manifest.data_version}"] if manifest.data_version > VERSION else []
    if manifest.postgres and _major(manifest.postgres) > _major(await program_version(find(POSTGRES))):
        newer.append(f"Postgres {manifest.postgres}")
    known = schemas()
    for schema, number in manifest.schemas.items():
        if schema not in known or not any(known[schema].glob(f"{number}_*.sql")):
            newer.append(f"schema {schema} {number}")
    if newer:
        raise InvalidArgument(
            f"{source} was made by soma {manifest.soma} and needs that version or a newer one: this one does not know "
            f"{', '.join(newer)}",
            reason="BACKUP_NEWER",
        )


def _major(version: str) -> int:
    return int(version.split(".")[0])


async def _fill(made: DataDir, files: Path, manifest: archive.Manifest) -> None:
    for name in manifest.files:
        if name not in (DUMP, REDIS_DUMP):
            # `parents` alone would give folders in between the permissions of the umask.
            for folder in reversed(made[name].relative_to(made.root).parents):
                made[str(folder)].mkdir(mode=0o700, exist_ok=True)
            shutil.move(files / name, made[name])
    if REDIS_DUMP in manifest.files:
        # An append-only file may begin with a snapshot; this one consists only of the snapshot.
        shutil.move(files / REDIS_DUMP, made["redis"] / APPENDED_BEFORE)
    kept = [name for name, dump in (("postgres", DUMP), ("redis", REDIS_DUMP)) if dump in manifest.files]
    async with started(made, kept) as urls:
        if (url := urls.get("postgres")) is not None:
            await run_tool("pg_restore", ["--no-owner", "--exit-on-error", "--dbname=soma", files / DUMP], url)
