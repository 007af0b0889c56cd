"""A real Envoy with its control plane, for the tests of the gateway."""

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator, Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.rpc import error_details_pb2
from soma.testing.v1 import echo_service_pb2, note_service_pb2

from gateway.envoy.bootstrap import write_bootstrap
from gateway.xds.server import XdsServer
from gateway.xds.snapshot import Endpoint, Snapshot
from gateway.xds.state import XdsState
from services.mesh.testing.waiting import until
from tests.gateway.surfaces import EDGE
from tests.ports import free_port

ENVOY = files("envoy") / "_bin" / "envoy"
ECHO = "soma.testing.v1.EchoService"


def descriptor_set(*files: FileDescriptor) -> bytes:
    """The files and all that they import; each file comes after its imports."""
    seen: dict[str, FileDescriptor] = {}

    def visit(file: FileDescriptor) -> None:
        for dependency in file.dependencies:
            visit(dependency)
        seen.setdefault(file.name, file)

    for file in files:
        visit(file)
    result = FileDescriptorSet()
    for file in seen.values():
        file.CopyToProto(result.file.add())
    return result.SerializeToString()


DESCRIPTORS = descriptor_set(echo_service_pb2.DESCRIPTOR, note_service_pb2.DESCRIPTOR, error_details_pb2.DESCRIPTOR)


class Gateway:
    """An Envoy process, its control plane, and clients of its port."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.port = free_port()
        self.xds = XdsServer()
        self.xds_port = 0
        self.access_log = directory / "access.log"
        self.snapshot = Snapshot(
            services={ECHO: ()},
            listen=Endpoint("127.0.0.1", self.port),
            descriptor_set=DESCRIPTORS,
            access_log=str(self.access_log),
            surfaces=EDGE,
        )
        self.http = httpx.AsyncClient(base_url=f"http://127.0.0.1:{self.port}", timeout=10)
        self.channel = grpc.aio.insecure_channel(f"127.0.0.1:{self.port}")
        self._process: asyncio.subprocess.Process | None = None

    async def start_control_plane(self) -> None:
        """Serve xDS; after a stop, on the same port as before."""
        self.xds = XdsServer(port=self.xds_port)
        self.xds_port = await self.xds.start()

    async def start_envoy(self) -> None:
        bootstrap = self.directory / "bootstrap.json"
        write_bootstrap(bootstrap, xds_port=self.xds_port, admin_socket=None, node_id="test")
        with (self.directory / "envoy.log").open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(str(ENVOY), "-c", str(bootstrap), "--disable-hot-restart", "--concurrency", "1"),
                *("--log-level", "warning", "--file-flush-interval-msec", "50"),
                stdout=log,
                stderr=log,
            )

    async def stop_envoy(self) -> None:
        if self._process is not None:
            self._process.terminate()
            await self._process.wait()
            self._process = None

    async def publish(self, **changes: Any) -> None:
        """Publish the snapshot with `changes`, and wait until Envoy has accepted it."""
        self.snapshot = dataclasses.replace(self.snapshot, **changes)
        await self.xds.publish(self.snapshot)
        await self.until(XdsState.settled)

    async def until(self, holds: Callable[[XdsState], bool], within: float = 10) -> None:
        """Wait until `holds` is true for the state of the control plane."""
        await until(lambda: holds(self.xds.state()), seconds=within, seen=self.xds.state)

    async def reachable(self) -> None:
        """Wait until the port answers, because Envoy acknowledges a listener a moment before it listens."""

        async def answers() -> bool:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", self.port)
            except OSError:
                return False
            writer.close()
            await writer.wait_closed()
            return True

        await until(answers)

    async def close(self) -> None:
        await self.channel.close()
        await self.http.aclose()
        await self.stop_envoy()
        await self.xds.stop()


@pytest.fixture
async def envoy(tmp_path: Path) -> AsyncIterator[Gateway]:
    """A gateway whose Envoy knows EchoService, which has no instance yet."""
    async with contextlib.AsyncExitStack() as stack:
        gateway = Gateway(tmp_path)
        stack.push_async_callback(gateway.close)
        await gateway.start_control_plane()
        await gateway.start_envoy()
        await gateway.publish()
        await gateway.reachable()
        yield gateway
