"""A process of the command that speaks gRPC starts other programs without gRPC having a hand in it."""

import asyncio
import sys

FORKS = """
import asyncio
from {command} import {function}
import grpc.aio, uvloop

async def main():
    server = grpc.aio.server()
    server.add_insecure_port("127.0.0.1:0")
    await server.start()
    for _ in range(10):
        child = await asyncio.create_subprocess_exec("true")
        assert await child.wait() == 0
    await server.stop(None)

uvloop.run(main())
"""


async def test_a_child_is_started_without_grpcs_handlers_of_fork() -> None:
    """They say so in the log where they find that they cannot run, which they do in a process that serves."""
    for command, function in (("cli.main", "app"), ("cli.foreground", "run_in_foreground")):
        code = FORKS.format(command=command, function=function)
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", code, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
        )
        async with asyncio.timeout(60):
            _, errors = await process.communicate()
        assert (process.returncode, errors) == (0, b"")
