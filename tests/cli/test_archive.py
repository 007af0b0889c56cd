"""A backup file is read exactly as it was written, or refused."""

from dataclasses import replace
from pathlib import Path

import pytest

from cli import archive
from services.mesh.call.errors import InvalidArgument

FILES = {"postgres.dump": b"tables" * 1000, "tls/ca.key": b"secret"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The files of a backup."""
    folder = tmp_path / "files"
    for name, content in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


@pytest.fixture
def manifest(folder: Path) -> archive.Manifest:
    """Their manifest."""
    return archive.Manifest(
        format=archive.FORMAT,
        soma="0.1.0",
        postgres="18.4",
        data_version=1,
        schemas={"memory": "0001"},
        taken="2026-11-21T10:00:00+00:00",
        files={name: archive.digest(folder / name) for name in FILES},
    )


@pytest.fixture
def backup(tmp_path: Path, folder: Path, manifest: archive.Manifest) -> Path:
    """A backup of them."""
    path = tmp_path / "backup"
    archive.write(path, manifest, folder)
    return path


def test_a_backup_is_extracted_as_it_was_written(backup: Path, manifest: archive.Manifest, tmp_path: Path) -> None:
    assert archive.extract(backup, tmp_path / "out") == manifest
    assert {name: (tmp_path / "out" / name).read_bytes() for name in FILES} == FILES


def test_a_backup_holds_secrets_and_only_its_owner_can_read_it(backup: Path, tmp_path: Path) -> None:
    assert backup.stat().st_mode & 0o777 == 0o600
    archive.extract(backup, tmp_path / "out")
    assert (tmp_path / "out" / "tls" / "ca.key").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("content", list(FILES.values()))
def test_a_changed_byte_of_any_file_is_found(backup: Path, tmp_path: Path, content: bytes) -> None:
    whole = bytearray(backup.read_bytes())
    whole[whole.index(content) + 3] ^= 1
    backup.write_bytes(whole)
    with pytest.raises(InvalidArgument, match="has changed") as refused:
        archive.extract(backup, tmp_path / "out")
    assert refused.value.reason == "BACKUP_CORRUPT"


def test_a_changed_manifest_is_found(backup: Path, tmp_path: Path) -> None:
    backup.write_bytes(backup.read_bytes().replace(b'"data_version": 1', b'"data_version": 0'))
    with pytest.raises(InvalidArgument, match="its manifest is missing or has changed"):
        archive.extract(backup, tmp_path / "out")


@pytest.mark.parametrize("share", [0.0, 0.1, 0.3, 0.5])
def test_a_truncated_file_is_refused(backup: Path, tmp_path: Path, share: float) -> None:
    whole = backup.read_bytes()
    backup.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(InvalidArgument) as refused:
        archive.extract(backup, tmp_path / "out")
    assert refused.value.reason == "BACKUP_CORRUPT"


def test_a_file_that_is_not_a_backup_is_refused(tmp_path: Path) -> None:
    (tmp_path / "letter").write_text("Dear Sir or Madam, " * 1000)
    with pytest.raises(InvalidArgument, match="is not a backup of soma"):
        archive.extract(tmp_path / "letter", tmp_path / "out")


def test_a_newer_format_is_refused_with_the_version_that_reads_it(
    tmp_path: Path, folder: Path, manifest: archive.Manifest
) -> None:
    newer = replace(manifest, format=archive.FORMAT + 1, soma="9.9.9")
    archive.write(tmp_path / "newer", newer, folder)
    with pytest.raises(InvalidArgument, match=r"soma 9\.9\.9"):
        archive.extract(tmp_path / "newer", tmp_path / "out")


def test_a_name_outside_the_folder_is_refused(tmp_path: Path, folder: Path, manifest: archive.Manifest) -> None:
    (tmp_path / "outside").write_text("x")
    files = {"../outside": archive.digest(tmp_path / "outside")}
    archive.write(tmp_path / "evil", replace(manifest, files=files), folder)
    (tmp_path / "outside").unlink()
    with pytest.raises(InvalidArgument, match="is outside"):
        archive.extract(tmp_path / "evil", tmp_path / "out")
    assert not (tmp_path / "outside").exists()
