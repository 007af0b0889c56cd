"""A store of objects, which the processes of a stack share: a directory, or a bucket."""

import hashlib
import uuid
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

# Objects that a conversation or a response refers to, by rows in Postgres; and those that a process holds for a turn.
KEPT = "kept"
TRANSIENT = "transient"


@dataclass(frozen=True, slots=True)
class Object:
    """An object in a store.

    Attributes:
        key: its name.
        modified: when it was written.
    """

    key: str
    modified: datetime


class Store(Protocol):
    """Keeps objects by keys of letters, digits, `.` and `/`.

    Every method raises Unavailable when the store cannot be used now (BLOBS_UNAVAILABLE, or STORAGE_FULL when there is
    no room), and FailedPrecondition (BLOBS_REFUSED) when it refuses its user or has no such bucket.
    """

    async def put(self, key: str, data: bytes, *, durable: bool = True) -> None:
        """Store an object, or replace it; no part of it can be read before this returns.

        Args:
            durable: whether the object outlasts a power cut from then on.
        """
        ...

    async def get(self, key: str) -> bytes | None:
        """The bytes of an object; None if there is no such object."""
        ...

    async def delete(self, keys: Sequence[str]) -> None:
        """Delete objects. One that does not exist is no error."""
        ...

    def list(self, folder: str) -> AsyncIterator[Object]:
        """The objects whose keys begin with `folder` and a slash, in any order."""
        ...


def folder_of(tenant_id: str, hash: str) -> str:
    """The folder of transient objects with these bytes; each process that holds them has an object of its own.

    The tenant is in it as a hash, because ids of tenants may be long and may contain any character.
    """
    return f"{TRANSIENT}/{_tenant(tenant_id)}/{hash}"


def transient_key(tenant_id: str, hash: str) -> str:
    """The key of a new transient object."""
    return f"{folder_of(tenant_id, hash)}/{uuid.uuid4().hex}"


def kept_key(tenant_id: str, hash: str) -> str:
    """The key of a new object that is kept. No key comes twice, so a late deletion never concerns a newer object."""
    return f"{KEPT}/{_tenant(tenant_id)}/{hash[:2]}/{hash}.{uuid.uuid4().hex}"


def _tenant(tenant_id: str) -> str:
    return hashlib.sha256(tenant_id.encode()).hexdigest()[:32]
