"""Settings of the store of pictures, sounds and documents: table `[blobs]`, `SOMA_BLOBS_*`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar
from urllib.parse import parse_qsl, unquote, urlsplit

from pydantic import AfterValidator, AliasChoices, Field, SecretStr
from pydantic_settings import SettingsConfigDict

from services.mesh.blobs.blobs import HELD_BYTES
from services.mesh.blobs.directory import Directory
from services.mesh.blobs.store import Store
from services.mesh.settings import SomaSettings
from services.mesh.transport.url import http_url

# The folder of the data directory, if no other place is given.
BLOBS = "blobs"
_EXAMPLE = "s3://bucket/prefix?endpoint=https://host:9000&region=eu-central-1"
_OPTIONS = frozenset({"endpoint", "region", "addressing"})
_REGION = "us-east-1"
_ADDRESSING = ("path", "virtual")


@dataclass(frozen=True, slots=True)
class Bucket:
    """Where a bucket is.

    Attributes:
        prefix: stands before the keys of all objects; may be empty.
        endpoint: URL of the server; empty for Amazon's.
        virtual: whether the name of the bucket is a part of the host name, and not of the path.
    """

    name: str
    prefix: str = ""
    endpoint: str = ""
    region: str = _REGION
    virtual: bool = False


def parse(text: str) -> Bucket | Path:
    """The bucket or the directory of a URL.

    Raises:
        ValueError: it is neither `s3://bucket/prefix?endpoint=…&region=…&addressing=…` nor `file:///directory`.
    """
    parts = urlsplit(text)
    if parts.fragment or "@" in parts.netloc:
        raise ValueError(f"the URL has a user, a password or a fragment; write {_EXAMPLE}, and the keys in AWS_*")
    if parts.scheme == "file":
        path = Path(unquote(parts.path))
        if parts.netloc or parts.query or not path.is_absolute():
            raise ValueError("the URL of a directory has three slashes and an absolute path: file:///srv/blobs")
        return path
    if parts.scheme != "s3" or not parts.netloc or ":" in parts.netloc:
        raise ValueError(f"the URL begins with file:/// or names a bucket, as in {_EXAMPLE}")
    given = dict(parse_qsl(parts.query, keep_blank_values=True))
    if unknown := given.keys() - _OPTIONS:
        raise ValueError(f"the URL has the option {min(unknown)}; there are {', '.join(sorted(_OPTIONS))}")
    addressing = given.get("addressing", _ADDRESSING[0])
    if addressing not in _ADDRESSING:
        raise ValueError(f"addressing is {' or '.join(_ADDRESSING)}")
    endpoint = http_url(given["endpoint"]) if given.get("endpoint") else ""
    region = given.get("region") or _REGION
    return Bucket(parts.netloc, unquote(parts.path).strip("/"), endpoint, region, addressing == "virtual")


def _checked(text: str) -> str:
    parse(text)
    return text


class BlobsSettings(SomaSettings):
    """Where pictures, sounds and documents are kept."""

    table: ClassVar[str | None] = "blobs"
    model_config = SettingsConfigDict(env_prefix="SOMA_BLOBS_")

    url: Annotated[str, AfterValidator(_checked)] | None = Field(
        None,
        description="s3://bucket/prefix?endpoint=…&region=…, or file:///directory; `blobs` of the data directory "
        "when unset",
    )
    held_bytes: int = Field(
        HELD_BYTES,
        ge=1024 * 1024,
        description="most bytes that a process holds for turns in progress; more are refused with 503",
    )
    access_key_id: SecretStr | None = Field(
        None,
        validation_alias=AliasChoices("SOMA_BLOBS_ACCESS_KEY_ID", "AWS_ACCESS_KEY_ID"),
        description="key of the bucket; without it the role of the machine is used",
    )
    secret_access_key: SecretStr | None = Field(
        None,
        validation_alias=AliasChoices("SOMA_BLOBS_SECRET_ACCESS_KEY", "AWS_SECRET_ACCESS_KEY"),
        description="its secret",
    )
    session_token: SecretStr | None = Field(
        None,
        validation_alias=AliasChoices("SOMA_BLOBS_SESSION_TOKEN", "AWS_SESSION_TOKEN"),
        description="its token, if it is temporary",
    )

    def open(self, data_dir: Path) -> Store:
        """The store; nothing is read or written yet."""
        place = parse(self.url) if self.url is not None else data_dir / BLOBS
        if isinstance(place, Path):
            return Directory(place)
        # It is imported only here, because its client takes 7 MB.
        from services.mesh.blobs.bucket import BucketStore

        def secret(given: SecretStr | None) -> str | None:
            return None if given is None else given.get_secret_value()

        return BucketStore(
            place, secret(self.access_key_id), secret(self.secret_access_key), secret(self.session_token)
        )
