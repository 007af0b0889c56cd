"""The client installs by itself: its wheel, that of the contracts, and nothing of the server."""

import json
import shutil
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


async def uv(*arguments: str | Path) -> str:
    """Run uv outside the project; what it wrote."""
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
    """An interpreter with nothing but the wheels, and the newest or oldest of what they allow."""
    home = tmp_path / "venv"
    await uv("venv", "--quiet", home)
    interpreter = home / "bin" / "python"
    await uv("pip", "install", "--quiet", "--python", interpreter, "--resolution", request.param, *wheels)
    yield interpreter
    shutil.rmtree(home)


async def test_it_chats_where_nothing_else_is_installed(python: Path, server: Server, tmp_path: Path) -> None:
    listed = json.loads(await uv("pip", "list", "--python", python, "--format", "json"))
    assert {package["name"] for package in listed} == NEEDED
    ended = await command(*pointing(server.url, KEY), python, "-I", "-W", "error", "-c", PROGRAM, cwd=tmp_path)
    assert (ended.status, ended.output) == (0, "Hello, world\n"), ended.errors
