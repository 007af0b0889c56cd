"""Which threads, event loops and processes may use a client; it raises an error at once in any other."""

import asyncio
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from somamesh import AsyncClient, Client

from tests.e2e.stack import command
from tests.sdk.conftest import KEY, Server, pointing

THREADS = 8


async def test_threads_share_a_client(server: Server) -> None:
    def converse(client: Client, number: int) -> list[object]:
        client.remember(f"thread/{number}", number)
        with client.stream_chat("Hi") as stream:
            said = "".join(stream)
        return [said, client.chat("Hi").text, client.recall(f"thread/{number}").value]

    with Client(server.url, KEY) as client, ThreadPoolExecutor(THREADS) as pool:
        loop = asyncio.get_running_loop()
        futures = [loop.run_in_executor(pool, converse, client, number) for number in range(THREADS * 3)]
        answers = await asyncio.gather(*futures)
    assert answers == [["Hello, world", "Hello, world", number] for number in range(THREADS * 3)]


async def test_an_async_client_created_without_an_event_loop_works_in_the_loop_of_its_first_use(server: Server) -> None:
    client = await asyncio.to_thread(AsyncClient, server.url, KEY)
    assert (await client.chat("Hi")).text == "Hello, world"

    def elsewhere() -> None:
        with pytest.raises(RuntimeError, match="belongs to another event loop"):
            asyncio.run(client.list_models())
        with pytest.raises(RuntimeError, match="belongs to another event loop"):
            asyncio.run(client.close())

    await asyncio.to_thread(elsewhere)
    assert (await client.chat("Hi")).text == "Hello, world"
    await client.close()


async def test_a_call_on_a_closed_client_raises_an_error(server: Server) -> None:
    client = AsyncClient(server.url, KEY)
    await client.close()
    blocking = Client(server.url, KEY)
    blocking.close()
    with pytest.raises(RuntimeError, match="closed"):
        await client.list_models()
    with pytest.raises(RuntimeError, match="closed"):
        blocking.list_models()
    with pytest.raises(RuntimeError, match="closed"):
        blocking.stream_chat("Hi")


PROGRAM = """
import os
from somamesh import Client

client = Client()
client.chat("Hi")
child = os.fork()
if not child:
    try:
        client.chat("Hi")
    except RuntimeError as error:
        print(error, flush=True)
    os._exit(0)
os.waitpid(child, 0)
print(client.chat("Hi").text)
"""


async def test_a_client_created_before_a_fork_raises_an_error_in_the_child(server: Server) -> None:
    ended = await command(*pointing(server.url, KEY), sys.executable, "-c", PROGRAM)
    assert ended.output.splitlines() == [
        "this client belongs to the process it was made in: make one after the fork",
        "Hello, world",
    ], ended.errors
