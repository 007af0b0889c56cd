"""A whole stack, started, read and broken as a user does it: with the `soma` command and with signals."""

import asyncio
import json
import os
import signal
import ssl
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import httpx
import psutil
from openai import AsyncOpenAI, DefaultAsyncHttpxClient
from prometheus_client.parser import text_string_to_metric_families

from cli.state import StackState
from cli.status import PartStatus, State
from services.mesh.testing.waiting import until
from tests.model.vendors import VARIABLES
from tests.ports import free_port

SOMA = Path(sys.executable).with_name("soma")
# Variables of a developer's environment that a test must not see.
FOREIGN = sorted(VARIABLES)
COMMAND_SECONDS = 60.0
CALL_SECONDS = 15.0


@dataclass(frozen=True)
class Ended:
    """How a command ended, and what it wrote."""

    status: int
    output: str
    errors: str


async def command(
    *argv: str | Path, cwd: Path | None = None, seconds: float = COMMAND_SECONDS, said: str | None = None
) -> Ended:
    """Run a program to its end, without the API keys of the person who runs the tests; `said` is its standard input."""
    without = [part for name in FOREIGN for part in ("-u", name)]
    process = await asyncio.create_subprocess_exec(
        "env",
        *without,
        *map(str, argv),
        stdin=asyncio.subprocess.DEVNULL if said is None else asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=cwd,
    )
    try:
        async with asyncio.timeout(seconds):
            output, errors = await process.communicate(None if said is None else said.encode())
    except BaseException:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        raise
    assert process.returncode is not None
    return Ended(process.returncode, output.decode(), errors.decode())


class Stack:
    """A stack whose `soma.toml` and data live under `directory`; `options` are those of `soma up`."""

    def __init__(self, directory: Path, *options: str) -> None:
        self.directory = directory
        self.data_dir = directory / "data"
        self.port = free_port()
        self.secure = "--tls" in options
        self.url = f"{'https' if self.secure else 'http'}://127.0.0.1:{self.port}"
        self.key = ""
        self._options = options

    async def up(self, *, dev: bool = True) -> Ended:
        """`soma up --detach`, with `--dev` unless told otherwise; returns when everything is ready."""
        options = ("--dev",) if dev else ()
        ended = await self.soma("up", *options, "--detach", "--port", str(self.port), *self._options)
        assert ended.status == 0, ended.errors + ended.output
        report = await self.status()
        assert report["url"] == self.url
        self.key = report["api_key"] or ""
        return ended

    async def down(self) -> None:
        """`soma down`."""
        ended = await self.soma("down")
        assert ended.status == 0, ended.errors

    async def soma(
        self, name: str, *arguments: str, seconds: float = COMMAND_SECONDS, said: str | None = None
    ) -> Ended:
        """Run `soma NAME` on this stack to its end; a name may have two words. `said` is its standard input."""
        argv: list[str | Path] = [SOMA, *name.split(), "--data-dir", self.data_dir, *arguments]
        return await command(*argv, cwd=self.directory, seconds=seconds, said=said)

    async def status(self) -> dict[str, Any]:
        """`soma status --json`."""
        report: dict[str, Any] = json.loads((await self.soma("status", "--json")).output)
        return report

    @property
    def state(self) -> StackState:
        """The current state of the stack."""
        state = StackState.read(self.data_dir / "run" / "control.json")
        assert state is not None
        return state

    def part(self, name: str) -> PartStatus:
        """The current state of a part."""
        return next(part for part in self.state.parts if part.name == name)

    def process(self, name: str) -> psutil.Process:
        """The process of a part."""
        pid = self.part(name).pid
        assert pid is not None
        return psutil.Process(pid)

    def kill(self, name: str) -> int:
        """`kill -9` the process of a part; returns its pid, for `restarted`."""
        pid = self.process(name).pid
        os.kill(pid, signal.SIGKILL)
        return pid

    async def restarted(self, name: str, killed: int) -> None:
        """Wait until the supervisor has the part ready again, in a new process."""

        async def back() -> bool:
            part = self.part(name)
            return part.state is State.READY and part.pid != killed

        await until(back, seconds=20)

    @asynccontextmanager
    async def serving(self, *services: str) -> AsyncIterator[asyncio.subprocess.Process]:
        """`soma serve SERVICE…`, which joins this stack; it is stopped at the end if it still runs."""
        with (self.directory / "joined.log").open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                SOMA,
                "serve",
                "--data-dir",
                self.data_dir,
                *services,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.directory,
            )
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                process.terminate()
            await process.wait()

    @property
    def authority(self) -> Path:
        """The CA certificate that a client must trust if the port has TLS."""
        return self.data_dir / "tls" / "ca.pem"

    @property
    def _trust(self) -> ssl.SSLContext | bool:
        return ssl.create_default_context(cafile=self.authority) if self.secure else True

    @property
    def metadata(self) -> Sequence[tuple[str, str]]:
        """The credential of a native call."""
        return (("authorization", f"Bearer {self.key}"),)

    def channel(self) -> grpc.aio.Channel:
        """A native channel to the public port, with a connection of its own."""
        target, own = f"127.0.0.1:{self.port}", [("grpc.use_local_subchannel_pool", 1)]
        if self.secure:
            return grpc.aio.secure_channel(target, grpc.ssl_channel_credentials(self.authority.read_bytes()), own)
        return grpc.aio.insecure_channel(target, own)

    def http(self, **headers: str) -> httpx.AsyncClient:
        """An HTTP client of the public port, with the key unless other headers are given."""
        return httpx.AsyncClient(
            base_url=self.url,
            headers=headers or {"authorization": f"Bearer {self.key}"},
            timeout=CALL_SECONDS,
            limits=httpx.Limits(max_connections=None),
            verify=self._trust,
        )

    def openai(self, key: str | None = None) -> AsyncOpenAI:
        """OpenAI's own client, without retries, so that a test sees each answer."""
        api_key = self.key if key is None else key
        http = DefaultAsyncHttpxClient(verify=self._trust) if self.secure else None
        base_url = f"{self.url}/v1"
        return AsyncOpenAI(base_url=base_url, api_key=api_key, max_retries=0, timeout=CALL_SECONDS, http_client=http)

    async def measured(self, name: str, labels: Mapping[str, str] | None = None) -> float:
        """A metric of `/metrics`, summed over processes and over the labels that are not given."""
        async with self.http() as http:
            answer = await http.get("/metrics")
        answer.raise_for_status()
        wanted = (labels or {}).items()
        return sum(
            sample.value
            for family in text_string_to_metric_families(answer.text)
            for sample in family.samples
            if sample.name == name and wanted <= sample.labels.items()
        )
