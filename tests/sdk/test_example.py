"""The examples in the repository run as their first lines say."""

import sys
from pathlib import Path

import pytest

from services.mesh.testing.waiting import until
from tests.e2e.stack import Stack, command
from tests.sdk.conftest import KEY, Server, pointing

EXAMPLES = Path(__file__).parents[2] / "examples"


async def test_the_chat_holds_a_conversation_that_is_remembered(stack: Stack) -> None:
    ended = await command(*pointing(stack.url, stack.key), sys.executable, EXAMPLES / "chat_somamesh.py")
    assert ended.status == 0, ended.errors
    asked, answered = ended.output.split("> What is my cat called?")
    assert "> My cat is called Ada." in asked
    assert "Ada" in answered


async def test_the_memory_example_finds_a_fact_by_meaning(stack: Stack) -> None:
    async def found() -> bool:
        # The question has no word of the answer. A search by meaning finds it, but only a moment after a start.
        ended = await command(*pointing(stack.url, stack.key), sys.executable, EXAMPLES / "memory_somamesh.py")
        assert ended.status == 0, ended.errors
        return ended.output == "faq/support: Support answers within one working day.\n"

    await until(found, seconds=60)


@pytest.mark.parametrize("name", ["chat_somamesh.py", "memory_somamesh.py"])
async def test_an_example_prints_the_error(server: Server, name: str) -> None:
    ended = await command(*pointing(server.url, f"not {KEY}"), sys.executable, EXAMPLES / name)
    assert ended.status == 1
    assert ended.errors.startswith("CREDENTIAL_INVALID: ")
