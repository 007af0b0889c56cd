"""Runs a program with a client in it: it shows the picture, and asks questions that need tools."""

import base64
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.clients.vendors.script import PICTURE, SCRIPT, SHOWING, TURNS
from tests.clients.vendors.server import Report, VendorServer
from tests.e2e.stack import Stack, command

# Vendors whose models read pictures.
SEEING = ("openai_compatible", "anthropic")


async def checked(
    argv: Sequence[str | Path],
    stack: Stack,
    vendors: Mapping[str, VendorServer],
    client: str,
    streamed: bool,
    thoughts: Mapping[str, str],
) -> None:
    """Run the program, and check its answers and what the vendors got.

    Args:
        client: which client of the program is used.
        thoughts: for each vendor what requests must have of its thoughts (`Report`); empty if nothing is said of it.
    """
    asked = {
        "url": f"{stack.url}/v1",
        "key": stack.key,
        "client": client,
        "streamed": streamed,
        "models": [vendors[name].dialect.model for name in thoughts],
        "seeing": [vendors[name].dialect.model for name in thoughts if name in SEEING],
        "picture": base64.b64encode(PICTURE).decode(),
        "showing": SHOWING,
        "questions": TURNS,
    }
    for name in thoughts:
        vendors[name].report()
    # LiteLLM otherwise reads the prices of models from the web when it starts.
    ended = await command("env", "LITELLM_LOCAL_MODEL_COST_MAP=True", *argv, json.dumps(asked))
    assert ended.status == 0, ended.errors
    assert json.loads(ended.output) == [
        [SCRIPT[question][-1].text for question in ((SHOWING,) if name in SEEING else ()) + TURNS] for name in thoughts
    ]
    for name, found in thoughts.items():
        report = vendors[name].report()
        assert report == Report({found} if found else report.thoughts, {streamed}), name
