"""Orders are carried out and answered, also when their files are deleted or cannot be written."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from cli.data_dir import DataDir
from cli.orders import ANSWER, ORDER, Orders
from services.mesh.process.jobs import run_job
from services.mesh.testing.waiting import until


class Stack:
    """Takes orders, and records what it restarts."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.restarted: list[Sequence[str]] = []
        self.asked = asyncio.Event()

    async def restart(self, parts: Sequence[str]) -> None:
        self.restarted.append(parts)
        if list(parts) == ["odd"]:
            raise ZeroDivisionError("nobody expected this")

    def order(self, name: str, content: str) -> Path:
        """Write an order; return the path of its answer."""
        (self.folder / f"{name}{ORDER}").write_text(content)
        self.asked.set()
        return self.folder / f"{name}{ANSWER}"


@pytest.fixture
async def stack(data_dir: DataDir) -> AsyncIterator[Stack]:
    made = Stack(data_dir.orders)
    data_dir.orders.mkdir()
    async with AsyncExitStack() as running:
        run_job(running, "control", Orders(data_dir.orders, made.asked, made.restart).job)
        yield made


@pytest.mark.parametrize(
    ("content", "why"), [("", "Expecting value"), ("{}", "restart"), ('{"restart": ["odd"]}', "nobody expected this")]
)
async def test_an_order_that_fails_is_answered_and_so_is_the_next_one(stack: Stack, content: str, why: str) -> None:
    answer = stack.order("first", content)
    await until(answer.exists, "it is answered")
    assert why in json.loads(answer.read_text())["error"]
    answer = stack.order("second", '{"restart": ["part"]}')
    await until(answer.exists, "it is answered")
    assert json.loads(answer.read_text()) == {"error": None}
    assert stack.restarted[-1] == ["part"]


async def test_an_answer_that_cannot_be_written_is_written_later(stack: Stack) -> None:
    answer = stack.folder / f"first{ANSWER}"
    new = answer.with_name(answer.name + ".new")
    new.symlink_to("/dev/full")
    stack.order("first", '{"restart": ["part"]}')
    await until(lambda: stack.restarted == [["part"]], "it is carried out")
    assert not answer.exists()
    new.unlink()
    await until(answer.exists, "it is answered")
    assert json.loads(answer.read_text()) == {"error": None}
    assert stack.restarted == [["part"]]
