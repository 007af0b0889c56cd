"""Fixtures: a stack with a vendor of sounds, pictures, judgements and orders."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
from openai import AsyncOpenAI

from tests.e2e.media.vendor import MediaVendor
from tests.e2e.scripted import SOMA_TOML
from tests.e2e.stack import Stack

CATALOGUE = """
default = "gpt-5-mini"

[[provider]]
name = "openai"
vendor = "openai"
base_url = "{url}/v1"
api_key_env = "VENDOR_KEY"

[[provider]]
name = "cohere"
vendor = "cohere"
base_url = "{url}"
api_key_env = "VENDOR_KEY"
models = ["rerank-v3.5"]

[[provider]]
name = "away"
base_url = "http://127.0.0.1:9/v1"
models = ["whisper-away"]
"""


@pytest.fixture(scope="package")
async def shared_vendor() -> AsyncIterator[MediaVendor]:
    async with MediaVendor() as server:
        yield server


@pytest.fixture(autouse=True)
def vendor(shared_vendor: MediaVendor) -> MediaVendor:
    """The vendor, reset for each test."""
    shared_vendor.fails, shared_vendor.paces = None, 0.0
    shared_vendor.received.clear()
    shared_vendor.left = 0
    return shared_vendor


@pytest.fixture(scope="package")
async def media_stack(tmp_path_factory: pytest.TempPathFactory, shared_vendor: MediaVendor) -> AsyncIterator[Stack]:
    """A running stack. It is shared, so a test must leave every part unchanged."""
    directory = tmp_path_factory.mktemp("media")
    catalogue = directory / "catalogue.toml"
    catalogue.write_text(CATALOGUE.format(url=shared_vendor.url))
    settings = SOMA_TOML.format(
        catalogue=catalogue,
        patience=3.0,
        whole=10.0,
        memory_patience=15.0,
        heartbeat=15.0,
        most=100,
        most_bytes=100_000,
    )
    (directory / "soma.toml").write_text(settings)
    shared = Stack(directory)
    async with AsyncExitStack() as closing:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("VENDOR_KEY", "sk-vendor")
            closing.push_async_callback(shared.down)
            await shared.up()
        yield shared


@pytest.fixture
async def client(media_stack: Stack) -> AsyncIterator[AsyncOpenAI]:
    """OpenAI's own client."""
    async with media_stack.openai() as client:
        yield client
