"""A backup made during writes holds everything that was acknowledged before it, and a stack starts from it."""

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
import redis.asyncio as aioredis
from soma.memory.v1 import memory_service_pb2
from soma.memory.v1.memory_service_pb2_grpc import MemoryServiceStub
from soma.model.v1 import message_pb2

from cli import archive
from cli.backup import back_up
from cli.data_dir import VERSION, DataDir
from cli.restore import restore
from cli.stores import started
from services.declared import SERVICES
from services.mesh.call.errors import FailedPrecondition, InvalidArgument
from tests.cli.commands import Result, soma
from tests.ports import free_port

APART_FROM_MEMORY = "edge,orchestrator,policy,model"


@pytest.fixture
async def homes(tmp_path: Path) -> AsyncIterator[tuple[Path, Path]]:
    """Two data directories; stacks on them are stopped at the end."""
    both = tmp_path / "first", tmp_path / "second"
    yield both
    for home in both:
        await soma("down", "--data-dir", home)


async def start(home: Path, port: int) -> Result:
    """Start a stack with only the memory service."""
    arguments = ["up", "--dev", "--detach", "--data-dir", str(home), "--port", str(port)]
    ended = await soma(*arguments, "--without", APART_FROM_MEMORY)
    assert (ended.status, ended.errors) == (0, "")
    return ended


class Memories:
    """Writes and reads numbered facts through a stack's public port."""

    def __init__(self, home: Path, channel: grpc.aio.Channel) -> None:
        self._stub = MemoryServiceStub(channel)
        self._metadata = [("authorization", f"Bearer {(home / 'dev.key').read_text().strip()}")]
        self.acknowledged = self.said = 0

    async def write(self, count: int) -> None:
        """Remember `count` more facts one after the other, and append each to a conversation."""
        for number in range(self.acknowledged, self.acknowledged + count):
            said = message_pb2.Message(role=message_pb2.ROLE_USER, content=str(number))
            appended = await self._stub.AppendMessages(
                memory_service_pb2.AppendMessagesRequest(conversation_id="counting", messages=[said]),
                metadata=self._metadata,
                timeout=20,
            )
            self.said = appended.last_sequence
            request = memory_service_pb2.RememberRequest(key=f"fact/{number}")
            request.value.number_value = number
            await self._stub.Remember(request, metadata=self._metadata, timeout=20)
            self.acknowledged = number + 1

    async def check(self, count: int) -> None:
        """Check that the first `count` facts exist, and that the conversation has no gap."""
        request = memory_service_pb2.ListMessagesRequest(conversation_id="counting", page_size=1000)
        contents: list[int] = []
        while True:
            page = await self._stub.ListMessages(request, metadata=self._metadata, timeout=20)
            contents += [int(each.message.content) for each in page.messages]
            if not page.next_page_token:
                break
            request.page_token = page.next_page_token
        assert contents == list(range(len(contents)))
        assert len(contents) >= count
        self.acknowledged = self.said = len(contents)
        for number in range(count):
            recall = memory_service_pb2.RecallRequest(key=f"fact/{number}")
            recalled = await self._stub.Recall(recall, metadata=self._metadata, timeout=20)
            assert recalled.value.number_value == number


async def test_a_backup_under_writes_restores_everything_acknowledged_before_it(
    homes: tuple[Path, Path], tmp_path: Path
) -> None:
    first, second = homes
    port = free_port()
    await start(first, port)
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        memories = Memories(first, channel)
        await memories.write(20)
        before = memories.acknowledged
        writing = asyncio.create_task(memories.write(100_000))
        backup = await soma("backup", tmp_path / "backup", "--data-dir", first)
        during = memories.acknowledged
        writing.cancel()
    assert (backup.status, backup.errors) == (0, "")
    assert during > before
    # The first stack still runs here.
    restored = await soma("restore", tmp_path / "backup", "--data-dir", second)
    assert (restored.status, restored.errors) == (0, "")
    port = free_port()
    await start(second, port)
    assert (second / "dev.key").read_text() == (first / "dev.key").read_text()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        memories = Memories(second, channel)
        await memories.check(before)
        said = memories.said
        await memories.write(1)
        assert memories.said == said + 1


async def test_pictures_and_documents_that_are_kept_are_restored_too(data_dir: DataDir, tmp_path: Path) -> None:
    async with started(data_dir, ["postgres"]):
        pass
    kept = Path("blobs/kept/a/bb/bbbb.1")
    for name in (kept, kept.with_name(".new-1"), Path("blobs/transient/a/bbbb/1")):
        data_dir[str(name)].parent.mkdir(parents=True, exist_ok=True)
        data_dir[str(name)].write_bytes(b"a picture")
    await back_up(data_dir, tmp_path / "backup")
    restored = DataDir.at(tmp_path / "restored")
    await restore(tmp_path / "backup", restored)
    files = [path.relative_to(restored.root) for path in restored["blobs"].rglob("*") if path.is_file()]
    assert files == [kept]
    assert restored[str(kept)].read_bytes() == b"a picture"
    folders = [restored["blobs"], *(path for path in restored["blobs"].rglob("*") if path.is_dir())]
    assert {path.stat().st_mode & 0o777 for path in folders} == {0o700}


