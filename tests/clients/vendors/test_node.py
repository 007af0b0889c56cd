"""OpenAI's Node client and the Vercel AI SDK: pictures, tools with thoughts, and streams, with models of three vendors."""

import base64
import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.clients.toolchains import BUILD_SECONDS, NPM_BUILD, built, require
from tests.clients.vendors.script import PICTURE, SCRIPT, SHOWING
from tests.clients.vendors.server import Report, VendorServer
from tests.e2e.stack import Stack, command

FOLDER = Path(__file__).parents[1] / "node"
TURNS = ("Turn one", "Turn two", "Turn three")


# For each client the requests that must come: with all thoughts, with none, or with some of them. OpenAI's helper for
# streams keeps only the last piece of a member that it does not know: how much that is depends on how the pieces come,
# and nothing is said of it here. `reasoning_details` always comes in one piece.
# OpenAI's provider of the AI SDK reads no thoughts of a chat, and DeepSeek then gets empty ones. The other provider keeps
# the texts of thoughts without their signatures, which Anthropic would refuse.
CASES = {
    ("openai chat", False): {"openai_compatible": "all", "deepseek": "all", "anthropic": "all"},
    ("openai chat", True): {"openai_compatible": "", "deepseek": "", "anthropic": "all"},
    ("openai responses", False): {"openai_compatible": "all", "deepseek": "all", "anthropic": "all"},
    ("openai responses", True): {"openai_compatible": "all", "deepseek": "all", "anthropic": "all"},
    ("vercel chat", False): {"openai_compatible": "none", "deepseek": "some", "anthropic": "none"},
    ("vercel chat", True): {"openai_compatible": "none", "deepseek": "some", "anthropic": "none"},
    ("vercel responses", False): {"openai_compatible": "all", "deepseek": "all", "anthropic": "all"},
    ("vercel responses", True): {"openai_compatible": "all", "deepseek": "all", "anthropic": "all"},
    ("vercel compatible", False): {"openai_compatible": "all", "deepseek": "all", "anthropic": "none"},
    ("vercel compatible", True): {"openai_compatible": "all", "deepseek": "all", "anthropic": "none"},
}


@pytest.fixture(scope="module")
async def folder() -> Path:
    """The folder of the programs, with the packages that they need."""
    require("npm")
    await built(FOLDER, NPM_BUILD[0])
    return FOLDER


@pytest.mark.timeout(2 * BUILD_SECONDS)
@pytest.mark.parametrize(("client", "streamed"), CASES)
async def test_a_client_for_node_shows_a_picture_and_calls_tools(
    stack: Stack, vendors: Mapping[str, VendorServer], folder: Path, client: str, streamed: bool
) -> None:
    thoughts = CASES[client, streamed]
    wanted = {
        "client": client,
        "streamed": streamed,
        "models": [vendors[name].dialect.model for name in thoughts],
        "seeing": [vendors[name].dialect.model for name in thoughts if name != "deepseek"],
        "picture": base64.b64encode(PICTURE).decode(),
        "showing": SHOWING,
        "questions": TURNS,
    }
    for name in thoughts:
        vendors[name].report()
    environment = ("env", f"SOMA_API_URL={stack.url}", f"SOMA_API_KEY={stack.key}")
    ended = await command(*environment, "node", "tools.mjs", json.dumps(wanted), cwd=folder)
    assert ended.status == 0, ended.errors
    assert json.loads(ended.output) == [
        [SCRIPT[question][-1].text for question in ((SHOWING,) if name != "deepseek" else ()) + TURNS]
        for name in thoughts
    ]
    for name, found in thoughts.items():
        report = vendors[name].report()
        assert report == Report({found} if found else report.thoughts, {streamed}), name
