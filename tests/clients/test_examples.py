"""The example of each language is built from the contracts and run with the stack."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.clients.toolchains import BUILD_SECONDS, NPM_BUILD, PYTHON_BUILD, built, require
from tests.e2e.stack import Stack, command

EXAMPLES = Path(__file__).parents[2] / "examples"
# The flags with which `make` builds Go's tools, so that gRPC is compiled only once.
GO_FLAGS = ("-trimpath", "-gcflags=all=-N -l")
INVALID_KEY = "the API key or token is not valid"


@dataclass(frozen=True)
class Example:
    """The build steps and the command of an example, and its output for a refused key."""

    folder: str
    needs: tuple[str, ...]
    build: tuple[tuple[str, ...], ...]
    run: tuple[str, ...]
    refused: str


LANGUAGES = [
    Example(
        "go",
        ("go",),
        (("go", "build", *GO_FLAGS, "-o", "target/example", "."),),
        ("target/example",),
        f"CREDENTIAL_INVALID: {INVALID_KEY}",
    ),
    Example(
        "typescript",
        ("npm",),
        NPM_BUILD,
        ("npm", "start", "--silent"),
        INVALID_KEY,
    ),
    Example(
        "java",
        ("mvn",),
        (("mvn", "--batch-mode", "--quiet", "--no-transfer-progress", "compile"),),
        ("mvn", "--batch-mode", "--quiet", "exec:java"),
        f"CREDENTIAL_INVALID: {INVALID_KEY}",
    ),
    Example("rust", ("cargo",), (("cargo", "build", "--locked"),), ("target/debug/somamesh-example",), INVALID_KEY),
    Example(
        "python-betterproto",
        (),
        PYTHON_BUILD,
        (".venv/bin/python", "converse.py"),
        f"CREDENTIAL_INVALID: {INVALID_KEY}",
    ),
]


async def run(example: Example, url: str, key: str) -> tuple[int, str, str]:
    """Run a built example; return its status and its output."""
    environment = ("env", f"SOMA_API_URL={url}", f"SOMA_API_KEY={key}")
    ended = await command(*environment, *example.run, cwd=EXAMPLES / example.folder)
    return ended.status, ended.output, ended.errors


@pytest.mark.timeout(2 * BUILD_SECONDS)
@pytest.mark.parametrize("example", LANGUAGES, ids=lambda example: example.folder)
async def test_the_generated_client_of_each_language_holds_a_remembered_conversation(
    stack: Stack, example: Example
) -> None:
    require(*example.needs)
    await built(EXAMPLES / example.folder, *example.build)
    status, output, errors = await run(example, stack.url, stack.key)
    assert status == 0, errors
    question, answer = output.split("> What is my cat called?\n")
    assert "> My cat is called Ada.\n" in question
    assert "“My cat is called Ada.”" in answer
    assert "tokens)" in answer
    status, output, errors = await run(example, stack.url, "soma_dev_guess")
    assert status != 0
    assert example.refused in errors
