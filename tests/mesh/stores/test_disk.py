"""A store that has stopped because its disk is full."""

import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from services.mesh.call import errors
from services.mesh.stores import disk, postgres
from services.mesh.stores import redis as mesh_redis

STORES = ("postgres", "redis")


@pytest.fixture
def full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder on a disk with less room than a store needs."""

    def statvfs(path: Path) -> SimpleNamespace:
        assert path == tmp_path
        return SimpleNamespace(f_bavail=100, f_frsize=4096)

    monkeypatch.setattr(os, "statvfs", statvfs)
    yield tmp_path
    for store in STORES:
        disk.watch(store, "tcp://elsewhere", tmp_path)


async def reasons(port: int) -> list[str]:
    """The reasons for which Postgres and Redis cannot be used at a port without a server."""
    with pytest.raises(errors.Unavailable) as database:
        await postgres.open_pool(f"postgresql://soma@127.0.0.1:{port}/soma")
    with pytest.raises(errors.Unavailable) as cache:
        async with mesh_redis.open_client(f"redis://127.0.0.1:{port}") as client:
            await mesh_redis.ping(client)
    return [database.value.reason, cache.value.reason]


async def test_a_store_that_stopped_on_a_full_disk_is_reported_as_full(full: Path, unused_tcp_port: int) -> None:
    for store in STORES:
        disk.watch(store, f"tcp://127.0.0.1:{unused_tcp_port}", full)
    assert await reasons(unused_tcp_port) == ["STORAGE_FULL", "STORAGE_FULL"]


async def test_a_store_elsewhere_is_not_judged_by_the_disk_here(full: Path, unused_tcp_port: int) -> None:
    for store in STORES:
        disk.watch(store, "tcp://10.0.0.1:5432", full)
    assert await reasons(unused_tcp_port) == ["POSTGRES_UNAVAILABLE", "REDIS_UNAVAILABLE"]


async def test_a_store_that_stopped_with_room_left_is_unavailable(tmp_path: Path, unused_tcp_port: int) -> None:
    for store in STORES:
        disk.watch(store, f"tcp://127.0.0.1:{unused_tcp_port}", tmp_path)
    try:
        assert await reasons(unused_tcp_port) == ["POSTGRES_UNAVAILABLE", "REDIS_UNAVAILABLE"]
    finally:
        for store in STORES:
            disk.watch(store, "tcp://elsewhere", tmp_path)
