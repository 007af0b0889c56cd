"""The example in the repository runs as its first lines say."""

import asyncio
import sys
from pathlib import Path

from tests.sdk.conftest import KEY, Server

EXAMPLE = Path(__file__).parents[2] / "examples" / "chat_somamesh.py"


async def run(url: str, key: str) -> tuple[int | None, str]:
    env = {"SOMA_API_URL": url, "SOMA_API_KEY": key}
    child = await asyncio.create_subprocess_exec(
        sys.executable, EXAMPLE, env=env, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    output, _ = await child.communicate()
    return child.returncode, output.decode()


async def test_the_example_holds_a_conversation(server: Server) -> None:
    status, output = await run(server.url, KEY)
    assert status == 0, output
    assert output.count("Hello, world") == 2
    first, second = server.chat.requests
    assert first.conversation_id == second.conversation_id != ""


async def test_the_example_says_what_went_wrong(server: Server) -> None:
    status, output = await run(server.url, "wrong")
    assert status == 1
    assert output.startswith("> ")
    assert "CREDENTIAL_INVALID" in output
    assert "Traceback" not in output
