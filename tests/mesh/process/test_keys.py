"""Key files: read also with what an editor adds, and refused with the name of the file."""

from pathlib import Path

import pytest

from services.mesh.call.errors import FailedPrecondition
from services.mesh.process.keys import ensure_key, read_key


def written(path: Path, content: bytes) -> Path:
    """A key file that only its owner can read."""
    path.touch(0o600)
    path.write_bytes(content)
    return path


def test_a_created_key_is_read_again(tmp_path: Path) -> None:
    key = ensure_key(tmp_path / "dev.key", "soma_dev_")
    assert key.startswith("soma_dev_")
    assert read_key(tmp_path / "dev.key") == ensure_key(tmp_path / "dev.key") == key


@pytest.mark.parametrize("content", [b"key\n", b"key\r\n", b"\xef\xbb\xbfkey\r\n", b'"key"', b"  key"])
def test_characters_that_an_editor_adds_are_removed(tmp_path: Path, content: bytes) -> None:
    assert read_key(written(tmp_path / "dev.key", content)) == "key"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "KEY_MISSING"),
        (b"\xef\xbb\xbf\r\n", "KEY_MISSING"),
        (b"two\nlines", "KEY_MALFORMED"),
        ("schlüssel".encode(), "KEY_MALFORMED"),
        ("key".encode("utf-16"), "KEY_MALFORMED"),
    ],
)
def test_an_invalid_key_is_refused_with_the_name_of_its_file(tmp_path: Path, content: bytes, reason: str) -> None:
    path = written(tmp_path / "dev.key", content)
    with pytest.raises(FailedPrecondition) as refused:
        read_key(path)
    assert refused.value.reason == reason
    assert str(path) in refused.value.message
    assert "two" not in refused.value.message


def test_a_key_others_can_read_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "dev.key", b"key\n")
    path.chmod(0o644)
    with pytest.raises(FailedPrecondition, match="chmod 600"):
        read_key(path)
