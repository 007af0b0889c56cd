"""The keys of an issuer, read again every few minutes, and at once when a token names one that is not there."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextvars import Context
from typing import Protocol

import structlog
from prometheus_client import Counter
from soma.errors.v1 import reasons

from services.identity.outside.key_set import KeySet, OutsideKey
from services.identity.outside.settings import Issuer
from services.mesh.call import errors
from services.mesh.process.jobs import Job

log = structlog.get_logger("identity")

_READ = Counter("soma_issuer_keys_read_total", "Key sets of outside issuers that were read", ["issuer", "result"])
READ_SECONDS = 300.0
# Tokens with unknown keys cause no more reads than this.
PAUSE_SECONDS = 10.0
# A caller waits no longer; the read goes on for the next one.
WAIT_SECONDS = 2.0
# While an issuer is away its keys are used for this long.
KEPT_SECONDS = 24 * 3600.0


class Unreachable(Exception):
    """Why a document of an issuer cannot be read; the text is for logs."""


class Read(Protocol):
    """Reads a JSON document."""

    def __call__(self, url: str, *, private: bool) -> Awaitable[object]:
        """The document at a URL.

        Raises:
            Unreachable: it cannot be read.
        """
        ...


class IssuerKeys:
    """The keys of one issuer."""

    def __init__(self, name: str, issuer: Issuer, read: Read, now: Callable[[], float]) -> None:
        self._name = name
        self._issuer = issuer
        self._read = read
        self._now = now
        self._keys = KeySet(())
        self._read_at: float | None = None
        self._tried_at: float | None = None
        self._failed = False
        self._reading: asyncio.Task[None] | None = None

    @property
    def job(self) -> Job:
        """Reads the keys again and again."""
        return Job(f"keys of {self._name}", self._refresh, every=READ_SECONDS)

    async def find(self, key_id: object, algorithm: str) -> OutsideKey | None:
        """The key with an id for an algorithm; None if the issuer has no such key.

        Raises:
            Unavailable: the issuer cannot be asked now.
        """
        found = self._kept(key_id, algorithm)
        if found is not None:
            return found
        if self._tried_at is None or self._now() - self._tried_at >= PAUSE_SECONDS or self._reading is not None:
            await asyncio.wait((self._refreshing(),), timeout=WAIT_SECONDS)
            found = self._kept(key_id, algorithm)
        if found is None and (self._failed or self._reading is not None):
            raise errors.Unavailable(
                f"the keys of the issuer {self._name!r} cannot be read now, so its tokens cannot be checked",
                reason=reasons.ISSUER_UNAVAILABLE,
                metadata={"issuer": self._name},
                retry_after=PAUSE_SECONDS,
            )
        return found

    async def close(self) -> None:
        """End what is being read."""
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)

    def _kept(self, key_id: object, algorithm: str) -> OutsideKey | None:
        if self._read_at is None or self._now() - self._read_at > KEPT_SECONDS:
            return None
        return self._keys.find(key_id, algorithm)

    async def _refresh(self) -> None:
        await asyncio.shield(self._refreshing())

    def _refreshing(self) -> "asyncio.Task[None]":
        """The task that reads the keys; there is one for all who wait."""
        if self._reading is None:
            self._tried_at = self._now()
            self._reading = Context().run(asyncio.create_task, self._replace())
            self._reading.add_done_callback(self._done)
        return self._reading

    def _done(self, task: "asyncio.Task[None]") -> None:
        self._reading = None
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("the keys of an issuer could not be read", issuer=self._name, exc_info=error)

    async def _replace(self) -> None:
        self._failed = True
        try:
            keys = KeySet.of(await self._read(await self._url(), private=self._issuer.private_addresses))
        except (Unreachable, ValueError) as error:
            _READ.labels(self._name, "failed").inc()
            log.warning("the keys of an issuer cannot be read", issuer=self._name, error=str(error))
            return
        self._keys, self._read_at, self._failed = keys, self._now(), False
        _READ.labels(self._name, "read").inc()

    async def _url(self) -> str:
        """Where the keys are: as the settings or the discovery document of OpenID Connect say."""
        if self._issuer.jwks_url:
            return self._issuer.jwks_url
        address = f"{self._issuer.url.rstrip('/')}/.well-known/openid-configuration"
        document = await self._read(address, private=self._issuer.private_addresses)
        said = document if isinstance(document, Mapping) else {}
        url = said.get("jwks_uri")
        if said.get("issuer") != self._issuer.url or not isinstance(url, str):
            raise Unreachable(f"{address}: it is not the document of the issuer {self._issuer.url}")
        return url
