"""A way to a server that is as slow as a busy machine or a far one."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


@asynccontextmanager
async def slow_link(port: int, delay: float) -> AsyncIterator[int]:
    """A port of 127.0.0.1 that leads to another; a server's first answer on each connection is `delay` seconds late."""
    links: set[asyncio.Task[None]] = set()

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, wait: float) -> None:
        while data := await reader.read(65536):
            await asyncio.sleep(wait)
            wait = 0
            writer.write(data)
            await writer.drain()
        writer.close()

    async def link(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        links.add(task)
        there, back = await asyncio.open_connection("127.0.0.1", port)
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(carry(reader, back, 0))
                both.create_task(carry(there, writer, delay))
        except* OSError:
            # One side is gone, and with it the link.
            back.close()
        finally:
            writer.close()
            back.close()
            links.discard(task)

    server = await asyncio.start_server(link, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in links:
            task.cancel()
        await asyncio.gather(*links, return_exceptions=True)
