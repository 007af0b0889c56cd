"""Several identical processes behind the public port are replaced while they serve clients."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import grpc
import httpx
import pytest
from soma.memory.v1 import memory_service_pb2
from soma.memory.v1.memory_service_pb2_grpc import MemoryServiceStub
from soma.model.v1 import message_pb2
from soma.orchestrator.v1 import chat_service_pb2
from soma.orchestrator.v1.chat_service_pb2_grpc import ChatServiceStub

from services.model.testing.dialects import Behaviour
from services.model.testing.upstreams import FakeUpstream
from tests.cli.commands import soma, status
from tests.ports import free_port

PROCESSES = {"serve-1", "serve-2", "serve-memory-1", "serve-memory-2"}
DELTAS = [f"word{number} " for number in range(20)]


class Home:
    """A stack with several workers; at any time, calls in progress take longer than `grace_seconds`."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder = folder
        self.port = port

    @property
    def metadata(self) -> list[tuple[str, str]]:
        key = (self.folder / "dev.key").read_text().strip()
        return [("authorization", f"Bearer {key}")]

    async def pids(self) -> dict[str, int]:
        parts = (await status(self.folder))["parts"]
        return {part["name"]: part["pid"] for part in parts if part["name"].startswith("serve")}


@pytest.fixture
async def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Home]:
    """A running stack whose model needs two seconds for an answer."""
    behaviour = Behaviour(deltas=DELTAS, pause=0.1)
    async with FakeUpstream(behaviour=behaviour) as upstream:
        for name, value in {
            "OPENAI_BASE_URL": f"{upstream.url}/v1",
            "OPENAI_API_KEY": "none",
            "SOMA_MODEL_OLLAMA_URL": "",
            "SOMA_GRACE_SECONDS": "0.2",
        }.items():
            monkeypatch.setenv(name, value)
        folder, port = tmp_path / "data", free_port()
        try:
            arguments = ["up", "--dev", "--detach", "--data-dir", str(folder), "--port", str(port)]
            started = await soma(*arguments, "--workers", "2", "--apart", "memory=2", seconds=180)
            assert (started.status, started.errors) == (0, "")
            yield Home(folder, port)
        finally:
            await soma("down", "--data-dir", folder)


Call = Callable[[int], Awaitable[None]]


class Traffic:
    """Clients that call without a pause until they are stopped; an exception in one fails the test."""

    def __init__(self) -> None:
        self.done: dict[str, int] = {}
        self._stop = asyncio.Event()

    async def keep(self, name: str, call: Call) -> None:
        """Repeat a call until stopped."""
        self.done[name] = 0
        while not self._stop.is_set():
            await call(self.done[name])
            self.done[name] += 1

    def stop(self) -> None:
        """Stop after the calls in progress."""
        self._stop.set()


async def test_a_rolling_restart_of_the_workers_and_of_a_service_apart_fails_no_call(home: Home) -> None:
    before = await home.pids()
    assert set(before) == PROCESSES
    async with (
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{home.port}", headers=dict(home.metadata), timeout=30) as http,
        grpc.aio.insecure_channel(f"127.0.0.1:{home.port}") as channel,
    ):
        memory, chat = MemoryServiceStub(channel), ChatServiceStub(channel)

        async def remember_and_recall(number: int) -> None:
            key = f"key/{number}"
            request = memory_service_pb2.RememberRequest(key=key)
            request.value.string_value = str(number)
            await memory.Remember(request, metadata=home.metadata, timeout=20)
            recalled = await memory.Recall(
                memory_service_pb2.RecallRequest(key=key), metadata=home.metadata, timeout=20
            )
            assert recalled.value.string_value == str(number)

        async def over_rest(_: int) -> None:
            answer = await http.get("/v1/models")
            assert answer.status_code == 200

        async def server_sent_events(_: int) -> None:
            body = {"model": "fake-large", "stream": True, "messages": [{"role": "user", "content": "hello"}]}
            text, last = "", ""
            async with http.stream("POST", "/v1/chat/completions", json=body) as answer:
                assert answer.status_code == 200
                async for line in answer.aiter_lines():
                    last = line or last
                    if line.startswith("data: {"):
                        choices = json.loads(line[6:])["choices"]
                        text += "".join(choice["delta"].get("content") or "" for choice in choices)
            assert (text, last) == ("".join(DELTAS), "data: [DONE]")

        async def native_stream(number: int) -> None:
            message = message_pb2.Message(role=message_pb2.ROLE_USER, content=f"turn {number}")
            request = chat_service_pb2.ChatRequest(model="fake-large", messages=[message], conversation_id="long")
            events = [
                event.WhichOneof("payload") async for event in chat.Chat(request, metadata=home.metadata, timeout=30)
            ]
            assert events[-1] == "finished"

        traffic = Traffic()
        calls: list[tuple[str, Call]] = [
            ("unary", remember_and_recall),
            ("rest", over_rest),
            ("sse 1", server_sent_events),
            ("sse 2", server_sent_events),
            ("native stream", native_stream),
        ]
        async with asyncio.TaskGroup() as clients:
            for name, call in calls:
                clients.create_task(traffic.keep(name, call))
            restarted = await soma("restart", "--data-dir", home.folder, seconds=120)
            assert (restarted.status, restarted.errors) == (0, "")
            traffic.stop()
    after = await home.pids()
    assert all(after[name] != before[name] for name in before)
    assert min(traffic.done.values()) >= 2, traffic.done
