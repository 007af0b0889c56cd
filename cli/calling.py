"""Calls of commands: a stub of a service on a stack, for as long as a command needs it."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import grpc

from cli.endpoint import Endpoint

S = TypeVar("S")


def with_stub(
    endpoint: Endpoint, stub: Callable[[grpc.aio.Channel], S], action: Callable[[S], Awaitable[None]]
) -> None:
    """Run `action` with a stub on the endpoint.

    Raises:
        MeshError: what a call in it fails with.
    """

    async def run() -> None:
        async with endpoint.channel() as channel:
            await action(stub(channel))

    asyncio.run(run())
