"""The process of the part `llm`, started as a stack starts it, with SmolLM2."""

import asyncio
import os
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from services.mesh.process.keys import ensure_key

MODEL = "smollm2-135m-instruct"


@dataclass
class Llm:
    """A running process, and the socket on which it is asked."""

    process: asyncio.subprocess.Process
    listener: socket.socket
    folder: Path
    http: httpx.AsyncClient

    async def running(self) -> int:
        """The answers that are being made."""
        found: int = (await self.http.get("/health")).json()["running"]
        return found


async def started(listener: socket.socket, directory: Path, **settings: str) -> asyncio.subprocess.Process:
    """The process, with settings of the part by their names."""
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "services.model.llm", "--socket", str(listener.fileno())),
        pass_fds=[listener.fileno()],
        env={
            **os.environ,  # noqa: TID251 - passed on, not read
            "SOMA_DATA_DIR": str(directory),
            **{f"SOMA_LLM_{name.upper()}": value for name, value in settings.items()},
        },
    )


@asynccontextmanager
async def serving(directory: Path, **settings: str) -> AsyncIterator[Llm]:
    """The process for the block."""
    folder = directory / "llm"
    folder.mkdir(exist_ok=True)
    key = ensure_key(folder / "key")
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(64)
        process = await started(listener, directory, **settings)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        async with httpx.AsyncClient(base_url=url, headers={"authorization": f"Bearer {key}"}, timeout=60.0) as http:
            try:
                yield Llm(process, listener, folder, http)
            finally:
                if process.returncode is None:
                    process.kill()
                await process.wait()


@pytest.fixture(scope="package")
async def llm(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Llm]:
    """One process for all tests that leave it running; it makes one answer at a time."""
    async with serving(tmp_path_factory.mktemp("llm"), slots="1", context="1024") as running:
        yield running
