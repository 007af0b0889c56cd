"""OpenAI's Node client continues prompts."""

import json
from pathlib import Path

import pytest

from tests.clients.completions.prompts import METHODS, continued
from tests.clients.toolchains import BUILD_SECONDS, NPM_BUILD, built, require
from tests.e2e.stack import Stack, command

FOLDER = Path(__file__).parents[1] / "node"
PROMPT = "def add(a, b):"


@pytest.mark.timeout(2 * BUILD_SECONDS)
async def test_openais_client_for_node_gets_all_expected_completions(stack: Stack) -> None:
    require("npm")
    await built(FOLDER, NPM_BUILD[0])
    asked = {
        "models": [METHODS[name].model for name in ("openai", "mistral", "vllm", "groq")],
        "texts": {"plain": continued(PROMPT), "suffixed": continued(PROMPT, "    return c")},
    }
    environment = ("env", f"SOMA_API_URL={stack.url}", f"SOMA_API_KEY={stack.key}")
    ended = await command(*environment, "node", "completions.mjs", json.dumps(asked), cwd=FOLDER)
    assert (ended.status, ended.output) == (0, "completions: all is well\n"), ended.errors
