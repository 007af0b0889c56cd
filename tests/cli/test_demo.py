"""`soma demo`: its output for a new user, and the lines to copy."""

import asyncio
import json
import shutil
import signal
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import processes_of
from tests.ports import free_port


async def read_until(stream: asyncio.StreamReader, word: str) -> list[str]:
    lines = []
    async for line in stream:
        lines.append(line.decode().rstrip("\n"))
        if word in lines[-1]:
            break
    return lines


async def shell(line: str) -> str:
    process = await asyncio.create_subprocess_shell(line, stdout=asyncio.subprocess.PIPE)
    output, _ = await process.communicate()
    assert process.returncode == 0, line
    return output.decode()


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is missing: install it to try the line with it")
async def test_the_demo_holds_a_conversation_prints_lines_that_work_and_stops_cleanly(tmp_path: Path) -> None:
    command = [sys.executable, "-P", "-m", "cli.main", "demo", "--stay", "--port", str(free_port())]
    process = await asyncio.create_subprocess_exec(
        *command, "--data-dir", str(tmp_path / "data"), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(100):
            said = await read_until(process.stdout, "Serving until Ctrl-C")
            assert len([line for line in said if "“My sister Ada lives in Lisbon" in line and "soma:" in line]) >= 2
            (pet,) = [line for line in said if '"kind": ' in line]
            assert json.loads(pet.partition("soma: ")[2]).keys() == {"name", "kind", "age"}
            # The conversation began only after the embedding model was there, which a new machine must build first.
            assert "EMBEDDER_COLD" not in (tmp_path / "data" / "logs" / "serve.log").read_text()
            copied = said[said.index("Three lines to copy:") + 1 :][:3]
            assert [line.split()[0].rpartition("/")[2].rstrip("0123456789.") for line in copied] == [
                "curl",
                "grpcurl",
                "python",
            ]
            streamed = await shell(copied[0])
            assert '"object":"chat.completion.chunk"' in streamed.replace(" ", "")
            assert streamed.rstrip().endswith("data: [DONE]")
            assert (await shell(copied[2])).strip()
    finally:
        process.send_signal(signal.SIGINT)
        async with asyncio.timeout(30):
            ended = await process.wait()
    assert ended == 0
    assert processes_of(tmp_path) == []
