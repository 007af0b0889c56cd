"""Bytes by their hash: held for a turn, kept once per tenant, and gone with their last owner."""

import asyncio
import base64
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from soma.errors.v1 import reasons

from services.mesh.blobs.blobs import Blobs
from services.mesh.blobs.directory import Directory
from services.mesh.blobs.sweep import Sweep
from services.mesh.call import errors

if TYPE_CHECKING:
    from tests.databases import OwnedDatabase

PICTURE = b"a picture"
BASE64 = base64.b64encode(PICTURE).decode()
HASH = hashlib.sha256(PICTURE).hexdigest()


class Process:
    """The blobs of one process, on a store that it shares with others."""

    def __init__(self, root: Path, pool: "OwnedDatabase", *, shared: bool = False) -> None:
        self.store = Directory(root)
        self.blobs = Blobs(self.store, pool.tenants, shared=shared)
        self.sweep = Sweep(self.store, pool.system)
        self.pool = pool
        self._root = root

    async def keep(self, owner: str, *hashes: str, tenant: str = "acme") -> None:
        """Keep bytes in a transaction of their own."""
        async with self.pool.tenants.transaction(tenant) as connection:
            await self.blobs.keep(connection, tenant, owner, hashes)

    async def release(self, owner: str, tenant: str = "acme") -> None:
        """Release an owner's bytes in a transaction of their own."""
        async with self.pool.tenants.transaction(tenant) as connection:
            await self.blobs.release(connection, tenant, owner)

    async def missing(self, hash: str = HASH, tenant: str = "acme") -> bool:
        """Whether the tenant has no such bytes."""
        try:
            await self.blobs.read(tenant, hash)
        except errors.NotFound as error:
            return error.reason == reasons.MEDIA_NOT_FOUND
        return False

    def files(self) -> list[Path]:
        """Every file of the store."""
        return [path for path in self._root.rglob("*") if path.is_file()]


@pytest.fixture
def process(database: "OwnedDatabase", tmp_path: Path) -> Process:
    """A process that has every service that reads bytes."""
    return Process(tmp_path, database)


async def test_bytes_are_held_in_memory_while_the_block_runs(process: Process) -> None:
    async with process.blobs.hold("acme", PICTURE) as hash:
        assert hash == HASH
        assert await process.blobs.read("acme", hash) == PICTURE
        assert await process.missing(tenant="globex")
        assert process.files() == []
    assert await process.missing()


async def test_equal_bytes_are_there_until_the_last_holder_lets_go(process: Process) -> None:
    async with process.blobs.hold("acme", PICTURE):
        async with process.blobs.hold("acme", bytes(bytearray(PICTURE))):
            pass
        assert await process.blobs.read("acme", HASH) == PICTURE
    assert await process.missing()


async def test_a_process_holds_no_more_than_it_may_and_equal_bytes_count_once(process: Process) -> None:
    blobs = Blobs(process.store, process.pool.tenants, held_bytes=10)
    async with blobs.hold("acme", b"123456"), blobs.hold("acme", b"123456"):
        with pytest.raises(errors.Unavailable) as raised:
            async with blobs.hold("acme", b"12345"):
                pass
        assert (raised.value.reason, raised.value.facts.retry_after) == (reasons.OVERLOADED, 1.0)
        async with blobs.hold("acme", b"1234") as hash:
            assert await blobs.read("acme", hash) == b"1234"
    async with blobs.hold("acme", b"more than it may") as hash:
        assert await blobs.read("acme", hash) == b"more than it may"


async def test_the_base64_of_bytes_is_given_once_for_each_who_holds_them(process: Process) -> None:
    blobs = process.blobs
    async with blobs.hold("acme", PICTURE, base64=BASE64) as hash, blobs.hold("acme", PICTURE, base64=BASE64):
        assert blobs.take_base64("globex", hash) == ""
        assert [blobs.take_base64("acme", hash) for _ in range(3)] == [BASE64, BASE64, ""]
        assert await blobs.read("acme", hash) == PICTURE
        async with blobs.hold("acme", PICTURE, base64=BASE64):
            assert [blobs.take_base64("acme", hash) for _ in range(2)] == [BASE64, ""]
    assert blobs.take_base64("acme", hash) == ""


async def test_base64_gives_way_to_bytes(process: Process) -> None:
    blobs = Blobs(process.store, process.pool.tenants, held_bytes=len(PICTURE) + len(BASE64) + 2)
    async with blobs.hold("acme", PICTURE, base64=BASE64) as hash:
        async with blobs.hold("acme", b"others", base64="b3RoZXJz") as other:
            assert [blobs.take_base64("acme", each) for each in (hash, other)] == ["", "b3RoZXJz"]
        # All that was held is let go, or this would not fit.
        async with blobs.hold("acme", b"x" * len(BASE64)):
            pass


