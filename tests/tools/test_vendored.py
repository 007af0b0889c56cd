"""The packages of npm in the repository are the published ones, and nothing else."""

import base64
import hashlib
import io
import tarfile
from pathlib import Path

import pytest

from tools.vendored import THIRD_PARTY, Package, findings, packages

CONTENT = b"alert(1)"


@pytest.fixture
def third_party(tmp_path: Path) -> Path:
    """A folder with one package of one file."""
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "a.js").write_bytes(CONTENT)
    pinned = f'[a]\npackage = "a"\nversion = "1"\nintegrity = ""\nfiles = {{"dist/a.js" = "{_sha256(CONTENT)}"}}\n'
    (tmp_path / "site.toml").write_text(pinned)
    return tmp_path


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_the_committed_files_are_those_that_were_pinned_each_package_with_its_licence() -> None:
    assert list(findings()) == []
    assert all((THIRD_PARTY / package.folder / "LICENSE").is_file() for package in packages())


def test_a_file_that_was_pinned_is_no_finding(third_party: Path) -> None:
    assert list(findings(third_party)) == []


def test_a_file_that_was_changed_is_found(third_party: Path) -> None:
    (third_party / "a" / "a.js").write_bytes(CONTENT + b"\n")
    assert [each.split(":")[0] for each in findings(third_party)] == ["a/a.js"]


def test_a_file_that_is_missing_is_found(third_party: Path) -> None:
    (third_party / "a" / "a.js").unlink()
    assert list(findings(third_party)) == ["a/a.js: missing; `make vendor` fetches it"]


def test_a_file_that_is_not_in_the_list_is_found(third_party: Path) -> None:
    (third_party / "a" / "a.js.map").write_bytes(b"")
    assert list(findings(third_party)) == ["a/a.js.map: not in site.toml"]


def test_an_archive_that_is_not_the_pinned_one_is_refused(tmp_path: Path) -> None:
    archive = tmp_path / "a-1.tgz"
    with tarfile.open(archive, "w:gz") as made:
        member = tarfile.TarInfo("package/dist/a.js")
        member.size = len(CONTENT)
        made.addfile(member, io.BytesIO(CONTENT))
    integrity = "sha512-" + base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
    files = {"dist/a.js": _sha256(CONTENT)}
    assert list(Package("a", "a", "1", integrity, files).contents(archive)) == [("a.js", CONTENT)]
    with pytest.raises(ValueError, match="a@1: integrity is sha512-"):
        list(Package("a", "a", "1", "sha512-other", files).contents(archive))
