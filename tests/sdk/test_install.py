"""The client installs alone: its wheel and the wheel of the contracts, and nothing of the server."""

import json
import shutil
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.e2e.stack import command
from tests.sdk.conftest import KEY, Server, pointing

ROOT = Path(__file__).parents[2]
UV = shutil.which("uv") or shutil.which("uv", path=ROOT / ".tools" / "uv" / "bin")
pytestmark = pytest.mark.skipif(UV is None, reason="uv is missing: `make setup` installs it")

NEEDED = {"somamesh", "somamesh-contracts", "grpcio", "protobuf", "googleapis-common-protos", "typing-extensions"}
PROGRAM = """
from importlib.resources import files
from somamesh import Client

assert files("somamesh").joinpath("py.typed").is_file()
with Client() as soma:
    print(soma.chat("Hi").text)
"""
# A user's type checker must see these types in the installed client.
TYPED = """
from collections.abc import AsyncIterator, Iterator
from typing import assert_type

from somamesh import Answer, AsyncClient, AsyncResponseStream, Client, Memory, Response, Session

with Client("http://mesh", timeout=1) as soma:
    assert_type(soma.chat("Hi", temperature=0.5), Answer)
    assert_type([chunk for chunk in soma.stream_chat("Hi")], list[str])
    assert_type(soma.recall("k"), Memory)
    assert_type(soma.list_sessions(), Iterator[Session])
    soma.chat("Hi", temprature=1)  # WRONG


async def main(soma: AsyncClient) -> None:
    assert_type(await soma.create_response("Hi"), Response)
    assert_type(soma.stream_response("Hi"), AsyncResponseStream)
    assert_type(soma.list_sessions(), AsyncIterator[Session])
    await soma.recall(1)  # WRONG
"""


async def uv(*arguments: str | Path) -> str:
    """Run uv outside the project; return its output."""
    assert UV is not None
    ended = await command(UV, "--no-config", *arguments, seconds=100)
    assert ended.status == 0, ended.errors
    return ended.output


@pytest.fixture(scope="module")
async def wheels(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The wheels of the contracts and the client."""
    folder = tmp_path_factory.mktemp("wheels")
    for source in ("gen/python", "sdk/python"):
        await uv("build", "--quiet", "--wheel", "--out-dir", folder, ROOT / source)
    return sorted(folder.glob("*.whl"))


@pytest.fixture(params=["highest", "lowest"])
async def python(request: pytest.FixtureRequest, wheels: list[Path], tmp_path: Path) -> AsyncIterator[Path]:
    """An interpreter with only the wheels, and the newest or oldest versions of their dependencies."""
    home = tmp_path / "venv"
    await uv("venv", "--quiet", home)
    interpreter = home / "bin" / "python"
    await uv("pip", "install", "--quiet", "--python", interpreter, "--resolution", request.param, *wheels)
    yield interpreter
    shutil.rmtree(home)


async def test_the_client_chats_in_an_environment_without_other_packages(
    python: Path, server: Server, tmp_path: Path
) -> None:
    listed = json.loads(await uv("pip", "list", "--python", python, "--format", "json"))
    assert {package["name"] for package in listed} == NEEDED
    ended = await command(*pointing(server.url, KEY), python, "-I", "-W", "error", "-c", PROGRAM, cwd=tmp_path)
    assert (ended.status, ended.output) == (0, "Hello, world\n"), ended.errors


async def test_a_users_strict_type_checker_knows_every_type(wheels: list[Path], tmp_path: Path) -> None:
    home, program = tmp_path / "venv", tmp_path / "program.py"
    await uv("venv", "--quiet", home)
    await uv(
        "pip", "install", "--quiet", "--python", home / "bin" / "python", "types-grpcio", "types-protobuf", *wheels
    )
    program.write_text(TYPED)
    checking = (
        "--strict",
        "--config-file=",
        "--cache-dir",
        tmp_path / "cache",
        "--no-color-output",
        "--no-error-summary",
    )
    ended = await command(
        *(sys.executable, "-m", "mypy", *checking, "--python-executable", home / "bin" / "python", program),
        cwd=tmp_path,
    )
    shutil.rmtree(home)
    wrong = [number for number, line in enumerate(TYPED.splitlines(), 1) if "WRONG" in line]
    assert [int(line.split(":")[1]) for line in ended.output.splitlines() if "error:" in line] == wrong, ended.output
