"""A language model as a part of the stack; the process is `services.model.llm`, and runs only while somebody uses it.

This part listens, from the start of the stack to its end. When the first connection comes, it starts the process with
the socket, and the process ends when nobody has asked for long. A connection that comes while no process takes it waits
in the socket, so none is refused.
"""

import asyncio
import json
import socket
import sys
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from cli.parts.part import Launch, Located
from services.mesh.process.keys import ensure_key

_BACKLOG = 128
_LARGEST_REQUEST = 256 * 1024


def server_url(folder: Path, port: int | None) -> str:
    """The URL, with the key, of the part on `port` whose files are in `folder`."""
    return f"http://:{ensure_key(folder / 'key')}@127.0.0.1:{port}"


class Llm(Located):
    """A server of GGUF files whose key and added files are in `folder`."""

    sleeps = True
    # It stores nothing, and its streams cannot be continued.
    grace = 3.0

    def __init__(self, folder: Path) -> None:
        super().__init__("llm")
        self._folder = folder
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        ensure_key(folder / "key")
        with suppress(PackageNotFoundError):
            self.version = version("xllamacpp")
        self._listener: socket.socket | None = None

    @property
    def url(self) -> str:
        """The URL, with the key; valid when the part is ready."""
        return server_url(self._folder, self.port)

    async def asked(self) -> None:
        """Return when there is a connection. The first call begins to listen."""
        loop = asyncio.get_running_loop()
        listener = self._listening()
        came: asyncio.Future[None] = loop.create_future()

        def on_connection() -> None:
            if not came.done():
                came.set_result(None)

        loop.add_reader(listener.fileno(), on_connection)
        try:
            await came
        finally:
            loop.remove_reader(listener.fileno())

    def refuse(self, why: str) -> None:
        """Answer 503 on every connection that waits."""
        said = json.dumps({"error": {"message": f"the part llm {why}; see soma logs llm", "code": 503}}).encode()
        head = f"HTTP/1.1 503 Service Unavailable\r\ncontent-length: {len(said)}\r\nconnection: close\r\n\r\n"
        with suppress(BlockingIOError):
            while True:
                connection, _ = self._listening().accept()
                with connection, suppress(OSError):
                    connection.setblocking(False)
                    # A close with unread data would reset the connection, and the answer would be lost.
                    with suppress(BlockingIOError):
                        connection.recv(_LARGEST_REQUEST)
                    connection.send(head.encode() + said)
                    connection.shutdown(socket.SHUT_WR)

    async def launch(self) -> Launch:
        """Start this Python with the socket. The key is in a file."""
        descriptor = self._listening().fileno()
        command = [sys.executable, "-P", "-m", "services.model.llm", "--socket", str(descriptor)]
        return Launch(command, env={"SOMA_DATA_DIR": str(self._folder.parent)}, files=[descriptor])

    async def close(self) -> None:
        """Stop listening."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    def _listening(self) -> socket.socket:
        if self._listener is None:
            listener = socket.socket()
            listener.bind(("127.0.0.1", 0))
            listener.listen(min(_BACKLOG, socket.SOMAXCONN))
            listener.setblocking(False)
            self._listener = listener
            self.port = int(listener.getsockname()[1])
            self.where = f"127.0.0.1:{self.port}"
        return self._listener
