"""Two authorities: the stack's own, and somebody else's."""

from pathlib import Path

import pytest

from services.mesh.tls.authority import Authority
from services.mesh.tls.identity import folder_of


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """The stack's own."""
    (tmp_path / "own").mkdir()
    return Authority.at(tmp_path / "own")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where it puts certificates."""
    return folder_of(tmp_path / "own")


@pytest.fixture
def stranger(tmp_path: Path) -> Authority:
    """Another one."""
    (tmp_path / "strange").mkdir()
    return Authority.at(tmp_path / "strange")
