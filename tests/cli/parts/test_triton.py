"""Triton as a part: how it is found and started, and that nothing of it is left."""

from pathlib import Path

import pytest

from cli.parts.triton import SHARED_MEMORY, ExternalTriton, Installation, Triton
from services.mesh.call.errors import FailedPrecondition, Unavailable
from services.model.adapters.triton.settings import TritonSettings
from services.model.embedding.settings import EmbeddingSettings


@pytest.fixture
def installation(tmp_path: Path) -> Path:
    """An environment that looks as `make triton` makes it."""
    root = tmp_path / "environment"
    server = root / "lib" / "python3.11" / "site-packages" / "pytriton" / "tritonserver"
    for file in ("bin/tritonserver", "python_backend_stubs/3.11/triton_python_backend_stub", "backends/python/a.so"):
        (server / file).parent.mkdir(parents=True)
        (server / file).touch()
    (root / "pyvenv.cfg").write_text("home = /opt/python/bin\nversion_info = 3.11.7\n")
    return root


def settings(environment: Path) -> TritonSettings:
    return TritonSettings(environment=environment, load=("nothing",))


async def test_without_an_installation_it_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(FailedPrecondition, match="make triton"):
        Triton(tmp_path, settings(tmp_path / "nowhere"), EmbeddingSettings())


async def test_it_listens_on_a_socket_file_and_on_nothing_else(installation: Path, tmp_path: Path) -> None:
    folder = tmp_path / "t"
    folder.mkdir()
    part = Triton(folder, settings(installation), EmbeddingSettings())
    try:
        launch = await part.launch()
        assert part.url == f"unix:{folder}/grpc:1" or part.url.endswith("/grpc:1")
        assert "--allow-http=false" in launch.argv and "--allow-metrics=false" in launch.argv
        assert launch.bare and str(Path("/opt/python/lib")) in launch.env["LD_LIBRARY_PATH"]
        assert {path.name for path in (folder / "models").iterdir()} >= {"embedder", "slm"}
        assert (folder / "backends" / "python" / "triton_python_backend_stub").is_symlink()
    finally:
        await part.close()


async def test_a_path_that_is_too_long_for_a_socket_is_replaced_for_the_time_it_runs(
    installation: Path, tmp_path: Path
) -> None:
    part = Triton(tmp_path / ("long" * 30), settings(installation), EmbeddingSettings())
    folder = Path(part.url.removeprefix("unix:")).parent
    assert folder.is_dir() and folder.stat().st_mode & 0o077 == 0
    await part.close()
    assert not folder.exists()


async def test_what_a_killed_server_left_is_removed_and_nothing_of_others(installation: Path, tmp_path: Path) -> None:
    part = Triton(tmp_path, settings(installation), EmbeddingSettings())
    other = Triton(tmp_path / "other", settings(installation), EmbeddingSettings())
    left, kept = (SHARED_MEMORY / f"{each.prefix}region" for each in (part, other))
    try:
        left.touch()
        kept.touch()
        await part.close()
        assert not left.exists() and kept.exists()
    finally:
        await other.close()
        assert not kept.exists()


async def test_an_external_server_is_only_asked(tmp_path: Path) -> None:
    part = ExternalTriton(TritonSettings(url="grpc://127.0.0.1:1"))
    assert part.external and part.optional and await part.launch() is None
    with pytest.raises(Unavailable):
        await part.probe(None)
    await part.close()


@pytest.mark.parametrize("url", ["http://host:8001", "grpc://", "grpc://host:8001/path", "host:8001", "unix:relative"])
def test_other_urls_are_refused(url: str) -> None:
    with pytest.raises(Exception, match="grpc://HOST:PORT"):
        TritonSettings(url=url)


def test_the_version_of_python_comes_from_the_environment(installation: Path) -> None:
    found = Installation(installation)
    assert found.python == "3.11"
    found.check()
