"""A transport that sends what one turn of the event loop wrote in one piece."""

import asyncio
from collections.abc import Iterable
from typing import Any, TypeAlias

Data: TypeAlias = bytes | bytearray | memoryview

# So much is sent at once: a writer that never yields must meet the transport's own limits, which pause it.
_FULL = 64 * 1024


class GatheringTransport(asyncio.Transport):
    """Wraps a connection's transport.

    uvloop sends each write at once: an answer's head and body would be two system calls here, and wake who reads them
    twice. What is held back waits for nothing but the callbacks that are ready by now.
    """

    __slots__ = ("_held", "_loop", "_size", "transport")

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self.transport = transport
        self._loop = loop
        self._held: list[Data] = []
        self._size = 0

    def write(self, data: Data) -> None:
        """Send `data` with whatever else is written before the loop turns."""
        if not self._held:
            self._loop.call_soon(self.flush)
        self._held.append(data)
        self._size += len(data)
        if self._size >= _FULL:
            self.flush()

    def writelines(self, list_of_data: Iterable[Data]) -> None:
        """See `write`."""
        for data in list_of_data:
            self.write(data)

    def flush(self) -> None:
        """Send what is held back."""
        held = self._held
        if not held:
            return
        self._held = []
        self._size = 0
        self.transport.write(held[0] if len(held) == 1 else b"".join(held))

    def write_eof(self) -> None:
        """See `asyncio.WriteTransport`."""
        self.flush()
        self.transport.write_eof()

    def can_write_eof(self) -> bool:
        """See `asyncio.WriteTransport`."""
        return self.transport.can_write_eof()

    def close(self) -> None:
        """Close once everything written is sent."""
        self.flush()
        self.transport.close()

    def abort(self) -> None:
        """Close at once; what is not sent is lost."""
        self._held = []
        self._size = 0
        self.transport.abort()

    def is_closing(self) -> bool:
        """See `asyncio.BaseTransport`."""
        return self.transport.is_closing()

    def is_reading(self) -> bool:
        """See `asyncio.ReadTransport`."""
        return self.transport.is_reading()

    def pause_reading(self) -> None:
        """See `asyncio.ReadTransport`."""
        self.transport.pause_reading()

    def resume_reading(self) -> None:
        """See `asyncio.ReadTransport`."""
        self.transport.resume_reading()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """See `asyncio.BaseTransport`."""
        return self.transport.get_extra_info(name, default)

    def get_write_buffer_size(self) -> int:
        """Bytes not yet handed to the system."""
        return self._size + self.transport.get_write_buffer_size()

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """See `asyncio.WriteTransport`."""
        return self.transport.get_write_buffer_limits()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """See `asyncio.WriteTransport`."""
        self.transport.set_write_buffer_limits(high, low)

    def get_protocol(self) -> asyncio.BaseProtocol:
        """See `asyncio.BaseTransport`."""
        return self.transport.get_protocol()

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """See `asyncio.BaseTransport`."""
        self.transport.set_protocol(protocol)
