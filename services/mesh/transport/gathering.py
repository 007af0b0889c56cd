"""A transport that sends in one piece all that is written in one turn of the event loop."""

import asyncio
from collections.abc import Iterable
from typing import Any, TypeAlias

Data: TypeAlias = bytes | bytearray | memoryview

# This many bytes are sent at once, so that a writer that never yields reaches the transport's limits and is paused.
_FULL = 64 * 1024


class GatheringTransport(asyncio.Transport):
    """Wraps a connection's transport.

    uvloop sends each write at once: the head and the body of an answer would be two system calls, and would wake the
    reader twice. Data is held back only until the callbacks that are ready now have run.
    """

    __slots__ = ("_held", "_loop", "_size", "transport")

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self.transport = transport
        self._loop = loop
        self._held: list[Data] = []
        self._size = 0

    def write(self, data: Data) -> None:
        """Send `data` together with all else that is written in this turn of the loop."""
        if not self._held:
            self._loop.call_soon(self.flush)
        self._held.append(data)
        self._size += len(data)
        if self._size >= _FULL:
            self.flush()

    def writelines(self, list_of_data: Iterable[Data]) -> None:
        for data in list_of_data:
            self.write(data)

    def flush(self) -> None:
        """Send the data that is held back."""
        held = self._held
        if not held:
            return
        self._held = []
        self._size = 0
        self.transport.write(held[0] if len(held) == 1 else b"".join(held))

    def write_eof(self) -> None:
        self.flush()
        self.transport.write_eof()

    def can_write_eof(self) -> bool:
        return self.transport.can_write_eof()

    def close(self) -> None:
        """Close once all data is sent."""
        self.flush()
        self.transport.close()

    def abort(self) -> None:
        """Close at once; data that is not sent is lost."""
        self._held = []
        self._size = 0
        self.transport.abort()

    def is_closing(self) -> bool:
        return self.transport.is_closing()

    def is_reading(self) -> bool:
        return self.transport.is_reading()

    def pause_reading(self) -> None:
        self.transport.pause_reading()

    def resume_reading(self) -> None:
        self.transport.resume_reading()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self.transport.get_extra_info(name, default)

    def get_write_buffer_size(self) -> int:
        """The bytes that the system does not have yet."""
        return self._size + self.transport.get_write_buffer_size()

    def get_write_buffer_limits(self) -> tuple[int, int]:
        return self.transport.get_write_buffer_limits()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self.transport.set_write_buffer_limits(high, low)

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self.transport.get_protocol()

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.transport.set_protocol(protocol)
