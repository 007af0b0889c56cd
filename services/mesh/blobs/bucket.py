"""Objects in a bucket of Amazon S3, or of another server that speaks its protocol."""

import re
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

import obstore
import structlog
from obstore import exceptions
from obstore.store import S3Store
from soma.errors.v1 import reasons

from services.mesh.blobs.settings import Bucket
from services.mesh.blobs.store import Object
from services.mesh.call import errors

if TYPE_CHECKING:
    from obstore.store import S3Config

log = structlog.get_logger("blobs")

RETRY_SECONDS = 1.0
CONNECT_TIMEOUT = timedelta(seconds=5)
# For a whole request, which may carry tens of megabytes.
TIMEOUT = timedelta(seconds=30)
# A request is sent again within this time if the server is busy or the connection was lost.
RETRY_TIMEOUT = timedelta(seconds=10)
_RETRIES = 3
_REFUSED = (exceptions.PermissionDeniedError, exceptions.UnauthenticatedError)
# The answer that a bucket does not exist has the status of an object that does not exist.
_NO_BUCKET = "NoSuchBucket"
# An answer to a list has no class of its own.
_FORBIDDEN = re.compile(r"status code: 40[13]\b")


class BucketStore:
    """A store in a bucket.

    Args:
        access_key_id: with `secret_access_key`; without them the role of the machine is used.
        session_token: of temporary keys.
    """

    def __init__(
        self, bucket: Bucket, access_key_id: str | None, secret_access_key: str | None, session_token: str | None
    ) -> None:
        given: S3Config = {"region": bucket.region, "virtual_hosted_style_request": bucket.virtual}
        if access_key_id and secret_access_key:
            given |= {"access_key_id": access_key_id, "secret_access_key": secret_access_key}
        if session_token:
            given["session_token"] = session_token
        if bucket.endpoint:
            given["endpoint"] = bucket.endpoint
        self._name = bucket.name
        self._store = S3Store(
            bucket.name,
            prefix=bucket.prefix or None,
            config=given,
            client_options={
                "allow_http": bucket.endpoint.startswith("http://"),
                "connect_timeout": CONNECT_TIMEOUT,
                "timeout": TIMEOUT,
            },
            retry_config={"max_retries": _RETRIES, "retry_timeout": RETRY_TIMEOUT},
        )

    async def put(self, key: str, data: bytes, *, durable: bool = True) -> None:
        """Send the object in one request, so that it is there as a whole or not at all."""
        with self._typed():
            await obstore.put_async(self._store, key, data, use_multipart=False)

    async def get(self, key: str) -> bytes | None:
        """The bytes of the object."""
        try:
            with self._typed():
                found = await obstore.get_async(self._store, key)
                return bytes(await found.bytes_async())
        except FileNotFoundError:
            return None

    async def delete(self, keys: Sequence[str]) -> None:
        """Delete objects, many in one request."""
        if keys:
            with self._typed():
                await obstore.delete_async(self._store, keys)

    async def list(self, folder: str) -> AsyncIterator[Object]:
        """The objects of a folder, a thousand in one request."""
        with self._typed():
            async for some in obstore.list(self._store, folder):
                for one in some:
                    yield Object(one["path"], one["last_modified"])

    @contextmanager
    def _typed(self) -> Iterator[None]:
        """Turn errors of the client into typed errors; their text is logged only, because it names hosts and keys.

        Raises:
            FileNotFoundError: there is no such object.
        """
        try:
            yield
        except FileNotFoundError as error:
            if _NO_BUCKET in str(error):
                raise self._refused("does not exist", error) from error
            raise
        except exceptions.BaseError as error:
            if isinstance(error, _REFUSED) or _FORBIDDEN.search(str(error)):
                raise self._refused("does not accept the keys of `[blobs]`", error) from error
            if _NO_BUCKET in str(error):
                raise self._refused("does not exist", error) from error
            log.warning("bucket fails", bucket=self._name, error=_short(error))
            raise errors.Unavailable(
                "pictures and documents cannot be stored or read now",
                reason=reasons.BLOBS_UNAVAILABLE,
                metadata={"store": "blobs"},
                retry_after=RETRY_SECONDS,
            ) from error

    def _refused(self, why: str, error: Exception) -> errors.FailedPrecondition:
        log.warning("bucket refuses", bucket=self._name, error=_short(error))
        return errors.FailedPrecondition(
            f"the bucket {self._name} for pictures and documents {why}", reason=reasons.BLOBS_REFUSED
        )


def _short(error: Exception) -> str:
    """The first line of an error of the client, which goes on with all that it knows."""
    return str(error).partition("\n")[0]
