"""The process of the part `llm`: `python -m services.model.llm --socket DESCRIPTOR`.

It inherits a socket that listens, and its settings from the environment. It ends with 0 when nobody asks for long.
"""

import asyncio
import os
import signal
import socket
import sys

import structlog

from services.mesh.process import logs
from services.mesh.process.keys import read_key
from services.mesh.settings import Settings
from services.model.llm.files import FOLDER, Files
from services.model.llm.loaded import Loaded
from services.model.llm.server import Server
from services.model.llm.settings import LlmSettings

_log = structlog.get_logger("llm")


async def serve(descriptor: int) -> None:
    """Serve until nobody has asked for long.

    Raises:
        MeshError: a setting is wrong, or the key cannot be read.
    """
    settings, own = Settings(), LlmSettings()
    logs.configure(settings.log_level, settings.log_format)
    folder = settings.data_dir / FOLDER
    listener = socket.socket(fileno=descriptor)
    server = Server(listener, read_key(folder / "key"), Files(folder, own.gguf), Loaded(own.engine()), own.idle_seconds)
    _log.info("serving", port=listener.getsockname()[1], idle_seconds=own.idle_seconds)
    await server.run()
    _log.info("idle")


def main() -> None:
    """Serve, and end without freeing anything, because the system does it faster than llama.cpp."""
    # llama.cpp sets handlers of its own when it loads a model, which end the process as well.
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    asyncio.run(serve(int(sys.argv[sys.argv.index("--socket") + 1])))
    sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
