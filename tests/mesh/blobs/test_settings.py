"""The setting that says where pictures, sounds and documents are kept."""

from pathlib import Path

import pytest

from services.mesh.blobs.bucket import BucketStore
from services.mesh.blobs.directory import Directory
from services.mesh.blobs.settings import BlobsSettings, Bucket, parse
from services.mesh.call import errors


def test_a_url_names_a_bucket_or_a_directory() -> None:
    assert parse("file:///srv/my%20blobs") == Path("/srv/my blobs")
    assert parse("s3://media") == Bucket("media")
    assert parse("s3://media/a/b/?endpoint=https://Minio:9000/&region=eu-central-1&addressing=virtual") == Bucket(
        "media", "a/b", "https://minio:9000", "eu-central-1", virtual=True
    )


@pytest.mark.parametrize(
    "url",
    [
        "media",
        "https://media",
        "s3://",
        "s3:///prefix",
        "s3://key:secret@media",
        "s3://media:80",
        "s3://media#part",
        "s3://media?endpiont=https://minio",
        "s3://media?endpoint=minio:9000",
        "s3://media?addressing=host",
        "file://host/blobs",
        "file:blobs",
        "file:///blobs?x=1",
    ],
)
def test_another_url_is_refused_without_repeating_it(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOMA_BLOBS_URL", url)
    with pytest.raises(errors.InvalidArgument, match="SOMA_BLOBS_URL") as raised:
        BlobsSettings()
    assert "secret" not in raised.value.message


def test_without_a_url_the_store_is_in_the_data_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(BlobsSettings().open(tmp_path), Directory)
    monkeypatch.setenv("SOMA_BLOBS_URL", "s3://media?endpoint=http://127.0.0.1:1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a-key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a-secret")
    settings = BlobsSettings()
    assert isinstance(settings.open(tmp_path), BucketStore)
    assert "a-secret" not in repr(settings)
