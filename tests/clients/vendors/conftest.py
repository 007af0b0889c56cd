"""Fixtures: one stack with scripted vendors."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack

import pytest

from tests.clients.vendors.anthropic import CLAUDE
from tests.clients.vendors.chat import COMPATIBLE, DEEPSEEK, MISTRAL, OLLAMA, OPENROUTER
from tests.clients.vendors.server import Dialect, VendorServer, serving
from tests.e2e.stack import Stack

VENDORS: Mapping[str, Dialect] = {
    "deepseek": DEEPSEEK,
    "mistral": MISTRAL,
    "ollama": OLLAMA,
    "openrouter": OPENROUTER,
    "anthropic": CLAUDE,
    "openai_compatible": COMPATIBLE,
}
SETTINGS = """
[model]
catalogue = "{catalogue}"
ollama_url = ""
"""
PROVIDER = """
[[provider]]
name = "{name}"
vendor = "{name}"
base_url = "{url}"
"""


@pytest.fixture(scope="package")
async def vendors() -> AsyncIterator[Mapping[str, VendorServer]]:
    """The vendors by name."""
    async with AsyncExitStack() as closing:
        yield {name: await closing.enter_async_context(serving(dialect)) for name, dialect in VENDORS.items()}


@pytest.fixture(scope="package")
async def stack(tmp_path_factory: pytest.TempPathFactory, vendors: Mapping[str, VendorServer]) -> AsyncIterator[Stack]:
    """A running stack with the vendors. It is shared, so a test must leave every part unchanged."""
    directory = tmp_path_factory.mktemp("vendors")
    catalogue = directory / "catalogue.toml"
    catalogue.write_text("".join(PROVIDER.format(name=name, url=_base(vendor)) for name, vendor in vendors.items()))
    (directory / "soma.toml").write_text(SETTINGS.format(catalogue=catalogue))
    shared = Stack(directory)
    async with AsyncExitStack() as closing:
        closing.push_async_callback(shared.down)
        await shared.up()
        yield shared


def _base(vendor: VendorServer) -> str:
    return vendor.url + vendor.dialect.chat.removesuffix("/chat/completions").removesuffix("/v1/messages")
