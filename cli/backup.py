"""Backs up a data directory, whether its stack runs or not."""

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import asyncpg
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from cli import archive
from cli.data_dir import VERSION, DataDir
from cli.stores import run_tool, stores
from services.mesh.blobs.directory import UNFINISHED
from services.mesh.blobs.settings import BLOBS
from services.mesh.blobs.store import KEPT
from services.mesh.blobs.sweep import SHARE_LOCK
from services.mesh.call.errors import FailedPrecondition, Unavailable
from services.mesh.stores.migrations import VERSION_TABLE

DUMP, REDIS_DUMP = "postgres.dump", "redis.rdb"
# Secrets that a restored stack needs: its keys and certificates.
SECRETS = ("dev.key", "internal.key", "tls")
SAVE_SECONDS = 300.0
POLL_SECONDS = 0.02


async def back_up(directory: DataDir, target: Path) -> archive.Manifest:
    """Write a backup of everything that was acknowledged before this call.

    Postgres gives one snapshot of all schemas. Redis is saved after it, so that an event that is relayed in between is
    in both, not in neither. Pictures and documents are copied last; those in a bucket are not. A part without data here
    is left out.

    Raises:
        FailedPrecondition: there is no data, the data is in an external store, or Postgres's own program failed.
        Unavailable: Redis did not write its snapshot in time.
    """
    directory.check()
    if not directory["postgres"].exists():
        raise FailedPrecondition(f"{directory.root} holds no data", reason="DATA_DIR_EMPTY")
    with tempfile.TemporaryDirectory(prefix=f".{target.name}.", dir=target.parent) as name:
        folder = Path(name)
        postgres, schemas = "", dict[str, str]()
        async with stores(directory) as urls, AsyncExitStack() as stack:
            if (url := urls.get("postgres")) is not None:
                # What the dump refers to stays in the store until it is copied.
                await stack.enter_async_context(_no_deletion(url))
                await run_tool("pg_dump", ["--format=custom", "--no-owner", f"--file={folder / DUMP}"], url)
                postgres, schemas = await _versions(url)
            if (url := urls.get("redis")) is not None:
                await _save(url)
                shutil.move(directory["redis"] / "dump.rdb", folder / REDIS_DUMP)
            await asyncio.to_thread(_copy_blobs, directory.root, folder)
        for secret in SECRETS:
            for path in sorted(directory[secret].rglob("*")) if directory[secret].is_dir() else [directory[secret]]:
                if path.is_file():
                    copy = folder / path.relative_to(directory.root)
                    copy.parent.mkdir(exist_ok=True)
                    shutil.copyfile(path, copy)
        files = {str(path.relative_to(folder)): path for path in sorted(folder.rglob("*")) if path.is_file()}
        manifest = archive.Manifest(
            format=archive.FORMAT,
            soma=version("somamesh-server"),
            postgres=postgres,
            data_version=VERSION,
            schemas=schemas,
            taken=datetime.now(UTC).isoformat(timespec="seconds"),
            files={name: archive.digest(path) for name, path in files.items()},
        )
        archive.write(target, manifest, folder)
    return manifest


@asynccontextmanager
async def _no_deletion(url: str) -> AsyncIterator[None]:
    """Have the sweep of blobs delete nothing, for the block."""
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(SHARE_LOCK)
        yield
    finally:
        await connection.close()


def _copy_blobs(root: Path, folder: Path) -> None:
    """Copy the objects that are kept, without those of unfinished writes and those that are deleted meanwhile."""
    for path in (root / BLOBS / KEPT).rglob("*"):
        if path.is_dir() or path.name.startswith(UNFINISHED):
            continue
        copy = folder / path.relative_to(root)
        copy.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):
            shutil.copyfile(path, copy)


async def _versions(url: str) -> tuple[str, dict[str, str]]:
    """The version of the server, and of each service's schema."""
    connection = await asyncpg.connect(url)
    try:
        server = connection.get_server_version()
        rows = await connection.fetch("SELECT schemaname FROM pg_tables WHERE tablename = $1 ORDER BY 1", VERSION_TABLE)
        schemas: dict[str, str] = {}
        for (schema,) in rows:
            schemas[schema] = await connection.fetchval(f'SELECT version_num FROM "{schema}".{VERSION_TABLE}')  # noqa: S608 -- a name from the catalogue
        return f"{server.major}.{server.minor}", schemas
    finally:
        await connection.close()


async def _save(url: str) -> None:
    """Make Redis write its snapshot, and wait for it."""
    async with Redis.from_url(url) as client:
        try:
            async with asyncio.timeout(SAVE_SECONDS):
                while not await _begin_save(client):  # noqa: ASYNC110 -- Redis sends no event when it is done
                    await asyncio.sleep(POLL_SECONDS)
                while (state := await client.info("persistence"))["rdb_bgsave_in_progress"]:  # noqa: ASYNC110 -- the same
                    await asyncio.sleep(POLL_SECONDS)
        except TimeoutError:
            raise Unavailable(f"Redis has not written its snapshot in {SAVE_SECONDS:g} s") from None
        if state["rdb_last_bgsave_status"] != "ok":
            raise Unavailable("Redis could not write its snapshot; its log says why")


async def _begin_save(client: "Redis") -> bool:
    try:
        await client.bgsave(schedule=False)
    except ResponseError as error:
        if "in progress" not in str(error):
            raise
        return False
    return True