async def test_the_data_of_redis_is_restored_too(data_dir: DataDir, tmp_path: Path) -> None:
    async with started(data_dir) as found, aioredis.Redis.from_url(found["redis"]) as client:
        await client.xadd("soma:events:memory", {"event": b"something happened"})
    await back_up(data_dir, tmp_path / "backup")
    other = DataDir.at(tmp_path / "other")
    await restore(tmp_path / "backup", other)
    async with started(other) as found, aioredis.Redis.from_url(found["redis"]) as client:
        events = await client.xrange("soma:events:memory") or []
    assert [fields for _, fields in events] == [{b"event": b"something happened"}]


async def test_a_backup_is_refused_while_the_stack_does_not_run_a_part_that_has_data(
    homes: tuple[Path, Path], tmp_path: Path
) -> None:
    home, _ = homes
    directory = DataDir.at(home)
    directory.prepare()
    async with started(directory, ["postgres"]):
        pass
    ended = await soma(
        *("up", "--dev", "--detach", "--data-dir", home, "--port", str(free_port())),
        *("--without", ",".join(SERVICES)),
    )
    assert (ended.status, ended.errors) == (0, "")
    refused = await soma("backup", tmp_path / "backup", "--data-dir", home)
    assert refused.status == 1
    assert "postgres of this data directory has data, and the stack does not run it" in refused.errors
    assert not (tmp_path / "backup").exists()
    assert (await soma("down", "--data-dir", home)).status == 0
    taken = await soma("backup", tmp_path / "backup", "--data-dir", home)
    assert (taken.status, taken.errors) == (0, "")
    assert "Postgres 1" in taken.output


@pytest.fixture(scope="module")
async def backup(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A backup of a directory with only keys and empty stores."""
    folder = tmp_path_factory.mktemp("taken")
    folder.chmod(0o711)
    directory = DataDir.at(folder / "data")
    directory.prepare()
    directory.dev_key.touch(mode=0o600)
    directory.dev_key.write_text("soma_dev_key\n")
    async with started(directory):
        pass
    await back_up(directory, folder / "backup")
    return folder / "backup"


def with_manifest(backup: Path, tmp_path: Path, **changes: object) -> Path:
    """The backup with another manifest."""
    folder = tmp_path / "files"
    folder.mkdir()
    manifest = archive.extract(backup, folder)
    archive.write(tmp_path / "rewritten", dataclasses.replace(manifest, **changes), folder)  # type: ignore[arg-type]
    return tmp_path / "rewritten"


async def test_restored_keys_can_be_read_by_their_owner_only(backup: Path, tmp_path: Path) -> None:
    directory = DataDir.at(tmp_path / "data")
    await restore(backup, directory)
    assert directory.dev_key.read_text() == "soma_dev_key\n"
    assert directory.dev_key.stat().st_mode & 0o777 == 0o600


async def test_a_directory_that_is_not_empty_is_left_alone(backup: Path, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "thesis.tex").write_text("precious")
    with pytest.raises(FailedPrecondition) as refused:
        await restore(backup, DataDir.at(tmp_path / "data"))
    assert refused.value.reason == "DATA_DIR_NOT_EMPTY"
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["thesis.tex"]


async def test_a_damaged_backup_leaves_nothing_behind(backup: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged"
    whole = bytearray(backup.read_bytes())
    whole[len(whole) // 2] ^= 1
    damaged.write_bytes(whole)
    with pytest.raises(InvalidArgument) as refused:
        await restore(damaged, DataDir.at(tmp_path / "data"))
    assert refused.value.reason == "BACKUP_CORRUPT"
    assert [path.name for path in tmp_path.iterdir()] == ["damaged"]


@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.6])
async def test_a_backup_that_was_cut_short_is_refused_and_leaves_nothing_behind(
    backup: Path, tmp_path: Path, share: float
) -> None:
    whole = backup.read_bytes()
    (tmp_path / "cut").write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(InvalidArgument) as refused:
        await restore(tmp_path / "cut", DataDir.at(tmp_path / "data"))
    assert refused.value.reason == "BACKUP_CORRUPT"
    assert [path.name for path in tmp_path.iterdir()] == ["cut"]


async def test_a_missing_backup_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument) as refused:
        await restore(tmp_path / "nowhere", DataDir.at(tmp_path / "data"))
    assert refused.value.reason == "BACKUP_MISSING"


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"format": archive.FORMAT + 1}, "newer format"),
        ({"data_version": VERSION + 1}, f"data version {VERSION + 1}"),
        ({"postgres": "99.1"}, r"Postgres 99\.1"),
        ({"schemas": {"memory": "9999"}}, "schema memory 9999"),
        ({"schemas": {"astrology": "0001"}}, "schema astrology 0001"),
    ],
)
async def test_a_backup_of_a_newer_version_is_refused_with_the_reason(
    backup: Path, tmp_path: Path, changes: dict[str, object], named: str
) -> None:
    with pytest.raises(InvalidArgument, match=named) as refused:
        await restore(with_manifest(backup, tmp_path, **changes), DataDir.at(tmp_path / "data"))
    assert refused.value.reason == "BACKUP_NEWER"
    assert not (tmp_path / "data").exists()


async def test_a_directory_without_data_is_not_backed_up(tmp_path: Path) -> None:
    with pytest.raises(FailedPrecondition, match="holds no data"):
        await back_up(DataDir.at(tmp_path / "data"), tmp_path / "backup")
    assert not (tmp_path / "backup").exists()
