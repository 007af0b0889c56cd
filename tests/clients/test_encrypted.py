"""Generated clients connect to a port with TLS only if they trust its authority, which each sets in its own way."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.clients.test_examples import EXAMPLES, LANGUAGES, Example
from tests.clients.toolchains import BUILD_SECONDS, built, require
from tests.e2e.stack import Ended, Stack, command

# The variable that sets additional authorities for each client.
TRUST = {"go": "SSL_CERT_FILE", "typescript": "NODE_EXTRA_CA_CERTS", "python-betterproto": "SSL_CERT_FILE"}


@pytest.fixture(scope="module")
async def secure(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    """A running stack with the local model and TLS on its port."""
    running = Stack(tmp_path_factory.mktemp("secure"), "--tls")
    async with AsyncExitStack() as closing:
        closing.push_async_callback(running.down)
        await running.up()
        yield running


@pytest.mark.timeout(2 * BUILD_SECONDS)
@pytest.mark.parametrize(
    "example", [each for each in LANGUAGES if each.folder in TRUST], ids=lambda example: example.folder
)
async def test_a_generated_client_holds_a_conversation_over_tls(secure: Stack, example: Example) -> None:
    require(*example.needs)
    await built(EXAMPLES / example.folder, *example.build)

    async def run(*trusting: str | Path) -> Ended:
        environment = ("env", f"SOMA_API_URL={secure.url}", f"SOMA_API_KEY={secure.key}", *trusting)
        return await command(*environment, *example.run, cwd=EXAMPLES / example.folder)

    held = await run(f"{TRUST[example.folder]}={secure.authority}")
    assert held.status == 0, held.errors
    assert "“My cat is called Ada.”" in held.output
    assert (await run()).status != 0
