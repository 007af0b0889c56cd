"""OpenAI's and Anthropic's Node clients and the Vercel AI SDK: pictures, tools with thoughts, and streams."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.clients.toolchains import BUILD_SECONDS, NPM_BUILD, built, require
from tests.clients.vendors.program import checked
from tests.clients.vendors.server import VendorServer
from tests.e2e.stack import Stack

FOLDER = Path(__file__).parents[1] / "node"


# For each client and vendor what requests must have of the thoughts: all, none, or some of them. OpenAI's helper for
# streams keeps only the last piece of a member that it does not know: how much that is depends on how the pieces come,
# and nothing is said of it here. `reasoning_details` always comes in one piece.
# OpenAI's provider of the AI SDK reads no thoughts of a chat, and DeepSeek then gets empty ones. The other provider
# keeps the texts of thoughts without their signatures, which Anthropic would refuse.
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
    await checked(("node", folder / "tools.mjs"), stack, vendors, client, streamed, CASES[client, streamed])


@pytest.mark.timeout(2 * BUILD_SECONDS)
@pytest.mark.parametrize("streamed", [False, True])
async def test_anthropics_client_for_node_shows_a_picture_and_calls_tools(
    stack: Stack, vendors: Mapping[str, VendorServer], folder: Path, streamed: bool
) -> None:
    thoughts = dict.fromkeys(("openai_compatible", "deepseek", "anthropic"), "all")
    await checked(("node", folder / "anthropic.mjs"), stack, vendors, "anthropic", streamed, thoughts)
