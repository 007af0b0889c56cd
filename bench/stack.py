"""The measured stack, with default settings, and the instant upstream as its provider."""

import asyncio
import json
import statistics
import sys
import time
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import asyncpg
import psutil
import redis.asyncio as aioredis
from soma.model.v1.cost_service_pb2 import UsageRecord

from bench.memory import resident_bytes
from bench.programs import process_tree, processor_seconds_of
from bench.table import Row
from cli.data_dir import DataDir
from cli.parts.part import Launch
from cli.parts.postgres import database_url
from cli.parts.process import run
from cli.parts.redis import server_url
from services.mesh.events.stream import STREAM

# A start that takes longer has failed. The first start also makes the database and builds the embedding model.
PATIENCE_SECONDS = 180.0


@dataclass(frozen=True)
class Usage:
    """Rows of the usage ledger by outcome."""

    finished: int
    other: int

    def since(self, before: "Usage") -> "Usage":
        """The rows that were added after `before` was counted."""
        return Usage(self.finished - before.finished, self.other - before.other)


class Stack:
    """A stack (`soma up --dev`) on its own data directory; `up` and `down` can be called repeatedly.

    It may be the stack of another revision, to whose environment `python` belongs. That revision's own command starts
    and stops it, and this class reads only the output of `soma status --json`.
    """

    def __init__(
        self, folder: Path, port: int, upstream: int, python: Path = Path(sys.executable), workers: int = 1
    ) -> None:
        self._workers = () if workers == 1 else ("--workers", str(workers))
        self._directory = DataDir.at(folder)
        self._python = python
        self._status: dict[str, Any] = {}
        # An empty settings file beside the data directory: SOMA_CONFIG must name an existing file, and the directory
        # itself may hold nothing else.
        self._settings = folder.with_name(f"{folder.name}.toml")
        self.port = port
        # These hide the settings of this machine: only the upstream is set, all else has its default.
        self._env = {
            "OPENAI_BASE_URL": f"http://127.0.0.1:{upstream}/v1",
            "OPENAI_API_KEY": "none",
            "ANTHROPIC_API_KEY": "",
            "SOMA_MODEL_OLLAMA_URL": "",
            "SOMA_CONFIG": str(self._settings),
        }

    @property
    def key(self) -> str:
        """The API key of the stack."""
        key: str = self._status["api_key"]
        return key

    @property
    def folder(self) -> Path:
        """Its data directory."""
        return self._directory.root

    async def up(self, **settings: str) -> float:
        """Start it with additional `settings`, and wait until every part is ready; return the seconds that it took.

        Raises:
            RuntimeError: the stack did not start.
        """
        started = time.perf_counter()
        await self._soma("up", "--dev", "--detach", "--quiet", "--port", str(self.port), *self._workers, env=settings)
        took = time.perf_counter() - started
        await self.look()
        return took

    async def look(self) -> None:
        """Read its status again, because a part started or ended."""
        self._status = json.loads(await self._soma("status", "--json"))

    async def down(self) -> None:
        """Stop it, if it runs."""
        await self._soma("down")

    def command(self, name: str, *options: str, env: Mapping[str, str] = MappingProxyType({})) -> Launch:
        """A `soma` command on this stack."""
        self._settings.parent.mkdir(parents=True, exist_ok=True)
        self._settings.touch()
        argv = [str(self._python), "-P", "-m", "cli.main", name, "--data-dir", str(self._directory.root), *options]
        return Launch(argv, env={**self._env, **env})

    async def _soma(self, name: str, *options: str, env: Mapping[str, str] = MappingProxyType({})) -> str:
        async with asyncio.timeout(PATIENCE_SECONDS):
            status, output_text = await run(self.command(name, *options, env=env))
        if status != 0:
            raise RuntimeError(f"soma {name} failed with {status}: {output_text[-2000:]}")
        return output_text

    def processes(self) -> list[psutil.Process]:
        """All processes of the stack."""
        return process_tree(self._status["pid"])

    def pid(self, part: str) -> int:
        """The pid of a part."""
        pid: int = self._part(part)["pid"]
        return pid

    def processor_seconds(self) -> dict[str, float]:
        """The processor time of each part and its descendants, in seconds."""
        return {
            name: sum(processor_seconds_of(process.pid) for process in part) for name, part in self._parts().items()
        }

    def memory_of(self, part: str) -> int:
        """The memory of a part and its descendants, in bytes."""
        return resident_bytes(self._parts()[part])

    def memory(self) -> dict[str, int]:
        """The memory of each part and its descendants, in bytes; `all` is the total, with shared pages counted once."""
        parts = self._parts()
        each = {name: resident_bytes(part) for name, part in parts.items()}
        return {**each, "all": resident_bytes(process for part in parts.values() for process in part)}

    def _parts(self) -> dict[str, list[psutil.Process]]:
        # All parts are children of the control process.
        try:
            return {
                part["name"]: [psutil.Process(part["pid"])] if part["name"] == "control" else process_tree(part["pid"])
                for part in self._status["parts"]
                if part["pid"] is not None
            }
        except psutil.NoSuchProcess as error:
            raise RuntimeError(f"a part of the stack has ended while it was measured (pid {error.pid})") from error

    @property
    def database(self) -> str:
        """The URL of its database."""
        return database_url(self._directory["postgres"], self._port("postgres"))

    @property
    def redis(self) -> str:
        """The URL of its Redis."""
        return server_url(self._directory["redis"], self._port("redis"))

    async def events(self) -> int:
        """The number of stored usage events."""
        async with aioredis.Redis.from_url(self.redis) as client:
            return int(await client.xlen(f"{STREAM}model"))

    def port_of(self, part: str) -> int | None:
        """The port of a part."""
        return self._port(part)

    def _port(self, part: str) -> int | None:
        port: int | None = self._part(part)["port"]
        return port

    def _part(self, name: str) -> dict[str, Any]:
        return next(found for found in self._status["parts"] if found["name"] == name)

    async def usage(self) -> Usage:
        """Count the ledger's rows."""
        connection = await asyncpg.connect(self.database)
        try:
            row = await connection.fetchrow(
                "SELECT count(*) FILTER (WHERE outcome = $1), count(*) FROM model.usage", UsageRecord.OUTCOME_FINISHED
            )
        finally:
            await connection.close()
        assert row is not None
        finished, every = row
        return Usage(finished, every - finished)


