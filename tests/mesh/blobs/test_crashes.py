"""A process that is killed at any point: nothing that somebody needs is lost, and nothing else is kept for ever."""

import asyncio
import random
import sys
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import asyncpg
import pytest

from services.mesh.blobs import sweep as sweep_module
from services.mesh.blobs.blobs import Blobs
from services.mesh.blobs.directory import Directory
from services.mesh.blobs.store import KEPT
from services.mesh.blobs.sweep import Sweep
from services.mesh.testing.waiting import until
from tests.mesh.blobs.busy import CONTENTS, NAME, TENANT
from tests.size import examples

if TYPE_CHECKING:
    from tests.databases import OwnedDatabase

OWNED = "CREATE TABLE owned (owner text, hash text, PRIMARY KEY (owner, hash))"
CONNECTED = "SELECT count(*) FROM pg_stat_activity WHERE application_name = $1"


async def killed_at_some_point(folder: Path, url: str) -> None:
    """Let a process work for a moment, and kill it."""
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.mesh.blobs.busy", str(folder), url, stdout=asyncio.subprocess.PIPE
    )
    assert child.stdout is not None
    assert await child.stdout.readline() == b"ready\n"
    await asyncio.sleep(0.2 + random.random() * 0.2)
    assert child.returncode is None
    child.kill()
    await child.wait()


@pytest.mark.timeout(300)
async def test_a_killed_process_loses_nothing_that_is_needed_and_keeps_nothing_that_is_not(
    database: "OwnedDatabase", postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await database.execute(OWNED)
    store = Directory(tmp_path)

    async def alone() -> bool:
        return not await database.fetchval(CONNECTED, NAME)

    seen = 0
    for _ in range(examples(4)):
        await killed_at_some_point(tmp_path, postgres_url)
        await until(alone)
        blobs = Blobs(store, database.tenants)
        for owner, hash in await database.fetch("SELECT owner, hash FROM owned"):
            assert await blobs.read(TENANT, hash) in CONTENTS, owner
            seen += 1
    assert seen
    sweep = Sweep(store, database.system)
    while await sweep.delete_released():
        pass
    before = {one.key async for one in store.list(KEPT)}
    needed = {row["object"] for row in await database.fetch("SELECT object FROM mesh.blob")}
    assert needed <= before
    monkeypatch.setattr(sweep_module, "ORPHAN_AGE", timedelta(0))
    await sweep.delete_orphans()
    assert {one.key async for one in store.list(KEPT)} == needed
    rows = {row["hash"] for row in await database.fetch("SELECT hash FROM mesh.blob")}
    assert rows == {row["hash"] for row in await database.fetch("SELECT hash FROM owned")}
    assert await database.fetchval("SELECT count(*) FROM mesh.blob_garbage") == 0


async def test_a_young_object_without_a_row_is_left_for_the_transaction_that_stored_it(
    database: "OwnedDatabase", tmp_path: Path
) -> None:
    store = Directory(tmp_path)
    await store.put("kept/a/bb/object", b"1")
    await Sweep(store, database.system).delete_orphans()
    assert await store.get("kept/a/bb/object") == b"1"


async def test_what_a_killed_process_held_is_deleted_after_an_hour(
    database: "OwnedDatabase", tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Directory(tmp_path)
    blobs = Blobs(store, database.tenants, shared=True)
    held = blobs.hold(TENANT, b"1")
    await held.__aenter__()
    sweep = Sweep(store, database.system)
    await sweep.delete_transient()
    assert len([one async for one in store.list("transient")]) == 1
    monkeypatch.setattr(sweep_module, "TRANSIENT_AGE", timedelta(0))
    await sweep.delete_transient()
    assert [one async for one in store.list("transient")] == []
    await held.__aexit__(None, None, None)


async def test_objects_stay_while_a_backup_copies_them(
    database: "OwnedDatabase", postgres_url: str, tmp_path: Path
) -> None:
    store = Directory(tmp_path)
    blobs, sweep = Blobs(store, database.tenants), Sweep(store, database.system)
    async with blobs.hold(TENANT, b"1") as hash, database.acquire() as connection:
        await blobs.keep(connection, TENANT, "conversation:a", [hash])
        await blobs.release(connection, TENANT, "conversation:a")
    backup = await asyncpg.connect(postgres_url)
    await backup.execute(sweep_module.SHARE_LOCK)
    assert not await sweep.delete_released()
    assert len([one async for one in store.list(KEPT)]) == 1
    await backup.close()

    async def deleted() -> bool:
        await sweep.delete_released()
        return not [one async for one in store.list(KEPT)]

    await until(deleted)