async def test_base64_is_not_kept_if_services_are_apart(database: "OwnedDatabase", tmp_path: Path) -> None:
    blobs = Process(tmp_path, database, shared=True).blobs
    async with blobs.hold("acme", PICTURE, base64=BASE64) as hash:
        assert blobs.take_base64("acme", hash) == ""


async def test_large_bytes_have_the_same_hash_as_anywhere(process: Process) -> None:
    data = bytes(range(256)) * 8192
    async with process.blobs.hold("acme", data) as hash:
        assert hash == hashlib.sha256(data).hexdigest()


async def test_another_process_reads_held_bytes_if_services_are_apart(
    database: "OwnedDatabase", tmp_path: Path
) -> None:
    edge, model = Process(tmp_path, database, shared=True), Process(tmp_path, database, shared=True)
    async with edge.blobs.hold("acme", PICTURE) as hash:
        async with edge.blobs.hold("acme", PICTURE):
            pass
        assert await model.blobs.read("acme", hash) == PICTURE
        assert await model.missing(tenant="globex")
    assert await model.missing()
    assert edge.files() == []


async def test_kept_bytes_outlast_the_process_once_for_all_their_owners(
    database: "OwnedDatabase", tmp_path: Path
) -> None:
    process = Process(tmp_path, database)
    async with process.blobs.hold("acme", PICTURE) as hash:
        await process.keep("conversation:a", hash, hash)
        await process.keep("conversation:a", hash)
        await process.keep("conversation:b", hash)
    later = Process(tmp_path, database)
    assert await later.blobs.read("acme", HASH) == PICTURE
    await later.keep("response:c", HASH)
    assert len(process.files()) == 1
    assert await later.missing(tenant="globex")


async def test_bytes_are_deleted_with_their_last_owner(process: Process) -> None:
    async with process.blobs.hold("acme", PICTURE):
        await process.keep("conversation:a", HASH)
        await process.keep("conversation:b", HASH)
    await process.release("conversation:a")
    await process.sweep.delete_released()
    assert await process.blobs.read("acme", HASH) == PICTURE
    await process.release("conversation:b")
    assert await process.missing()
    with pytest.raises(errors.NotFound):
        await process.keep("conversation:c", HASH)
    await process.sweep.delete_released()
    assert process.files() == []


async def test_bytes_that_come_again_before_they_were_deleted_stay(process: Process) -> None:
    async with process.blobs.hold("acme", PICTURE):
        await process.keep("conversation:a", HASH)
        await process.release("conversation:a")
        await process.keep("conversation:b", HASH)
    await process.sweep.delete_released()
    assert await process.blobs.read("acme", HASH) == PICTURE
    assert len(process.files()) == 1


async def test_a_tenant_keeps_nothing_by_a_hash_that_only_another_tenant_has(process: Process) -> None:
    async with process.blobs.hold("globex", PICTURE):
        await process.keep("conversation:a", HASH, tenant="globex")
    with pytest.raises(errors.NotFound) as raised:
        await process.keep("conversation:a", HASH)
    assert (raised.value.reason, raised.value.facts.metadata) == (reasons.MEDIA_NOT_FOUND, {"hash": HASH})
    await process.release("conversation:a")
    await process.sweep.delete_released()
    assert await process.blobs.read("globex", HASH) == PICTURE


async def test_what_a_transaction_kept_is_gone_when_it_is_rolled_back(process: Process) -> None:
    async with process.blobs.hold("acme", PICTURE):
        with pytest.raises(ZeroDivisionError):
            async with process.pool.tenants.transaction("acme") as connection:
                await process.blobs.keep(connection, "acme", "conversation:a", [HASH])
                raise ZeroDivisionError
    assert await process.missing()


async def test_callers_that_keep_the_same_bytes_at_the_same_time_store_one_object(process: Process) -> None:
    others = [b"%d" % n for n in range(5)]
    async with process.blobs.hold("acme", PICTURE):
        hashes = [HASH]
        for data in others:
            async with process.blobs.hold("acme", data) as hash:
                hashes.append(hash)
                await process.keep("conversation:0", hash)
        await asyncio.gather(
            *(process.keep(f"conversation:{n}", *(hashes if n % 2 else reversed(hashes))) for n in range(1, 12))
        )
    assert len(process.files()) == len(hashes)
    assert await process.blobs.read("acme", HASH) == PICTURE