def chat_body(model: str, *, stream: bool = False) -> bytes:
    """The body of a chat completion request."""
    messages = [{"role": "system", "content": "You are brief."}, {"role": "user", "content": "Say a word, please."}]
    return json.dumps({"model": model, "messages": messages, "stream": stream}).encode()


def post(port: int, key: str, path: str, body: Mapping[str, Any]) -> None:
    """Send a request that must succeed, and wait for its answer."""
    headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
    url = f"http://127.0.0.1:{port}{path}"
    with urllib.request.urlopen(urllib.request.Request(url, json.dumps(body).encode(), headers), timeout=60) as reply:
        assert reply.status == 200
        assert reply.read()


def serve_ms(before: Mapping[str, float], after: Mapping[str, float], answers: int) -> float:
    """The processor ms that an answer took in serve."""
    return (after["serve"] - before["serve"]) / answers * 1000


def serve_row(what: str, rounds: Sequence[float], limit: float) -> Row:
    """The row of the processor ms of an answer in serve: the median of the rounds, and the limit."""
    ms = statistics.median(rounds)
    limit_text = f"≤ {limit:.2f} ms"
    return Row(f"processor time of serve, {what}", f"{ms:.2f} ms", "", "", limit_text, ms <= limit)


def cost(before: Mapping[str, float], after: Mapping[str, float], answers: int) -> str:
    """The processor ms of an answer in each part; unlike its rate, they hardly depend on the load of the machine."""
    return " ".join(f"{name} {(after[name] - before[name]) / answers * 1000:.2f}" for name in sorted(after))
