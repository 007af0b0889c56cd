"""Seals what clients keep and only the mesh can read: encrypted and authenticated, each for one tenant.

AES-256 in Galois/counter mode (NIST SP 800-38D) with a random nonce of 96 bits; the tenant is authenticated with the
content. The key is made once, and all processes of a stack read it from their database.
"""

import binascii
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

if TYPE_CHECKING:
    from services.mesh.stores.postgres import SystemPool

MAKE_KEY = "INSERT INTO orchestrator.seal_key (key) VALUES ($1) ON CONFLICT (id) DO NOTHING"
KEY = "SELECT key FROM orchestrator.seal_key WHERE id = 1"

# The version of the form; another one gets another prefix.
_PREFIX = "soma-sealed-1."
_NONCE_BYTES = 12


class Seal:
    """Closes and opens content of tenants; `purpose` keeps one kind of content from being taken for another."""

    def __init__(self, pool: "SystemPool", purpose: str) -> None:
        self._pool = pool
        self._purpose = purpose
        self._cipher: AESGCM | None = None

    async def close(self, tenant_id: str, content: bytes) -> str:
        """The content as ASCII text that says nothing but its length.

        Raises:
            Unavailable: the key cannot be read.
        """
        nonce = secrets.token_bytes(_NONCE_BYTES)
        sealed = (await self._ready()).encrypt(nonce, content, self._bound(tenant_id))
        return _written(nonce + sealed)

    async def open(self, tenant_id: str, text: str) -> bytes:
        """The content of a text that `close` made for this tenant.

        Raises:
            ValueError: it was changed, or `close` did not make it for this tenant with this purpose.
            Unavailable: the key cannot be read.
        """
        if not text.startswith(_PREFIX):
            raise ValueError("it has another form")
        encoded = text.removeprefix(_PREFIX)
        try:
            sealed = urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4))
        except binascii.Error as error:
            raise ValueError("it is not base64") from error
        # The decoder leaves out what is not base64, so several texts have the same bytes.
        if _written(sealed) != text:
            raise ValueError("it is written in another way")
        nonce, sealed = sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:]
        if len(nonce) < _NONCE_BYTES:
            raise ValueError("it is too short")
        try:
            return (await self._ready()).decrypt(nonce, sealed, self._bound(tenant_id))
        except InvalidTag as error:
            raise ValueError("it was changed, or is another tenant's") from error

    async def _ready(self) -> AESGCM:
        if self._cipher is None:
            async with self._pool.connection() as acquired:
                await acquired.execute(MAKE_KEY, AESGCM.generate_key(256))
                self._cipher = AESGCM(await acquired.fetchval(KEY))
        return self._cipher

    def _bound(self, tenant_id: str) -> bytes:
        return f"{self._purpose}\0{tenant_id}".encode()


def _written(sealed: bytes) -> str:
    return _PREFIX + urlsafe_b64encode(sealed).decode().rstrip("=")
