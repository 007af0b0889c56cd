"""A process that uses gRPC starts other programs without gRPC's fork handlers."""

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


async def test_a_child_is_started_without_the_fork_handlers_of_grpc() -> None:
    """In a process with a server the handlers cannot run, and they would write that into the log."""
    for command, function in (("cli.main", "app"), ("cli.foreground", "run_in_foreground")):
        code = FORKS.format(command=command, function=function)
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", code, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
        )
        async with asyncio.timeout(60):
            _, errors = await process.communicate()
        assert (process.returncode, errors) == (0, b"")
