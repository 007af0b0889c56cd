"""Serves the files of the web example as a web site."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from aiohttp import web

from tests.ports import free_port

ROOT = Path(__file__).parents[2] / "examples" / "web"


@asynccontextmanager
async def site() -> AsyncIterator[str]:
    """Serve the files on a free port; yields the origin."""
    application = web.Application()
    application.router.add_static("/", ROOT)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    port = free_port()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        await runner.cleanup()
