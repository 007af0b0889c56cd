"""The example in the repository runs as its description says."""

import asyncio
import sys
from pathlib import Path

from tests.gateway.edge.conftest import KEY, Stand

EXAMPLE = Path(__file__).parents[4] / "examples" / "chat_openai.py"


async def test_the_example_streams_an_answer_of_the_first_model(stand: Stand) -> None:
    env = {"OPENAI_BASE_URL": f"{stand.url}/v1", "OPENAI_API_KEY": KEY}
    child = await asyncio.create_subprocess_exec(
        sys.executable, EXAMPLE, env=env, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    output, _ = await child.communicate()
    assert child.returncode == 0, output
    assert "Hello, world" in output.decode()
    assert "(7 tokens)" in output.decode()
    assert stand.chat.requests[0].model == "lab/small"
