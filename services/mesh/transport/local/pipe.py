"""A bounded pipe for one direction of one call: at most one task waits at each end."""

import asyncio
from collections import deque
from typing import Any

import grpc

# The messages that one direction may hold before its writer waits: enough to wake the reader once for a burst.
CAPACITY = 16


class Pipe:
    """Messages on their way, in order.

    A writer that finds the pipe full after its message waits for room, so memory is bounded by CAPACITY messages.
    `closed` says that no further message comes; messages in the pipe can still be read.
    """

    __slots__ = ("_loop", "_reader", "_writer", "closed", "messages")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._reader: asyncio.Future[None] | None = None
        self._writer: asyncio.Future[None] | None = None
        self.closed = False
        self.messages: deque[Any] = deque()

    def push(self, message: Any) -> bool:
        """Add a message; True asks the writer to await `room` before its next one."""
        self.messages.append(message)
        reader = self._reader
        if reader is not None and not reader.done():
            reader.set_result(None)
        return len(self.messages) >= CAPACITY

    def pop(self) -> Any:
        """Take the oldest message of a pipe that has one."""
        message = self.messages.popleft()
        writer = self._writer
        # A writer is woken when half the pipe is free, not at every message: fewer switches between the two tasks.
        if writer is not None and len(self.messages) * 2 <= CAPACITY and not writer.done():
            writer.set_result(None)
        return message

    async def room(self) -> None:
        """Wait until the reader has caught up or the pipe is closed."""
        if self._writer is not None:
            raise grpc.aio.UsageError("Only one task may write to a stream at a time.")
        while len(self.messages) >= CAPACITY and not self.closed:
            self._writer = self._loop.create_future()
            try:
                await self._writer
            finally:
                self._writer = None

    async def readable(self) -> None:
        """Wait until there is a message or the pipe is closed."""
        if self._reader is not None:
            raise grpc.aio.UsageError("Only one task may read from a stream at a time.")
        while not self.messages and not self.closed:
            self._reader = self._loop.create_future()
            try:
                await self._reader
            finally:
                self._reader = None

    def close(self) -> None:
        """Note that no further message comes, and wake both ends."""
        self.closed = True
        for waiter in (self._reader, self._writer):
            if waiter is not None and not waiter.done():
                waiter.set_result(None)
