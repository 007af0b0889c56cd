"""Fixtures: one stack whose model server answers according to the question."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from tests.clients.openai.answering import AnsweringUpstream
from tests.e2e.scripted import claude, configure
from tests.e2e.stack import Stack

RULES = """
[[rule]]
id = "secret"
actions = ["chat.*"]
pattern = "state secret"
decision = "deny"
reason = "nobody talks of those"
"""


@pytest.fixture(scope="package")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    """A running stack. It is shared, so a test must leave every part unchanged."""
    directory = tmp_path_factory.mktemp("openai")
    async with AsyncExitStack() as closing:
        upstream = await closing.enter_async_context(AnsweringUpstream())
        configure(directory, upstream, await closing.enter_async_context(claude()))
        rules = directory / "rules.toml"
        rules.write_text(RULES)
        with (directory / "soma.toml").open("a") as settings:
            settings.write(f'\n[policy]\nrules = "{rules}"\n')
        shared = Stack(directory)
        closing.push_async_callback(shared.down)
        await shared.up()
        yield shared
