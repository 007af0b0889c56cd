"""Stores of objects: the same rules for a directory and for a bucket, and what each does when it fails."""

import asyncio
import os
import resource
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from soma.errors.v1 import reasons

from services.mesh.blobs.bucket import BucketStore
from services.mesh.blobs.directory import Directory
from services.mesh.blobs.settings import Bucket
from services.mesh.blobs.store import Store, folder_of, kept_key, transient_key
from services.mesh.call import errors
from tests.mesh.blobs.conftest import KEY, SECRET, S3Server
from tests.ports import free_port

HASH = "ab" * 32


async def keys(store: Store, folder: str) -> list[str]:
    return sorted([one.key async for one in store.list(folder)])


async def test_an_object_comes_back_exactly_and_is_replaced(store: Store) -> None:
    key = kept_key("acme", HASH)
    for data in (b"one", b"", os.urandom(6_000_000)):
        await store.put(key, data)
        assert await store.get(key) == data
    assert await keys(store, "kept") == [key]


async def test_an_object_that_does_not_exist_is_none_and_deleting_it_is_no_error(store: Store) -> None:
    key = kept_key("acme", HASH)
    assert await store.get(key) is None
    await store.put(key, b"1")
    await store.delete([kept_key("acme", HASH), key, "kept/never"])
    await store.delete([])
    assert await store.get(key) is None
    assert await keys(store, "kept") == []


async def test_a_list_has_the_objects_of_a_folder_and_says_when_they_were_written(store: Store) -> None:
    mine = [transient_key("acme", HASH) for _ in range(3)]
    for key in mine:
        await store.put(key, b"1", durable=False)
    await store.put(transient_key("acme", "cd" * 32), b"2")
    await store.put(transient_key("globex", HASH), b"3")
    assert await keys(store, folder_of("acme", HASH)) == sorted(mine)
    found = [one async for one in store.list("transient")]
    assert len(found) == 5
    assert all(abs(datetime.now(UTC) - one.modified) < timedelta(minutes=1) for one in found)
    assert await keys(store, "nothing") == []


async def test_a_list_is_complete_beyond_a_thousand_objects(tmp_path: Path) -> None:
    store = Directory(tmp_path)
    made = sorted(kept_key("acme", f"{n:064x}") for n in range(2500))
    for key in made:
        await store.put(key, b"", durable=False)
    assert await keys(store, "kept") == made


async def test_writers_and_deleters_of_one_folder_do_not_disturb_one_another(store: Store) -> None:
    async def once() -> None:
        key = transient_key("acme", HASH)
        await store.put(key, b"1", durable=False)
        assert await store.get(key) == b"1"
        await store.delete([key])

    await asyncio.gather(*(once() for _ in range(60)))
    assert await keys(store, "transient") == []


async def test_only_the_owner_reads_the_files_of_a_directory(tmp_path: Path) -> None:
    await Directory(tmp_path / "blobs").put(kept_key("acme", HASH), b"secret")
    paths = [tmp_path / "blobs", *(tmp_path / "blobs").rglob("*")]
    assert {path.stat().st_mode & 0o777 for path in paths if path.is_dir()} == {0o700}
    assert {path.stat().st_mode & 0o777 for path in paths if path.is_file()} == {0o600}


async def test_a_full_disk_is_a_typed_error_and_leaves_nothing_behind(tmp_path: Path) -> None:
    store = Directory(tmp_path)
    key = kept_key("acme", HASH)
    await store.put(key, b"before")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        with pytest.raises(errors.Unavailable) as raised:
            await store.put(key, bytes(1_000_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert raised.value.reason == reasons.STORAGE_FULL
    assert raised.value.facts.metadata == {"store": "blobs"}
    assert await store.get(key) == b"before"
    assert await keys(store, "kept") == [key]


async def test_a_directory_that_cannot_be_used_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no directory")
    with pytest.raises(errors.FailedPrecondition) as raised:
        await Directory(tmp_path / "file").put(kept_key("acme", HASH), b"1")
    assert raised.value.reason == reasons.BLOBS_REFUSED


async def test_a_bucket_refuses_a_wrong_key_and_a_bucket_that_does_not_exist_is_named(s3: S3Server) -> None:
    for store in (s3.store(secret="wrong"), s3.store(bucket="nowhere")):
        with pytest.raises(errors.FailedPrecondition) as raised:
            await store.get(kept_key("acme", HASH))
        assert raised.value.reason == reasons.BLOBS_REFUSED
        assert SECRET not in raised.value.message
        assert s3.endpoint not in raised.value.message
    with pytest.raises(errors.FailedPrecondition):
        await s3.store(secret="wrong").put(kept_key("acme", HASH), b"1")
    with pytest.raises(errors.FailedPrecondition):
        await s3.store(secret="wrong").delete([kept_key("acme", HASH)])
    with pytest.raises(errors.FailedPrecondition):
        await keys(s3.store(secret="wrong"), "kept")


async def test_a_bucket_that_is_away_is_a_typed_error() -> None:
    store = BucketStore(Bucket("media", "", f"http://127.0.0.1:{free_port()}"), KEY, SECRET, None)
    for call in (store.put("kept/1", b"1"), store.get("kept/1"), store.delete(["kept/1"]), keys(store, "kept")):
        with pytest.raises(errors.Unavailable) as raised:
            await call
        assert (raised.value.reason, raised.value.facts.metadata) == (reasons.BLOBS_UNAVAILABLE, {"store": "blobs"})
