"""Several conversations at the same time, with a record of the turns of each client."""

import asyncio
import uuid
from dataclasses import dataclass, field

import grpc
from soma.memory.v1.memory_service_pb2 import ListMessagesRequest
from soma.memory.v1.memory_service_pb2_grpc import MemoryServiceStub
from soma.model.v1.cost_service_pb2 import UsageRecord

from services.mesh.testing.waiting import until
from tests.e2e.stack import CALL_SECONDS, Stack
from tests.e2e.surfaces import Turn, over_grpc, usage

PAUSE_SECONDS = 0.02


@dataclass
class Conversation:
    """The conversation of a client: the texts of finished turns by the turn's id, and the failed turns."""

    name: str = field(default_factory=lambda: f"load-{uuid.uuid4()}")
    answered: dict[str, str] = field(default_factory=dict)
    failed: list[Turn] = field(default_factory=list)
    slowest: float = 0.0


class Load:
    """Conversations over native gRPC, as an async context manager. A client never repeats a turn that failed."""

    def __init__(self, stack: Stack, clients: int = 6) -> None:
        self._stack = stack
        self.conversations = [Conversation() for _ in range(clients)]
        self._stopping = asyncio.Event()
        self._clients: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> "Load":
        self._clients = [asyncio.create_task(self._talk(each)) for each in self.conversations]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stopping.set()
        await asyncio.gather(*self._clients)

    @property
    def failures(self) -> list[Turn]:
        """Every turn that failed."""
        return [turn for each in self.conversations for turn in each.failed]

    @property
    def slowest(self) -> float:
        """The longest time of a turn in seconds, failed turns included."""
        return max(each.slowest for each in self.conversations)

    async def more(self, turns: int = 3) -> None:
        """Wait until every client has finished `turns` more turns."""
        wanted = [len(each.answered) + turns for each in self.conversations]

        async def had() -> bool:
            return all(len(each.answered) >= count for each, count in zip(self.conversations, wanted, strict=True))

        await until(had, seconds=40)

    async def nothing_lost(self, channel: grpc.aio.Channel) -> None:
        """Check that every finished turn is in memory once and in order, and in the ledger once as finished."""
        for each in self.conversations:
            await self._remembered(channel, each)
            rows = await usage(channel, self._stack, each.name, rows=len(each.answered))
            finished = [row.generation_id for row in rows if row.outcome == UsageRecord.OUTCOME_FINISHED]
            assert len(finished) == len(set(finished))
            assert each.answered.keys() <= set(finished)

    async def _remembered(self, channel: grpc.aio.Channel, talk: Conversation) -> None:
        said = list(talk.answered.values())
        contents: list[str] = []

        async def whole() -> bool:
            page = await MemoryServiceStub(channel).ListMessages(
                ListMessagesRequest(conversation_id=talk.name, page_size=1000),
                metadata=self._stack.metadata,
                timeout=CALL_SECONDS,
            )
            contents[:] = [each.message.content for each in page.messages if each.message.content.startswith("say ")]
            # The last turn reaches memory just after its client has received its end.
            return set(said) <= set(contents)

        await until(whole)
        assert len(contents) == len(set(contents))
        assert [text for text in contents if text in talk.answered.values()] == said

    async def _talk(self, talk: Conversation) -> None:
        loop = asyncio.get_running_loop()
        number = 0
        async with self._stack.channel() as channel:
            while not self._stopping.is_set():
                number += 1
                text = f"say {number}"
                began = loop.time()
                turn = await over_grpc(channel, self._stack, text, conversation=talk.name)
                talk.slowest = max(talk.slowest, loop.time() - began)
                if turn.finished:
                    talk.answered[turn.chat_id] = text
                else:
                    talk.failed.append(turn)
                # A pause, so that a failing stack is not asked in a tight loop.
                await asyncio.sleep(PAUSE_SECONDS)
