"""Fixtures: one stack with vendors that continue prompts."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack

import pytest
from openai import AsyncOpenAI

from tests.clients.completions.prompts import METHODS, PromptServer, prompting
from tests.e2e.stack import Stack

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
async def vendors() -> AsyncIterator[Mapping[str, PromptServer]]:
    """The vendors by name."""
    async with AsyncExitStack() as closing:
        yield {name: await closing.enter_async_context(prompting(method)) for name, method in METHODS.items()}


@pytest.fixture(scope="package")
async def stack(tmp_path_factory: pytest.TempPathFactory, vendors: Mapping[str, PromptServer]) -> AsyncIterator[Stack]:
    """A running stack with the vendors. It is shared, so a test must leave every part unchanged."""
    directory = tmp_path_factory.mktemp("completions")
    catalogue = directory / "catalogue.toml"
    urls = {name: vendor.url + vendor.method.base for name, vendor in vendors.items()}
    catalogue.write_text("".join(PROVIDER.format(name=name, url=url) for name, url in urls.items()))
    (directory / "soma.toml").write_text(SETTINGS.format(catalogue=catalogue))
    shared = Stack(directory)
    async with AsyncExitStack() as closing:
        closing.push_async_callback(shared.down)
        await shared.up()
        yield shared


@pytest.fixture
async def client(stack: Stack) -> AsyncIterator[AsyncOpenAI]:
    """OpenAI's client, which does not repeat what failed."""
    async with stack.openai() as made:
        yield made.with_options(max_retries=0)
