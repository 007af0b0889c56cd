"""Unmodified OpenAI Node client and Vercel AI SDK, in programs that check the answers."""

from pathlib import Path

import pytest

from tests.clients.toolchains import BUILD_SECONDS, NPM_BUILD, built, require
from tests.e2e.scripted import MODEL
from tests.e2e.stack import Stack, command

FOLDER = Path(__file__).parents[1] / "node"


@pytest.mark.timeout(2 * BUILD_SECONDS)
@pytest.mark.parametrize("client", ["openai", "vercel"])
async def test_a_client_for_node_gets_all_expected_answers(stack: Stack, client: str) -> None:
    require("npm")
    await built(FOLDER, NPM_BUILD[0])
    environment = ("env", f"SOMA_API_URL={stack.url}", f"SOMA_API_KEY={stack.key}", f"SOMA_MODEL={MODEL}")
    ended = await command(*environment, "node", f"{client}.mjs", cwd=FOLDER)
    assert (ended.status, ended.output) == (0, f"{client}: all is well\n"), ended.errors
