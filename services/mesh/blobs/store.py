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

    async def put(self, key: str, data: bytes) -> None:
        """Store an object, or replace it. When this returns, the object outlasts a crash; before that, no part of it
        can be read.
        """
        ...

    async def get(self, key: str) -> bytes | None:
        """The bytes of an object; None if there is no such object."""
        ...

    async def delete(self, keys: Sequence[str]) -> None:
        """Delete objects. One that does not exist is no error."""
        ...

    def list(self, prefix: str) -> AsyncIterator[Object]:
        """The objects whose keys begin with `prefix`, which has at least the first folder, in any order."""
        ...


def prefix_of(folder: str, tenant_id: str, hash: str) -> str:
    """How the keys of all objects with these bytes begin.

    The tenant is in it as a hash, because ids of tenants may be long and may contain any character.
    """
    tenant = hashlib.sha256(tenant_id.encode()).hexdigest()[:32]
    return f"{folder}/{tenant}/{hash[:2]}/{hash}."


def new_key(folder: str, tenant_id: str, hash: str) -> str:
    """The key of a new object. No key is used a second time, so a late deletion never concerns a newer object."""
    return f"{prefix_of(folder, tenant_id, hash)}{uuid.uuid4().hex}"
