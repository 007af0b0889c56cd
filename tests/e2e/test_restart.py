"""The whole stack is stopped or killed, and has all its data when it is started again."""

import asyncio
import uuid

import psutil

from services.mesh.testing.waiting import until
from services.model.testing.upstreams import FakeUpstream
from tests.e2e.stack import Stack
from tests.e2e.surfaces import over_grpc, over_openai, over_rest, received_messages, usage


def processes(stack: Stack) -> list[psutil.Process]:
    """Every process of a stack: its parts, and the processes that they started."""
    parts = [stack.process(part.name) for part in stack.state.parts if part.pid is not None]
    below = [child for process in parts for child in process.children(recursive=True)]
    return list({process.pid: process for process in (*parts, *below)}.values())


def alive(found: list[psutil.Process]) -> list[psutil.Process]:
    """The processes that still run."""

    def runs(process: psutil.Process) -> bool:
        try:
            return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False  # it ended between the two checks

    return list(filter(runs, found))


async def test_a_conversation_is_remembered_after_down_and_up(split: Stack, upstream: FakeUpstream) -> None:
    conversation = f"restart-{uuid.uuid4()}"
    async with split.http() as http:
        assert (await over_openai(http, "I am Kim.", conversation=conversation)).finished
        assert (await over_rest(http, "I live in Oslo.", conversation=conversation)).finished
    key, before = split.key, processes(split)
    await split.down()
    assert alive(before) == []
    await split.up()
    assert split.key == key
    async with split.http() as http, split.channel() as channel:
        assert (await over_grpc(channel, split, "Who am I?", conversation=conversation)).finished
        rows = await usage(channel, split, conversation, rows=3)
    contents = [content for _, content in received_messages(upstream)]
    assert contents == ["I am Kim.", "Hello there!", "I live in Oslo.", "Hello there!", "Who am I?"]
    assert len(rows) == 3


async def test_a_killed_control_process_leaves_no_orphan_and_its_data_starts_again(
    split: Stack, upstream: FakeUpstream
) -> None:
    conversation = f"killed-{uuid.uuid4()}"
    async with split.http() as http:
        assert (await over_openai(http, "I am Kim.", conversation=conversation)).finished
    before = processes(split)
    split.kill("control")

    async def gone() -> bool:
        return alive(before) == []

    # It starts again at once, as a script would. What is left of the old stack must not prevent the start.
    starting = asyncio.create_task(split.up())
    await until(gone)
    await starting
    async with split.channel() as channel:
        assert (await over_grpc(channel, split, "Who am I?", conversation=conversation)).finished
    contents = [content for _, content in received_messages(upstream)]
    assert contents == ["I am Kim.", "Hello there!", "Who am I?"]


async def test_a_second_stack_on_the_same_data_or_port_is_refused_and_the_first_goes_on(
    split: Stack, upstream: FakeUpstream
) -> None:
    again = await split.soma("up", "--dev", "--detach", "--port", str(split.port))
    assert again.status != 0
    assert "already runs" in again.errors
    other = Stack(split.directory)
    other.data_dir = split.directory / "other"
    taken = await other.soma("up", "--dev", "--detach", "--port", str(split.port))
    assert taken.status != 0
    assert f"port {split.port} on 127.0.0.1 is taken" in taken.errors
    async with split.channel() as channel:
        assert (await over_grpc(channel, split, "hello")).finished
