"""Unmodified OpenAI Node client for sounds, pictures and judgements, in a program that checks the answers."""

from pathlib import Path

import pytest

from tests.clients.toolchains import BUILD_SECONDS, NPM_BUILD, built, require
from tests.e2e.media.vendor import sound
from tests.e2e.stack import Stack, command
from tests.model.media.samples import PNG

FOLDER = Path(__file__).parents[1] / "node"


@pytest.mark.timeout(2 * BUILD_SECONDS)
async def test_openais_client_for_node_gets_all_expected_answers(media_stack: Stack, tmp_path: Path) -> None:
    require("npm")
    await built(FOLDER, NPM_BUILD[0])
    (tmp_path / "tea.wav").write_bytes(sound())
    (tmp_path / "tea.png").write_bytes(PNG)
    environment = ("env", f"SOMA_API_URL={media_stack.url}", f"SOMA_API_KEY={media_stack.key}")
    files = (f"SOMA_SOUND={tmp_path / 'tea.wav'}", f"SOMA_PICTURE={tmp_path / 'tea.png'}")
    ended = await command(*environment, *files, "node", "media.mjs", cwd=FOLDER)
    assert (ended.status, ended.output) == (0, "media: all is well\n"), ended.errors
