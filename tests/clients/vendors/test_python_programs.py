"""LiteLLM and LlamaIndex, which run in an environment of their own: pictures, tools with thoughts, and streams."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.clients.vendors.program import checked
from tests.clients.vendors.server import VendorServer
from tests.e2e.stack import Stack

ROOT = Path(__file__).parents[3]
PYTHON = ROOT / ".tools" / "clients" / "bin" / "python"
PROGRAM = ROOT / "tests" / "clients" / "python" / "tools.py"

# For each client and vendor what requests must have of the thoughts: all, none, or some of them. LiteLLM loses what is
# signed when it joins the chunks of a stream. LlamaIndex sends no thoughts back in chats, and DeepSeek then gets empty
# ones; of responses it sends the ids and texts of thoughts that have a text, but not if they were streamed.
CASES = {
    ("litellm chat", False): {"openai_compatible": "all", "deepseek": "all", "anthropic": "all"},
    ("litellm chat", True): {"openai_compatible": "all", "deepseek": "all", "anthropic": "none"},
    ("llamaindex chat", False): {"openai_compatible": "none", "deepseek": "some", "anthropic": "none"},
    ("llamaindex chat", True): {"openai_compatible": "none", "deepseek": "some", "anthropic": "none"},
    ("llamaindex responses", False): {"openai_compatible": "all", "deepseek": "all", "anthropic": "some"},
    ("llamaindex responses", True): {"openai_compatible": "none", "deepseek": "some", "anthropic": "none"},
}


@pytest.mark.parametrize(("client", "streamed"), CASES)
async def test_a_client_in_python_shows_a_picture_and_calls_tools(
    stack: Stack, vendors: Mapping[str, VendorServer], client: str, streamed: bool
) -> None:
    if not PYTHON.exists():
        pytest.skip("missing: LiteLLM and LlamaIndex (make test-clients installs them)")
    await checked((PYTHON, PROGRAM), stack, vendors, client, streamed, CASES[client, streamed])
